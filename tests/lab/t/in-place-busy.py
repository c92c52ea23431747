#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared mem=3G timeout=900 in-place=on
# lab: append="null_blk.irqmode=2 null_blk.completion_nsec=3000000000"
"""A guest asks for pages that the host is doing direct I/O on.

A process beside QEMU writes one page of the guest's memory to a disk that takes three seconds
for it, so that the kernel keeps the page pinned for as long. The guest wants the 2 MiB around
that page private:
1. within conversion-timeout: it gets them, when the I/O has ended
2. not within it: the guest hears EAGAIN, QMP hears which range, no page has changed state or
   content, and the VM goes on
"""
import ctypes
import mmap
import os
import threading
import time

from gmemlab import MIB, PAGE, GuestVm, Layout, Tap, block, ranges

DISK = '/dev/nullb0'
INFLIGHT = '/sys/block/nullb0/inflight'
GPA, PAGES, PRIVATE = 32 * MIB, 512, 0x10
BUSY = 100              # the page of the range that is pinned
OTHER = 64 * MIB        # a page that nobody uses
EAGAIN = 11
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438


def system_call(*args):
    result = ctypes.CDLL(None, use_errno=True).syscall(*args)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def borrow_memory(pid):
    """The guest's RAM, mapped here too: the guest_memfd of that QEMU."""
    folder = f'/proc/{pid}/fd'
    number = next(int(n) for n in os.listdir(folder)
                  if 'gmem' in os.readlink(os.path.join(folder, n)))
    pidfd = system_call(SYS_PIDFD_OPEN, pid, 0)
    fd = system_call(SYS_PIDFD_GETFD, pidfd, number, 0)
    os.close(pidfd)
    return mmap.mmap(fd, OTHER + PAGE, mmap.MAP_SHARED)


class Writer(threading.Thread):
    """Direct I/O from one page of memory; pinned() tells when it is under way."""

    def __init__(self, memory, offset):
        super().__init__(daemon=True)
        self.page = memoryview(memory)[offset:offset + PAGE]
        self.disk = os.open(DISK, os.O_WRONLY | os.O_DIRECT)
        self.written = None

    def run(self):
        self.written = os.pwritev(self.disk, [self.page], 0)

    def pinned(self):
        while self.is_alive():
            with open(INFLIGHT, encoding='ascii') as f:
                if any(map(int, f.read().split())):
                    return True
            time.sleep(0.01)
        return False


def guest(options=''):
    asked = ','.join(f'{gpa:#x},{pages:#x},{PRIVATE:#x}' for gpa, pages in
                     ((GPA, PAGES), (OTHER, 1)))
    return GuestVm(Layout([('ram0', 96 * MIB)], options=options),
                   f'test=request dump=0 step=1 retries=0 requests={asked}')


def returned(vm, gpa, pages):
    match = vm.serial.wait_for(rf'^RETURN {gpa:#x} {pages:#x} {PRIVATE:#x} (-?\d+)\n')
    return match and int(match[1])


def private(vm):
    return [(r['offset'], r['size']) for r in ranges(vm.qmp, 'ram0') if r['state'] == 'private']


def pattern(page):
    return bytes([page % 251 + 1]) * PAGE


def start_io(tap, vm, memory):
    """Let the guest come to its first request, with the I/O under way."""
    for page in range(PAGES):
        memory[GPA + page * PAGE:GPA + (page + 1) * PAGE] = pattern(page)
    vm.mark('request/0')
    writer = Writer(memory, GPA + BUSY * PAGE)
    writer.start()
    tap.ok(writer.pinned(), 'the page is pinned when the guest asks')
    vm.go()
    return writer


def waits(tap):
    with guest() as vm:
        writer = start_io(tap, vm, borrow_memory(vm.process.pid))
        tap.equal(returned(vm, GPA, PAGES), 0, 'in time: the guest gets its pages')
        writer.join()
        tap.equal(writer.written, PAGE, 'in time: the I/O is not disturbed')
        tap.equal(private(vm), [(GPA, PAGES * PAGE)], 'in time: all of them are private')
        tap.ok(block(vm.qmp, 'ram0')['retries'] > 0, 'in time: QEMU had to try again',
               block(vm.qmp, 'ram0'))
        tap.ok(not vm.qmp.wait_event('GMEM_CONVERSION_STALLED', 1), 'in time: no event')


def gives_up(tap):
    with guest(',conversion-timeout=300') as vm:
        memory = borrow_memory(vm.process.pid)
        writer = start_io(tap, vm, memory)
        tap.equal(returned(vm, GPA, PAGES), EAGAIN, 'too late: the guest hears EAGAIN')
        event = vm.qmp.wait_event('GMEM_CONVERSION_STALLED') or {'data': {}}
        wanted = {'id': block(vm.qmp, 'ram0')['id'], 'offset': GPA, 'size': PAGES * PAGE,
                  'count': 1}
        tap.equal(event['data'], wanted, 'too late: QMP hears which range it is')
        if tap.equal(private(vm), [], 'too late: no page has become private'):
            wrong = [page for page in range(PAGES) if pattern(page) !=
                     memory[GPA + page * PAGE:GPA + (page + 1) * PAGE]]
            tap.equal(wrong, [], 'too late: every page is there and holds what it held')
        writer.join()
        tap.equal(writer.written, PAGE, 'too late: the I/O is not disturbed')
        vm.mark('request/1')
        vm.go()
        tap.equal(returned(vm, OTHER, 1), 0, 'too late: the VM runs and converts another page')
        tap.equal(private(vm), [(OTHER, PAGE)], 'too late: that page and no other')


def main():
    tap = Tap()
    if not os.path.exists(DISK):
        tap.skip_all(f"no {DISK}: the lab's kernel lacks CONFIG_BLK_DEV_NULL_BLK")
    waits(tap)
    gives_up(tap)
    tap.done()


if __name__ == '__main__':
    main()
