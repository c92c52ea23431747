#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared mem=4G timeout=900
"""A guest that sleeps (ACPI S3) keeps its memory; one that is reset gets it anew.

1. memory is private when the machine goes to sleep, and after it wakes: nothing was converted
2. the same memory is shared again when the machine is reset afterwards

SeaBIOS sets up the sleep register; the monitor writes it in a guest's stead. SeaBIOS finds
nobody to resume and asks for a reset then, which only stops the VM here.
"""
from lablib import MIB, Tap, Vm

ARGS = ['-accel', 'kvm', '-machine', 'q35-swp', '-m', '512M',
        '-action', 'reboot=shutdown,shutdown=pause', '-chardev', 'ringbuf,id=bios,size=64K',
        '-device', 'isa-debugcon,iobase=0x402,chardev=bios']
OFFSET, SIZE = 64 * MIB, 300 * MIB
PM1_CONTROL, SLEEP_S3 = 0x604, 1 << 13 | 1 << 10


def ram(vm):
    return vm.qmp.command('query-gmem')['blocks'][0]


def private_map(vm):
    ranges = vm.qmp.command('query-gmem-map', id='pc.ram')['ranges']
    return [(r['offset'], r['size']) for r in ranges if r['state'] == 'private']


def booted(vm):
    """SeaBIOS has come to its end."""
    text, last = '', 'No bootable device'
    for _ in range(1200):
        text += vm.qmp.command('ringbuf-read', device='bios', size=65536)
        if last in text:
            return True
        vm.qmp.wait_event('SHUTDOWN', 0.2)
    return False


def check_sleep(tap, vm):
    tap.ok(booted(vm), 'SeaBIOS comes to its end', vm.report)
    vm.qmp.command('gmem-convert', id='pc.ram', offset=OFFSET, size=SIZE, state='private',
                   timeout=120000, wait=True)
    before = ram(vm)
    tap.equal(private_map(vm), [(OFFSET, SIZE)], 'memory is private')
    vm.qmp.hmp(f'o/w {PM1_CONTROL:#x} {SLEEP_S3:#x}')
    tap.ok(vm.qmp.wait_event('SUSPEND'), 'the machine sleeps', vm.report)
    vm.qmp.command('system_wakeup')
    tap.ok(vm.qmp.wait_event('WAKEUP'), 'it wakes', vm.report)
    tap.equal(private_map(vm), [(OFFSET, SIZE)], 'the same memory is private')
    tap.equal(ram(vm)['to-shared'], before['to-shared'], 'nothing was converted meanwhile')


def check_reset(tap, vm):
    vm.qmp.command('set-action', reboot='reset')
    vm.qmp.command('system_reset')
    tap.ok(vm.qmp.wait_event('RESET'), 'the machine is reset', vm.report)
    tap.equal(private_map(vm), [], 'then all memory is shared')


def main():
    tap = Tap()
    with Vm(ARGS) as vm:
        check_sleep(tap, vm)
        check_reset(tap, vm)
    tap.done()


if __name__ == '__main__':
    main()
