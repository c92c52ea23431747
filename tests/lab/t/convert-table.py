#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both mem=3G timeout=900
"""Every kind of conversion request, good and bad, by a guest over two blocks.

1. the guest makes each request of its table and checks the return value and the content at
   the edges
2. the VM runs after each of them, and QEMU prints next to nothing
3. guest and host agree on the state of every page of both blocks
4. what was refused is counted and explained, and broke no block
RAM ends below 4 GiB in the middle of the second block, so there is a border inside low memory
and a hole inside a block.
"""
from gmemlab import (MIB, PAGE, Layout, Tap, block, finished_guest, guest_private,
                     host_private)

LAYOUT = Layout([('ram0', 96 * MIB), ('ram1', 160 * MIB)], low=128 * MIB)


def check_comparison(tap, vm):
    """The comparison itself: it finds one page that the host converts behind the guest's back."""
    vm.qmp.command('gmem-convert', id=block(vm.qmp, 'ram1')['id'], offset=8 * MIB, size=PAGE,
                   state='private', wait=True)
    guest, _ = guest_private(vm.serial.text, LAYOUT)
    host = host_private(vm.qmp, LAYOUT)
    tap.equal([set(host[name]) - set(guest[name]) for name, _ in LAYOUT.blocks],
              [set(), {(8 * MIB, 8 * MIB + PAGE)}], 'a single page that differs is found')


def main():
    tap = Tap()
    append = f'test=table borders={LAYOUT.borders()}'
    with finished_guest(tap, LAYOUT, append, minimum=6) as (vm, counters):
        for name, info in counters.items():
            tap.ok(info['to-private']['conversions'] and info['to-shared']['conversions'],
                   f'{name}: conversions both ways are counted', str(info))
        # "into-hole" and "over-hole" begin in the second block and need more than it has
        info = counters['ram1']
        tap.ok(info['failures'] >= 2 and info.get('last-error'),
               'refused requests are counted and explained', str(info))
        check_comparison(tap, vm)
    tap.done()


if __name__ == '__main__':
    main()
