#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on mem=2G timeout=900
"""What the kernel spends on the states of pages, which the guest decides.

1. every other page of 2 GiB private, the worst pattern there is: a bit per page, and the VM's
   cgroup pays for it, so that a guest cannot make the host spend memory unnoticed
2. all of a file of 2 GiB in one state, or back in the first one: next to nothing
3. closed files give everything back
"""
import ctypes
import fcntl
import os
import struct
import subprocess
import sys
import time

import lablib

PAGE = 4096
PAGES = 2 * 1024 * lablib.MIB // PAGE
BITS = PAGES // 8
CREATE_VM, CREATE_GMEM, SET2 = 0xAE01, 0xC040AED4, 0xC080AED2
SW_PROTECTED = 1
MMAP_INIT_SHARED = 3
PRIVATE = 8


class Gmem:
    """A guest_memfd, and its VM, of which nothing is ever touched."""

    def __init__(self):
        with open('/dev/kvm', 'rb') as kvm:
            self.vm = fcntl.ioctl(kvm, CREATE_VM, SW_PROTECTED)
        request = ctypes.create_string_buffer(
            struct.pack('<8Q', PAGES * PAGE, MMAP_INIT_SHARED, *[0] * 6))
        self.fd = ctypes.CDLL(None).ioctl(self.vm, ctypes.c_ulong(CREATE_GMEM), request)
        assert self.fd >= 0
        self.request = bytearray(128)

    def convert(self, first, pages, attributes):
        struct.pack_into('<3Q', self.request, 0, first * PAGE, pages * PAGE, attributes)
        fcntl.ioctl(self.fd, SET2, self.request)

    def close(self):
        os.close(self.fd)
        os.close(self.vm)


def job():
    """In the cgroup: one step for each line read, and a line when it is done."""
    files = [Gmem()]
    steps = {'whole': lambda: files[0].convert(0, PAGES, PRIVATE),
             'back': lambda: files[0].convert(0, PAGES, 0),
             'alternate': lambda: [files[0].convert(i, 1, PRIVATE) for i in range(0, PAGES, 2)],
             'close': lambda: files[0].close()}
    for line in sys.stdin:
        steps[line.strip()]()
        print('done', flush=True)


class Job:
    def __init__(self, group):
        self.group = group
        here = [sys.executable, os.path.abspath(__file__), 'job']
        self.process = subprocess.Popen(group.enter(here), text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def spent(self, step):
        """Kernel memory of the group after that step."""
        print(step, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == 'done\n', f'step {step} ended early'
        # The counters of a cgroup are brought up to date every two seconds
        time.sleep(3)
        return self.group.stat()['slab']


def main():
    tap = lablib.Tap()
    if not lablib.in_place():
        tap.skip_all('this kernel does not convert in place')
    group = lablib.Cgroup('state')
    run = Job(group)
    run.spent('whole')
    start = run.spent('back')
    whole = run.spent('whole') - start
    tap.ok(whole < BITS // 4, 'a whole file in the other state costs less than a bit per page',
           f'{whole} bytes')
    run.spent('back')
    alternate = run.spent('alternate') - start
    tap.note(f'every other page private: {alternate} bytes, {PAGES} pages')
    tap.ok(alternate >= BITS // 2, 'what the worst pattern costs is charged to the cgroup',
           f'{alternate} bytes')
    tap.ok(alternate <= 3 * BITS, 'and it is a bit per page', f'{alternate} bytes')
    closed = run.spent('close') - start
    deadline = time.monotonic() + lablib.PATIENCE
    # freed after a grace period of RCU, and counted when the kernel comes to it
    while closed >= BITS // 2 and time.monotonic() < deadline:
        time.sleep(2)
        closed = group.stat()['slab'] - start
    tap.ok(closed < BITS // 2, 'a closed file gives it back', f'{closed} bytes')
    run.process.stdin.close()
    run.process.wait()
    group.remove()
    tap.done()


if __name__ == '__main__':
    job() if sys.argv[1:] == ['job'] else main()
