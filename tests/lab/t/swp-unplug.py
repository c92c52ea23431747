#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=3G timeout=900
"""A DIMM's memory is given back its initial state when the guest lets it go.

1. the guest ejects a DIMM all of whose pages have changed state: they take no conversions any
   more, and the next DIMM on the same memory finds the initial state
2. the same memory once more, which so goes through all of that again
3. while it is given back: object-del, a reset of the machine, and the end of QEMU
"""
import os

from labdimm import CLOSED, MACHINE, NOT_YET, SIZE, add, convert, plug, plug_at_last, size
from lablib import Tap, Vm, in_place
from labport import PORT_ARGS, Ports

# the registers by which a guest's firmware ejects memory: which slot, and the command
SELECTOR, CONTROL, EJECT = 0xa00, 0xa14, 8


def fill(vm):
    """Have the host hold all that is shared: then it takes time to free it."""
    folder = f'/proc/{vm.process.pid}/fd'
    for fd in os.listdir(folder):
        path = os.path.join(folder, fd)
        if in_place() or 'memory-backend-gmem' not in os.readlink(path):
            continue
        with open(path, 'r+b') as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def eject(vm, ports, name):
    """The first slot."""
    vm.qmp.command('device_del', id=f'd-{name}')
    ports.ask('outl', SELECTOR, 0)
    ports.ask('outb', CONTROL, EJECT)
    while event := vm.qmp.wait_event('DEVICE_DELETED'):
        if event['data'].get('device') == f'd-{name}':
            return True
    return False


def check_eject(tap, vm):
    ports = Ports()
    add(vm, 'm', 'private')
    tap.equal(plug(vm, 'm'), None, 'memory that is new is plugged at once')
    for turn in 'first', 'second':
        tap.equal(convert(vm, 'm', 'shared'), None, f'{turn}: the monitor converts it')
        fill(vm)
        tap.ok(eject(vm, ports, 'm'), f'{turn}: the guest ejects it')
        why = convert(vm, 'm', 'shared')
        tap.ok(CLOSED in (why or ''), f'{turn}: it takes no conversions', why)
        tap.equal(plug_at_last(vm, 'm')[0], None, f'{turn}: it is plugged again')
        tap.equal(size(vm, 'm', 'private'), SIZE, f'{turn}: all of it is private')
    tap.ok(eject(vm, ports, 'm'), 'the guest ejects it for good')
    vm.qmp.command('object-del', id='m')


def begin(tap, vm, name):
    # so impatient that a reset would not wait for it
    add(vm, name, 'private', conversion_timeout=1)
    convert(vm, name, 'shared')
    fill(vm)
    why = plug(vm, name)
    tap.ok(NOT_YET in (why or ''), f'{name}: a DIMM has to wait for the memory', why)


def check_meanwhile(tap, vm):
    for number in range(3):
        begin(tap, vm, f'del{number}')
        vm.qmp.command('object-del', id=f'del{number}')
        ids = [block['id'] for block in vm.qmp.command('query-gmem')['blocks']]
        tap.ok(not any('del' in word for word in ids), 'it is deleted meanwhile', ids)
    begin(tap, vm, 'reset')
    vm.qmp.command('system_reset')
    tap.ok(vm.qmp.wait_event('RESET'), 'the machine is reset meanwhile')
    tap.equal(plug_at_last(vm, 'reset')[0], None, 'it is plugged in the end')
    tap.equal(size(vm, 'reset', 'private'), SIZE, 'all of it is private')
    begin(tap, vm, 'end')
    tap.equal(vm.quit(), 0, 'QEMU ends meanwhile')
    tap.ok('could not be' not in vm.errors, 'no memory was left behind', vm.errors)


def main():
    tap = Tap()
    with Vm([*MACHINE, '-action', 'reboot=reset', *PORT_ARGS]) as vm:
        check_eject(tap, vm)
        check_meanwhile(tap, vm)
    tap.done()


if __name__ == '__main__':
    main()
