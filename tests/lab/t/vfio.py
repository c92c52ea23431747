#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: in-place=on soak=both mem=4G timeout=900
# lab: qemu-arg=-device qemu-arg=intel-iommu qemu-arg=-device qemu-arg=edu,addr=0x10
"""What an assigned device pins and reaches is what is shared: VFIO with type1 and with iommufd.

1. pinned memory (VmLck of type1, VmPin of iommufd) follows conversions to the byte: large ones,
   every second page, at random; whatever else is mapped (ROMs) stays as it is
2. the device's DMA reads and writes shared pages, never a private one, and all the neighbours
   of one that went private in the middle of what was mapped in one go
3. the same with dma-granularity=2M, where a page that goes private has its unit mapped anew
4. accounts of locked memory go back as well: under a limit, as often as you like; beyond the limit
   a conversion succeeds all the same, and it is said once that devices do not reach that memory
5. type1 has 65535 mappings: more memory than fits is refused at the start when it is shared, else
   there is a warning; a guest that shares more gets it, without DMA. A DIMM does no harm either.
   (dma_entry_limit makes that small where mappings have to be made)
The devices are the lab's own, behind its emulated VT-d. The VM stands still; the monitor converts.
"""
import contextlib
import random

from gmemlab import MIB, PAGE, SOAK, Layout, Tap, block, in_place
from labport import PORT_ARGS, Ports
from labvfio import EDU, KINDS, Edu, arguments, assign, limited, pinned
from lablib import Vm, qemu_binary

SIZE = 64 * MIB
# What lies below 1 MiB is not all RAM for devices, so it stays shared here
LOW = MIB
# Of q35, as the port of configuration addresses takes it: what 0xf0000 is, in its upper half. As RAM
# it is one section with what lies above it
PAM = 0x80000090
LIMIT = '/sys/module/vfio_iommu_type1/parameters/dma_entry_limit'


class Assigned(Vm):
    """A stopped VM with the device. layout.options are those of its memory."""

    def __init__(self, kind, layout, more=(), memory='', **options):
        self.kind = kind
        super().__init__(['-accel', 'kvm', '-S', *layout.machine(), *layout.memory(memory), *more,
                          *arguments(kind, EDU, ',addr=0x10')], **options)

    def convert(self, offset, size, state):
        name = block(self.qmp, 'ram0')['id']
        answer = self.qmp.command('gmem-convert', id=name, offset=offset, size=size, state=state,
                                  timeout=120000, wait=True)
        return answer['converted'] == size

    def shared(self):
        return block(self.qmp, 'ram0')['shared']

    def pinned(self):
        return pinned(self, self.kind)

    def complaints(self):
        """What QEMU said, but that nobody can reset this device."""
        return '\n'.join(line for line in self.errors.splitlines()
                         if 'no available reset mechanism' not in line)


def ram(size=SIZE, options=''):
    return Layout([('ram0', size)], options=options)


