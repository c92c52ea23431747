#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both mem=5G timeout=900 hugepages=300
"""memory-backend-gmem on a machine with private memory: every property does what it says.

1. initial: the state that memory starts in, and goes back to
2. prealloc allocates each page once, on the side of its initial state if there are two, whatever
   the backend
3. shared-limit: the monitor's conversions and the limit
4. shared-hugetlb: shared pages on huge pages, freed when their last 4 KiB goes private; in place
   it is refused
5. policy and host-nodes: accepted, with a warning where they cannot govern private pages; in place
   they govern all pages
6. a DIMM with private memory is plugged; its backend is in use then
7. QOM properties follow the conversions
8. a program that QEMU starts does not get the guest_memfd
"""
import os
import re
from pathlib import Path

from gmemlab import SOAK
from lablib import Cgroup, QmpError, Tap, Vm, hugepages_free, in_place

MIB = 1 << 20
SIZE = (512 if SOAK else 128) * MIB
# QEMU's own heap and the kernel's view of it vary by a few MiB between starts
NOISE = 16 * MIB


def machine(options='', kind='memory-backend-gmem', **more):
    return Vm(['-accel', 'kvm', '-S', '-machine', 'q35-swp,memory-backend=m', '-m',
               f'{SIZE // MIB}M,slots=2,maxmem=2G', '-object', f'{kind},id=m,size={SIZE}{options}'],
              **more)


def get(vm, name, path='/objects/m'):
    return vm.qmp.command('qom-get', path=path, property=name)


def convert(vm, state, offset=0, size=SIZE):
    """None, or why the conversion ended early."""
    answer = vm.qmp.command('gmem-convert', id='m', offset=offset, size=size, state=state,
                            timeout=120000, wait=True)
    return answer.get('error')


def check_initial(tap):
    for state, other in ('private', 'shared'), ('shared', 'private'):
        with machine(f',initial={state}') as vm:
            tap.equal((get(vm, f'{state}-size'), get(vm, f'{other}-size')), (SIZE, 0),
                      f'initial={state}: all of it')
            convert(vm, other, 0, 4 * MIB)
            tap.equal((get(vm, f'{other}-size'), get(vm, 'conversions')), (4 * MIB, 1),
                      f'initial={state}: the properties follow a conversion')
            vm.qmp.command('set-action', reboot='reset')
            vm.qmp.command('system_reset')
            vm.qmp.wait_event('RESET')
            tap.equal(get(vm, f'{state}-size'), SIZE, f'initial={state}: reset brings it back')


def check_close_on_exec(tap):
    with machine() as vm:
        process = Path('/proc', str(vm.process.pid))
        flags = [re.search(r'flags:\s*(\d+)', (process / 'fdinfo' / fd.name).read_text())[1]
                 for fd in (process / 'fd').iterdir() if '[kvm-gmem]' in os.readlink(fd)]
    tap.ok(flags and all(int(value, 8) & os.O_CLOEXEC for value in flags),
           'the guest_memfd is closed on exec', flags)


def held(options, **more):
    """Bytes that the host holds for a VM that has not run."""
    group = Cgroup('prealloc')
    try:
        with machine(options, cgroup=group, **more):
            return group.guest_bytes(), group.stat()['shmem']
    finally:
        group.remove()


def check_prealloc(tap):
    for state in 'private', 'shared':
        lazy, _ = held(f',initial={state}')
        full, shmem = held(f',initial={state},prealloc=on,prealloc-threads=3')
        tap.ok(abs(full - lazy - SIZE) <= NOISE, f'prealloc, initial={state}: each page once',
               f'{lazy} without, {full} with, of {SIZE}')
        # the shared side is a memfd, which is counted as shmem
        tap.ok((shmem >= SIZE) == (state == 'shared' and not in_place()),
               f'prealloc, initial={state}: on that side', f'shmem {shmem}')
    lazy, _ = held('', kind='memory-backend-memfd')
    full, _ = held(',prealloc=on', kind='memory-backend-memfd')
    tap.ok(abs(full - lazy - SIZE) <= NOISE, 'prealloc of a memfd that became gmem',
           f'{lazy} without, {full} with, of {SIZE}')


def check_prealloc_later(tap):
    group = Cgroup('later')
    with machine(',initial=private', cgroup=group) as vm:
        before = group.guest_bytes()
        vm.qmp.command('qom-set', path='/objects/m', property='prealloc', value=True)
        tap.ok(abs(group.guest_bytes() - before - SIZE) <= NOISE,
               'prealloc set later: each page once', f'{before}, {group.guest_bytes()}')
    group.remove()


def check_limit(tap):
    with machine(',initial=private,shared-limit=8M') as vm:
        convert(vm, 'shared', 0, 8 * MIB)
        tap.equal(get(vm, 'shared-size'), 8 * MIB, 'shared-limit: as much may be shared')
        why = convert(vm, 'shared', 8 * MIB, 4096)
        tap.ok(why and get(vm, 'shared-size') == 8 * MIB, 'shared-limit: not a page more',
               f'{why}')
        tap.note(f'the answer was: {why}')
        convert(vm, 'private', 0, 4096)
        convert(vm, 'shared', 8 * MIB, 4096)
        tap.equal(get(vm, 'shared-size'), 8 * MIB, 'shared-limit: one goes, another comes')


