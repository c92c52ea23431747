#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: mem=2G hugepages=32 timeout=300
"""What lablib counts and waits for is what is there.

1. a QEMU's memory is seen in its cgroup, to the megabyte, and is gone when QEMU is
2. huge pages are counted apart
3. several QMP clients, each with its answers and events
4. a QEMU that refuses its arguments is reported with its words
5. a killed QEMU leaves nothing running
"""
from lablib import Cgroup, Tap, Vm, hugepages_free

MIB = 1 << 20
IDLE = ['-machine', 'none']


def backend(size, more=''):
    return IDLE + ['-object', f'memory-backend-memfd,id=m,size={size}M,prealloc=on{more}']


def check_memory(tap):
    held = []
    for size in (16, 80):
        group = Cgroup(f'memory{size}')
        with Vm(backend(size), cgroup=group):
            held.append(group.guest_bytes() / MIB)
        tap.ok(group.stat()['shmem'] < MIB, f'{size} MiB are given back when QEMU ends')
        group.remove()
    tap.ok(abs(held[1] - held[0] - 64) < 8, '64 MiB more are counted as 64 MiB more',
           f'counted {held}')


def check_hugepages(tap):
    before = hugepages_free()
    tap.equal(before, 32, 'the lab has the huge pages that the test asked for')
    with Vm(backend(16, ',hugetlb=on')):
        tap.equal(before - hugepages_free(), 8, '16 MiB are 8 huge pages')
    tap.equal(hugepages_free(), before, 'they are free when QEMU has ended')


def check_clients(tap):
    with Vm(IDLE, qmp_clients=3) as vm:
        for monitor in vm.monitors:
            monitor.send('query-status')
        states = [monitor.answer()['status'] for monitor in vm.monitors]
        tap.equal(len(states), 3, 'three clients have three answers')
        tap.equal(vm.quit(), 0, 'quit ends QEMU')
        events = [monitor.wait_event('SHUTDOWN', 5) for monitor in vm.monitors]
        tap.ok(all(events), 'and every client sees the event')


def check_refusal(tap):
    with Vm(IDLE + ['-object', 'no-such-object,id=x'], start=False) as vm:
        tap.equal(vm.wait(), 1, 'a QEMU that refuses its arguments ends')
        tap.ok('no-such-object' in vm.errors, 'and its words are kept', vm.report)
    try:
        with Vm(IDLE + ['-no-such-option']):
            tap.ok(False, 'a QEMU that did not start is an exception')
    except RuntimeError as error:
        tap.ok('-no-such-option' in str(error), 'a QEMU that did not start is an exception', error)


def check_kill(tap):
    with Vm(IDLE) as vm:
        tap.ok(vm.alive(), 'QEMU lives')
    tap.ok(not vm.alive(), 'and does not outlive its block')
    tap.ok(vm.serial.wait_for('x', 5) is None, 'a wait on a dead guest ends')


def main():
    tap = Tap()
    check_memory(tap)
    check_hugepages(tap)
    check_clients(tap)
    check_refusal(tap)
    check_kill(tap)
    tap.done()


if __name__ == '__main__':
    main()
