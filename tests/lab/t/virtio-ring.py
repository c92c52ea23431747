#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=3G timeout=900
"""What a device of QEMU holds of the guest's memory, while pages go private.

A virtio disk is driven from outside, in a VM that runs (its vCPU halts at once):
1. pages beside its ring are converted: it works on, and nobody complains
2. a page of the ring goes private, each of the three parts in turn: the conversion succeeds,
   the device needs a reset and says so, QMP hears which queue, the VM runs, a kick does nothing
3. after a reset, with the page shared again, the device works
4. a ring is set up on private memory: the device needs a reset, and works after it elsewhere
5. the memory map changes, and then a page of the ring goes private: as in 2
6. a transfer is under way: the conversion of its buffer waits for its end; with less time
   than that takes it fails, names the holder, and the transfer ends well
7. the disk of such a transfer is unplugged: the conversion that waits for it goes on
8. requests name private memory, as a buffer and as an indirect table, over and over: the device
   needs a reset each time, and QEMU does not fill its log
"""
import struct
import time

from gmemlab import MIB, PAGE, Tap, block, ended
from lablib import PATIENCE, Vm
from labport import PORT_ARGS, ModernDevice, Ports, make_idle_firmware

SIZE = 64 * MIB
PARTS = {'descriptors': 16 * MIB, 'available ring': 16 * MIB + 2 * PAGE,
         'used ring': 16 * MIB + 4 * PAGE}
HEAD, DATA, ELSEWHERE = 17 * MIB, 18 * MIB, 20 * MIB
SLOW_NS = 5_000_000_000
VIRTIO = '/machine/peripheral/disk0/virtio-backend'
ARGS = ['-accel', 'kvm', '-machine', 'pc-q35-swp,memory-backend=ram0', '-m', '64M',
        *PORT_ARGS,
        '-object', f'memory-backend-gmem,id=ram0,size={SIZE},conversion-timeout=30000',
        '-bios', make_idle_firmware(), '-device',
        'virtio-blk-pci,id=disk0,drive=disk,addr=5,disable-legacy=on', '-blockdev']
FAST = 'null-co,node-name=disk,size=1048576,read-zeroes=on'
NEEDS_RESET = ModernDevice.NEEDS_RESET


class Disk(ModernDevice):
    def __init__(self, ports, parts=None):
        super().__init__(ports, 5, [tuple(parts or PARTS.values())])

    def begin_read(self):
        self.ports.write(HEAD, bytes(16) + b'\xff')
        self.ports.fill(DATA, 512, 0xff)
        self.offer(0, ((HEAD, 16, 1, 1), (DATA, 512, 3, 2), (HEAD + 16, 1, 2, 0)))

    def end_read(self):
        return (self.took(0) and self.ports.read(HEAD + 16, 1) == b'\0' and
                self.ports.read(DATA, 512) == bytes(512))

    def read(self):
        self.begin_read()
        return self.end_read()


def convert(vm, offset, state, size=PAGE, **more):
    return vm.qmp.command('gmem-convert', id='ram0', offset=offset, size=size, state=state,
                          wait=True, **more)


def running(vm):
    return vm.qmp.command('query-status')['running']


def broken(vm):
    return vm.qmp.command('x-query-virtio-status', path=VIRTIO)['broken']


def stopped(vm, disk):
    return disk.status() & NEEDS_RESET and broken(vm) and running(vm)


def check_beside(tap, vm, disk):
    tap.ok(disk.read(), 'the disk works')
    for page in PARTS.values():
        for offset in page - PAGE, page + PAGE:
            convert(vm, offset, 'private')
            convert(vm, offset, 'shared')
    tap.ok(not disk.status() & NEEDS_RESET and not broken(vm),
           'pages beside the ring were converted: the device runs')
    tap.ok(disk.read(), 'and works')
    tap.ok(not vm.qmp.wait_event('GMEM_QUEUE_STOPPED', timeout=3), 'without an event')


def check_event(tap, vm, name, page):
    event = vm.qmp.wait_event('GMEM_QUEUE_STOPPED')
    data = event and event['data']
    tap.ok(data and (data['qom-path'], data['queue'], data['id'], data['offset']) ==
           (VIRTIO, 0, 'ram0', page), f'{name}: GMEM_QUEUE_STOPPED', data)


def check_part(tap, vm, disk, name, page):
    denied = block(vm.qmp, 'ram0')['denied']
    result = convert(vm, page, 'private')
    tap.ok('error' not in result, f'{name}: the page goes private', result)
    tap.ok(stopped(vm, disk), f'{name}: the device needs a reset, the VM runs', disk.status())
    check_event(tap, vm, name, page)
    disk.kick(0)
    tap.ok(stopped(vm, disk), f'{name}: a kick changes nothing')
    tap.equal(block(vm.qmp, 'ram0')['denied'], denied, f'{name}: nobody touched the page')
    convert(vm, page, 'shared')
    disk.kick(0)
    tap.ok(stopped(vm, disk), f'{name}: shared again is not enough')
    disk.start()
    tap.ok(not disk.status() & NEEDS_RESET and not broken(vm),
           f'{name}: a reset makes the device whole')
    tap.ok(disk.read(), f'{name}: and it works')


def check_private_ring(tap, vm, ports):
    good = [ELSEWHERE + n * PAGE for n in range(3)]
    disk = Disk(ports, good[:2] + [DATA])
    convert(vm, DATA, 'private')
    disk.start()
    tap.ok(broken(vm) and running(vm), 'a ring on private memory: the device needs a reset')
    convert(vm, DATA, 'shared')
    disk = Disk(ports, good)
    disk.start()
    tap.ok(disk.read(), 'a ring elsewhere, after a reset: it works')


