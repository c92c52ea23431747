#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: in-place=both mem=4G timeout=900
"""A DIMM is plugged in its initial state, or not at all.

1. a backend that the monitor has converted is plugged: all of it has its initial state
2. a backend that the monitor is converting is plugged: that works, or is refused with the
   reason, and then works when the conversion has ended
3. the backend of one DIMM is still refused to another
"""
from lablib import MIB, QmpError, Tap, Vm

SIZE = 256 * MIB
ROUNDS = 8


def add(vm, name, initial='shared', **more):
    vm.qmp.command('object-add', qom_type='memory-backend-gmem', id=name, size=SIZE,
                   initial=initial, **more)


def plug(vm, name, memdev):
    """None, or why not."""
    try:
        vm.qmp.command('device_add', driver='pc-dimm', id=name, memdev=memdev)
        return None
    except QmpError as error:
        return str(error)


def convert(vm, name, state, wait=True):
    vm.qmp.command('gmem-convert', id=name, offset=0, size=SIZE, state=state, timeout=120000,
                   wait=wait)


def size(vm, name, state):
    return vm.qmp.command('qom-get', path=f'/objects/{name}', property=f'{state}-size')


def ended(vm, name):
    """Wait for the end of the conversion of one block."""
    while event := vm.qmp.wait_event('GMEM_CONVERT_COMPLETED'):
        if event['data']['result']['id'] == name:
            return
    raise TimeoutError(f'the conversion of {name} does not end')


def check_converted(tap, vm):
    for initial, other in ('shared', 'private'), ('private', 'shared'):
        add(vm, initial, initial)
        convert(vm, initial, other)
        tap.equal(size(vm, initial, other), SIZE, f'initial={initial}: all is {other} before')
        tap.equal(plug(vm, f'd-{initial}', initial), None, f'initial={initial}: it is plugged')
        tap.equal(size(vm, initial, initial), SIZE, f'initial={initial}: all is {initial}')
    tap.ok('busy' in (plug(vm, 'second', 'shared') or ''), 'a DIMM takes no other DIMM\'s memory')
    tap.equal(size(vm, 'shared', 'shared'), SIZE, 'that one keeps it')


def check_converting(tap, vm):
    refusals = []
    for number in range(ROUNDS):
        name = f'm{number}'
        # memory that has to be freed makes a conversion take its time
        add(vm, name, prealloc=True)
        convert(vm, name, 'private', wait=False)
        while not size(vm, name, 'private'):
            pass
        if why := plug(vm, f'd{number}', name):
            refusals.append(why)
        ended(vm, name)
        if why and (again := plug(vm, f'd{number}', name)):
            tap.ok(False, f'round {number}: plugged when the conversion has ended', again)
        elif why:
            tap.equal(size(vm, name, 'shared'), SIZE, f'round {number}: plugged after that')
    tap.note(f'refused {len(refusals)} of {ROUNDS} times')
    tap.ok(all('they are being converted' in why for why in refusals),
           'while converting: plugged or refused', refusals)


def main():
    tap = Tap()
    with Vm(['-accel', 'kvm', '-S', '-machine', 'q35-swp', '-m',
             '128M,slots=16,maxmem=16G']) as vm:
        check_converted(tap, vm)
        check_converting(tap, vm)
        tap.equal(vm.qmp.command('query-status')['status'], 'prelaunch', 'the VM is well')
    tap.done()


if __name__ == '__main__':
    main()
