#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=3G timeout=900
"""What the kernel's vhost holds of the guest's memory, while pages go private.

A virtio network card whose queues vhost-net has is driven from outside, in a VM that runs:
1. it sends; pages beside its rings are converted: vhost goes on
2. a page of a ring goes private: the conversion succeeds, vhost is stopped first, the device
   needs a reset and says so, QMP hears which queue, the VM runs
3. after a reset, with the page shared again, vhost has the queues and sends
4. the same while the VM is stopped: vhost is not started when it goes on
5. a buffer where there is no memory: QMP hears that vhost met an error, and in which queue; QEMU
   does not fill its log
6. rings where the kernel does not want them, over and over: likewise; and the card works elsewhere
7. the same for a queue that was reset alone: QEMU lives, and the card works after its reset
"""
import fcntl
import socket
import struct
import time

from gmemlab import MIB, PAGE, SOAK, Tap
from lablib import Vm
from labport import PORT_ARGS, ModernDevice, Ports, make_idle_firmware

SIZE = 64 * MIB
TAP = 'tap0'
RINGS = [tuple((16 + queue) * MIB + 2 * part * PAGE for part in range(3)) for queue in range(2)]
DATA = 20 * MIB
SEND = 1
STARTS = 60 if SOAK else 20
VIRTIO = '/machine/peripheral/net0/virtio-backend'
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
ARGS = ['-accel', 'kvm', '-machine', 'pc-q35-swp,memory-backend=ram0', '-m', '64M',
        *PORT_ARGS,
        '-object', f'memory-backend-gmem,id=ram0,size={SIZE},conversion-timeout=30000',
        '-netdev', f'tap,id=n0,ifname={TAP},vhost=on,script=no,downscript=no',
        '-device', 'virtio-net-pci,id=net0,netdev=n0,addr=5,disable-legacy=on,romfile=']


def bring_up(name):
    with socket.socket() as s:
        request = struct.pack('16sh', name.encode(), 0)
        flags, = struct.unpack_from('16xh', fcntl.ioctl(s, SIOCGIFFLAGS, request.ljust(40, b'\0')))
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack('16sh', name.encode(),
                                                 flags | IFF_UP).ljust(40, b'\0'))


class Card(ModernDevice):
    def __init__(self, ports, rings=RINGS):
        super().__init__(ports, 5, rings)

    def send(self):
        """A broadcast frame behind its header; False when it is never taken."""
        frame = bytes(12) + b'\xff' * 6 + b'\x52\x54\0\0\0\1' + b'\x88\xb5' + bytes(46)
        self.ports.write(DATA, frame)
        self.offer(SEND, ((DATA, len(frame), 0, 0),))
        return self.took(SEND)


def convert(vm, offset, state):
    return vm.qmp.command('gmem-convert', id='ram0', offset=offset, size=PAGE, state=state,
                          wait=True)


def virtio(vm):
    return vm.qmp.command('x-query-virtio-status', path=VIRTIO)


def running(vm):
    return vm.qmp.command('query-status')['running']


def check_stop(tap, vm, card, queue, part):
    name, page = f'queue {queue}, part {part}', RINGS[queue][part]
    result = convert(vm, page, 'private')
    tap.ok('error' not in result, f'{name}: the page goes private', result)
    status = virtio(vm)
    tap.ok(not status['vhost-started'] and status['broken'], f'{name}: vhost has been stopped')
    tap.ok(card.status() & card.NEEDS_RESET and running(vm),
           f'{name}: the device needs a reset, the VM runs', card.status())
    event = vm.qmp.wait_event('GMEM_QUEUE_STOPPED')
    data = event and event['data']
    tap.ok(data and (data['qom-path'], data['queue'], data['offset']) == (VIRTIO, queue, page),
           f'{name}: GMEM_QUEUE_STOPPED', data)
    convert(vm, page, 'shared')
    card.start()
    tap.ok(virtio(vm)['vhost-started'] and card.send(), f'{name}: a reset, and it sends again')


