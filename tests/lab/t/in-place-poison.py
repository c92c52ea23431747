#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: in-place=on mem=2G cpus=4 timeout=900 allow="Memory failure|memory corruption"
"""A page of a guest_memfd whose memory has failed.

1. the host cannot touch it, it does not become private, its neighbours do
2. a punched hole gets rid of it: the range converts, and reads as zeros
3. memory errors, touches and conversions of the same pages at once: none waits for another for
   ever, though memory_failure() takes the locks in the other order
"""
import ctypes
import errno
import fcntl
import mmap
import multiprocessing
import os
import random
import signal
import struct
import threading

import lablib

PAGE = 4096
PAGES = 64
CREATE_VM, CREATE_GMEM, SET2 = 0xAE01, 0xC040AED4, 0xC080AED2
SET_REGION2 = 0x40A0AE49
SW_PROTECTED, SLOT_GMEM, MMAP_INIT_SHARED, PRIVATE = 1, 4, 3, 8
MADV_HWPOISON = 100
KEEP_SIZE_PUNCH_HOLE = 3
ROUNDS = 600
LIBC = ctypes.CDLL(None, use_errno=True)


class Memory:
    """A guest_memfd, mapped, in a slot of a software-protected VM."""

    def __init__(self):
        with open('/dev/kvm', 'rb') as kvm:
            self.vm = fcntl.ioctl(kvm, CREATE_VM, SW_PROTECTED)
        request = struct.pack('<8Q', PAGES * PAGE, MMAP_INIT_SHARED, *[0] * 6)
        self.fd = LIBC.ioctl(self.vm, ctypes.c_ulong(CREATE_GMEM),
                             ctypes.create_string_buffer(request))
        self.map = mmap.mmap(self.fd, PAGES * PAGE, mmap.MAP_SHARED)
        self.view = memoryview(self.map)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        fcntl.ioctl(self.vm, SET_REGION2, struct.pack(
            '<IIQQQQII14Q', 0, SLOT_GMEM, 0, PAGES * PAGE, self.base, 0, self.fd, *[0] * 15))
        self.zero = os.open('/dev/zero', os.O_RDONLY)
        self.sink = os.memfd_create('sink')

    def convert(self, first, pages, attributes):
        """(errno, first busy page)."""
        request = bytearray(struct.pack('<16Q', first * PAGE, pages * PAGE, attributes, *[0] * 13))
        try:
            fcntl.ioctl(self.fd, SET2, request)
        except OSError as error:
            return error.errno, struct.unpack_from('<5Q', request)[4] // PAGE
        return 0, None

    def touch(self, page):
        """errno of a system call that writes to the page."""
        try:
            os.readv(self.zero, [self.view[page * PAGE:page * PAGE + 8]])
        except OSError as error:
            return error.errno
        return 0

    def first_byte(self, page):
        """What the page begins with, or the errno of the system call that reads it."""
        try:
            os.pwrite(self.sink, self.view[page * PAGE:page * PAGE + 1], 0)
        except OSError as error:
            return error.errno
        return os.pread(self.sink, 1, 0)

    def poison(self, page):
        """The answer is about whether all was healed, which guest_memfd always denies."""
        LIBC.madvise(ctypes.c_void_p(self.base + page * PAGE), ctypes.c_size_t(PAGE), MADV_HWPOISON)

    def punch(self, first, pages):
        done = LIBC.fallocate(self.fd, KEEP_SIZE_PUNCH_HOLE, ctypes.c_long(first * PAGE),
                              ctypes.c_long(pages * PAGE))
        assert done == 0


def check_one(tap):
    memory = Memory()
    memory.view[:] = b'x' * (PAGES * PAGE)
    memory.poison(3)
    tap.equal(memory.touch(3), errno.EFAULT, 'the host cannot touch the page')
    tap.equal(memory.convert(0, 8, PRIVATE), (errno.EAGAIN, 3), 'it does not become private')
    tap.equal(memory.first_byte(2), b'x', 'nor does its neighbour in the same request')
    tap.equal(memory.convert(4, 4, PRIVATE), (0, None), 'which others do')
    memory.punch(3, 1)
    tap.equal(memory.convert(0, 8, PRIVATE), (0, None), 'with the page punched out all convert')
    tap.equal(memory.convert(0, 8, 0), (0, None), 'and back')
    tap.equal((memory.first_byte(3), memory.first_byte(7)), (b'\0', b'x'),
              'the page is new, the others are the old ones')


def until(stop, action):
    rng = random.Random(threading.get_ident())
    while not stop.is_set():
        action(rng)


def circle():
    """All at once on the same pages; ends by itself unless something waits for ever."""
    memory, stop, rng = Memory(), threading.Event(), random.Random(1)

    def touch(rng):
        memory.touch(rng.randrange(PAGES))

    def convert(rng):
        first = rng.randrange(PAGES)
        memory.convert(first, rng.randint(1, min(8, PAGES - first)), rng.choice((0, PRIVATE)))

    threads = [threading.Thread(target=until, args=(stop, action), daemon=True)
               for action in (touch, touch, touch, convert, convert)]
    for thread in threads:
        thread.start()
    for turn in range(ROUNDS):
        memory.poison(rng.randrange(PAGES))
        if turn % 8 == 7:
            memory.punch(0, PAGES)
    stop.set()
    for thread in threads:
        thread.join()


def main():
    tap = lablib.Tap()
    if not lablib.in_place():
        tap.skip_all('this kernel does not convert in place')
    # Whoever has the page mapped is told by a signal; here only system calls touch it
    signal.signal(signal.SIGBUS, lambda *_: None)
    check_one(tap)
    child = multiprocessing.Process(target=circle, daemon=True)
    child.start()
    child.join(lablib.PATIENCE)
    tap.equal(child.exitcode, 0, 'errors, touches and conversions at once come to an end')
    tap.done()


if __name__ == '__main__':
    main()
