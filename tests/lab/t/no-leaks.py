#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: soak=both mem=3G timeout=900 hugepages=80
"""Nothing stays behind: after kill -9, after many starts, after many backends and DIMMs.

1. kill -9 while the guest converts, and while the monitor does: no process is left, no VM in the
   kernel, no file, and the host has its memory and its huge pages back
2. many starts and stops of QEMU with a conversion each: the same
3. 100 backends added, converted and deleted in one QEMU: as many file descriptors (/proc/PID/fd)
   and threads (/proc/PID/task) as before, and no more memory of its own (RssAnon) after the last
   80 of them than after the first 20; the kernel's memory for it (memory.stat: kernel) likewise
4. the same for DIMMs that the guest ejects
Memory of the guest is counted in QEMU's cgroup, as in convert-memory.
"""
import os
import re
import time

from gmemlab import (MIB, SOAK, Cgroup, GuestVm, Layout, Tap, block, hugepages_free,
                     in_place, in_time)

# In place there are no huge pages to leak
LAYOUT = Layout([('ram0', 64 * MIB)], options='' if in_place() else ',shared-hugetlb=on')
STARTS = 100 if SOAK else 8
BACKENDS = 400 if SOAK else 100
DIMMS = 30 if SOAK else 4
WARM_UP = 20
# Of a leaked backend of 1 GiB the state map alone would be 64 KiB
BACKEND_SIZE = 1024 * MIB
NOISE = 2 * MIB


def kernel_vms():
    """The VMs that KVM knows, as far as it tells."""
    path = '/sys/kernel/debug/kvm'
    return [n for n in os.listdir(path) if n[0].isdigit()] if os.path.isdir(path) else []


class Host:
    """What the host has before anything starts, and has to have afterwards."""

    def __init__(self):
        self.before = self.look()

    @staticmethod
    def look():
        return {'files': sorted(os.listdir('/dev/shm')), 'huge pages': hugepages_free(),
                'VMs': kernel_vms(), 'QEMUs': Host.processes()}

    @staticmethod
    def processes():
        names = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{pid}/comm', encoding='utf-8') as f:
                    names.append(f.read())
            except OSError:
                pass
        return sum(name.startswith('qemu-system') for name in names)

    def is_back(self, tap, what, group):
        """As before, and with nothing charged to the cgroup but a few pages."""
        good = in_time(lambda: self.look() == self.before and group.guest_bytes() < MIB)
        tap.ok(good, f'{what}: nothing is left on the host',
               lambda: f'{self.look()}, before {self.before}; {group.guest_bytes()} bytes held')


def converting(vm, count=50):
    """Wait until the guest is in the middle of it."""
    def enough():
        info = block(vm.qmp, 'ram0')
        return info['to-private']['conversions'] + info['to-shared']['conversions'] >= count
    return in_time(enough)


def check_kill(tap, host):
    group = Cgroup('kill')
    with GuestVm(LAYOUT, 'test=random rounds=10000000', cgroup=group) as vm:
        tap.ok(converting(vm), 'kill -9: the guest converts', vm.report)
        held = in_place() or hugepages_free() < host.before['huge pages']
        tap.ok(held and group.guest_bytes() > MIB, 'kill -9: the host holds memory for it')
        now = host.look()
        tap.ok(now['QEMUs'] == host.before['QEMUs'] + 1 and now['VMs'] != host.before['VMs'],
               'kill -9: QEMU and its VM are seen while they live', now)
        vm.process.kill()
    host.is_back(tap, 'kill -9 while the guest converts', group)
    with GuestVm(LAYOUT, 'test=random', more=['-S'], cgroup=group) as vm:
        name = block(vm.qmp, 'ram0')['id']
        vm.qmp.command('gmem-convert', id=name, offset=0, size=64 * MIB, state='private',
                       wait=True)
        for state in 'shared', 'private', 'shared':
            vm.qmp.command('gmem-convert', id=name, offset=0, size=64 * MIB, state=state,
                           wait=False)
        vm.process.kill()
    host.is_back(tap, 'kill -9 while the monitor converts', group)
    group.remove()


def check_starts(tap, host):
    group, good = Cgroup('starts'), 0
    for number in range(STARTS):
        with GuestVm(LAYOUT, 'test=random', more=['-S'], cgroup=group) as vm:
            answer = vm.qmp.command('gmem-convert', id=block(vm.qmp, 'ram0')['id'], offset=0,
                                    size=(number % 16 + 1) * MIB, state='private', wait=True)
            good += answer['converted'] == answer['size'] and vm.quit() == 0
    tap.equal(good, STARTS, f'{STARTS} starts: each converts and ends on its own')
    host.is_back(tap, f'{STARTS} starts', group)
    group.remove()


