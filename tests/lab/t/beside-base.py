#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared mem=3G timeout=900
"""What a guest may ask: this QEMU answers, the base stops the VM or says a wrong yes.

The same guest, command line and requests for both binaries; a sw-protected-guest on an
ordinary q35 with two blocks of RAM. Each request is the only one of its VM.
1. a range over two blocks, which is nothing bad, and a range over RAM and a hole
2. to-private of a hole and of a device, a byte count that overflows
GMEM_COMPARE names the comparison binary (./configure --gmem-engine=base).
"""
import os

from gmemlab import MIB, PAGE, GuestVm, Layout, Tap

PRIVATE = 0x10
BLOCKS = [('ram0', 48 * MIB), ('ram1', 48 * MIB)]
STOPS = ('stopped', 'internal-error')
# gpa, pages, what it is; what the guest must hear, and what becomes of it on the base
REQUESTS = [
    (48 * MIB - PAGE, 2, 'a range over two blocks', 0, STOPS),
    (96 * MIB - PAGE, 2, 'a range over RAM and a hole', 22, STOPS),
    (96 * MIB, 1, 'a hole', 22, STOPS),
    (0xfec00000, 1, 'a device', 22, STOPS),
    (32 * MIB, (1 << 52) + 1, 'a byte count that overflows', 22, ('returned', 0)),
]


class OrdinaryLayout(Layout):
    """RAM and machine in words that the base knows too; this QEMU makes gmem of them."""

    def machine(self, extra=''):
        return ['-machine', 'q35,confidential-guest-support=guest', '-object',
                'sw-protected-guest,id=guest']

    def memory(self, more=''):
        return [word.replace('memory-backend-gmem', 'memory-backend-ram')
                    .replace(',conversion-timeout=30000', '') for word in super().memory(more)]


def outcome(binary, gpa, pages):
    """What becomes of one request: ('returned', value) or ('stopped', state of the VM)."""
    append = f'test=request content=split dump=0 requests={gpa:#x},{pages:#x},{PRIVATE:#x}'
    with GuestVm(OrdinaryLayout(BLOCKS), append, qemu=binary) as vm:
        answer = rf'^RETURN {gpa:#x} {pages:#x} {PRIVATE:#x} (-?\d+)\n'
        while vm.alive():
            if match := vm.serial.wait_for(answer, 1):
                return 'returned', int(match[1])
            try:
                status = vm.qmp.command('query-status')['status']
            except OSError:
                break
            if status != 'running':
                return 'stopped', status
        return 'ended', vm.wait()


def main():
    tap, base = Tap(), os.environ.get('GMEM_COMPARE', '')
    if not os.access(base, os.X_OK):
        tap.skip_all(f'no comparison binary at "{base}" (GMEM_COMPARE; make compare)')
    for gpa, pages, what, wanted, on_base in REQUESTS:
        tap.equal(outcome(None, gpa, pages), ('returned', wanted),
                  f'{what}: the guest hears {wanted}')
        tap.equal(outcome(base, gpa, pages), on_base, f'{what}: on the base it is {on_base}')
    tap.done()


if __name__ == '__main__':
    main()
