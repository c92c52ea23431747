#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: in-place=on soak=both mem=3G timeout=900
"""A storage daemon of the distribution's serves a Linux guest's disk by vhost-user.

1. it has mapped what is shared of the guest's memory, and not a page that is private (not asked of a daemon
   before 9.0, which maps a file from its beginning)
2. all CPUs convert pages at random while the disk, with two queues, passes checked traffic: every byte is right
3. the machine is reset with the disk started: memory has its initial state, the guest boots, the disk works
4. one that stands still: the guest's conversion ends while it stands, and when it goes on the disk works
5. one that is killed takes nothing along: QEMU lives, memory converts, and with a new one the disk works again
6. the disk is unplugged (with a reset, as this kernel ejects nothing), with the daemon alive: it has nothing
   mapped any more
"""
import os
import re
import shutil
import signal
import subprocess
import time

from gmemlab import MIB, SOAK, Layout, Tap, block
from lablib import PATIENCE
from lablinux import LinuxVm, compare, module, no_mismatch
from labtraffic import DISK, DISK_MIB, Counts, converting, make_disk, program

DAEMON = 'qemu-storage-daemon'
SOCKET = '/tmp/vhost-user.sock'
LAYOUT = Layout([('ram0', 320 * MIB)])
PAGES = 512
SECONDS = 300 if SOAK else 15
DEVICE = ['-device', 'pcie-root-port,id=port0,chassis=1',
          '-chardev', f'socket,id=backend,path={SOCKET},reconnect-ms=500',
          '-device', 'vhost-user-blk-pci,id=disk0,bus=port0,chardev=backend,num-queues=2,romfile=']
MAPPED = re.compile(r'^([0-9a-f]+)-([0-9a-f]+) .*(?:kvm-gmem|guest_memfd|memfd:)', re.MULTILINE)


