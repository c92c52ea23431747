# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest with a virtio disk, a virtio network card and a card of the lab's: checked traffic.

    make_disk()
    with TrafficVm(layout, assigned=True) as vm:
        vm.boot(tap)
        network_up(vm)
        vm.load()
        vm.convert('alloc 8192')
        results, done = converting(vm, 42, lambda: pass_traffic(vm, 60, 1))

QEMU reads and writes the disk with O_DIRECT, so that the kernel pins the guest's pages for as
long as a request takes: a millisecond, because the disk is a null_blk that takes its time (and
keeps what is written). The kernel's vhost-net has the card. Both devices have ACCESS_PLATFORM, and
the guest bounces all its DMA, as a confidential guest does. One of two cards of the lab, between which
the emulator has a cable, is the guest's by VFIO; the lab has the other.
The program tests/guest-linux/traffic makes the traffic and checks it, in the guest and, of the
networks, here.
"""
import collections
import os
import re
import subprocess

import labfs
import labvfio
from lablib import PATIENCE
from lablinux import LinuxVm

DISK, DISK_MIB = '/dev/labdisk', 16
CONFIGFS = '/sys/kernel/config'
PORT = 7777
TAP = 'labtap'
# The end here, the end in the guest, and the guest's driver
Network = collections.namedtuple('Network', 'host guest driver')
NETWORKS = {'net': Network('10.77.0.1', '10.77.0.2', 'virtio_net'),
            'nic': Network('10.78.0.1', '10.78.0.2', 'igb')}
# On the test's "# lab:" line: an intel-iommu, and as slots 8 and a cards of the emulator's that share a hub
OTHER_END = '0000:00:0a.0'
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
    """The guest with disk and card; with a card of the lab's, if one is to be assigned; and with the
    files of a FileServer.
    """

    def __init__(self, layout, append='', assigned=False, server=None, **options):
        self.networks = NETWORKS if assigned else {'net': NETWORKS['net']}
        self.disks = {'disk': f'/dev/vda {DISK_MIB}'}
        more = labvfio.arguments('iommufd', labvfio.IGB) if assigned else []
        if server:
            self.disks['files'] = f'{labfs.MOUNTED}/{labfs.FILE} {labfs.FILE_MIB}'
            more += server.arguments
        super().__init__(layout, DEVICES + more, f'swiotlb=16384,force,track_hiwater {append}',
                         files=[program()], **options)


def interface(name):
    """The interface of a network at this end."""
    return TAP if name == 'net' else os.listdir(f'/sys/bus/pci/devices/{OTHER_END}/net')[0]


def network_up(vm):
    """Addresses for both ends of each network."""
    for name, network in vm.networks.items():
        subprocess.run(['busybox', 'ifconfig', interface(name), network.host, 'netmask',
                        '255.255.255.0', 'up'], check=True)
        status, text = vm.run(
            f'for i in /sys/class/net/*; do case $(readlink $i/device/driver) in */{network.driver}) '
            f'i=${{i##*/}}; ip addr add {network.guest}/24 dev $i && ip link set $i up; break;; '
            'esac; false; done')
        if status or text:
            break
    return status, text


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


class Ends(collections.namedtuple('Ends', 'guest host')):
    """Counts of both ends of a network."""

    @property
    def fine(self):
        return (self.guest.fine and self.host.fine
                and (self.guest.taken, self.host.taken) == (self.host.out, self.guest.out))

    @property
    def text(self):
        return '\n'.join(f'{name}: {end.status}\n{end.text}' for name, end in self._asdict().items())


def ended(text):
    """The exit status that a program's words end with; None when it did not end."""
    found = re.search(r'^ended (\d+)$', text, re.MULTILINE)
    return int(found[1]) if found else None


def pass_traffic(vm, seconds, seed):
    """Disks and networks at once, for so long: {disk: Counts, network: Ends, ...}"""
    listeners = {name: Listener(network.host, seconds, seed) for name, network in vm.networks.items()}
    jobs = {name: f'disk {where}' for name, where in vm.disks.items()}
    jobs.update({name: f'connect {network.host} {PORT}' for name, network in vm.networks.items()})
    status, text = vm.run(
        ''.join(f'/traffic {job} {seconds} {seed} >/{name} 2>&1 & {name}=$!; ' for name, job in jobs.items())
        + ''.join(f'wait ${name}; echo "ended $?" >>/{name}; ' for name in jobs)
        + ''.join(f'cat /{name}; echo ---; ' for name in jobs), seconds + 2 * PATIENCE)
    if status is None:
        for listener in listeners.values():
            listener.process.kill()
    parts = text.split('---\n')
    counts = {name: Counts(ended(part), part) for name, part in zip(jobs, parts)}
    counts.update({name: Ends(counts.get(name, Counts(None, text)), listener.counts())
                   for name, listener in listeners.items()})
    return counts


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
