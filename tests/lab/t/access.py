#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both mem=3G timeout=900
"""QEMU and its devices do not touch private memory, and say so.

1. pmemsave, memsave, xp and x of a private page name it and leave no file; beside it they work;
   pmemsave finds it behind MMIO as well
2. dump-guest-memory has what is shared, and nothing of what is private
3. a disk's DMA into a private page ends with an error of the disk, into a shared one it works
4. fw_cfg's DMA at a running guest's command: error bit, contents kept, the VM goes on
5. all of that raises GMEM_ACCESS_DENIED, is counted, and in split mode allocates nothing on the
   shared side
"""
import os
import struct

from gmemlab import MIB, MODE, PAGE, GuestVm, Layout, Tap, block
from lablib import QmpError, Vm
from labport import PORT_ARGS, Disk, Ports

SIZE = 64 * MIB
FIRST, LENGTH = 16 * MIB, 2 * MIB
END = FIRST + LENGTH
KEPT = b'written while it was shared' * 100
GUEST_PAGE = FIRST + 64 * PAGE        # tests/guest/test_dma.c
VGA_WINDOW = 0xa0000
OUT = '/tmp/access.out'
ARGS = ['-accel', 'kvm', '-machine', 'pc-q35-swp,memory-backend=ram0', '-S', '-m', '64M',
        '-object', f'memory-backend-gmem,id=ram0,size={SIZE},conversion-timeout=30000,'
        'prealloc=on', *PORT_ARGS, '-device', 'VGA', '-device', 'piix3-ide,id=pata,addr=4', '-blockdev',
        'null-co,node-name=disk,size=1048576,read-zeroes=on',
        '-device', 'ide-hd,drive=disk,bus=pata.0']


def denied(tap, vm, who, name='ram0'):
    """The event has come, and the block counts."""
    while event := vm.qmp.wait_event('GMEM_ACCESS_DENIED'):
        if event['data']['who'] == who:
            break
    tap.ok(event and event['data']['id'] == name, f'{who}: GMEM_ACCESS_DENIED', vm.report)


def refused(tap, vm, command, **arguments):
    before = block(vm.qmp, 'ram0')['denied']
    try:
        vm.qmp.command(command, filename=OUT, **arguments)
        tap.ok(False, f'{command} of a private page is refused')
    except QmpError as error:
        good = "of gmem block 'ram0' is private" in str(error) and f'{FIRST:#x}' in str(error)
        tap.ok(good, f'{command} of a private page is refused', str(error))
    tap.ok(not os.path.exists(OUT), f'{command}: it leaves no file')
    tap.ok(block(vm.qmp, 'ram0')['denied'] > before, f'{command}: it is counted')
    denied(tap, vm, command)


def saved(vm, command, **arguments):
    vm.qmp.command(command, filename=OUT, **arguments)
    with open(OUT, 'rb') as f:
        data = f.read()
    os.unlink(OUT)
    return data


def check_saves(tap, vm, ports):
    ports.write(FIRST - 16, b'beforebeforebefo')
    ports.write(END, b'behindbehindbehi')
    for command in 'pmemsave', 'memsave':
        refused(tap, vm, command, val=FIRST - 2 * PAGE, size=4 * PAGE)
        tap.equal((saved(vm, command, val=FIRST - 16, size=16),
                   saved(vm, command, val=END, size=16)),
                  (b'beforebeforebefo', b'behindbehindbehi'), f'{command} beside it works')
    for start in 0, VGA_WINDOW:
        refused(tap, vm, 'pmemsave', val=start, size=SIZE - start)


def check_words(tap, vm):
    for command in 'xp', 'x':
        text = vm.qmp.hmp(f'{command} /4xw {FIRST:#x}')
        tap.ok("of gmem block 'ram0' is private" in text, f'{command} says that it is private',
               text)
        tap.ok('0x' in vm.qmp.hmp(f'{command} /4xw {END:#x}').partition(':')[2],
               f'{command} beside it works')


