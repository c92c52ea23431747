#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both mem=4G timeout=900
"""prealloc that is set when the VM is there: each page once, or an error and no page.

In split mode:
1. after a conversion it is refused, whatever the initial state, and allocates nothing
2. while the VM runs it is refused
3. when all memory has its initial state again it is done
4. a DIMM's backend is preallocated while the VM runs: no guest converts it yet
In place no page can be on a wrong side: it is always done.
"""
from lablib import MIB, Cgroup, Tap, Vm, in_place
from labswp import refused

SIZE = 256 * MIB
NOISE = 16 * MIB


def preallocate(vm, name='m'):
    return vm.qmp.command('qom-set', path=f'/objects/{name}', property='prealloc', value=True)


def convert(vm, state):
    vm.qmp.command('gmem-convert', id='m', offset=4 * MIB, size=4096, state=state, wait=True)


def check(tap, vm, group, initial):
    other = 'private' if initial == 'shared' else 'shared'
    before = group.guest_bytes()
    convert(vm, other)
    refused(tap, f'initial={initial}: prealloc after a conversion',
            f"memory 'm' cannot be preallocated now: pages of it have been converted to {other}",
            lambda: preallocate(vm))
    tap.ok(group.guest_bytes() - before < NOISE, f'initial={initial}: nothing was allocated',
           f'{before}, {group.guest_bytes()}')
    tap.equal(vm.qmp.command('qom-get', path='/objects/m', property='prealloc'), False,
              f'initial={initial}: prealloc is off')
    convert(vm, initial)
    preallocate(vm)
    found = group.guest_bytes() - before
    tap.ok(abs(found - SIZE) <= NOISE, f'initial={initial}: each page once, in its initial state',
           f'{found} of {SIZE}')


def check_in_place(tap, vm, group, what, state):
    before = group.guest_bytes()
    convert(vm, state)
    preallocate(vm)
    found = group.guest_bytes() - before
    tap.ok(abs(found - SIZE) <= NOISE, f'{what}: each page once', f'{found} of {SIZE}')
    for other in 'private', 'shared':
        vm.qmp.command('gmem-convert', id='m', offset=0, size=SIZE, state=other, timeout=120000,
                       wait=True)
        again = group.guest_bytes() - before
        tap.ok(abs(again - found) <= NOISE, f'{what}: made {other}, the same pages',
               f'{again} of {found}')


def check_running(tap, vm, group):
    refused(tap, 'prealloc while the VM runs', 'the guest may convert pages of it meanwhile',
            lambda: preallocate(vm))
    before = group.guest_bytes()
    vm.qmp.command('object-add', qom_type='memory-backend-gmem', id='d', size=128 * MIB,
                   initial='private')
    preallocate(vm, 'd')
    found = group.guest_bytes() - before
    tap.ok(abs(found - 128 * MIB) <= NOISE, "a DIMM's backend: each page once", found)


def machine(initial, group, *args):
    return Vm(['-accel', 'kvm', '-machine', 'q35-swp,memory-backend=m', '-m', '256M', '-object',
               f'memory-backend-gmem,id=m,size=256M,initial={initial}', *args], cgroup=group)


def main():
    tap = Tap()
    for initial in 'shared', 'private':
        group = Cgroup(initial)
        with machine(initial, group, '-S') as vm:
            if in_place():
                check_in_place(tap, vm, group, f'initial={initial}',
                               'private' if initial == 'shared' else 'shared')
            else:
                check(tap, vm, group, initial)
        group.remove()
    group = Cgroup('running')
    with machine('shared', group) as vm:
        if in_place():
            # SeaBIOS runs below 1 MiB and stays there, far from what is converted
            preallocate(vm)
            tap.ok(group.guest_bytes() > SIZE, 'while the VM runs: each page', group.stat())
        else:
            check_running(tap, vm, group)
    group.remove()
    tap.done()


if __name__ == '__main__':
    main()
