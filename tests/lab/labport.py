# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine as its guest's drivers see it, driven from outside through qtest, without a guest.

    with Vm([*PORT_ARGS, '-S', '-device', 'piix3-ide,addr=4', ...]) as vm:
        ports = Ports()
        ports.write(0x100000, b'data')
"""
import socket
import struct
import time

from lablib import PATIENCE

QTEST = '/tmp/lab.qtest'
PORT_ARGS = ['-qtest', f'unix:{QTEST},server=on,wait=off', '-qtest-log', '/dev/null']


def make_idle_firmware(path='/tmp/idle.bin'):
    """For a machine that shall run and do nothing: where the CPU begins, hlt, and back to it."""
    with open(path, 'wb') as f:
        f.write(bytes(0xfff0) + b'\xf4\xeb\xfd'.ljust(16, b'\0'))
    return path


class Ports:
    """The machine's I/O ports and memory as a device sees it, through qtest."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(QTEST)
        self.file = self.socket.makefile('rw')

    def _answer(self):
        while (answer := self.file.readline().split()) and answer[0] == 'IRQ':
            pass
        if not answer or answer[0] != 'OK':
            raise ConnectionError(f'qtest: {answer}')
        return int(answer[1], 16) if len(answer) > 1 else None

    def together(self, *requests):
        """Several requests with nothing of QEMU's own between them; the list of answers."""
        lines = (' '.join(w if isinstance(w, str) else f'{w:#x}' for w in words)
                 for words in requests)
        self.file.write(''.join(line + '\n' for line in lines))
        self.file.flush()
        return [self._answer() for _ in requests]

    def ask(self, *words):
        return self.together(words)[0]

    def write(self, address, data):
        self.ask('write', address, len(data), '0x' + data.hex())

    def fill(self, address, size, byte):
        self.ask('memset', address, size, byte)

    def read(self, address, size):
        return self.ask('read', address, size).to_bytes(size, 'big')

    def enable_pci(self, slot, register, base):
        """Give a device of bus 0 its I/O ports, and let it be bus master."""
        for offset, value in ((register, base), (0x04, 5)):
            self.ask('outl', 0xcf8, 0x80000000 | slot << 11 | offset)
            self.ask('outl', 0xcfc, value)


class Disk:
    """The first disk of piix3-ide in slot 4: reads one sector by bus-master DMA."""

    SLOT, BUSMASTER, PRD = 4, 0xc000, 1 << 20

    def __init__(self, ports):
        self.ports = ports
        ports.enable_pci(self.SLOT, 0x20, self.BUSMASTER)

    STOP = 'outb', BUSMASTER, 0

    def start(self, address, *then):
        """Begin to read a sector; the memory has been mapped when this returns. What is to come
        then comes before QEMU does anything else.
        """
        ask = self.ports.ask
        self.ports.write(self.PRD, struct.pack('<IHH', address, 512, 0x8000))
        ask(*self.STOP)
        ask('outb', self.BUSMASTER + 2, 6)
        ask('outl', self.BUSMASTER + 4, self.PRD)
        for port, value in ((0x1f6, 0xe0), (0x1f2, 1), (0x1f3, 0), (0x1f4, 0), (0x1f5, 0),
                            (0x1f7, 0xc8)):
            ask('outb', port, value)
        self.ports.together(('outb', self.BUSMASTER, 9), *then)

    def finish(self):
        """The status register after the transfer; None when it never ends."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status = self.ports.ask('inb', 0x1f7)
            if not status & 0x88:
                return status
        return None

    def read_sector(self, address):
        self.start(address)
        return self.finish()


class VirtioDisk:
    """A virtio-blk-pci with its ports of old: disable-legacy=off, queue-size=16, in slot 5.

    One request at a time. ring is the address of its ring, of two pages.
    """

    SLOT, BASE, SIZE = 5, 0xc100, 16
    DRIVER_OK = 7

    def __init__(self, ports, ring):
        self.ports, self.ring, self.used = ports, ring, 0
        ports.enable_pci(self.SLOT, 0x10, self.BASE)
        for register, width, value in ((0x12, 'b', 0), (0x12, 'b', 3), (0x04, 'l', 0),
                                       (0x0e, 'w', 0), (0x08, 'l', ring >> 12),
                                       (0x12, 'b', self.DRIVER_OK)):
            ports.ask('out' + width, self.BASE + register, value)

    def status(self):
        """The device's own status: DRIVER_OK, or more bits when it gave up."""
        return self.ports.ask('inb', self.BASE + 0x12)

    def put(self, head, data, size=512, write=False):
        """Offer the read of the first bytes to data, or the write of them from there; head is where
        header and status byte go.
        """
        self.ports.write(head, struct.pack('<IIQ', write, 0, 0) + b'\xff')
        self.ports.write(self.ring, b''.join(
            struct.pack('<QIHH', *row) for row in
            ((head, 16, 1, 1), (data, size, 1 if write else 3, 2), (head + 16, 1, 2, 0))))
        available = self.ring + 16 * self.SIZE
        self.ports.write(available + 4 + 2 * (self.used % self.SIZE), bytes(2))
        self.ports.write(available + 2, struct.pack('<H', self.used + 1))

    def kick(self):
        self.ports.ask('outw', self.BASE + 0x10, 0)

    def finish(self, head):
        """The request's status byte; None when it does not come."""
        self.used += 1
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            index, = struct.unpack('<H', self.ports.read(self.ring + 4096 + 2, 2))
            if index == self.used:
                return self.ports.read(head + 16, 1)[0]
        return None


