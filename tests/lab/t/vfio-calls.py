#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=3G timeout=900
# lab: qemu-arg=-device qemu-arg=intel-iommu qemu-arg=-device qemu-arg=igb,addr=0x8
"""How often memory is mapped and unmapped for DMA while a guest converts it: VFIO's calls counted.

1. iommufd: one call for each request of the guest, whatever its size
2. type1: a page for each call that maps, one call for each request that unmaps
3. type1 with dma-granularity=2M: one call for a request of 2 MiB
The guest converts 16 MiB to private and back in requests of 2 MiB. The figures are printed as calls for
a converted GiB, beside those of the comparison binary where that runs.
"""
import os
import subprocess
import tempfile

from gmemlab import MIB, PAGE, GuestVm, Layout, Tap
from labside import configurations, follow, start
from labvfio import IGB, KINDS, Calls, Slot, assign

RAM, AREA, REQUEST = 48 * MIB, 16 * MIB, 2 * MIB
WORDS = 'test=cycle base=16M size=16M chunk=2M step=1'


def build(folder):
    library = folder + '/iommu-calls.so'
    source = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                          'iommu-calls.c')
    subprocess.run(['cc', '-O1', '-shared', '-fPIC', '-o', library, source], check=True)
    return library


def measure(library, kind, begin):
    """(calls that map, that unmap) of the area made private and shared again once, and the others."""
    slot, calls, seen = Slot(kind, IGB), Calls(library), {}

    def look(name, _):
        if name == 'cycle/start':
            slot.plug(vm)
        seen.setdefault(name, calls.read())

    with calls.preloaded():
        vm = begin(slot.arguments)
    with vm:
        follow(vm, look)
    shared = {k: seen['cycle/shared'][k] - seen['cycle/private-touched'][k] for k in Calls.NAMES}
    private = {k: seen['cycle/private'][k] - seen['cycle/start'][k] for k in Calls.NAMES}
    return shared['map'], private['unmap'], shared['unmap'] + private['map']


def with_units(more):
    layout = Layout([('ram0', RAM)], options=',dma-granularity=2M')
    return GuestVm(layout, WORDS, more=more)


def show(tap, what, found):
    gib = (1 << 30) // AREA
    tap.note(f'{what:28} {found[0] * gib:8} map  {found[1] * gib:8} unmap  for a converted GiB')


def main():
    tap = Tap()
    tap.ok(assign(IGB), 'the NIC is bound to vfio-pci')
    requests, pages = AREA // REQUEST, AREA // PAGE
    wanted = {'type1': (pages, requests, 0), 'iommufd': (requests, requests, 0)}
    with tempfile.TemporaryDirectory() as folder:
        library = build(folder)
        for config in configurations():
            for kind in KINDS:
                found = measure(library, kind, lambda more, c=config: start(
                    c, RAM, WORDS, more=more))
                show(tap, f'{config} {kind}', found)
                if config != 'base':
                    tap.equal(found, wanted[kind], f'{kind}: as many calls as there have to be')
        found = measure(library, 'type1', with_units)
        show(tap, 'type1 dma-granularity=2M', found)
        tap.equal(found, (requests, requests, 0), 'type1 with units of 2 MiB: one call for each')
    tap.done()


if __name__ == '__main__':
    main()
