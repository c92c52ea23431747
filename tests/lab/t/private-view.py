#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=3G timeout=900
"""A guest that looks at a private page through a read-only view of it stops nobody.

1. split: it sees the shared side, and runs on
2. in place: KVM can show it nothing and does not say where it looked. Its vCPU stands still, the
   VM runs, QEMU says it once; when the host makes the page shared, the guest goes on
3. on-fault=pause and shutdown hold for that as well
"""
from gmemlab import MIB, MODE, PAGE, GuestVm, Layout, Tap, block

LAYOUT = Layout([('ram0', 96 * MIB)])
SECRET = 0xd5000
SAID = 'the guest uses private memory through a read-only view of it'


class Policy(Layout):
    """The same machine with an on-fault of its own."""

    def __init__(self, on_fault):
        super().__init__(LAYOUT.blocks)
        self.on_fault = on_fault

    def machine(self, extra=''):
        return [*super().machine(extra + ',confidential-guest-support=s'), '-object',
                f'sw-protected-guest,id=s,on-fault={self.on_fault}']


def seconds(vm, count):
    """Let some time pass in which the VM's vCPU could do harm."""
    for _ in range(count):
        vm.qmp.wait_event('NO_SUCH_EVENT', 1)


def check_standing(tap, vm):
    tap.ok(vm.mark('view/looking'), 'the guest looks', vm.report)
    seconds(vm, 5)
    tap.equal(vm.qmp.command('query-status')['status'], 'running', 'the VM runs')
    tap.ok('GUEST-DONE' not in vm.serial.text,
           'the guest stands still', vm.report)
    tap.equal(vm.errors.count(SAID), 1, 'QEMU says so once')
    vm.qmp.command('gmem-convert', id=block(vm.qmp, 'ram0')['id'], offset=SECRET, size=PAGE,
                   state='shared', wait=True)


def check_view(tap):
    with GuestVm(LAYOUT, 'test=view') as vm:
        if MODE == 'in-place':
            check_standing(tap, vm)
        vm.finish(tap)
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')


def check_policy(tap):
    with GuestVm(Policy('pause'), 'test=view') as vm:
        tap.ok(vm.qmp.wait_event('STOP'), 'on-fault=pause: the VM stops', vm.report)
        tap.equal(vm.qmp.command('query-status')['status'], 'paused', 'it is paused, not broken')
    with GuestVm(Policy('shutdown'), 'test=view') as vm:
        event = vm.qmp.wait_event('SHUTDOWN')
        tap.equal(event and event['data']['reason'], 'host-error', 'on-fault=shutdown: it ends')


def main():
    tap = Tap()
    check_view(tap)
    if MODE == 'in-place':
        check_policy(tap)
    tap.done()


if __name__ == '__main__':
    main()
