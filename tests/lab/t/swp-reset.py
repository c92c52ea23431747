#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=4G timeout=900
"""A reset comes at any time: memory is shared again, and the guest starts anew in it.

1. the guest's two vCPUs are converting at random when the machine is reset, several times
2. the last time the guest runs to its end and finds everything in order
3. the monitor is converting when the machine is reset: that is cancelled first, all memory is
   shared afterwards, and the monitor still answers
4. a guest that has made all but its own few MiB private is reset, and runs again
"""
import os
import re

from gmemlab import CONTENT, SOAK
from lablib import Tap, Vm

MIB = 1 << 20
SIZE = 512 * MIB
ARGS = ['-accel', 'kvm', '-machine', 'q35-swp,memory-backend=m', '-m', '512M', '-smp', '2',
        '-object', 'memory-backend-gmem,id=m,size=512M,conversion-timeout=30000',
        '-action', 'reboot=reset', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4']
RESETS, ROUNDS, CONVERSIONS = (4, 3000, 3) if SOAK else (2, 250, 1)


def guest(append):
    return Vm([*ARGS, '-kernel', os.environ['GMEM_GUEST'], '-append',
               f'{append} content={CONTENT}'])


def shared(vm):
    return vm.qmp.command('query-gmem')['blocks'][0]['shared']


def times(vm, text, count):
    """The guest has said text count times."""
    return vm.serial.wait_for(f'(?s)({text}.*){{{count}}}')


def check_random(tap):
    with guest(f'test=random cpus=2 rounds={ROUNDS}') as vm:
        for count in range(1, RESETS + 1):
            if not times(vm, 'BEGIN random', count):
                break
            vm.qmp.command('system_reset')
            if not vm.qmp.wait_event('RESET'):
                break
        tap.ok(times(vm, 'BEGIN random', RESETS + 1),
               f'reset {RESETS} times while it converts, the guest starts again', vm.report)
        done = vm.serial.wait_for(r'GUEST-DONE pass=(\d+) fail=(\d+)')
        tap.ok(done and int(done[1]) and not int(done[2]), 'then it finds everything in order',
               vm.report)
        tap.ok('could not be made' not in vm.errors, 'no reset left memory behind', vm.errors)


def convert(vm, state, wait=False):
    vm.qmp.command('gmem-convert', id='m', offset=0, size=SIZE, state=state, wait=wait)


def check_monitor(tap):
    with Vm([*ARGS, '-S']) as vm:
        for state, other in (('private', 'shared'), ('shared', 'private')) * CONVERSIONS:
            convert(vm, other, wait=True)
            vm.qmp.wait_event('GMEM_CONVERT_COMPLETED')
            convert(vm, state)
            vm.qmp.command('system_reset')
            tap.ok(vm.qmp.wait_event('RESET'), f'reset while the monitor makes memory {state}')
            tap.ok(vm.qmp.wait_event('GMEM_CONVERT_COMPLETED'), 'its conversion ends')
            tap.equal(shared(vm), SIZE, 'and all memory is shared')


def check_all_private(tap):
    with guest('test=cycle step=1') as vm:
        vm.serial.wait_for('WAIT cycle/start$')
        vm.serial.write('x')
        found = vm.serial.wait_for('WAIT cycle/private$')
        tap.ok(found and shared(vm) < 8 * MIB, 'the guest has made its memory private',
               vm.report)
        seen = len(re.findall('BEGIN cycle', vm.serial.text))
        vm.qmp.command('system_reset')
        vm.qmp.wait_event('RESET')
        tap.ok(times(vm, 'BEGIN cycle', seen + 1), 'reset, it starts again', vm.report)
        vm.serial.write('x' * 16)
        done = vm.serial.wait_for(r'GUEST-DONE pass=(\d+) fail=(\d+)')
        tap.ok(done and int(done[1]) and not int(done[2]), 'and finds everything in order',
               vm.report)


def main():
    tap = Tap()
    check_random(tap)
    check_monitor(tap)
    check_all_private(tap)
    tap.done()


if __name__ == '__main__':
    main()