def loads(path):
    """(guest address, bytes in the file) of each segment of an ELF dump."""
    with open(path, 'rb') as f:
        data = f.read(64)
        wide = data[4] == 2
        start, = struct.unpack_from('<Q' if wide else '<I', data, 32 if wide else 28)
        size, count = struct.unpack_from('<HH', data, 54 if wide else 42)
        f.seek(start)
        rows = [struct.unpack('<IIQQQQQQ' if wide else '<8I', f.read(size))
                for _ in range(count)]
    return [row[4:6] if wide else row[3:5] for row in rows if row[0] == 1]


def check_dump(tap, vm):
    vm.qmp.command('dump-guest-memory', paging=False, protocol='file:' + OUT)
    found = loads(OUT)
    os.unlink(OUT)
    tap.ok(not [s for s in found if s[0] < END and s[0] + s[1] > FIRST],
           'dump: nothing of what is private', str(found))
    tap.ok([s for s in found if s[0] + s[1] == FIRST] and [s for s in found if s[0] == END],
           'dump: all that is shared around it', str(found))


def check_disk(tap, vm, ports):
    disk = Disk(ports)
    ports.write(END, b'\xff' * 512)
    status = disk.read_sector(END)
    tap.ok(status is not None and not status & 1, 'disk: DMA into a shared page works', status)
    tap.equal(ports.read(END, 512), bytes(512), 'disk: the sector is there')
    status = disk.read_sector(FIRST)
    tap.ok(status is not None and status & 1, 'disk: DMA into a private page ends with an error',
           status)
    denied(tap, vm, 'dma-map')
    tap.ok(disk.read_sector(END) == 0x50, 'disk: then it works again')
    tap.equal(ports.read(FIRST, 16), bytes(16), 'a device reads zeros of a private page')
    ports.write(FIRST, b'x' * 16)
    denied(tap, vm, 'memory-write')


def check_stopped(tap):
    with Vm(ARGS) as vm:
        ports = Ports()
        ports.write(FIRST, KEPT)
        vm.qmp.command('gmem-convert', id='ram0', offset=FIRST, size=LENGTH, state='private',
                       wait=True)
        check_saves(tap, vm, ports)
        check_words(tap, vm)
        check_disk(tap, vm, ports)
        check_dump(tap, vm)
        if MODE == 'split':
            # prealloc=on: every shared page was there from the start
            tap.equal(block(vm.qmp, 'ram0')['allocated-shared'], SIZE - LENGTH,
                      'nothing was allocated for what is private')
        vm.qmp.command('gmem-convert', id='ram0', offset=FIRST, size=LENGTH, state='shared',
                       wait=True)
        kept = KEPT if MODE == 'in-place' else b''
        tap.equal(saved(vm, 'pmemsave', val=FIRST, size=LENGTH), kept.ljust(LENGTH, b'\0'),
                  'shared again, it has what the mode keeps: no refused write has got there')
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')


def check_running(tap):
    layout = Layout([('ram0', 128 * MIB)])
    with GuestVm(layout, 'test=dma') as vm:
        tap.ok(vm.mark('dma/private'), 'the guest has had DMA refused', vm.report)
        denied(tap, vm, 'memory-write')
        before = block(vm.qmp, 'ram0')
        tap.equal(before['private'], PAGE, 'one page is private')
        text = vm.qmp.hmp(f'xp /4xg {GUEST_PAGE:#x}')
        tap.ok("of gmem block 'ram0' is private" in text, 'xp says so while the guest runs', text)
        if MODE == 'split':
            tap.equal(block(vm.qmp, 'ram0')['allocated-shared'], before['allocated-shared'],
                      'nothing was allocated for it')
        vm.go()
        vm.finish(tap)


def main():
    tap = Tap()
    check_stopped(tap)
    check_running(tap)
    tap.done()


if __name__ == '__main__':
    main()
