#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both mem=3G timeout=900 hugepages=280
"""A page is backed once: in split mode the side that a page left is freed, in place there is one.

The guest makes all of its memory private, shared, and private again, and touches every page
each time. At each mark the host counts what it holds for QEMU in the QEMU's cgroup: growth
since the first mark, when only the guest's own few MiB had been touched.
1. at most 1.02 bytes for each byte of the guest
2. in split mode the same with the shared side on huge pages, which come back when their last page
   goes
"""
from gmemlab import (MIB, MODE, SOAK, Cgroup, GuestVm, Layout, Tap, block, hugepages_free)

SIZE = 512 * MIB if SOAK else 128 * MIB
STEPS = ['private', 'private-touched', 'shared', 'shared-touched', 'private-2', 'private-2-touched']
HUGE = 2 * MIB
LIMIT = 1.02
# Firmware, option ROMs and the guest itself: counted before the first mark, or just after
OWN = 8 * MIB


class Account:
    """Bytes that the host holds for one VM, since this was made."""

    def __init__(self, group, free_huge):
        self.group, self.free_huge = group, free_huge
        self.start = group.guest_bytes()

    def small(self):
        return self.group.guest_bytes() - self.start

    def huge(self):
        return (self.free_huge - hugepages_free()) * HUGE

    def total(self):
        return self.small() + self.huge()


def sample(tap, what, step, vm, account):
    """One mark. Private: all of it small pages; shared-touched: all of it on its side."""
    total, huge = account.total(), account.huge()
    tap.note(f'{what}: {step}: {total / MIB:.1f} MiB for {SIZE / MIB:.0f}, {huge / MIB:.0f} of '
             f'them huge; metadata {account.group.stat()["kernel"] / MIB:.1f}')
    tap.ok(total <= LIMIT * SIZE, f'{what}: {step}: nothing is held twice',
           f'{total} bytes for {SIZE}')
    if step.endswith('touched'):
        tap.ok(total >= SIZE - OWN, f'{what}: {step}: the count sees the memory',
               f'{total} bytes for {SIZE}')
    private = block(vm.qmp, 'ram0')['private']
    wanted = SIZE - OWN if step.startswith('private') else 0
    tap.ok(wanted <= private <= wanted + OWN, f'{what}: {step}: the state is as told', private)


def check_cycle(tap, what, options='', huge=False):
    layout = Layout([('ram0', SIZE)], options=options)
    free, group = hugepages_free(), Cgroup('cycle')
    with GuestVm(layout, 'test=cycle step=1', cgroup=group) as vm:
        tap.ok(vm.mark('cycle/start'), f'{what}: the guest starts', vm.report)
        account = Account(group, free)
        vm.go()
        for step in STEPS:
            if not tap.ok(vm.mark('cycle/' + step), f'{what}: {step}', vm.report):
                break
            sample(tap, what, step, vm, account)
            if huge and step in ('private', 'shared-touched', 'private-2'):
                check_huge(tap, what, step, account)
            vm.go()
        vm.finish(tap)
        tap.equal(block(vm.qmp, 'ram0')['discard-failures'], 0, f'{what}: all was freed')
        vm.quit()
    tap.equal(hugepages_free(), free, f'{what}: all huge pages are back after the end')
    group.remove()


def check_huge(tap, what, step, account):
    if step == 'shared-touched':
        tap.ok(account.huge() >= SIZE - OWN, f'{what}: the shared side is huge pages',
               account.huge())
    else:
        tap.ok(account.huge() <= OWN, f'{what}: {step}: huge pages are free again',
               account.huge())


def main():
    tap = Tap()
    check_cycle(tap, 'small')
    if MODE == 'split':
        check_cycle(tap, 'huge', ',shared-hugetlb=on,shared-hugetlbsize=2M', huge=True)
    tap.done()


if __name__ == '__main__':
    main()
