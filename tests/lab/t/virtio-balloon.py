#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=3G timeout=900
"""Devices that give memory back to the host, on memory that converts.

1. a balloon takes private pages, then shared ones, then a mix: the host has them back each time, no
   page changes its state, and QEMU says nothing
2. what the balloon took and gave back reads as zeros
3. a reset, with the balloon's rings in use and its statistics mapped, makes all memory private
4. virtio-mem refuses memory that converts, with the reason, and takes other memory
"""
import struct

from gmemlab import MIB, PAGE, Tap, block
from lablib import Cgroup, Vm
from labport import PORT_ARGS, ModernDevice, Ports, make_idle_firmware

SIZE = 64 * MIB
RINGS = [tuple((16 + queue) * MIB + 2 * part * PAGE for part in range(3)) for queue in range(3)]
LIST = 20 * MIB
TAKEN, BYTES = 32 * MIB, 16 * MIB
NOISE = 2 * MIB
INFLATE, DEFLATE, STATISTICS = range(3)
ARGS = ['-accel', 'kvm', '-machine', 'pc-q35-swp,memory-backend=ram0',
        '-m', '64M,slots=2,maxmem=1G',
        *PORT_ARGS, '-action', 'reboot=reset', '-bios', make_idle_firmware(), '-object']
BALLOON = [f'memory-backend-gmem,id=ram0,size={SIZE},conversion-timeout=30000,initial=private,'
           'prealloc=on', '-device', 'virtio-balloon-pci,addr=5,disable-legacy=on']
PLAIN = [f'memory-backend-gmem,id=ram0,size={SIZE}']


class Balloon(ModernDevice):
    FEATURES = 1 << 1       # statistics

    def __init__(self, ports):
        super().__init__(ports, 5, RINGS)

    def send(self, queue, address=TAKEN, size=BYTES):
        pages = range(address // PAGE, (address + size) // PAGE)
        data = struct.pack(f'<{len(pages)}I', *pages)
        self.ports.write(LIST, data)
        self.offer(queue, ((LIST, len(data), 0, 0),))
        return self.took(queue)


class Machine:
    def __init__(self, tap, vm, group):
        self.tap, self.vm, self.group, self.ports = tap, vm, group, Ports()
        for address in (*(part for ring in RINGS for part in ring), *range(LIST, LIST + 4 * PAGE,
                                                                           PAGE)):
            self.convert(address, PAGE, 'shared')
        self.balloon = Balloon(self.ports)
        self.balloon.start()

    def convert(self, address, size, state):
        result = self.vm.qmp.command('gmem-convert', id='ram0', offset=address, size=size,
                                     state=state, wait=True)
        if 'error' in result:
            raise ValueError(result['error'])

    def inflate(self, what):
        private = block(self.vm.qmp, 'ram0')['private']
        before = self.group.guest_bytes()
        self.tap.ok(self.balloon.send(INFLATE), f'{what}: the balloon takes them')
        freed = before - self.group.guest_bytes()
        self.tap.ok(abs(freed - BYTES) <= NOISE, f'{what}: the host has them back',
                    f'{freed} of {BYTES}')
        self.tap.equal(block(self.vm.qmp, 'ram0')['private'], private, f'{what}: states stay')
        self.tap.ok(self.balloon.send(DEFLATE), f'{what}: the balloon gives them back')


def check_balloon(tap):
    group = Cgroup('balloon')
    with Vm(ARGS + BALLOON, cgroup=group) as vm:
        m = Machine(tap, vm, group)
        m.inflate('private pages')
        m.convert(TAKEN, BYTES, 'shared')
        tap.equal(m.ports.read(TAKEN, PAGE), bytes(PAGE), 'they come back empty')
        m.ports.fill(TAKEN, BYTES, 0xaa)
        m.inflate('shared pages')
        tap.equal(m.ports.read(TAKEN, PAGE), bytes(PAGE), 'they come back empty, too')
        m.ports.fill(TAKEN, BYTES, 0xbb)
        for address in range(TAKEN, TAKEN + BYTES, 2 * MIB):
            m.convert(address, PAGE, 'private')
        m.inflate('some of both')
        tap.ok(block(vm.qmp, 'ram0')['shared'], 'some pages are shared')
        m.balloon.offer(STATISTICS, ((LIST, 10, 0, 0),))    # which the device keeps
        vm.qmp.command('system_reset')
        tap.ok(vm.qmp.wait_event('RESET'), 'a reset')
        tap.equal(block(vm.qmp, 'ram0')['shared'], 0, 'all pages are private again')
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')
        tap.equal(vm.errors, '', 'and has said nothing')
    group.remove()


def check_virtio_mem(tap):
    device = ['-device', 'virtio-mem-pci,memdev=m,addr=6']
    backend = ['-object', 'memory-backend-memfd,id=m,size=128M']
    with Vm(ARGS + PLAIN + backend + device, start=False) as vm:
        tap.ok(vm.wait() and "'m' cannot belong to virtio-mem" in vm.errors,
               'virtio-mem refuses memory that converts', vm.errors)
    backend[1] += ',guest-memfd=off'
    with Vm(ARGS + PLAIN + backend + device) as vm:
        devices = vm.qmp.command('query-memory-devices')
        tap.ok([d['type'] for d in devices] == ['virtio-mem'], 'and takes other memory', devices)


def main():
    tap = Tap()
    check_balloon(tap)
    check_virtio_mem(tap)
    tap.done()


if __name__ == '__main__':
    main()
