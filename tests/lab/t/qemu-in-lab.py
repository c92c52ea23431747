#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: mem=4G timeout=600
"""Our QEMU with KVM in the lab boots a Linux guest to the output of a shell command.

1. an ordinary q35 with RAM of the base's own kind: the lab itself is sound. It is stopped by QMP and goes on
2. the same guest with all of its RAM in a mapped, all-shared guest_memfd
3. the same guest on pc-q35-swp, where all of its RAM can be private: firmware, command line and
   initramfs are those of any guest
In each the guest computes something that the test did not tell it, and QEMU ends on its own.
"""
import os
import subprocess
import tempfile

from lablib import PATIENT, QmpError, Tap, Vm

GUEST_INIT = '''#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
echo "guest: sum $((6000 * 7 + 1)) cpus $(/bin/busybox grep -c ^processor /proc/cpuinfo)" >/dev/ttyS0
echo "guest: memory $(/bin/busybox awk '/MemTotal/ { print $2 }' /proc/meminfo) kB" >/dev/ttyS0
# Counts, and does not sleep: emulated twice over, a timer that fires during a stop may be lost
i=0; while [ -e /wait -a $i -lt 20000 ]; do i=$((i + 1)); done
[ -e /wait ] && echo "guest: counted" >/dev/ttyS0
/bin/busybox poweroff -f
'''
MIB = 1 << 20


def guest_initramfs(folder, wait=False):
    """An initramfs with busybox and the init above."""
    tree = tempfile.mkdtemp(dir=folder)
    for name in ('bin', 'dev', 'proc'):
        os.mkdir(os.path.join(tree, name))
    subprocess.run(['cp', '/bin/busybox', tree + '/bin/'], check=True)
    with open(tree + '/init', 'w', encoding='ascii') as f:
        f.write(GUEST_INIT)
    os.chmod(tree + '/init', 0o755)
    # The kernel mounts no devtmpfs over an initramfs; the serial port needs a node
    os.mknod(tree + '/dev/ttyS0', 0o20600, os.makedev(4, 64))
    os.mknod(tree + '/dev/console', 0o20600, os.makedev(5, 1))
    if wait:
        with open(tree + '/wait', 'w', encoding='ascii'):
            pass
    image = tree + '.cpio'
    with open(image, 'wb') as f:
        subprocess.run(f'cd {tree} && find . | cpio --quiet -o -H newc', shell=True, check=True,
                       stdout=f)
    return image


def arguments(initrd, machine='q35', memory=('-m', '512M')):
    return ['-machine', machine, '-accel', 'kvm', '-cpu', 'host', '-smp', '2', *memory,
            '-kernel', os.environ['LAB_KERNEL'] + '/bzImage', '-initrd', initrd,
            '-append', f'console=ttyS0 quiet panic=-1 {PATIENT}']


def check_guest(tap, what, vm):
    tap.ok(vm.serial.wait_for('guest: sum 42001 cpus 2$'), f'{what}: a shell command runs',
           vm.report)
    match = vm.serial.wait_for(r'guest: memory (\d+) kB')
    tap.ok(match and 400 * 1024 < int(match[1]) <= 512 * 1024,
           f'{what}: the guest sees its memory', vm.report)


def boots(tap, what, args):
    with Vm(args) as vm:
        check_guest(tap, what, vm)
        tap.equal(vm.wait(), 0, f'{what}: the guest switches off and QEMU ends')


def gmem_offered():
    """Whether this QEMU has memory-backend-gmem; the comparison binary has not."""
    with Vm(['-machine', 'none']) as vm:
        types = vm.qmp.command('qom-list-types', implements='memory-backend')
    return any(t['name'] == 'memory-backend-gmem' for t in types)


def check_stop(tap, initrd):
    with Vm(arguments(initrd)) as vm:
        check_guest(tap, 'ordinary RAM', vm)
        vm.qmp.command('stop')
        tap.ok(vm.qmp.wait_event('STOP'), 'stop: the event comes')
        tap.equal(vm.qmp.command('query-status')['status'], 'paused', 'stop: the VM is paused')
        vm.qmp.command('cont')
        tap.ok(vm.serial.wait_for('guest: counted'), 'stop: the guest goes on', vm.report)
        try:
            vm.qmp.command('no-such-command')
            tap.ok(False, 'stop: an unknown command is an error')
        except QmpError as error:
            tap.equal(error.kind, 'CommandNotFound', 'stop: an unknown command is an error')
        tap.equal(vm.wait(), 0, 'ordinary RAM: the guest switches off and QEMU ends')


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        initrd = guest_initramfs(folder)
        check_stop(tap, guest_initramfs(folder, wait=True))
        if gmem_offered():
            backend = ('-m', '512M', '-object', 'memory-backend-gmem,id=ram0,size=512M')
            boots(tap, 'gmem RAM', arguments(initrd, 'q35,memory-backend=ram0', backend))
            boots(tap, 'private memory', arguments(initrd, 'q35-swp'))
        else:
            tap.skip('gmem RAM', 'this QEMU has no memory-backend-gmem')
    tap.done()


if __name__ == '__main__':
    main()
