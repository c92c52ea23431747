#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: outside
"""Conversions, vCPUs, direct I/O, holes and processes at random, against a kernel.

Two minutes of tests/lab/abi's gmem-stress on the lab's kernel; in a soak thirty, on the kernel with
KASAN and lockdep (LAB_KERNEL=debug tests/lab/run abi-stress: two on that one). The lab reads the
kernel's console: any report fails the test.
"""
import os
import sys

LAB = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'lab')
SOAK = os.environ.get('GMEM_SOAK', '') not in ('', '0')
SECONDS = 1800 if SOAK else 120
# Milliseconds, so that pages are pinned most of the time and yet change hands often
DISK = 'null_blk.irqmode=2 null_blk.completion_nsec=3000000'


def main():
    program = os.path.join(os.environ['GMEM_ABI'], 'gmem-stress')
    if SOAK:
        os.environ['LAB_KERNEL'] = 'debug'
    sys.stdout.flush()
    os.execv(LAB, [LAB, 'run', '--in-place', '--cpus=4', f'--append={DISK}',
                   f'--timeout={SECONDS + 900}', '--', program, f'--seconds={SECONDS}'])


if __name__ == '__main__':
    main()