def check_memory_map(tap, vm, disk):
    """New pointers into the ring are made, which are its holder from then on."""
    disk.start()
    for value in 4, 6:              # the device's own registers go, and come back
        disk.ports.ask('outl', 0xcf8, 0x80000000 | 5 << 11 | 0x04)
        disk.ports.ask('outl', 0xcfc, value)
    tap.ok(disk.read(), 'the memory map has changed: the disk works')
    check_part(tap, vm, disk, 'then the used ring', PARTS['used ring'])


def check_transfer(tap):
    with Vm([*ARGS, f'{FAST},latency-ns={SLOW_NS}']) as vm:
        disk = Disk(Ports())
        disk.start()
        disk.begin_read()
        result = convert(vm, DATA, 'private', timeout=100)
        tap.ok('busy' in result.get('error', ''), 'a transfer is under way: its buffer stays',
               result)
        event = vm.qmp.wait_event('GMEM_CONVERSION_STALLED')
        tap.ok(event and event['data']['holder'] == 'dma-map', 'GMEM_CONVERSION_STALLED names it',
               event)
        tap.equal(block(vm.qmp, 'ram0')['private'], 0, 'nothing has changed')
        tap.ok(disk.end_read(), 'the transfer ends well')

        disk.begin_read()
        result = convert(vm, DATA, 'private')
        tap.ok('error' not in result, 'with more time it goes when the transfer has ended', result)
        tap.ok(disk.took(0) and disk.ports.read(HEAD + 16, 1) == b'\0', 'which ended well')
        tap.ok(not disk.status() & NEEDS_RESET and running(vm), 'the device runs, and the VM')
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')


class Scsi(ModernDevice):
    """A virtio-scsi with its control, event and request queue."""

    REQUESTS = 2

    def __init__(self, ports):
        super().__init__(ports, 6, [tuple((24 + queue) * MIB + 2 * part * PAGE for part in range(3))
                                    for queue in range(3)])

    def begin(self, command, data):
        """A SCSI command to the first disk, and 512 bytes for its answer."""
        header = struct.pack('8sQ3x', bytes([1, 0, 0x40]), 0) + command.ljust(32, b'\0')
        self.ports.write(HEAD, header + bytes(108))
        self.offer(self.REQUESTS, ((HEAD, len(header), 1, 1), (HEAD + len(header), 108, 3, 2),
                                   (data, 512, 2, 0)))

    def settle(self):
        """Past what a disk says first of all: that it is new."""
        for _ in range(2):
            self.begin(bytes([0x03, 0, 0, 0, 18, 0]), DATA + 4 * PAGE)      # request sense
            if not self.took(self.REQUESTS):
                return False
        return True


def check_unplug(tap):
    args = [*ARGS[:-3], '-device', 'virtio-scsi-pci,addr=6,disable-legacy=on', '-blockdev',
            f'{FAST},latency-ns={SLOW_NS}', '-device', 'scsi-hd,id=hd,drive=disk']
    with Vm(args) as vm:
        scsi = Scsi(Ports())
        scsi.start()
        tap.ok(scsi.settle(), 'a SCSI disk is there')
        scsi.begin(bytes([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]), DATA)          # read
        result = convert(vm, DATA, 'private', timeout=100)
        tap.ok('busy' in result.get('error', ''), 'its transfer is under way', result)
        number = vm.qmp.command('gmem-convert', id='ram0', offset=DATA, size=PAGE,
                                state='private')['conversion']
        vm.qmp.command('device_del', id='hd')
        tap.ok(vm.qmp.wait_event('DEVICE_DELETED'), 'it is unplugged')
        result = ended(vm.qmp, number)
        tap.ok(result and 'error' not in result and result['converted'] == PAGE,
               'the conversion goes on', result)
        tap.ok(running(vm) and not scsi.status() & NEEDS_RESET, 'the controller runs, and the VM')
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')


def gives_up(disk):
    deadline = time.monotonic() + PATIENCE
    while not disk.status() & NEEDS_RESET:
        if time.monotonic() > deadline:
            return False
    return True


def check_naming(tap):
    with Vm([*ARGS, FAST]) as vm:
        disk = Disk(Ports())
        needed = 0
        convert(vm, ELSEWHERE, 'private')
        began = time.monotonic()
        for number in range(200):
            disk.start()
            if number % 2:
                disk.offer(0, ((ELSEWHERE, 48, 4, 0),))     # a table
            else:
                disk.offer(0, ((ELSEWHERE, 16, 1, 1), (DATA, 512, 3, 2), (HEAD + 16, 1, 2, 0)))
            needed += gives_up(disk)
        tap.equal(needed, 200, 'naming private memory breaks the device, each time')
        lines = len(vm.errors.splitlines())
        seconds = time.monotonic() - began
        tap.ok(0 < lines <= seconds + 2, 'QEMU says so, once in a second at most',
               f'{lines} lines in {seconds} s')
        disk.start()
        tap.ok(disk.read(), 'the disk works')
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')


def main():
    tap = Tap()
    with Vm([*ARGS, FAST]) as vm:
        ports = Ports()
        disk = Disk(ports)
        disk.start()
        check_beside(tap, vm, disk)
        for name, page in PARTS.items():
            check_part(tap, vm, disk, name, page)
        check_private_ring(tap, vm, ports)
        check_memory_map(tap, vm, disk)
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')
    check_transfer(tap)
    check_unplug(tap)
    check_naming(tap)
    tap.done()


if __name__ == '__main__':
    main()
