#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both mem=4G timeout=900
"""pc-q35-swp and sw-protected-guest: what the machine is, and what it refuses.

1. -machine q35-swp -m 512M is complete: RAM is gmem, SMM is off, SeaBIOS runs
2. memory-backend-ram and -memfd become gmem, unless guest-memfd=off; -numa with two backends
3. the same object on an ordinary q35, and without a named accelerator
4. command lines that are refused: SMM, conversion=none, mem-lock, and more
5. migration, snapshots, dirty rates and dirty limits are refused, with the reason
6. a reset returns memory to its initial state, and the machine boots again
7. on-fault can be read and changed
"""
from lablib import Tap, Vm, in_place
from labswp import refused, wait_job

MIB = 1 << 20
MODE = 'in-place' if in_place() else 'split'
KVM = ['-accel', 'kvm']
SWP = [*KVM, '-machine', 'q35-swp', '-m', '512M']
BIOS_LOG = ['-chardev', 'ringbuf,id=bios,size=64K', '-device',
            'isa-debugcon,iobase=0x402,chardev=bios']
REBOOT = ['-action', 'reboot=reset']


def blocks(vm):
    return {b['id']: b for b in vm.qmp.command('query-gmem')['blocks']}


def get(vm, path, name):
    return vm.qmp.command('qom-get', path=path, property=name)


def check_bios(tap, vm, name):
    """SeaBIOS runs until it finds nothing to boot from."""
    text, last = '', 'No bootable device'
    for _ in range(1200):
        text += vm.qmp.command('ringbuf-read', device='bios', size=65536)
        if last in text or vm.qmp.wait_event('SHUTDOWN', 0.2):
            break
    tap.ok(last in text, name, text[-800:])


def check_complete(tap):
    with Vm([*SWP, *BIOS_LOG]) as vm:
        ram = blocks(vm).get('pc.ram', {})
        tap.equal((ram.get('mode'), ram.get('shared')), (MODE, 512 * MIB),
                  f'complete: RAM is gmem in mode {MODE}, all shared')
        tap.equal(get(vm, '/machine', 'smm'), 'off', 'complete: SMM is off')
        tap.equal(get(vm, '/machine', 'confidential-guest-support'),
                  '/machine/default-guest', 'complete: it has a guest of its own')
        tap.equal(get(vm, '/objects/pc.ram', 'mode'), MODE, 'complete: so says the backend')
        check_bios(tap, vm, 'complete: SeaBIOS gets to its end')


def with_backend(options, machine='q35-swp,memory-backend=m'):
    return Vm([*KVM, '-machine', machine, '-m', '512M', '-S', '-object', options])


def check_upgrade(tap):
    for kind in 'memory-backend-ram', 'memory-backend-memfd', 'memory-backend-gmem':
        with with_backend(f'{kind},id=m,size=512M') as vm:
            tap.equal(blocks(vm).get('m', {}).get('mode'), MODE, f'{kind} is gmem')
    with with_backend('memory-backend-memfd,id=m,size=512M,guest-memfd=off') as vm:
        tap.equal(blocks(vm), {}, 'guest-memfd=off: it stays shared for ever')
    with Vm([*KVM, '-machine', 'q35-swp', '-m', '512M', '-smp', '2', '-S', '-object',
             'memory-backend-gmem,id=a,size=256M', '-object', 'memory-backend-ram,id=b,size=256M',
             '-numa', 'node,memdev=a', '-numa', 'node,memdev=b']) as vm:
        tap.equal({n: b['size'] for n, b in blocks(vm).items()}, {'a': 256 * MIB, 'b': 256 * MIB},
                  'two NUMA nodes have a block each')


def check_ordinary(tap):
    with with_backend('memory-backend-gmem,id=m,size=512M', 'q35,memory-backend=m') as vm:
        tap.equal(blocks(vm).get('m', {}).get('mode'), 'none', 'without private memory: none')


def check_other_starts(tap):
    with Vm([*KVM, '-machine', 'q35,confidential-guest-support=s', '-m', '512M', '-S',
             '-object', 'sw-protected-guest,id=s']) as vm:
        tap.equal(blocks(vm).get('pc.ram', {}).get('mode'), MODE,
                  'the object makes an ordinary q35 such a machine')
    with Vm(['-machine', 'pc-q35-swp', '-m', '512M', '-S']) as vm:
        tap.ok(vm.qmp.command('query-kvm')['enabled'], 'KVM is used where no accelerator is named')


BACKEND = 'memory-backend-gmem,id=m,size=512M'
COMMAND_LINES = [
    ('smm=on', ['-machine', 'q35-swp,smm=on'],
     'sw-protected-guest: smm=on is not possible, KVM has no SMM'),
    ('conversion=none', ['-machine', 'q35-swp,memory-backend=m', '-object',
                         BACKEND + ',conversion=none'],
     "memory-backend-gmem 'm' cannot have conversion=none: "),
    ('a shared-limit below what starts shared',
     ['-machine', 'q35-swp,memory-backend=m', '-object', BACKEND + ',shared-limit=64M'],
     "cannot have shared-limit=67108864: all of its 536870912 bytes start shared"),
    ('a file', ['-machine', 'q35-swp,memory-backend=m', '-object',
                'memory-backend-file,id=m,size=512M,mem-path=/tmp'],
     "memory-backend-file 'm' cannot be RAM of a machine with sw-protected-guest"),
    ('-mem-path', ['-machine', 'q35-swp', '-mem-path', '/tmp'],
     '-mem-path /tmp is not possible'),
    ('-only-migratable', ['-machine', 'q35-swp', '-only-migratable'],
     'cannot be migrated or saved'),
]


