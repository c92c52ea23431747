#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=4G timeout=900
"""A DIMM is plugged in its initial state, or not at all.

1. a backend that the monitor has converted is plugged: refused until all of it has its initial
   state, and the monitor converts it no more until it is plugged
2. a backend that the monitor is converting is plugged: the same, and ends the conversion
3. the backend of one DIMM is still refused to another
"""
from gmemlab import SOAK
from labdimm import CLOSED, MACHINE, NOT_YET, SIZE, add, convert, plug, plug_as, \
    plug_at_last, size
from lablib import Tap, Vm

ROUNDS = 8 if SOAK else 3


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
        tap.ok(NOT_YET in (plug(vm, initial) or ''), f'initial={initial}: a DIMM is refused')
        why = convert(vm, initial, other)
        tap.ok(CLOSED in (why or ''), f'initial={initial}: the monitor converts it no more', why)
        tap.equal(plug_at_last(vm, initial)[0], None, f'initial={initial}: it is plugged in the end')
        tap.equal(size(vm, initial, initial), SIZE, f'initial={initial}: all is {initial}')
        tap.equal(convert(vm, initial, other), None, f'initial={initial}: and takes conversions')
    tap.ok('busy' in (plug_as(vm, 'second', 'shared') or ''),
           'a DIMM takes no other DIMM\'s memory')
    tap.equal(size(vm, 'shared', 'private'), SIZE, 'that one keeps it')


def check_converting(tap, vm):
    refused = 0
    for number in range(ROUNDS):
        name = f'm{number}'
        # memory that has to be freed makes a conversion take its time
        add(vm, name, prealloc=True)
        convert(vm, name, 'private', wait=False)
        while not size(vm, name, 'private'):
            pass
        why, early = plug_at_last(vm, name)
        tap.equal(why, None, f'round {number}: it is plugged in the end')
        tap.equal(size(vm, name, 'shared'), SIZE, f'round {number}: all is shared')
        refused += early > 0
        ended(vm, name)
    tap.equal(refused, ROUNDS, 'each was refused at first')


def main():
    tap = Tap()
    with Vm(MACHINE) as vm:
        check_converted(tap, vm)
        check_converting(tap, vm)
        tap.equal(vm.qmp.command('query-status')['status'], 'prelaunch', 'the VM is well')
    tap.done()


if __name__ == '__main__':
    main()