class ModernDevice:
    """A virtio device of today's kind, in a slot of bus 0: disable-legacy=on. Queues of SIZE.

    rings: for each queue the addresses of its three parts. Nothing is set up before start().
    """

    BAR, SIZE = 0xe0000000, 16
    # VERSION_1 and IOMMU_PLATFORM, which a machine with private memory insists on
    MODERN = 3
    STATUS, SELECT, ENABLE = 0x14, 0x16, 0x1c
    AVAILABLE, QUEUE_RESET = 0x28, 0x3a
    NEEDS_RESET, FEATURES_OK, DRIVER_OK = 0x40, 11, 15
    FEATURES = 0            # the device's own

    def __init__(self, ports, slot, rings):
        self.ports, self.rings = ports, rings
        for offset, value in ((0x20, self.BAR), (0x24, 0), (0x04, 6)):
            ports.ask('outl', 0xcf8, 0x80000000 | slot << 11 | offset)
            ports.ask('outl', 0xcfc, value)

    def put(self, register, width, value):
        self.ports.ask('write' + width, self.BAR + register, value)

    def status(self):
        return self.ports.ask('readb', self.BAR + self.STATUS)

    def reset(self):
        self.put(self.STATUS, 'b', 0)

    def start(self):
        """Reset, no features but FEATURES and those that make it modern, all queues, DRIVER_OK."""
        self.reset()
        self.used = [0] * len(self.rings)
        self.put(0x00, 'l', 1)
        offered = self.ports.ask('readl', self.BAR + 0x04)
        for select, bits in ((0, self.FEATURES), (1, offered & self.MODERN)):
            self.put(0x08, 'l', select)
            self.put(0x0c, 'l', bits)
        self.put(self.STATUS, 'b', self.FEATURES_OK)
        for queue, parts in enumerate(self.rings):
            for part, size in zip(parts, (16 * self.SIZE, 6 + 2 * self.SIZE, 6 + 8 * self.SIZE)):
                self.ports.write(part, bytes(size))
            self.put(self.SELECT, 'w', queue)
            self.put(0x18, 'w', self.SIZE)
            for register, part in zip((0x20, 0x28, 0x30), parts):
                self.put(register, 'l', part)
                self.put(register + 4, 'l', 0)
            self.put(self.ENABLE, 'w', 1)
        self.put(self.STATUS, 'b', self.DRIVER_OK)

    def offer(self, queue, rows):
        """Descriptors (address, length, flags, next) from 0 on, as one buffer; and kick."""
        descriptors, available, _ = self.rings[queue]
        self.ports.write(descriptors, b''.join(struct.pack('<QIHH', *row) for row in rows))
        self.ports.write(available + 4 + 2 * (self.used[queue] % self.SIZE), bytes(2))
        self.ports.write(available + 2, struct.pack('<H', self.used[queue] + 1))
        self.kick(queue)

    def kick(self, queue):
        self.put(0x3000 + 4 * queue, 'w', queue)

    def took(self, queue):
        """The device is done with the buffer; False when it never is."""
        self.used[queue] += 1
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            index, = struct.unpack('<H', self.ports.read(self.rings[queue][2] + 2, 2))
            if index == self.used[queue]:
                return True
        return False


class FwCfg:
    """fw_cfg's files, by its DMA. scratch: some free memory for that."""

    DIRECTORY, READ, SELECT, WRITE = 0x19, 2, 8, 16

    def __init__(self, ports, scratch):
        self.ports, self.scratch = ports, scratch

    def _transfer(self, key, command, size):
        control = key << 16 | self.SELECT | command
        self.ports.write(self.scratch, struct.pack('>IIQ', control, size, self.scratch + 16))
        self.ports.ask('outl', 0x514, 0)
        self.ports.ask('outl', 0x518, int.from_bytes(self.scratch.to_bytes(4, 'big'), 'little'))
        if error := self.ports.read(self.scratch, 4) != bytes(4):
            raise OSError(f'fw_cfg: {error}')

    def find(self, name):
        """The key of a file; None without one."""
        self._transfer(self.DIRECTORY, self.READ, 4)
        count = int.from_bytes(self.ports.read(self.scratch + 16, 4), 'big')
        self._transfer(self.DIRECTORY, self.READ, 4 + 64 * count)
        table = self.ports.read(self.scratch + 20, 64 * count)
        for row in struct.iter_unpack('>IHH56s', table):
            if row[3].rstrip(b'\0') == name.encode():
                return row[1]
        return None

    def write(self, key, data):
        self.ports.write(self.scratch + 16, data)
        self._transfer(key, self.WRITE, len(data))
