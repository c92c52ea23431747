# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest on pc-q35-swp whose shell the test drives, with the module of tests/guest-linux.

    layout = Layout([('ram0', 256 * MIB)])
    with LinuxVm(layout) as vm:
        vm.boot(tap)
        vm.load()
        vm.convert('alloc 1024')
        compare(tap, vm, layout, 'what this is about')

Its kernel is GMEM_LINUX_KERNEL, by default the lab's usual one. Commands go over the serial port
one at a time; what the kernel itself says is not among their output (loglevel), vm.run('dmesg')
has it.
"""
import os
import shutil
import subprocess
import tempfile

from consolelog import complaints
from gmemlab import MODE, first_difference, guest_private, host_private
from lablib import PATIENCE, PATIENT, Vm

FILES = '/sys/kernel/debug/gmem-convert'
# Each command comes with a number, and its number comes back with its status
INIT = '''#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t debugfs debug /sys/kernel/debug
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo
echo "guest: ready, $(nproc) CPUs"
while read -r number line; do
    echo "<$number"
    eval "$line"
    echo ">$number $?"
done
'''


def module():
    """The module's path; None when the lab's kernel has no headers to build it against."""
    return os.environ.get('GMEM_LINUX_MODULE')


def kernel():
    """The directory with the guest's kernel, an ELF file with an entry for PVH.

    On machines with private memory QEMU leaves the header of a bzImage as it is, since firmware of
    confidential guests measures it; started by SeaBIOS, it had no command line and no initramfs.
    """
    return os.environ.get('GMEM_LINUX_KERNEL') or os.environ['LAB_KERNEL']


def initramfs(folder, files):
    """Busybox, the init above, and files in its root."""
    tree = os.path.join(folder, 'tree')
    for name in ('bin', 'dev', 'proc', 'sys'):
        os.makedirs(os.path.join(tree, name))
    shutil.copy('/bin/busybox', tree + '/bin/busybox')
    for path in files:
        shutil.copy(path, tree)
    with open(tree + '/init', 'w', encoding='ascii') as f:
        f.write(INIT)
    os.chmod(tree + '/init', 0o755)
    os.mknod(tree + '/dev/console', 0o20600, os.makedev(5, 1))
    image = os.path.join(folder, 'initramfs')
    with open(image, 'wb') as f:
        subprocess.run('find . | cpio --quiet -o -H newc', cwd=tree, shell=True, check=True,
                       stdout=f)
    return image


class LinuxVm(Vm):
    """The guest. more: further arguments of QEMU; append: further words for its kernel;
    files: what lies in its root beside the module.
    """

    def __init__(self, layout, more=(), append='', machine='', cpus=2, files=(), **options):
        self.number = 0
        self.folder = tempfile.TemporaryDirectory()
        image = initramfs(self.folder.name, [module(), *files])
        super().__init__(['-accel', 'kvm', '-cpu', 'host', '-smp', str(cpus),
                          *layout.machine(machine), *layout.memory(), '-no-shutdown',
                          '-kernel', kernel() + '/vmlinux', '-initrd', image,
                          '-append', f'console=ttyS0 loglevel=1 panic=-1 {PATIENT} {append}',
                          *more], **options)

    def close(self):
        super().close()
        self.folder.cleanup()

    def boot(self, tap, cpus=2):
        return tap.ok(self.serial.wait_for(rf'^guest: ready, {cpus} CPUs$'), 'the guest boots',
                      self.report)

    def run(self, line, timeout=PATIENCE):
        """(status, output) of a shell command; status None when it does not end."""
        self.number += 1
        self.serial.write(f'{self.number} {line}\n')
        said = self.serial.wait_for(rf'^<{self.number}\n((?:.*\n)*?)>{self.number} (\d+)$', timeout)
        return (int(said[2]), said[1]) if said else (None, self.report())

    def load(self, parameters=f'content={MODE}'):
        return self.run(f'insmod /gmem_convert.ko {parameters}')

    def unload(self):
        return self.run('rmmod gmem_convert')

    def convert(self, command):
        """Give the module a command: None when it is done, or what the shell says of its errno."""
        status, text = self.run(f'echo {command} >{FILES}/command')
        return None if status == 0 else text.strip().rpartition(': ')[2]

    def stats(self):
        """The module's statistics, numbers as numbers."""
        pairs = (line.split() for line in self.run(f'cat {FILES}/stats')[1].splitlines())
        return {key: int(value) if value.isdigit() else value for key, value in pairs}

    def map(self):
        return self.run(f'cat {FILES}/map')[1]

    def uptime(self):
        """Seconds of the guest's clock."""
        return float(self.run('cat /proc/uptime')[1].split()[0])


def no_mismatch(tap, stats, what):
    tap.equal({k: v for k, v in stats.items() if k.startswith(('mism', 'fail', 'leak')) and v}, {},
              f'{what}: no mismatch, no failure, nothing leaked')


def check_log(tap, vm):
    """The guest's kernel does not complain; the lines that the module has said."""
    # All of the log would take its time on the serial port
    words = ('gmem_convert', 'BUG', 'WARNING', 'Oops', 'panic', 'blocked', 'detected', 'stuck',
             'segfault', 'memory:', 'UBSAN', 'non-static', 'lockdep', 'refcount_t')
    status, text = vm.run('dmesg | grep -e ' + ' -e '.join(words))
    lines = text.splitlines()
    tap.equal((status in (0, 1), complaints(lines)), (True, []),
              "the guest's kernel has nothing to complain about")
    return [line for line in lines if 'gmem_convert' in line]


def compare(tap, vm, layout, what, minimum=1):
    """The module's map and the host's are the same; the host knows no other private page."""
    guest, host = guest_private(vm.map(), layout)[0], host_private(vm.qmp, layout)
    tap.ok(guest == host, f'{what}: guest and host agree on every page',
           lambda: ' '.join(first_difference(guest[n], host[n]) for n, _ in layout.blocks))
    count = sum(map(len, host.values()))
    tap.ok(count >= minimum, f'{what}: at least {minimum} private ranges', f'{count}')
