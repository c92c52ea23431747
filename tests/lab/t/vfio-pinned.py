#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=5G timeout=900
# lab: qemu-arg=-device qemu-arg=intel-iommu qemu-arg=-device qemu-arg=igb,addr=0x8
"""A guest of 2 GiB that shares 64 MiB has that much pinned when it is given a device.

It makes the rest private, then a NIC is plugged by iommufd: what is pinned is what the guest shares,
beside the video memory and ROMs, which are no gmem. Beside it stands the comparison binary.
"""
from gmemlab import MIB, Tap, block
from labside import configurations, start
from labvfio import IGB, Slot, assign, pinned

SIZE, SHARED = 2048 * MIB, 64 * MIB
# All RAM behind the first part
WORDS = f'test=cycle base={SHARED:#x} size={SIZE - SHARED:#x} chunk=64M step=1'
BESIDES = 2 * MIB


def measure(config):
    """(pinned, shared as QEMU has it), with all of the range private; shared is None for the base."""
    slot = Slot('iommufd', IGB)
    with start(config, SIZE, WORDS, more=slot.arguments) as vm:
        for mark in ('cycle/start', 'cycle/private'):
            if not vm.mark(mark):
                raise RuntimeError('the guest did not come so far\n' + vm.report())
            if mark == 'cycle/start':
                vm.go()
        slot.plug(vm)
        held = pinned(vm, 'iommufd')
        return held, None if config == 'base' else block(vm.qmp, 'ram0')['shared']


def main():
    tap = Tap()
    tap.ok(assign(IGB), 'the NIC is bound to vfio-pci')
    for config in configurations():
        held, shared = measure(config)
        tap.note(f'{config}: {held / MIB:.1f} MiB pinned of {SIZE // MIB} MiB, of which the guest '
                 f'shares {SHARED // MIB} MiB')
        if config != 'base':
            tap.equal(shared, SHARED, f'{config}: the guest shares 64 MiB')
            tap.ok(0 <= held - shared < BESIDES, f'{config}: as much is pinned, and little besides',
                   f'{held - shared} bytes more')
    tap.done()


if __name__ == '__main__':
    main()
