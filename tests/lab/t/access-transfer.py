#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared mem=3G timeout=900
"""A disk's transfer into private memory ends, whoever ends it.

1. piix3-ide: the guest stops the bus master before QEMU has looked at the transfer again
2. ahci: the same with a reset of the port
3. with rerror=stop neither that nor a refused transfer stops the VM
4. behind an IOMMU that lets the disk only write: the transfer is refused once, not for ever
"""
import struct
import time

from gmemlab import MIB, PAGE, Tap
from lablib import PATIENCE, Vm
from labport import PORT_ARGS, Disk, Ports

SIZE = 64 * MIB
PRIVATE, SHARED = 16 * MIB, 18 * MIB
DONE = 0x50
ARGS = ['-accel', 'kvm', '-machine', 'pc-q35-swp,memory-backend=ram0', '-m', '64M',
        '-object', f'memory-backend-gmem,id=ram0,size={SIZE},conversion-timeout=30000',
        '-S', *PORT_ARGS, '-device', 'piix3-ide,id=pata,addr=4']
DRIVES = [word for name, bus in (('a', 'pata.0'), ('b', 'ide.0')) for word in
          ('-blockdev', f'null-co,node-name={name},size=1048576,read-zeroes=on',
           '-device', f'ide-hd,drive={name},bus={bus},rerror=stop')]


class SataPort:
    """The first port of q35's AHCI, with a disk; reads one sector."""

    SLOT, ABAR = 0x1f, 0xe0000000
    PORT, LIST, FIS, TABLE = ABAR + 0x100, 2 * MIB, 2 * MIB + PAGE, 2 * MIB + 2 * PAGE
    RESET = ('writel', PORT + 0x2c, 1), ('writel', PORT + 0x2c, 0)

    def __init__(self, ports):
        self.ports = ports
        for register, value in ((0x24, self.ABAR), (0x04, 6)):
            ports.ask('outl', 0xcf8, 0x80000000 | self.SLOT << 11 | 2 << 8 | register)
            ports.ask('outl', 0xcfc, value)
        for register, value in ((4, 1 << 31), (0x100, self.LIST), (0x108, self.FIS),
                                (0x118, 0x11)):
            ports.ask('writel', self.ABAR + register, value)

    def start(self, address, *then):
        header = struct.pack('<IIQ', 1 << 16 | 5, 0, self.TABLE)
        command = struct.pack('<3B4xB4xB', 0x27, 0x80, 0x25, 0x40, 1).ljust(0x80, b'\0')
        self.ports.write(self.LIST, header)
        self.ports.write(self.TABLE, command + struct.pack('<QII', address, 0, 511))
        self.ports.together(('writel', self.PORT + 0x38, 1), *then)

    def read_sector(self, address):
        """The status of the disk after the transfer; None when it never ends."""
        self.start(address)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            issued, status = (self.ports.ask('readl', self.PORT + register)
                              for register in (0x38, 0x20))
            # a command that failed stays issued
            if not issued or status & 1:
                return status & 0xff
        return None


class Iommu:
    """intel-iommu: below 2 MiB addresses are what they are, above are pages that it may write."""

    BASE, ROOT = 0xfed90000, 4 * MIB
    WINDOW = 2 * MIB

    def __init__(self, ports, pages):
        context, top, middle, leaf = (self.ROOT + n * PAGE for n in range(1, 5))
        ports.fill(self.ROOT, 5 * PAGE, 0)
        for address, value in ((self.ROOT, context | 1),
                               (context + 16 * (Disk.SLOT << 3), top | 1),
                               (context + 16 * (Disk.SLOT << 3) + 8, 1 << 8 | 1),
                               (top, middle | 3), (middle, 1 << 7 | 3), (middle + 8, leaf | 3),
                               *((leaf + 8 * n, page | 2) for n, page in enumerate(pages))):
            ports.write(address, struct.pack('<Q', value))
        for register, value in ((0x20, self.ROOT), (0x24, 0), (0x18, 1 << 30), (0x18, 1 << 31)):
            ports.ask('writel', self.BASE + register, value)


def start(*more):
    vm = Vm([*ARGS, *more])
    vm.qmp.command('gmem-convert', id='ram0', offset=PRIVATE, size=PAGE, state='private',
                   wait=True)
    return vm


def check_works(tap, name, disk, ports):
    ports.fill(SHARED, 512, 0xff)
    tap.equal(disk.read_sector(SHARED), DONE, f'{name}: a transfer into a shared page works')
    tap.equal(ports.read(SHARED, 512), bytes(512), f'{name}: the sector is there')


def check_ended(tap):
    with start(*DRIVES) as vm:
        ports = Ports()
        for name, disk, end in (('ide', Disk(ports), (Disk.STOP,)),
                                ('ahci', SataPort(ports), SataPort.RESET)):
            for _ in range(3):
                disk.start(PRIVATE, *end)
            check_works(tap, name, disk, ports)
            status = disk.read_sector(PRIVATE)
            tap.ok(status is not None and status & 1,
                   f'{name}: a transfer into a private page ends with an error', status)
        tap.equal(vm.qmp.command('query-status')['status'], 'prelaunch',
                  'none of it changes the state of the VM')
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')


def check_iommu(tap):
    with start('-device', 'intel-iommu,intremap=off', *DRIVES[:4]) as vm:
        ports = Ports()
        disk = Disk(ports)
        Iommu(ports, [PRIVATE, SHARED])
        ports.fill(SHARED, 512, 0xff)
        tap.equal(disk.read_sector(Iommu.WINDOW + PAGE), DONE, 'iommu: a shared page works')
        tap.equal(ports.read(SHARED, 512), bytes(512), 'iommu: the sector is there')
        status = disk.read_sector(Iommu.WINDOW)
        tap.ok(status is not None and status & 1,
               'iommu: a transfer into a private page ends with an error', status)
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')


def main():
    tap = Tap()
    check_ended(tap)
    check_iommu(tap)
    tap.done()


if __name__ == '__main__':
    main()