def check_hugetlb(tap):
    free = hugepages_free()
    options = ',shared-hugetlb=on,shared-hugetlbsize=2M'
    with machine(options + ',prealloc=on') as vm:
        tap.equal(free - hugepages_free(), SIZE // (2 * MIB), 'shared-hugetlb: shared pages '
                  'lie on huge pages')
        convert(vm, 'private', 0, 2 * MIB - 4096)
        tap.equal(free - hugepages_free(), SIZE // (2 * MIB), 'shared-hugetlb: one 4 KiB page '
                  'keeps the huge page')
        convert(vm, 'private', 2 * MIB - 4096, 4096)
        tap.equal(free - hugepages_free(), SIZE // (2 * MIB) - 1, 'shared-hugetlb: the last one '
                  'frees it')
        convert(vm, 'private')
        tap.equal(hugepages_free(), free, 'shared-hugetlb: all private, all free')
    tap.equal(hugepages_free(), free, 'shared-hugetlb: QEMU leaves none behind')
    with machine(options.replace('2M', '3M'), start=False) as vm:
        vm.wait()
        tap.ok('power of 2' in vm.errors, 'shared-hugetlbsize=3M is refused', vm.report)
    with machine(',shared-hugetlbsize=2M', start=False) as vm:
        vm.wait()
        tap.ok('without shared-hugetlb=on' in vm.errors, 'shared-hugetlbsize alone is refused',
               vm.report)


def check_no_hugetlb(tap):
    for kind, option in (('memory-backend-gmem', 'shared-hugetlb=on'),
                         ('memory-backend-memfd', 'hugetlb=on,hugetlbsize=2M'),
                         ('memory-backend-memfd', 'share=off')):
        with machine(',' + option, kind=kind, start=False) as vm:
            wanted = f"{kind} 'm' cannot have {option.partition(',')[0]}: "
            tap.ok(vm.wait() == 1 and wanted in vm.errors, f'{kind}: {option} is refused',
                   vm.report)


def policies(vm):
    """The NUMA policies of what is mapped from a guest_memfd."""
    text = Path('/proc', str(vm.process.pid), 'numa_maps').read_text()
    return {line.split()[1] for line in text.splitlines() if 'kvm-gmem' in line}


def check_policy_in_place(tap):
    for state in 'private', 'shared':
        options = f',policy=bind,host-nodes=0,initial={state}'
        with machine(options) as vm:
            tap.ok('warning' not in vm.errors, f'policy, initial={state}: no warning', vm.report)
            tap.equal(policies(vm), {'bind:0'}, f'policy, initial={state}: all of the memory')
    with machine(',policy=bind,host-nodes=5,initial=private,prealloc=on', start=False) as vm:
        tap.ok(vm.wait() == 1 and 'cannot bind memory' in vm.errors,
               'policy: a node that is not there is refused', vm.report)


def check_policy(tap):
    warning = 'policy=bind governs shared pages only; private pages follow it with prealloc=on'
    with machine(',policy=bind,host-nodes=0') as vm:
        tap.ok(warning in vm.errors, 'policy: a warning without prealloc', vm.report)
    with machine(',policy=bind,host-nodes=0,initial=private,prealloc=on') as vm:
        tap.ok('warning' not in vm.errors, 'policy: none with it', vm.report)
    with machine(',policy=bind,host-nodes=5,initial=private,prealloc=on', start=False) as vm:
        tap.ok(vm.wait() == 1 and 'cannot bind memory' in vm.errors,
               'policy: a node that is not there is refused', vm.report)


def check_dimm(tap):
    with machine() as vm:
        command = vm.qmp.command
        command('object-add', qom_type='memory-backend-gmem', id='d', size=128 * MIB,
                initial='private')
        command('device_add', driver='pc-dimm', id='dimm', memdev='d')
        tap.equal(get(vm, 'private-size', '/objects/d'), 128 * MIB, 'a DIMM with private memory')
        try:
            command('object-del', id='d')
            tap.ok(False, 'its backend is in use')
        except QmpError as error:
            tap.ok('in use' in str(error), 'its backend is in use', str(error))
        names = [b['id'] for b in command('query-gmem')['blocks']]
        tap.equal(sorted(names), ['d', 'm'], 'both are listed')


def main():
    tap = Tap()
    check_initial(tap)
    check_prealloc(tap)
    check_prealloc_later(tap)
    check_limit(tap)
    if in_place():
        check_no_hugetlb(tap)
        check_policy_in_place(tap)
    else:
        check_hugetlb(tap)
        check_policy(tap)
    check_dimm(tap)
    check_close_on_exec(tap)
    tap.done()


if __name__ == '__main__':
    main()
