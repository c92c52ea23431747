#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared mem=4G timeout=900
"""A machine with private memory refuses to load a snapshot before anything has changed.

1. an ordinary VM makes a disk with a snapshot, and writes to the disk after it
2. loadvm, snapshot-load and -loadvm of that snapshot are refused on pc-q35-swp: the disk is
   unchanged, and private memory is as it was, so the machine was not reset
3. an ordinary VM loads the snapshot, which changes the disk: so the comparison would tell
"""
import hashlib
import os
import tempfile

from lablib import MIB, Tap, Vm
from labswp import refused, wait_job

REASON = 'cannot load a saved or migrated state'
MACHINE = {'swp': ['-machine', 'q35-swp'], 'ordinary': ['-machine', 'q35']}
DISK = ',format=qcow2,if=none,id=d,node-name=node'


def start(kind, disk, *args, **more):
    return Vm(['-accel', 'kvm', '-m', '128M', '-S', *MACHINE[kind],
               '-drive', f'file={disk}{DISK}', *args], **more)


def digest(disk):
    with open(disk, 'rb') as f:
        return hashlib.file_digest(f, 'sha256').hexdigest()


def make_image(path):
    """An empty qcow2 image; only QEMU itself is there to make one."""
    with open(path, 'wb'):
        pass
    with Vm(['-machine', 'none']) as vm:
        vm.qmp.command('blockdev-add', driver='file', node_name='f', filename=path)
        vm.qmp.command('blockdev-create', job_id='j', options={
            'driver': 'qcow2', 'file': 'f', 'size': 64 * MIB})
        wait_job(vm, 'j')
        vm.quit()


def make_snapshot(tap, disk):
    make_image(disk)
    with start('ordinary', disk) as vm:
        vm.qmp.hmp('qemu-io d "write -P 1 0 1M"')
        answer = vm.qmp.hmp('savevm t')
        vm.qmp.hmp('qemu-io d "write -P 2 0 1M"')
        tap.ok(not answer and ' t ' in vm.qmp.hmp('info snapshots'),
               'an ordinary VM makes a snapshot', answer)
        vm.quit()


def load_job(vm):
    vm.qmp.command('snapshot-load', job_id='load', tag='t', vmstate='node', devices=['node'])
    wait_job(vm, 'load')


def check_refused(tap, disk):
    with start('swp', disk) as vm:
        before = digest(disk)
        vm.qmp.command('gmem-convert', id='pc.ram', offset=64 * MIB, size=MIB, state='private',
                       wait=True)
        answer = vm.qmp.hmp('loadvm t')
        tap.ok(REASON in answer, 'loadvm is refused', answer)
        refused(tap, 'snapshot-load', REASON, lambda: load_job(vm))
        tap.equal(digest(disk), before, 'the disk is unchanged')
        tap.equal(vm.qmp.command('query-gmem')['blocks'][0]['private'], MIB,
                  'private memory is as it was')
        vm.quit()
    before = digest(disk)
    with start('swp', disk, '-loadvm', 't', start=False) as vm:
        tap.ok(vm.wait() == 1 and REASON in vm.errors, '-loadvm is refused', vm.report)
    tap.equal(digest(disk), before, 'the disk is unchanged by that, too')


def check_ordinary(tap, disk):
    before = digest(disk)
    with start('ordinary', disk) as vm:
        answer = vm.qmp.hmp('loadvm t')
        tap.equal(answer, '', 'an ordinary VM loads it')
        vm.quit()
    tap.ok(digest(disk) != before, 'that changes the disk')


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as directory:
        disk = os.path.join(directory, 'disk.qcow2')
        make_snapshot(tap, disk)
        check_refused(tap, disk)
        check_ordinary(tap, disk)
    tap.done()


if __name__ == '__main__':
    main()
