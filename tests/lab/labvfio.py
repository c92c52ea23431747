# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own PCI devices, given to a VM in it by VFIO; what that pins, and what DMA reaches.

A test that assigns devices has them and an IOMMU in the outer machine:

    # lab: qemu-arg=-device qemu-arg=intel-iommu qemu-arg=-device qemu-arg=edu,addr=0x10
"""
import contextlib
import os
import re
import struct
import tempfile
import time

from lablib import PATIENCE

KINDS = ('type1', 'iommufd')
EDU, IGB = '0000:00:10.0', '0000:00:08.0'
BAR = 0xe0000000


def driver(address):
    """The name of the driver that has a device of the lab; None if it has none."""
    path = f'/sys/bus/pci/devices/{address}/driver'
    return os.path.basename(os.path.realpath(path)) if os.path.exists(path) else None


def unbind(address):
    """Take a device of the lab from the driver that has it."""
    if driver(address):
        with open(f'/sys/bus/pci/devices/{address}/driver/unbind', 'w', encoding='ascii') as f:
            f.write(address)


def assign(address):
    """Bind a device of the lab to vfio-pci."""
    if driver(address) != 'vfio-pci':
        unbind(address)
        for path, value in ((f'/sys/bus/pci/devices/{address}/driver_override', 'vfio-pci'),
                            ('/sys/bus/pci/drivers_probe', address)):
            with open(path, 'w', encoding='ascii') as f:
                f.write(value)
    return driver(address) == 'vfio-pci'


def arguments(kind, address, more=''):
    """QEMU's arguments for the device; more begins with a comma."""
    device = f'vfio-pci,id=assigned,host={address}{more}'
    if kind == 'type1':
        return ['-device', device]
    return ['-object', 'iommufd,id=iommufd0', '-device', device + ',iommufd=iommufd0']


class Slot:
    """A place where a device can be plugged into a running VM, which is started with .arguments.

    While the firmware sets up the PC's low memory, VFIO maps all of RAM anew more than twenty times,
    with type1 page by page: so devices come after that, in tests that are about something else.
    """

    def __init__(self, kind, address):
        self.device = {'driver': 'vfio-pci', 'id': 'assigned', 'bus': 'rp0', 'host': address}
        # ACPI would leave it to the guest to let a device go
        self.arguments = ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off',
                          '-device', 'pcie-root-port,id=rp0,chassis=1,slot=1']
        if kind == 'iommufd':
            self.device['iommufd'] = 'iommufd0'
            self.arguments += ['-object', 'iommufd,id=iommufd0']

    def plug(self, vm):
        vm.qmp.command('device_add', **self.device)

    def unplug(self, vm):
        """True when it is gone. A guest that has not switched the slot on is not asked."""
        vm.qmp.command('device_del', id='assigned')
        while event := vm.qmp.wait_event('DEVICE_DELETED'):
            if event['data'].get('device') == 'assigned':
                return True
        return False


def pinned(vm, kind):
    """Bytes that the process has pinned, by the account that this kind of container keeps."""
    field = 'VmLck' if kind == 'type1' else 'VmPin'
    with open(f'/proc/{vm.process.pid}/status', encoding='ascii') as f:
        return int(re.search(rf'^{field}:\s+(\d+) kB', f.read(), re.MULTILINE)[1]) << 10


@contextlib.contextmanager
def limited(qemu, memlock):
    """A program that runs qemu with so many bytes of locked memory, and bound by that."""
    with tempfile.TemporaryDirectory() as folder:
        path = folder + '/qemu-system-x86_64'
        with open(path, 'w', encoding='utf-8') as f:
            f.write('#!/bin/sh\nexec prlimit --memlock='
                    f'{memlock} setpriv --bounding-set=-ipc_lock {qemu} "$@"\n')
        os.chmod(path, 0o755)
        yield path


class Calls:
    """Counts the IOMMU calls of VMs that are started within preloaded(): tests/lab/iommu-calls.c."""

    NAMES = ('map', 'unmap', 'other')
    WORDS = struct.Struct('=3Q')

    def __init__(self, library):
        self.library = library
        self.file = tempfile.NamedTemporaryFile()
        self.file.truncate(self.WORDS.size)

    @contextlib.contextmanager
    def preloaded(self):
        os.environ.update(LD_PRELOAD=self.library, IOMMU_CALLS=self.file.name)
        try:
            yield self
        finally:
            del os.environ['LD_PRELOAD'], os.environ['IOMMU_CALLS']

    def read(self):
        return dict(zip(self.NAMES, self.WORDS.unpack(os.pread(self.file.fileno(), 24, 0))))


class Edu:
    """QEMU's teaching device in slot 16, driven through qtest: copies a page by DMA."""

    SLOT, BUFFER = 16, 0x40000
    READ, WRITE = 1, 3

    def __init__(self, ports):
        self.ports = ports
        for register, value in ((0x10, BAR), (0x04, 6)):
            ports.ask('outl', 0xcf8, 0x80000000 | self.SLOT << 11 | register)
            ports.ask('outl', 0xcfc, value)

    def there(self):
        return self.ports.ask('readl', BAR) & 0xff == 0xed

    def _transfer(self, source, target, command):
        for register, value in ((0x80, source), (0x88, target), (0x90, 4096), (0x98, command)):
            self.ports.ask('writeq', BAR + register, value)
        deadline = time.monotonic() + PATIENCE
        while self.ports.ask('readq', BAR + 0x98) & 1:
            if time.monotonic() > deadline:
                raise TimeoutError('the device does not come to an end')
            time.sleep(0.01)

    def fetch(self, address):
        """From guest memory into the device."""
        self._transfer(address, self.BUFFER, self.READ)

    def store(self, address):
        """From the device into guest memory."""
        self._transfer(self.BUFFER, address, self.WRITE)