def check_stopped_vm(tap, vm, card):
    page = RINGS[SEND][2]
    vm.qmp.command('stop')
    result = convert(vm, page, 'private')
    tap.ok('error' not in result, 'VM stopped: the page of a ring goes private', result)
    vm.qmp.command('cont')
    status = virtio(vm)
    tap.ok(not status['vhost-started'] and status['broken'] and card.status() & card.NEEDS_RESET,
           'it goes on: vhost does not, the device needs a reset', status)
    convert(vm, page, 'shared')
    card.start()
    tap.ok(virtio(vm)['vhost-started'] and card.send(), 'a reset, and it sends again')


def check_refused(tap, vm, ports):
    """Rings at odd addresses, which the kernel refuses each time that the card is started."""
    card = Card(ports, [(one, two + 1, three) for one, two, three in RINGS])
    said, began = len(vm.errors.splitlines()), time.monotonic()
    for _ in range(STARTS):
        card.start()
    lines, seconds = len(vm.errors.splitlines()) - said, time.monotonic() - began
    tap.ok(not virtio(vm)['vhost-started'] and running(vm), 'odd rings: vhost does not start')
    tap.ok(0 < lines <= seconds + 2, 'odd rings: QEMU says so, once in a second at most',
           f'{lines} lines in {seconds} s\n{vm.errors[-400:]}')
    card = Card(ports)
    card.start()
    tap.ok(virtio(vm)['vhost-started'] and card.send(), 'even ones: it has the queues, and sends')


def check_restarted(tap, vm, ports):
    """A ring that the kernel refuses when its queue is reset and switched on again."""
    card = Card(ports)
    said, began = len(vm.errors.splitlines()), time.monotonic()
    for _ in range(STARTS):
        card.start()
        card.put(card.SELECT, 'w', 0)
        card.put(card.QUEUE_RESET, 'w', 1)
        card.put(card.AVAILABLE, 'l', RINGS[0][1] + 1)
        card.put(card.ENABLE, 'w', 1)
        card.put(card.QUEUE_RESET, 'w', 1)
    lines, seconds = len(vm.errors.splitlines()) - said, time.monotonic() - began
    tap.ok(running(vm) and 0 < lines <= seconds + 2,
           'an odd ring of a queue that was reset: QEMU says so, once in a second at most',
           f'{lines} lines in {seconds} s\n{vm.errors[-400:]}')
    card.start()
    tap.ok(virtio(vm)['vhost-started'] and card.send(), 'after a reset of the card it sends')


def main():
    tap = Tap()
    firmware = make_idle_firmware()
    with Vm([*ARGS, '-bios', firmware]) as vm:
        bring_up(TAP)
        ports = Ports()
        card = Card(ports)
        card.start()
        tap.ok(virtio(vm)['vhost-started'], 'vhost has the queues', virtio(vm))
        tap.ok(card.send(), 'and sends')
        for parts in RINGS:
            for page in parts:
                convert(vm, page + PAGE, 'private')
                convert(vm, page + PAGE, 'shared')
        tap.ok(virtio(vm)['vhost-started'] and not card.status() & card.NEEDS_RESET and
               card.send(), 'pages beside the rings were converted: it sends')
        tap.ok(not vm.qmp.wait_event('GMEM_QUEUE_STOPPED', timeout=3), 'without an event')
        for queue in range(2):
            for part in range(3):
                check_stop(tap, vm, card, queue, part)
        check_stopped_vm(tap, vm, card)
        said = len(vm.errors)
        for _ in range(50):
            card.start()
            card.offer(SEND, ((1 << 40, 64, 0, 0),))
        event = vm.qmp.wait_event('GMEM_VHOST_ERROR')
        tap.ok(event and (event['data']['qom-path'], event['data']['queue']) == (VIRTIO, SEND),
               'a buffer where no memory is: GMEM_VHOST_ERROR', event)
        tap.ok(running(vm), 'the VM runs')
        tap.equal(vm.errors[said:], '', 'QEMU has said nothing of it')
        check_refused(tap, vm, ports)
        check_restarted(tap, vm, ports)
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')
    tap.done()


if __name__ == '__main__':
    main()
