# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest with a virtio disk and a virtio network card that pass checked traffic.

    make_disk()
    with TrafficVm(layout) as vm:
        vm.boot(tap)
        network_up(vm)
        vm.load()
        vm.convert('alloc 8192')
        results, done = converting(vm, 42, lambda: pass_traffic(vm, 60, 1))

QEMU reads and writes the disk with O_DIRECT, so that the kernel pins the guest's pages for as
long as a request takes: a millisecond, because the disk is a null_blk that takes its time (and
keeps what is written). The kernel's vhost-net has the card. Both devices have ACCESS_PLATFORM, and
the guest bounces all its DMA, as a confidential guest does. The program tests/guest-linux/traffic
makes the traffic and checks it, in the guest and, of the network, here.
"""
import os
import re
import subprocess

from lablib import PATIENCE
from lablinux import LinuxVm

DISK, DISK_MIB = '/dev/labdisk', 16
CONFIGFS = '/sys/kernel/config'
HOST, GUEST, PORT = '10.77.0.1', '10.77.0.2', 7777
TAP = 'labtap'
BOUNCE = '/sys/kernel/debug/swiotlb/io_tlb_used_hiwater'
PLATFORM = 'iommu_platform=on,disable-legacy=on'
DEVICES = ['-drive', f'if=none,id=disk,file={DISK},format=raw,cache=none,aio=threads',
           '-device', f'virtio-blk-pci,drive=disk,{PLATFORM}',
           '-netdev', f'tap,id=net,ifname={TAP},script=no,downscript=no,vhost=on',
           '-device', f'virtio-net-pci,id=net0,netdev=net,romfile=,{PLATFORM}']
COUNTS = re.compile(r'^out=(\d+) in=(\d+) mismatches=(\d+)$', re.MULTILINE)


def program():
    """The path of the program that makes traffic."""
    return os.environ['GMEM_LINUX_TRAFFIC']


def make_disk(path=DISK, nanoseconds=1000000):
    """A disk of DISK_MIB, whose requests take so long; once in a lab."""
    if os.path.exists(path):
        return
    if not os.path.ismount(CONFIGFS):
        subprocess.run(['mount', '-t', 'configfs', 'none', CONFIGFS], check=True)
    folder = f'{CONFIGFS}/nullb/{os.path.basename(path)}'
    os.mkdir(folder)
    for name, value in (('size', DISK_MIB), ('memory_backed', 1), ('irqmode', 2),
                        ('completion_nsec', nanoseconds), ('power', 1)):
        with open(f'{folder}/{name}', 'w', encoding='ascii') as f:
            f.write(str(value))


class TrafficVm(LinuxVm):
    """The guest with both devices."""

    def __init__(self, layout, append='', **options):
        super().__init__(layout, DEVICES, f'swiotlb=16384,force,track_hiwater {append}',
                         files=[program()], **options)


def network_up(vm):
    """Addresses for both ends of the network."""
    subprocess.run(['busybox', 'ifconfig', TAP, HOST, 'netmask', '255.255.255.0', 'up'], check=True)
    return vm.run(f'ip addr add {GUEST}/24 dev eth0 && ip link set eth0 up')


def vhost_started(vm):
    """Whether the kernel has the card's queues."""
    return vm.qmp.command('x-query-virtio-status',
                          path='/machine/peripheral/net0/virtio-backend')['vhost-started']


class Counts:
    """What one end of some traffic says: its exit status, bytes, and mismatches."""

    def __init__(self, status, text):
        found = COUNTS.search(text)
        self.status, self.text = status, text
        self.out, self.taken, self.mismatches = map(int, found.groups()) if found else (0, 0, -1)

    @property
    def fine(self):
        return (self.status, self.mismatches) == (0, 0) and self.out > 0 and self.taken > 0


class Listener:
    """The end of a connection that is here, and can be connected to from the start."""

    def __init__(self, address, seconds, seed):
        self.process = subprocess.Popen(
            [program(), 'listen', address, str(PORT), str(seconds), str(seed)], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.first = self.process.stderr.readline()

    def counts(self):
        """Wait for the end; one that does not come is a failure."""
        try:
            text = self.first + ''.join(self.process.communicate(timeout=PATIENCE))
        except subprocess.TimeoutExpired:
            self.process.kill()
            text = self.first + ''.join(self.process.communicate()) + 'it did not end'
        return Counts(self.process.returncode, text)


def pass_traffic(vm, seconds, seed):
    """{'disk', 'guest', 'host': Counts}: disk and network at once, for so long."""
    listener = Listener(HOST, seconds, seed)
    status, text = vm.run(
        f'/traffic disk /dev/vda {DISK_MIB} {seconds} {seed} >/disk 2>&1 & disk=$!; '
        f'/traffic connect {HOST} {PORT} {seconds} {seed} >/net 2>&1 & net=$!; '
        'wait $disk; echo "ended $?" >>/disk; wait $net; echo "ended $?" >>/net; '
        'cat /disk; echo ---; cat /net', seconds + 2 * PATIENCE)
    if status is None:
        listener.process.kill()
    parts = text.partition('---\n')[::2]
    ended = [re.search(r'^ended (\d+)$', part, re.MULTILINE) for part in parts]
    disk, guest = (Counts(int(e[1]) if e else None, part) for e, part in zip(ended, parts))
    return {'disk': disk, 'guest': guest, 'host': listener.counts()}


# A second has so many of them in /proc, on every machine
TICKS = 100


class Conversions:
    """What a random run of the module came to, by the guest's clock."""

    def __init__(self, vm, seconds, cpu_seconds):
        self.stats = vm.stats()
        self.count = self.stats['to-private-conversions'] + self.stats['to-shared-conversions']
        # Per vCPU, and per second in which a vCPU did nothing else
        self.rate = self.count / seconds / int(vm.run('nproc')[1])
        self.rate_of_own_time = self.count / cpu_seconds


def cpu_seconds(vm):
    """CPU time of the module's threads."""
    found = vm.run('for p in $(grep -l ^gmem_convert/ /proc/[0-9]*/comm 2>/dev/null); do '
                   'cut -d " " -f 14,15 ${p%comm}stat; done')[1]
    return sum(map(int, found.split())) / TICKS


def converting(vm, seed, meanwhile):
    """Convert at random on all CPUs while meanwhile() runs: (its result, Conversions)."""
    vm.convert('clear')
    began = vm.uptime()
    if refused := vm.convert(f'random 86400 {seed}'):
        raise RuntimeError(f'no random run: {refused}\n{vm.report()}')
    result = meanwhile()
    own = cpu_seconds(vm)
    vm.convert('stop')
    return result, Conversions(vm, vm.uptime() - began, own)


def disk_digests(vm):
    """(here, in the guest): SHA-256 of what traffic has written to the disk."""
    line = f'dd if=%s bs=1M count={DISK_MIB} iflag=direct 2>/dev/null | sha256sum'
    here = subprocess.run(line % DISK, shell=True, capture_output=True, text=True, check=True)
    return here.stdout, vm.run(line % '/dev/vda')[1]
