#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared mem=3G timeout=900 hugepages=80
"""Which vhost-user devices there are with private memory, and what the others are told.

The back end is a thread here that answers what QEMU asks before a device starts.

1. a disk and a file system are accepted; the same back end's rng is not, on a machine with private memory
2. a disk whose back end cannot give up single regions, or acknowledge; one with too many queues
3. a file system that would get a new back end, by reconnect-ms or server=on
4. memory on huge pages, whichever comes second
5. a disk behind a virtual IOMMU
6. an ordinary machine refuses none of the first two
"""
import os
import re
import socket
import struct
import tempfile
import threading
import time

from lablib import MIB, PATIENCE, QmpError, Tap, Vm

PRIVATE = ['-accel', 'kvm', '-S', '-machine', 'q35-swp', '-m', '128M,slots=4,maxmem=1G']
ORDINARY = ['-accel', 'kvm', '-S', '-machine', 'q35', '-m', '128M']
PORTS = [word for n in range(8) for word in ('-device', f'pcie-root-port,id=port{n},chassis={n}')]

# Of the protocol: what is asked, and what there is to be had
GET_FEATURES, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_CONFIG, GET_MAX_MEM_SLOTS = 1, 15, 17, 24, 36
NEED_REPLY, IS_REPLY = 8, 5
FEATURES = 1 << 30 | 1 << 32
MQ, REPLY_ACK, CONFIG, MEM_SLOTS = 1 << 0, 1 << 3, 1 << 9, 1 << 15
ALL = MQ | REPLY_ACK | CONFIG | MEM_SLOTS

KIND = 'a device of this kind keeps buffers'
REGIONS = 'the back end cannot give up single regions of memory with acknowledgement'
HUGE = 'a back end cannot give up single pages of memory'


class BackEnd:
    """One that takes one connection after the other."""

    def __init__(self, features=ALL):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, 'socket')
        self.answers = {GET_FEATURES: FEATURES, GET_PROTOCOL_FEATURES: features,
                        GET_QUEUE_NUM: 1024, GET_MAX_MEM_SLOTS: 64}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def call(self, path):
        """Come to QEMU, which is about to listen there."""
        connection = socket.socket(socket.AF_UNIX)
        while connection.connect_ex(path):
            time.sleep(0.1)
        self._serve(connection)

    def _serve(self, connection):
        while len(header := connection.recv(12, socket.MSG_WAITALL)) == 12:
            request, flags, size = struct.unpack('<III', header)
            payload = connection.recv(size, socket.MSG_WAITALL) if size else b''
            if request in self.answers:
                payload = struct.pack('<Q', self.answers[request])
            elif request != GET_CONFIG:
                payload = bytes(8) if flags & NEED_REPLY else b''
            if payload:
                connection.sendall(struct.pack('<III', request, IS_REPLY, len(payload)) + payload)


def device_add(vm, port, driver, path, options='', **more):
    """Add a chardev and a device with it: None, or why not."""
    words = f'socket,id=c{port},path={path}{options}'
    try:
        said = vm.qmp.hmp(f'chardev-add {words}')
        if said.startswith('Error'):
            return f'no chardev: {said}'
        deadline = time.monotonic() + PATIENCE
        while re.search(rf'^c{port}: .*disconnected', vm.qmp.hmp('info chardev'), re.MULTILINE) \
                and time.monotonic() < deadline:
            time.sleep(0.1)
        vm.qmp.command('device_add', driver=driver, id=f'd{port}', bus=f'port{port}',
                       chardev=f'c{port}', **more)
        return None
    except QmpError as error:
        return str(error)


def check_refused(tap, why, part, what):
    tap.ok(why and part in why, f'{what}: refused', why)


def check_kinds(tap, vm, path):
    tap.equal(device_add(vm, 0, 'vhost-user-blk-pci', path), None, 'a disk is accepted')
    tap.equal(device_add(vm, 1, 'vhost-user-fs-pci', path, tag='files'), None,
              'a file system is accepted')
    check_refused(tap, device_add(vm, 2, 'vhost-user-rng-pci', path), KIND, 'an rng')


def check_back_ends(tap, vm, path):
    for features, what in (ALL & ~MEM_SLOTS, 'without CONFIGURE_MEM_SLOTS'), \
                          (ALL & ~REPLY_ACK, 'without REPLY_ACK'):
        why = device_add(vm, 3, 'vhost-user-blk-pci', BackEnd(features).path)
        check_refused(tap, why, REGIONS, what)
        vm.qmp.command('chardev-remove', id='c3')
    why = device_add(vm, 3, 'vhost-user-blk-pci', path, num_queues=257)
    check_refused(tap, why, '257 queues are more than the 256', 'too many queues')


def check_once(tap, vm, path):
    why = device_add(vm, 4, 'vhost-user-fs-pci', path, ',reconnect-ms=1000', tag='more')
    check_refused(tap, why, 'cannot have reconnect-ms here', 'a file system with reconnect-ms')
    vm.qmp.command('chardev-remove', id='c4')
    caller = BackEnd()
    threading.Thread(target=caller.call, args=[path + '.server'], daemon=True).start()
    why = device_add(vm, 4, 'vhost-user-fs-pci', path + '.server', ',server=on', tag='more')
    check_refused(tap, why, 'cannot have server=on here', 'a file system with server=on')


def add_memory(vm):
    """A DIMM on huge pages: None, or why not."""
    try:
        vm.qmp.command('object-add', qom_type='memory-backend-gmem', id='huge', size=128 * MIB,
                       shared_hugetlb=True)
        vm.qmp.command('device_add', driver='pc-dimm', id='dimm', memdev='huge')
        return None
    except QmpError as error:
        return str(error)


def main():
    tap = Tap()
    back_end = BackEnd()
    with Vm(PRIVATE + PORTS) as vm:
        check_kinds(tap, vm, back_end.path)
        check_refused(tap, add_memory(vm), HUGE, 'huge pages beside a disk')
        vm.qmp.command('object-del', id='huge')
        check_back_ends(tap, vm, back_end.path)
        check_once(tap, vm, back_end.path)
        tap.equal(vm.qmp.command('query-status')['status'], 'prelaunch', 'the VM is well')
    with Vm(PRIVATE + PORTS) as vm:
        tap.equal(add_memory(vm), None, 'huge pages alone are accepted')
        check_refused(tap, device_add(vm, 0, 'vhost-user-blk-pci', back_end.path), HUGE,
                      'a disk beside huge pages')
    with Vm(PRIVATE + ['-device', 'intel-iommu'] + PORTS) as vm:
        check_refused(tap, device_add(vm, 0, 'vhost-user-blk-pci', back_end.path),
                      'behind a virtual IOMMU', 'a disk behind an IOMMU')
    with Vm(ORDINARY + PORTS) as vm:
        tap.equal([device_add(vm, 0, 'vhost-user-rng-pci', back_end.path),
                   device_add(vm, 1, 'vhost-user-blk-pci', BackEnd(ALL & ~MEM_SLOTS).path)],
                  [None, None], 'an ordinary machine takes them')
    tap.done()


if __name__ == '__main__':
    main()
