#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both mem=3G timeout=900
"""A vCPU touches pages all the while that another converts them.

KVM may then leave with a fault that tells the state of before.
1. every request is granted, both vCPUs go on, the VM runs
2. guest and host agree on the state of every page
3. nothing was converted but what the guest has asked for
"""
from gmemlab import MIB, SOAK, GuestVm, Layout, Tap, compare_maps, counters_add_up

LAYOUT = Layout([('ram0', 64 * MIB)])
# An odd number: the area is private in the end
ROUNDS = 5001 if SOAK else 501


def main():
    tap = Tap()
    with GuestVm(LAYOUT, f'test=touch rounds={ROUNDS}') as vm:
        vm.finish(tap)
        compare_maps(tap, vm, LAYOUT)
        info = counters_add_up(tap, vm.qmp, 'ram0')
        counted = info['to-private']['conversions'] + info['to-shared']['conversions']
        tap.equal(counted, ROUNDS, 'there were as many conversions as requests')
        tap.equal(info['failures'], 0, 'none failed')
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')
    tap.done()


if __name__ == '__main__':
    main()
