#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: timed kernel=debug+small in-place=on cpus=4 timeout=250
# lab: append="null_blk.irqmode=2 null_blk.completion_nsec=3000000 ramdisk_size=65536"
"""Everything at once and at random against the kernel, under KASAN and lockdep.

1. tests/lab/abi's gmem-stress: conversions, vCPUs, direct I/O, holes and processes
2. tests/lab/rings' stress: everything that can happen to rings of which vhost borrows pages

Both at the same time, two minutes, in a soak thirty. The lab reads the kernel's console: any report
fails the test. That a report would be seen is what "checkers" is about. The disk takes milliseconds, so
that pages are pinned most of the time and yet change hands often; swap space is there so that
pages can be paged out.
"""
import os
import subprocess

from labdisk import swap_on
from lablib import Tap
from labtap import RESULT, SKIP

SECONDS = 1800 if os.environ.get('GMEM_SOAK') == '1' else 120
LINES = {'conversions': [os.environ['GMEM_ABI'] + '/gmem-stress', f'--seconds={SECONDS}'],
         'rings': [os.environ['GMEM_RINGS'] + '/vhost-rings', f'--stress={SECONDS}']}


def pass_on(tap, name, text):
    """A program's own results and comments."""
    for line in text.splitlines():
        result, skip = RESULT.fullmatch(line), SKIP.search(line)
        if not result:
            tap.note(f'{name}: {line.removeprefix("# ")}')
        elif skip:
            tap.skip(f'{name}: {SKIP.sub("", result[2]).rstrip()}', skip[1])
        else:
            tap.ok(not result[1], f'{name}: {result[2]}')


def main():
    tap = Tap()
    swap_on('/dev/ram0')
    running = {name: subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True)
               for name, line in LINES.items()}
    for name, process in running.items():
        pass_on(tap, name, process.communicate()[0])
        tap.equal(process.returncode, 0, f'{name}: the program ended well')
    tap.done()


if __name__ == '__main__':
    main()