OF_SPLIT = [
    ('conversion=in-place', ['-machine', 'q35-swp,memory-backend=m', '-object',
                             BACKEND + ',conversion=in-place'],
     "memory-backend-gmem 'm' cannot have conversion=in-place: this kernel does not convert in "
     'place'),
    ('mem-lock=on', ['-machine', 'q35-swp', '-overcommit', 'mem-lock=on'],
     "cannot be used with -overcommit mem-lock=on"),
]
OF_IN_PLACE = [
    ('conversion=split', ['-machine', 'q35-swp,memory-backend=m', '-object',
                          BACKEND + ',conversion=split'],
     "memory-backend-gmem 'm' cannot have conversion=split: this kernel converts in place"),
    ('conversion=split, and what to do,', ['-machine', 'q35-swp,memory-backend=m', '-object',
                                           BACKEND + ',conversion=split'],
     'load kvm with kvm.gmem_in_place_conversion=0'),
    ('in-place on an ordinary machine,', ['-machine', 'q35,memory-backend=m', '-object',
                                          BACKEND + ',conversion=in-place'],
     'conversion=in-place is for machines with private memory, and this machine has none'),
]


def check_command_lines(tap):
    for what, args, reason in COMMAND_LINES + (OF_IN_PLACE if in_place() else OF_SPLIT):
        with Vm([*KVM, '-m', '512M', '-S', *args], start=False) as vm:
            status = vm.wait()
            tap.ok(status == 1 and reason in vm.errors, f'{what} is refused', vm.report)


def check_migration(tap):
    untracked = 'cannot be tracked: KVM has no dirty log for guest_memfd'
    with Vm([*KVM, '-machine', 'q35-swp', '-m', '512M']) as vm:
        command = vm.qmp.command
        refused(tap, 'migration', 'its private memory cannot be read',
                lambda: command('migrate', uri='file:/tmp/state'))
        refused(tap, 'a snapshot', 'its private memory cannot be read', lambda: command(
            'snapshot-save', job_id='j', tag='t', vmstate='none', devices=[])
            or wait_job(vm, 'j'))
        for mode in 'page-sampling', 'dirty-bitmap', 'dirty-ring':
            refused(tap, f'calc-dirty-rate, {mode},', untracked,
                    lambda mode=mode: command('calc-dirty-rate', calc_time=1, mode=mode))
        refused(tap, 'a dirty limit', untracked,
                lambda: command('set-vcpu-dirty-limit', dirty_rate=10))
        tap.ok('cannot be tracked' in vm.qmp.hmp('calc_dirty_rate -b 1'),
               'calc_dirty_rate -b is refused')
        tap.ok('cannot be migrated or saved' in vm.qmp.hmp('savevm t'), 'savevm is refused')
        tap.equal(command('query-status')['status'], 'running', 'the VM runs on')


def check_incoming(tap):
    with Vm([*KVM, '-machine', 'q35-swp', '-m', '512M', '-incoming', 'file:/dev/zero'],
            start=False) as vm:
        vm.wait()
        tap.ok('cannot load a saved or migrated state' in vm.errors, '-incoming is refused',
               vm.report)


def check_reset(tap):
    with Vm([*SWP, *BIOS_LOG, *REBOOT, '-S']) as vm:
        for offset, size in (0, 64 * 4096), (64 * MIB, 300 * MIB):
            vm.qmp.command('gmem-convert', id='pc.ram', offset=offset, size=size,
                           state='private', timeout=120000, wait=True)
        private = 64 * 4096 + 300 * MIB
        tap.equal(blocks(vm)['pc.ram']['private'], private, 'reset: memory is private before')
        vm.qmp.command('system_reset')
        tap.ok(vm.qmp.wait_event('RESET'), 'reset: it happens')
        tap.equal(blocks(vm)['pc.ram']['private'], 0, 'reset: all of it is shared again')
        vm.qmp.command('cont')
        check_bios(tap, vm, 'reset: SeaBIOS runs in it')


def check_on_fault(tap):
    with Vm([*KVM, '-machine', 'q35,confidential-guest-support=s', '-m', '256M', '-S',
             '-object', 'sw-protected-guest,id=s,on-fault=pause']) as vm:
        tap.equal(get(vm, '/objects/s', 'on-fault'), 'pause', 'on-fault is what was asked')
        vm.qmp.command('qom-set', path='/objects/s', property='on-fault', value='shutdown')
        tap.equal(get(vm, '/objects/s', 'on-fault'), 'shutdown', 'on-fault can be changed')
        refused(tap, 'an unknown on-fault', 'does not accept value', lambda: vm.qmp.command(
            'qom-set', path='/objects/s', property='on-fault', value='panic'))
        refused(tap, 'object-del of the guest', 'in use',
                lambda: vm.qmp.command('object-del', id='s'))


def main():
    tap = Tap()
    check_complete(tap)
    check_upgrade(tap)
    check_ordinary(tap)
    check_other_starts(tap)
    check_command_lines(tap)
    check_migration(tap)
    check_incoming(tap)
    check_reset(tap)
    check_on_fault(tap)
    tap.done()


if __name__ == '__main__':
    main()
