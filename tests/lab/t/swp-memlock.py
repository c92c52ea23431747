#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both mem=4G timeout=900
"""-overcommit mem-lock: memory that is locked is still held once.

Split mode, on-fault: each kind of shared side is allocated, locked by that, and made private, which
frees it: memfd, anonymous memory, and private mappings of a memfd.
In place, on-fault and on: all memory is there from the start with on, and no conversion adds to it
or frees any, whatever the backend; what is shared again is locked again.
"""
from gmemlab import SOAK
from lablib import MIB, Cgroup, Tap, Vm, in_place

SIZE = (256 if SOAK else 64) * MIB
NOISE = 16 * MIB
KINDS = ('memory-backend-gmem', 'memory-backend-memfd', 'memory-backend-memfd,share=off',
         'memory-backend-ram', 'memory-backend-ram,share=on')


def check(tap, kind, group):
    options = ['-accel', 'kvm', '-S', '-machine', 'q35-swp,memory-backend=m', '-m', f'{SIZE // MIB}M',
               '-overcommit', 'mem-lock=on-fault', '-object', f'{kind},id=m,size={SIZE},prealloc=on']
    with Vm(options, cgroup=group) as vm:
        before = group.guest_bytes()
        tap.ok(group.stat()['unevictable'] >= SIZE, f'{kind}: the shared side is locked',
               group.stat())
        answer = vm.qmp.command('gmem-convert', id='m', offset=0, size=SIZE, state='private',
                                timeout=120000, wait=True)
        tap.equal(answer['converted'], SIZE, f'{kind}: all of it is made private')
        freed = before - group.guest_bytes()
        tap.ok(freed >= SIZE - NOISE, f'{kind}: the shared side is free', f'{freed} of {SIZE}')
        tap.equal(vm.qmp.command('query-gmem')['blocks'][0]['discard-failures'], 0,
                  f'{kind}: no part of it was kept')


def locked(vm):
    with open(f'/proc/{vm.process.pid}/status', encoding='ascii') as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith('VmLck'))


def check_in_place(tap, kind, mode, group):
    what = f'{kind}, {mode}'
    empty = group.guest_bytes()
    options = ['-accel', 'kvm', '-S', '-machine', 'q35-swp,memory-backend=m', '-m', f'{SIZE // MIB}M',
               '-overcommit', f'mem-lock={mode}', '-object',
               f'{kind},id=m,size={SIZE},prealloc={"off" if mode == "on" else "on"}']
    with Vm(options, cgroup=group) as vm:
        first = group.guest_bytes() - empty
        tap.ok(first >= SIZE and locked(vm) >= SIZE, f'{what}: all of it is there, and locked',
               f'{first}, {locked(vm)}')
        for state in 'private', 'shared', 'private':
            answer = vm.qmp.command('gmem-convert', id='m', offset=0, size=SIZE, state=state,
                                    timeout=120000, wait=True)
            tap.equal(answer['converted'], SIZE, f'{what}: all of it is made {state}')
            held = group.guest_bytes() - empty
            tap.ok(abs(held - first) <= NOISE, f'{what}: held once', f'{held}, first {first}')


def main_in_place(tap):
    for mode in 'on', 'on-fault':
        for kind in 'memory-backend-gmem', 'memory-backend-memfd', 'memory-backend-ram':
            group = Cgroup(f'memlock-{mode}-{kind}')
            check_in_place(tap, kind, mode, group)
            group.remove()
    tap.done()


def main():
    tap = Tap()
    if in_place():
        main_in_place(tap)
    for number, kind in enumerate(KINDS):
        group = Cgroup(f'memlock{number}')
        check(tap, kind, group)
        group.remove()
    tap.done()


if __name__ == '__main__':
    main()