def check_pins(tap, vm, what):
    besides = vm.pinned() - vm.shared()
    tap.ok(0 <= besides < 2 * MIB, f'{what}: all of the RAM is pinned, and little besides',
           f'{vm.pinned()} pinned, {vm.shared()} shared')

    def follows(name):
        tap.equal(vm.pinned() - vm.shared(), besides, f'{what}: {name}: pinned is what is shared')

    vm.convert(SIZE // 4, SIZE // 2, 'private')
    tap.equal(vm.shared(), SIZE // 2, f'{what}: half of it goes private')
    follows('half of it private')
    for page in range(0, 128, 2):
        vm.convert(4 * MIB + page * PAGE, PAGE, 'private')
    follows('every second page')
    chance = random.Random(what)
    for _ in range(200 if SOAK else 40):
        first = chance.randrange(LOW // PAGE, SIZE // PAGE)
        count = min(chance.randint(1, 600), SIZE // PAGE - first)
        vm.convert(first * PAGE, count * PAGE, chance.choice(('private', 'shared')))
    follows('at random')
    vm.convert(LOW, SIZE - LOW, 'private')
    follows('none')
    vm.convert(0, SIZE, 'shared')
    follows('all again')
    tap.equal(vm.complaints(), '', f'{what}: QEMU has nothing to complain of')


def reaches(vm, edu, address):
    """Does DMA read what stands there, and write it elsewhere?"""
    target = 4 * MIB
    pattern = address.to_bytes(8, 'little') * 512
    vm.ports.write(address, pattern)
    vm.ports.fill(target, PAGE, 0x55)
    edu.fetch(address)
    edu.store(target)
    return vm.ports.read(target, PAGE) == pattern


def check_dma(tap, vm, what):
    page = 37 * MIB + 5 * PAGE
    vm.ports = Ports()
    edu = Edu(vm.ports)
    tap.ok(edu.there(), f'{what}: the device answers', vm.report)
    tap.ok(reaches(vm, edu, page), f'{what}: DMA reaches a shared page')

    vm.ports.fill(page, PAGE, 0x77)
    vm.convert(page, PAGE, 'private')
    vm.ports.fill(4 * MIB, PAGE, 0x55)
    edu.fetch(page)
    edu.store(4 * MIB)
    found = vm.ports.read(4 * MIB, PAGE)
    tap.ok(b'\x77' not in found, f'{what}: DMA does not read it when it is private')
    around = [page - PAGE, page + PAGE, page - 5 * PAGE - MIB, page + 2 * MIB]
    tap.equal([reaches(vm, edu, at) for at in around], [True] * 4,
              f'{what}: DMA reaches its neighbours')
    edu.store(page)
    vm.convert(page, PAGE, 'shared')
    tap.ok(vm.ports.read(page, 8) != (page + 2 * MIB).to_bytes(8, 'little'),
           f'{what}: DMA has not written to it while it was private')
    tap.ok(reaches(vm, edu, page), f'{what}: DMA reaches it when it is shared again')

    chance = random.Random(what)
    for _ in range(40):
        vm.convert(page + chance.randrange(64) * PAGE, chance.randint(1, 9) * PAGE,
                   chance.choice(('private', 'shared')))
    found, wanted = [], []
    for number in range(12):
        at = page + number * 5 * PAGE
        state = vm.qmp.command('query-gmem-map', id=block(vm.qmp, 'ram0')['id'], offset=at,
                               limit=1)['ranges'][0]['state']
        wanted.append(state == 'shared')
        edu.fetch(at)       # of a private page nothing is to be seen but that QEMU lives
        found.append(state == 'shared' and reaches(vm, edu, at))
    tap.ok(found == wanted and True in wanted, f'{what}: after random conversions as well',
           f'{found} {wanted}')


def check_device(tap, kind, what, options=''):
    with Assigned(kind, ram(options=options), more=PORT_ARGS) as vm:
        check_pins(tap, vm, what)
        check_dma(tap, vm, what)


def check_memlock(tap, kind):
    limit, piece = 24 * MIB, 16 * MIB
    layout = ram(options=',initial=private')
    with limited(qemu_binary(), limit) as qemu, Assigned(kind, layout, qemu=qemu) as vm:
        before = vm.pinned()
        for turn in range(4):
            offset = 8 * MIB + turn * 10 * MIB
            vm.convert(offset, piece, 'shared')
            tap.equal(vm.pinned() - before, piece, f'{kind}: within the limit, turn {turn}')
            vm.convert(offset, piece, 'private')
        tap.equal((vm.pinned(), vm.complaints()), (before, ''), f'{kind}: the accounts went back')
        tap.ok(vm.convert(LOW, 40 * MIB, 'shared'), f'{kind}: a conversion beyond it succeeds')
        vm.convert(LOW, 40 * MIB, 'private')
        vm.convert(LOW, 40 * MIB, 'shared')
        told = vm.errors.count('cannot be mapped for DMA')
        tap.ok(told == 1 and 'RLIMIT_MEMLOCK' in vm.errors, f'{kind}: that is said once',
               vm.errors)
        tap.ok(vm.pinned() <= limit, f'{kind}: and not more is pinned', vm.pinned())


@contextlib.contextmanager
def fewer_mappings(count):
    """Containers that are made within have no more."""
    with open(LIMIT, 'r+', encoding='ascii') as f:
        usual = f.read()
        f.seek(0)
        f.write(str(count))
        f.flush()
        yield
        f.seek(0)
        f.write(usual)


def check_refused(tap):
    large = 512 * MIB
    with Assigned('type1', ram(large), start=False) as vm:
        status = vm.wait()
        tap.ok(status == 1, 'type1: 512 MiB of shared pages are refused', vm.report)
        tap.ok('takes 131072 DMA mappings of 4 KiB, and VFIO type1 has 65535' in vm.errors and
               'Use iommufd' in vm.errors, 'type1: with the reason, and what to do', vm.errors)
    with Assigned('type1', ram(large, ',initial=private'), more=PORT_ARGS) as vm:
        tap.ok('may come to need 131072 DMA mappings' in vm.errors and 'Use iommufd' in vm.errors,
               'type1: a warning when they are private', vm.errors)
        ports = Ports()
        for turn in range(20):
            ports.ask('outl', 0xcf8, PAM)
            ports.ask('outb', 0xcfc, 0x00 if turn % 2 else 0x30)
        tap.ok(vm.errors.count('may come to need') <= 2,
               'type1: not one more for each change of the memory map', vm.errors)
    for kind, options in (('type1', ',initial=private,shared-limit=64M'),
                          ('type1', ',dma-granularity=2M'), ('iommufd', '')):
        with Assigned(kind, ram(large, options)) as vm:
            tap.equal(vm.complaints(), '', f'{kind}{options}: has no such limit')


def check_too_many(tap):
    few, full = 4096, 4096 * PAGE
    with fewer_mappings(few), Assigned('type1', ram(options=',initial=private')) as vm:
        before = vm.pinned()
        tap.ok(f'need {SIZE // PAGE} DMA mappings of 4 KiB, and VFIO type1 has {few}' in vm.errors,
               'type1: the limit is asked for', vm.errors)
        tap.ok(vm.convert(LOW, SIZE - LOW, 'shared'), 'type1: more than fits can be shared')
        held = vm.pinned() - before
        tap.ok(full - MIB < held <= full, 'type1: as much as possible is mapped', held)
        vm.convert(LOW, SIZE - LOW, 'private')
        tap.equal(vm.pinned(), before, 'type1: and all is unmapped')
        vm.convert(8 * MIB, 8 * MIB, 'shared')
        tap.equal(vm.pinned() - before, 8 * MIB, 'type1: then what fits is mapped again')
        tap.equal(vm.errors.count('cannot be mapped for DMA: No space left on device; iommufd'), 1,
                  'type1: that something was not, is said once')


def check_dimm(tap, kind, size):
    with Assigned(kind, ram(), memory=',slots=2,maxmem=2G') as vm:
        before = vm.pinned()
        vm.qmp.command('object-add', qom_type='memory-backend-gmem', id='more', size=size)
        vm.qmp.command('device_add', driver='pc-dimm', id='dimm', memdev='more')
        tap.equal(vm.qmp.command('query-status')['status'], 'prelaunch',
                  f'{kind}: a DIMM of shared pages ends nothing')
        held = vm.pinned() - before
        if kind == 'iommufd':
            tap.equal((held, vm.complaints()), (size, ''), f'{kind}: all of it is pinned')
            return
        tap.ok(f'takes {size // PAGE} DMA mappings' in vm.errors, f'{kind}: it is too large',
               vm.errors)
        tap.ok(2 * MIB < held < size // 2, f'{kind}: some of it is mapped', held)


def main():
    tap = Tap()
    tap.ok(assign(EDU), 'the device is bound to vfio-pci')
    for kind in KINDS:
        check_device(tap, kind, kind)
        check_memlock(tap, kind)
    # What follows asks nothing of the kind of conversion; a soak has both kinds
    if not (SOAK and in_place()):
        check_device(tap, 'type1', 'type1 with dma-granularity', ',dma-granularity=2M')
        check_refused(tap)
        check_too_many(tap)
        with fewer_mappings(20000):
            check_dimm(tap, 'type1', 128 * MIB)
        check_dimm(tap, 'iommufd', 128 * MIB)
    tap.done()


if __name__ == '__main__':
    main()
