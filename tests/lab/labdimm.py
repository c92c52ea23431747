# SPDX-License-Identifier: GPL-2.0-or-later
"""DIMMs of a running machine, each on a memory-backend-gmem of its own."""
import time

from lablib import MIB, PATIENCE, QmpError

SIZE = 256 * MIB
MACHINE = ['-accel', 'kvm', '-S', '-machine', 'q35-swp', '-m', '128M,slots=16,maxmem=16G']
NOT_YET = 'its pages are still being given their initial state'
CLOSED = 'takes no conversions until'


def add(vm, name, initial='shared', **more):
    vm.qmp.command('object-add', qom_type='memory-backend-gmem', id=name, size=SIZE,
                   initial=initial, **more)


def plug(vm, name):
    """Plug d-NAME, whose memory is NAME; None, or why not."""
    return plug_as(vm, f'd-{name}', name)


def plug_as(vm, name, memdev):
    try:
        vm.qmp.command('device_add', driver='pc-dimm', id=name, memdev=memdev)
        return None
    except QmpError as error:
        return str(error)


def plug_at_last(vm, name, dimm=None):
    """The same, when it is not too early any more; and how often it was."""
    dimm = dimm or f'd-{name}'
    deadline = time.monotonic() + PATIENCE
    early = 0
    while (why := plug_as(vm, dimm, name)) and NOT_YET in why and time.monotonic() < deadline:
        early += 1
        time.sleep(0.01)
    return why, early


def convert(vm, name, state, wait=True):
    """Convert all of it; None, or why not."""
    try:
        vm.qmp.command('gmem-convert', id=name, offset=0, size=SIZE, state=state, timeout=120000,
                       wait=wait)
        return None
    except QmpError as error:
        return str(error)


def size(vm, name, state):
    return vm.qmp.command('qom-get', path=f'/objects/{name}', property=f'{state}-size')
