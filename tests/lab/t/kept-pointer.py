#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on mem=3G timeout=900
"""Who kept a pointer into memory that is private now, and touches it, does not end QEMU.

In place such a touch is a SIGBUS. Each time QEMU lives on and says what happened, the private
page keeps its content, and when it is shared again QEMU sees that and nothing else. Where a
conversion waits for the pointer, or has it dropped, there is no touch.

1. no thread of QEMU blocks SIGBUS
2. the main thread: a disk's transfer under way, into mapped memory. A conversion of the page fails
   with less time than that takes, and waits for its end with more
3. an IOThread: likewise, and a write ends whole; a page of the ring of a virtio device stops it
4. a screen in guest memory, of more pages than QEMU puts aside at once
5. gdb's and the monitor's looks; a reset
6. pages that come and go in endless succession; QEMU's mappings do not pile up
7. the screen and the reset once more, with all of QEMU's memory locked
"""
import os
import re
import socket
import struct
import time

from gmemlab import MIB, PAGE, SOAK, Tap, block, ended
from lablib import PATIENCE, QmpError, Vm, in_place
from labport import PORT_ARGS, Disk, FwCfg, Ports, VirtioDisk

SIZE = 64 * MIB
BUFFER, RING, HEAD, SCRATCH, SCREEN = (n * MIB for n in (16, 20, 24, 28, 32))
WIDTH, HEIGHT = 640, 480
SCREEN_BYTES = -(-WIDTH * HEIGHT * 4 // PAGE) * PAGE
OUT = '/tmp/kept.out'
IMAGE = '/tmp/kept.img'
GDB = '/tmp/kept.gdb'
VDISK = '/machine/peripheral/vblk/virtio-backend'
SIGBUS_BIT = 1 << 6


def drive(name):
    return ['-blockdev', f'null-co,node-name={name},size=1048576,read-zeroes=on']


ARGS = ['-accel', 'kvm', '-machine', 'pc-q35-swp,memory-backend=ram0', '-S', '-m', '64M',
        '-object', f'memory-backend-gmem,id=ram0,size={SIZE},conversion-timeout=30000',
        *PORT_ARGS, '-action', 'reboot=reset', '-gdb', f'unix:{GDB},server=on,wait=off', '-device', 'ramfb',
        *drive('disk'), '-device', 'piix3-ide,id=pata,addr=4',
        '-device', 'ide-hd,id=ata,drive=disk,bus=pata.0',
        '-object', 'iothread,id=io0', '-blockdev', f'file,node-name=vdisk,filename={IMAGE}',
        '-device', 'virtio-blk-pci,id=vblk,drive=vdisk,iothread=io0,addr=5,queue-size=16,'
        'disable-legacy=off,disable-modern=on,iommu_platform=off']


class Machine:
    """The VM and what is done with it, over and over."""

    def __init__(self, tap, vm):
        self.tap, self.vm = tap, vm
        self.ports = Ports()
        self.disk = Disk(self.ports)
        self.virtio = VirtioDisk(self.ports, RING)
        self.mappings = self.count_mappings()

    def convert(self, address, size, state, **more):
        return self.vm.qmp.command('gmem-convert', id='ram0', offset=address, size=size,
                                   state=state, **{'wait': True, **more})

    def busy(self, what, address, size):
        """With little time the conversion fails, says why, and nobody touches the page."""
        before = self.denied()
        result = self.convert(address, size, 'private', timeout=100)
        self.tap.ok('busy' in result.get('error', '') and not result['converted'],
                    f'{what}: the page stays shared while it is used', result)
        event = self.vm.qmp.wait_event('GMEM_CONVERSION_STALLED')
        self.tap.ok(event and event['data']['holder'] == 'dma-map', f'{what}: by whom', event)
        self.tap.equal(self.denied(), before, f'{what}: nothing is denied')

    def begin_convert(self, address, size):
        """Does not wait; end_convert() does."""
        self.number = self.convert(address, size, 'private', wait=False)['conversion']

    def end_convert(self, what):
        result = ended(self.vm.qmp, self.number)
        self.tap.ok(result and 'error' not in result and result['converted'] == result['size'],
                    f'{what}: with more time the conversion comes after it', result)

    def waits(self, what):
        """A conversion is under way still."""
        self.tap.equal(len(self.vm.qmp.command('query-gmem')['conversions']), 1,
                       f'{what}: a conversion waits')

    def limit(self, device, bytes_per_second):
        """With 1, the second request waits for minutes, its memory mapped; 0 lets it go on."""
        if text := self.vm.qmp.hmp(f'block_set_io_throttle {device} {bytes_per_second} 0 0 0 0 0'):
            raise ValueError(text)

    def denied(self):
        return block(self.vm.qmp, 'ram0')['denied']

    def kept(self, what, before, least=1):
        """QEMU has noticed, and counts."""
        while event := self.vm.qmp.wait_event('GMEM_ACCESS_DENIED'):
            if event['data']['who'] == 'kept-pointer':
                break
        self.tap.ok(event and event['data']['id'] == 'ram0', f'{what}: GMEM_ACCESS_DENIED',
                    self.vm.report)
        self.tap.ok(self.denied() >= before + least, f'{what}: it is counted',
                    f'{self.denied()} after {before}')

    def alive(self, what):
        return self.tap.ok(self.vm.alive() and
                           not self.vm.qmp.command('query-status')['running'],
                           f'{what}: QEMU lives', self.vm.report)

    def count_mappings(self):
        with open(f'/proc/{self.vm.process.pid}/maps', encoding='utf-8') as f:
            return len(f.readlines())

    def saved(self, address, size):
        self.vm.qmp.command('pmemsave', filename=OUT, val=address, size=size)
        with open(OUT, 'rb') as f:
            data = f.read()
        os.unlink(OUT)
        return data

    def content(self, what, address, size, wanted):
        found = self.saved(address, size)
        self.tap.ok(found == wanted, f'{what}: shared again, the page is what it was',
                    lambda: f'{found[:32].hex()}..., wanted {wanted[:32].hex()}...')


def check_threads(m):
    """Among them the IOThread, the vCPU, RCU and the main thread."""
    tasks = f'/proc/{m.vm.process.pid}/task'
    blocking = []
    for task in os.listdir(tasks):
        with open(f'{tasks}/{task}/status', encoding='utf-8') as f:
            text = f.read()
        if int(re.search(r'^SigBlk:\s*(\w+)', text, re.MULTILINE)[1], 16) & SIGBUS_BIT:
            blocking.append(text.splitlines()[0])
    m.tap.ok(len(os.listdir(tasks)) >= 4 and not blocking, 'no thread blocks SIGBUS',
             str(blocking))


def check_disk(m):
    m.ports.fill(BUFFER, PAGE, 0xaa)
    m.limit('ata', 1)
    m.tap.equal(m.disk.read_sector(BUFFER + PAGE), 0x50, 'disk: a transfer works')
    m.disk.start(BUFFER)
    m.busy('disk', BUFFER, PAGE)
    m.begin_convert(BUFFER, PAGE)
    m.waits('disk')
    m.limit('ata', 0)
    m.tap.equal(m.disk.finish(), 0x50, 'disk: the transfer ends')
    m.end_convert('disk')
    m.alive('disk')
    m.convert(BUFFER, PAGE, 'shared')
    m.content('disk, all of the transfer', BUFFER, 1024, bytes(512) + b'\xaa' * 512)
    m.tap.equal(m.disk.read_sector(BUFFER + 512), 0x50, 'disk: the next transfer works')
    m.content('disk, transfer', BUFFER, 1536, bytes(1024) + b'\xaa' * 512)


def in_flight(m):
    """Requests of the virtio disk that it has taken, and mapped the memory of."""
    return m.vm.qmp.command('x-query-virtio-queue-status', queue=0,
                            path=VDISK)['inuse']


def fresh_virtio(m):
    """The device reset, its ring empty."""
    m.ports.fill(RING, 2 * PAGE, 0)
    m.virtio = VirtioDisk(m.ports, RING)


def virtio_start(m, data, **more):
    """A request that waits in the IOThread, its memory mapped, behind one that was let through."""
    m.limit(VDISK, 1)
    m.virtio.put(HEAD, BUFFER + 2 * PAGE)
    m.virtio.kick()
    m.tap.equal(m.virtio.finish(HEAD), 0, 'IOThread: a transfer works')
    deadline = time.monotonic() + PATIENCE
    while in_flight(m) and time.monotonic() < deadline:
        pass
    m.virtio.put(HEAD, data, **more)
    m.virtio.kick()
    while not in_flight(m) and time.monotonic() < deadline:
        pass


def transfer(m, what, page, **more):
    """A page of the request's two is wanted while it waits."""
    virtio_start(m, BUFFER, **more)
    m.busy(what, BUFFER + page * PAGE, PAGE)
    m.begin_convert(BUFFER + page * PAGE, PAGE)
    m.waits(what)
    m.limit(VDISK, 0)
    m.tap.equal(m.virtio.finish(HEAD), 0, f'{what}: the transfer ends well')
    m.end_convert(what)
    m.alive(what)
    m.convert(BUFFER + page * PAGE, PAGE, 'shared')


def check_virtio_buffer(m):
    m.ports.fill(BUFFER, PAGE, 0xbb)
    transfer(m, 'IOThread, read', 0)
    m.content('IOThread, all of the read', BUFFER, PAGE, bytes(512) + b'\xbb' * 3584)
    m.ports.fill(BUFFER, 2 * PAGE, 0xdd)
    transfer(m, 'IOThread, write', 1, size=2 * PAGE, write=True)
    with open(IMAGE, 'rb') as f:
        m.tap.equal(f.read(2 * PAGE + 1), b'\xdd' * (2 * PAGE) + b'\0',
                    'IOThread: the write is whole')


def virtio_broken(m):
    return m.vm.qmp.command('x-query-virtio-status', path=VDISK)['broken']


def ring_event(m, what):
    event = m.vm.qmp.wait_event('GMEM_QUEUE_STOPPED')
    data = event and event['data']
    m.tap.ok(data and (data['qom-path'], data['queue'], data['id']) == (VDISK, 0, 'ram0'),
             f'{what}: GMEM_QUEUE_STOPPED', data)


def check_virtio_ring(m):
    """A request that the device is not told of until its ring is gone."""
    before = m.denied()
    m.virtio.put(HEAD, BUFFER)
    ring = m.saved(RING, 2 * PAGE)
    result = m.convert(RING, 2 * PAGE, 'private')
    m.tap.ok('error' not in result, 'ring: it goes private', result)
    ring_event(m, 'ring')
    m.virtio.kick()
    m.tap.ok(virtio_broken(m), 'ring: the device was stopped, and takes no kick')
    m.tap.equal(m.denied(), before, 'ring: nobody touches it')
    m.alive('ring')
    m.convert(RING, 2 * PAGE, 'shared')
    m.content('ring', RING, 2 * PAGE, ring)
    m.tap.ok(virtio_broken(m), 'ring: shared again, the device waits for its reset')
    fresh_virtio(m)
    m.virtio.put(HEAD, BUFFER)
    m.virtio.kick()
    m.tap.equal(m.virtio.finish(HEAD), 0, 'ring: the device works when it was reset')


def screen(m):
    """The colours that are on the screen, each once."""
    m.vm.qmp.command('screendump', filename=OUT)
    with open(OUT, 'rb') as f:
        data = f.read()
    os.unlink(OUT)
    header = f'P6\n{WIDTH} {HEIGHT}\n255\n'.encode()
    return set(data[len(header):]) if data.startswith(header) else data[:32]


def check_screen(m):
    fwcfg = FwCfg(m.ports, SCRATCH)
    key = fwcfg.find('etc/ramfb')
    m.ports.fill(SCREEN, SCREEN_BYTES, 0x5a)
    fwcfg.write(key, struct.pack('>QIIIII', SCREEN, 0x34325258, 0, WIDTH, HEIGHT, WIDTH * 4))
    m.tap.equal(screen(m), {0x5a}, 'screen: it shows what is in memory')
    for number in range(2):
        before = m.denied()
        m.convert(SCREEN, SCREEN_BYTES, 'private')
        m.tap.equal(screen(m), {0}, f'screen: it is black {number}')
        m.alive('screen')
        m.kept('screen', before, SCREEN_BYTES // PAGE)
        more = m.count_mappings() - m.mappings
        m.tap.ok(more < 1000, 'screen: so many pages take few mappings', f'{more} more')
        m.convert(SCREEN, SCREEN_BYTES, 'shared')
        m.tap.equal(screen(m), {0x5a}, f'screen: shared again, it shows what is in memory {number}')
    # half of it: what is shared shows
    m.convert(SCREEN, SCREEN_BYTES // 2, 'private')
    m.tap.equal(screen(m), {0, 0x5a}, 'screen: half of it is black')
    m.convert(SCREEN, SCREEN_BYTES, 'shared')


class Gdb:
    """As much of gdb's protocol as it takes to look at memory."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(GDB)

    def ask(self, text):
        self.socket.sendall(f'+${text}#{sum(text.encode()) & 0xff:02x}'.encode())
        data = b''
        while not (match := re.search(rb'\$([^#]*)#..', data)):
            part = self.socket.recv(4096)
            if not part:
                raise ConnectionError('the gdbstub is gone')
            data += part
        return match[1].decode()


def check_looks(m):
    m.ports.fill(BUFFER, PAGE, 0xcc)
    m.convert(BUFFER, PAGE, 'private')
    gdb = Gdb()
    m.tap.ok(gdb.ask('?')[0] in 'ST', 'gdb is there')
    m.tap.ok(gdb.ask(f'm{BUFFER:x},8') in ('E14', '0' * 16), 'gdb sees nothing of a private page')
    m.tap.ok(gdb.ask(f'M{BUFFER:x},4:12345678') in ('OK', 'E14'), 'gdb writes into one')
    m.alive('gdb')
    gdb.socket.close()
    m.vm.qmp.hmp(f'xp /8xg {BUFFER:#x}')
    m.vm.qmp.hmp(f'x /8xg {BUFFER:#x}')
    for command in 'pmemsave', 'memsave':
        try:
            m.vm.qmp.command(command, filename=OUT, val=BUFFER, size=PAGE)
        except QmpError:
            pass
    m.vm.qmp.command('dump-guest-memory', paging=False, protocol='file:' + OUT)
    m.alive('monitor')
    m.convert(BUFFER, PAGE, 'shared')
    m.content('looks', BUFFER, PAGE, b'\xcc' * PAGE)


def check_storm(m):
    """Pages come and go under a screen that is looked at, and a device that is reset."""
    wrong, stops, before = 0, 0, m.denied()
    for number in range(500 if SOAK else 12):
        pattern = bytes([number % 255 + 1]) * 64
        m.ports.write(SCREEN, pattern)
        m.convert(SCREEN, 2 * PAGE, 'private')
        screen(m)
        m.convert(SCREEN, 2 * PAGE, 'shared')
        wrong += m.saved(SCREEN, 64) != pattern
        fresh_virtio(m)
        m.convert(RING, 2 * PAGE, 'private')
        m.virtio.kick()
        stops += virtio_broken(m)
        m.convert(RING, 2 * PAGE, 'shared')
    m.tap.equal(wrong, 0, 'storm: shared again, memory is what it was')
    m.tap.equal(stops, number + 1, 'storm: the device was stopped each time')
    m.kept('storm', before)
    ring_event(m, 'storm')
    m.alive('storm')
    fresh_virtio(m)
    m.virtio.put(HEAD, BUFFER)
    m.virtio.kick()
    m.tap.equal(m.virtio.finish(HEAD), 0, 'storm: the device works')


def check_reset(m):
    m.convert(RING, 2 * PAGE, 'private')
    m.convert(SCREEN, SCREEN_BYTES, 'private')
    screen(m)
    m.virtio.kick()
    m.vm.qmp.command('system_reset')
    m.tap.ok(m.vm.qmp.wait_event('RESET'), 'reset: it happens')
    m.tap.equal(block(m.vm.qmp, 'ram0')['private'], 0, 'reset: all memory is shared')
    m.alive('reset')
    more = m.count_mappings() - m.mappings
    m.tap.ok(more < 64, 'in the end there are no more mappings than before', f'{more} more')


def check_all(tap, more, checks):
    with open(IMAGE, 'wb') as f:
        f.truncate(MIB)
    with Vm(ARGS + more) as vm:
        tap.equal(block(vm.qmp, 'ram0')['mode'], 'in-place', 'the memory is in place')
        m = Machine(tap, vm)
        for check in checks:
            check(m)
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')
        tap.ok(len(vm.errors) < 8192, 'QEMU does not flood its log', vm.errors[:1000])


def main():
    tap = Tap()
    if not in_place():
        tap.skip_all('this kernel does not convert in place')
    check_all(tap, [], (check_threads, check_disk, check_virtio_buffer, check_virtio_ring,
                        check_screen, check_looks, check_storm, check_reset))
    tap.note('with mem-lock=on')
    check_all(tap, ['-overcommit', 'mem-lock=on'], (check_screen, check_reset))
    tap.done()


if __name__ == '__main__':
    main()
