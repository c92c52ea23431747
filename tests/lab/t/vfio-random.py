#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=3G timeout=900
# lab: qemu-arg=-device qemu-arg=intel-iommu qemu-arg=-device qemu-arg=igb,addr=0x8
"""A NIC is plugged and unplugged while a guest converts at random, on two vCPUs: VFIO with type1
and with iommufd.

1. whenever the NIC is gone, nothing of the guest's memory is pinned
2. it stays, and the guest goes on: every conversion succeeds, guest and host agree on every page, and what
   is pinned in the end is what is shared, but for the little below 1 MiB that is ROM
"""
from gmemlab import (MIB, SOAK, GuestVm, Layout, Tap, block, compare_maps, counters_add_up)
from labvfio import IGB, KINDS, Slot, assign, pinned

LAYOUT = Layout([('ram0', 96 * MIB)])
ROUNDS = 50000 if SOAK else 1000
TURNS = 50 if SOAK else 3


def check_plug(tap, vm, kind, slot):
    pins = []
    for _ in range(TURNS):
        slot.plug(vm)
        held = pinned(vm, kind)
        tap.ok(slot.unplug(vm), f'{kind}: the NIC comes and goes', vm.report)
        pins.append((held > 0, pinned(vm, kind)))
    tap.equal(pins, [(True, 0)] * TURNS, f'{kind}: only meanwhile is anything pinned')
    tap.ok('GUEST-DONE' not in vm.serial.text, f'{kind}: the guest converts all the while')


def check(tap, kind):
    slot = Slot(kind, IGB)
    append = f'test=random cpus=2 rounds={ROUNDS}'
    with GuestVm(LAYOUT, append, more=slot.arguments) as vm:
        tap.ok(vm.serial.wait_for('^# random seed='), f'{kind}: the guest converts', vm.report)
        check_plug(tap, vm, kind, slot)
        slot.plug(vm)
        vm.finish(tap)
        compare_maps(tap, vm, LAYOUT, minimum=100)
        info = counters_add_up(tap, vm.qmp, 'ram0')
        tap.equal(info['failures'], 0, f'{kind}: no conversion failed')
        tap.ok('DMA' not in vm.errors, f'{kind}: QEMU could map and unmap what it had to',
               vm.errors)
        odd = pinned(vm, kind) - block(vm.qmp, 'ram0')['shared']
        tap.ok(abs(odd) < MIB, f'{kind}: pinned is what is shared', f'{odd} bytes more')
        tap.equal(vm.quit(), 0, f'{kind}: QEMU ends on its own')


def main():
    tap = Tap()
    tap.ok(assign(IGB), 'the NIC is bound to vfio-pci')
    for kind in KINDS:
        check(tap, kind)
    tap.done()


if __name__ == '__main__':
    main()
