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
import threading

from labdisk import swap_on
from lablib import Tap
from labtap import Run

SECONDS = 1800 if os.environ.get('GMEM_SOAK') == '1' else 120
LINES = {'conversions': [os.environ['GMEM_ABI'] + '/gmem-stress', f'--seconds={SECONDS}'],
         'rings': [os.environ['GMEM_RINGS'] + '/vhost-rings', f'--stress={SECONDS}']}


def start(line):
    return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def gather(process, run):
    """Take what a program says, as soon as it says it."""
    for line in process.stdout:
        print(f'# {run.name}: {line.rstrip()}', flush=True)
        run.take(line.rstrip())
    run.end(process.wait())


def main():
    tap = Tap()
    swap_on('/dev/ram0')
    runs = [Run(name) for name in LINES]
    threads = [threading.Thread(target=gather, args=(start(LINES[run.name]), run)) for run in runs]
    for thread in threads:
        thread.start()
    for thread, run in zip(threads, runs):
        thread.join()
        for good, text, skip in (line for line in run.lines if line[0] is not None):
            if skip is None:
                tap.ok(good, text)
            else:
                tap.skip(text, skip)
        tap.equal(run.wrong, None, f'{run.name}: the program came to its end')
    tap.done()


if __name__ == '__main__':
    main()
