#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: mem=4G timeout=900
"""-overcommit mem-lock=on-fault: a conversion to private frees the shared side, locked or not.

Each kind of shared side is allocated, locked by that, and made private: memfd, anonymous memory,
and private mappings of a memfd.
"""
from lablib import MIB, Cgroup, Tap, Vm

SIZE = 256 * MIB
NOISE = 16 * MIB
KINDS = ('memory-backend-gmem', 'memory-backend-memfd', 'memory-backend-memfd,share=off',
         'memory-backend-ram', 'memory-backend-ram,share=on')


def check(tap, kind, group):
    options = ['-accel', 'kvm', '-S', '-machine', 'q35-swp,memory-backend=m', '-m', '256M',
               '-overcommit', 'mem-lock=on-fault', '-object', f'{kind},id=m,size=256M,prealloc=on']
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


def main():
    tap = Tap()
    for number, kind in enumerate(KINDS):
        group = Cgroup(f'memlock{number}')
        check(tap, kind, group)
        group.remove()
    tap.done()


if __name__ == '__main__':
    main()