class Count:
    """What one QEMU has open, runs and keeps for itself."""

    def __init__(self, vm, group):
        pid = vm.process.pid
        self.descriptors = len(os.listdir(f'/proc/{pid}/fd'))
        self.threads = len(os.listdir(f'/proc/{pid}/task'))
        with open(f'/proc/{pid}/status', encoding='utf-8') as f:
            self.own = int(re.search(r'RssAnon:\s+(\d+)', f.read())[1]) * 1024
        self.kernel = group.stat()['kernel']

    def __str__(self):
        return (f'{self.descriptors} descriptors, {self.threads} threads, '
                f'{self.own / MIB:.2f} MiB, {self.kernel / MIB:.2f} MiB in the kernel')

    def is_no_more_than(self, other):
        return (self.descriptors <= other.descriptors and self.threads <= other.threads and
                self.own < other.own + NOISE and self.kernel < other.kernel + NOISE)


def compare_counts(tap, what, vm, group, before):
    good = in_time(lambda: Count(vm, group).is_no_more_than(before))
    after = Count(vm, group)
    tap.ok(good, f'{what}: no descriptor, thread or memory is lost', f'{before}\n{after}')
    tap.note(f'{what}: before {before}')
    tap.note(f'{what}: after {after}')


def one_backend(qmp, number):
    qmp.command('object-add', qom_type='memory-backend-gmem', id='extra', size=BACKEND_SIZE)
    name = block(qmp, 'extra')['id']
    for state in 'private', 'shared' if number % 2 else 'private':
        qmp.command('gmem-convert', id=name, offset=4096 * number, size=4096 * 300, state=state,
                    wait=True)
    qmp.command('object-del', id='extra')


def check_backends(tap):
    group = Cgroup('backends')
    with GuestVm(LAYOUT, 'test=random', more=['-S'], cgroup=group) as vm:
        for number in range(BACKENDS):
            if number == WARM_UP:
                time.sleep(1)
                before = Count(vm, group)
            one_backend(vm.qmp, number)
        tap.equal(len(vm.qmp.command('query-gmem')['blocks']), 1, f'{BACKENDS} backends came '
                  'and went')
        compare_counts(tap, 'backends', vm, group, before)
        vm.quit()
    group.remove()


def one_dimm(vm, number):
    """A run of the guest: it ejects one DIMM and is given the next, which it keeps."""
    qmp = vm.qmp
    old, new = f'mem{number}', f'mem{number + 1}'
    said = len(re.findall('^GUEST-DONE', vm.serial.text, re.MULTILINE))
    if number == 0:
        plug(qmp, old)
    wait = rf'(?s)(GUEST-DONE.*){{{said}}}^WAIT hotplug/'
    good = vm.serial.wait_for(wait + 'plug\n')
    vm.go()
    good = good and vm.serial.wait_for(wait + 'unplug\n')
    qmp.command('device_del', id='d' + old)
    vm.go()
    good = good and vm.serial.wait_for(wait + 'replug\n')
    while good and (event := qmp.wait_event('DEVICE_DELETED')):
        if event['data'].get('device') == 'd' + old:
            break
    qmp.command('object-del', id=old)
    plug(qmp, new)
    vm.go()
    good = good and vm.serial.wait_for(wait + 'end\n')
    vm.go()
    return bool(good and vm.serial.wait_for(rf'(?s)(GUEST-DONE.*){{{said}}}GUEST-DONE'))


def plug(qmp, name):
    qmp.command('object-add', qom_type='memory-backend-gmem', id=name, size=32 * MIB,
                conversion_timeout=30000)
    qmp.command('device_add', driver='pc-dimm', id='d' + name, memdev=name)


def check_dimms(tap):
    group = Cgroup('dimms')
    with GuestVm(LAYOUT, 'test=hotplug', memory=',slots=4,maxmem=1G',
                 more=['-action', 'reboot=reset'], cgroup=group) as vm:
        good = 0
        for number in range(DIMMS):
            if number == 2:
                before = Count(vm, group)
            good += one_dimm(vm, number)
            if not good:
                break
            vm.qmp.wait_event('STOP')
            vm.qmp.command('system_reset')
            vm.qmp.command('cont')
        tap.equal(good, DIMMS, f'{DIMMS} DIMMs are ejected and replaced')
        failed = re.findall('^not ok.*', vm.serial.text, re.MULTILINE)
        tap.ok(not failed, 'the guest finds each of them in order', failed[:5])
        compare_counts(tap, 'DIMMs', vm, group, before)
        vm.quit()
    group.remove()


def main():
    tap, host = Tap(), Host()
    check_kill(tap, host)
    check_starts(tap, host)
    check_backends(tap)
    check_dimms(tap)
    tap.done()


if __name__ == '__main__':
    main()
