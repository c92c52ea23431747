#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared mem=3G timeout=900
"""A machine with private memory, none of whose memory can be private.

1. its guest may ask all the same: it hears EINVAL, and the VM runs on
2. no block is there for the monitor
"""
from gmemlab import MIB, GuestVm, Layout, Tap


class Ordinary(Layout):
    def memory(self, more=''):
        return ['-m', '96M', '-machine', 'memory-backend=ram0', '-object',
                'memory-backend-memfd,id=ram0,size=96M,guest-memfd=off']


def main():
    tap = Tap()
    with GuestVm(Ordinary([('ram0', 96 * MIB)]), 'test=table') as vm:
        done = vm.done()
        tap.ok(done, 'the guest comes to its end', vm.report)
        refused = [line for line in vm.serial.text.splitlines()
                   if line.startswith('not ok') and 'one-page-private' in line]
        tap.ok(refused, 'to private is refused', lambda: vm.serial.text[-3000:])
        vm.statuses.discard('shutdown')
        tap.ok(vm.statuses <= {'running'}, 'the VM runs all the while', vm.statuses)
        tap.equal(vm.qmp.command('query-gmem')['blocks'], [], 'no block')
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')
    tap.done()


if __name__ == '__main__':
    main()