class Daemon:
    """The back end, with its socket."""

    def __init__(self):
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)
        self.process = subprocess.Popen(
            [DAEMON, '--blockdev', f'driver=host_device,node-name=disk,filename={DISK},cache.direct=on',
             '--export', 'type=vhost-user-blk,id=export,node-name=disk,writable=on,addr.type=unix,'
             f'num-queues=2,addr.path={SOCKET}'], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(SOCKET) and time.monotonic() < deadline:
            time.sleep(0.1)

    def mapped(self):
        """Bytes of guest memory that it has mapped."""
        with open(f'/proc/{self.process.pid}/maps', encoding='ascii') as f:
            return sum(int(end, 16) - int(start, 16) for start, end in MAPPED.findall(f.read()))

    def end(self):
        self.process.kill()
        self.process.wait()


def disk(vm, seconds, seed):
    """Traffic on the disk: Counts."""
    status, text = vm.run(f'/traffic disk /dev/vda {DISK_MIB} {seconds} {seed} 2>&1',
                          seconds + 2 * PATIENCE)
    return Counts(status, text)


def maps_exactly():
    """Does the daemon map a region, and not the file up to its end?"""
    text = subprocess.run([DAEMON, '--version'], stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(re.search(r'version (\d+)', text)[1]) >= 9


def check_mapped(tap, vm, daemon, what):
    """Bytes that are mapped; None of a daemon that maps a file from its beginning."""
    info, mapped = block(vm.qmp, 'ram0'), daemon.mapped()
    tap.ok(mapped, f'{what}: it has guest memory mapped')
    if not maps_exactly():
        return None
    tap.ok(mapped <= info['shared'], f'{what}: it has mapped no more than is shared',
           f'{mapped} of {info["shared"]}')
    return mapped


def check_traffic(tap, vm, daemon):
    whole = check_mapped(tap, vm, daemon, 'at first')
    tap.equal(vm.convert(f'alloc {PAGES}'), None, 'the module takes pages')
    result, beside = converting(vm, 42, lambda: disk(vm, SECONDS, 1))
    tap.ok(result.fine, 'every byte of the disk is right beside conversions',
           f'{result.status}\n{result.text}')
    tap.ok(beside.count > 0, 'there are conversions meanwhile')
    tap.note(f'{beside.count} conversions, {result.out >> 20} MiB written')
    no_mismatch(tap, beside.stats, 'beside the disk')
    now = check_mapped(tap, vm, daemon, 'some of it private')
    if whole is not None:
        tap.ok(now < whole, 'and less than before')
    compare(tap, vm, LAYOUT, 'beside the disk')


def reset(tap, vm):
    """The guest boots once more."""
    vm.serial.forget()
    vm.qmp.command('system_reset')
    return vm.boot(tap)


def check_reset(tap, vm, daemon):
    if reset(tap, vm) and tap.equal(vm.load(), (0, ''), 'after a reset the module is loaded'):
        info = block(vm.qmp, 'ram0')
        tap.equal(info['private'], 0, 'after a reset all memory is shared')
        check_mapped(tap, vm, daemon, 'after a reset')
        tap.ok(disk(vm, 1, 2).fine, 'after a reset the disk works')
        tap.equal(vm.convert(f'alloc {PAGES}'), None, 'after a reset the module takes pages')


def check_stopped(tap, vm, daemon):
    tap.equal(vm.convert('clear'), None, 'all is shared')
    daemon.process.send_signal(signal.SIGSTOP)
    tap.equal(vm.convert('private 0 1'), None, 'a page goes private while the daemon stands still')
    compare(tap, vm, LAYOUT, 'the daemon stands still')
    daemon.process.send_signal(signal.SIGCONT)
    tap.ok(disk(vm, 1, 3).fine, 'it goes on: the disk works')
    check_mapped(tap, vm, daemon, 'it goes on')


def check_killed(tap, vm, daemon):
    daemon.end()
    tap.equal(vm.convert('clear'), None, 'killed: the guest runs')
    _, alone = converting(vm, 43, lambda: vm.run('sleep 3'))
    tap.ok(alone.count > 0, 'killed: memory converts')
    no_mismatch(tap, alone.stats, 'killed')
    fresh = Daemon()
    tap.ok(disk(vm, 1, 4).fine, 'a new one: the disk works')
    check_mapped(tap, vm, fresh, 'a new one')
    return fresh


def check_unplugged(tap, vm, daemon):
    vm.qmp.command('device_del', id='disk0')
    booted = reset(tap, vm)
    tap.ok(vm.qmp.wait_event('DEVICE_DELETED'), 'unplugged: the disk is gone')
    tap.equal((daemon.mapped(), daemon.process.poll()), (0, None), 'unplugged: nothing is mapped')
    if not booted or not tap.equal(vm.load(), (0, ''), 'unplugged: the module is loaded'):
        return
    tap.equal(vm.convert(f'alloc {PAGES}'), None, 'unplugged: the module takes pages')
    _, alone = converting(vm, 44, lambda: vm.run('sleep 1'))
    no_mismatch(tap, alone.stats, 'unplugged')


def main():
    tap = Tap()
    if not module():
        tap.skip_all("the lab's kernel has no headers to build the module against")
    if not shutil.which(DAEMON):
        tap.skip_all(f'there is no {DAEMON}: install the package qemu-system-common')
    make_disk()
    daemon = Daemon()
    with LinuxVm(LAYOUT, DEVICE, files=[program()]) as vm:
        vm.qmp.command('set-action', reboot='reset')
        if vm.boot(tap) and tap.equal(vm.load(), (0, ''), 'the module is loaded'):
            check_traffic(tap, vm, daemon)
            check_reset(tap, vm, daemon)
            check_stopped(tap, vm, daemon)
            daemon = check_killed(tap, vm, daemon)
            check_unplugged(tap, vm, daemon)
            tap.equal(vm.quit(), 0, 'QEMU ends on its own')
    daemon.end()
    tap.done()


if __name__ == '__main__':
    main()
