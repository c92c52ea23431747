#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: outside kernel=debug+small
"""The checkers of the debug kernel find what is wrong, and the lab does not let it pass.

The kernel's own tool for that (lkdtm) does one wrong thing for each checker. What else the test of
that kernel ("kernel-stress") passes then means that there was nothing to report.
"""
import os
import re
import subprocess
import tempfile

import consolelog
from lablib import Tap

LAB = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'lab')
COMPLAINED = 123
# (what lkdtm is to do, what must be found, the console's line about it); the lock comes first,
# as the reports of the others switch lockdep off
WRONGS = [
    ('SPINLOCKUP', 'lockdep: a lock is left locked',
     r'WARNING: lock held when returning to user space'),
    ('READ_AFTER_FREE', 'KASAN: memory is read that was freed',
     r'BUG: KASAN: slab-use-after-free'),
    ('REFCOUNT_DEC_NEGATIVE', 'a reference count falls below nothing', r'refcount_t: '),
    ('CORRUPT_LIST_ADD', 'a list is not linked as it should be', r'WARNING: .*list'),
]
JOB = ' '.join(f'sh -c "echo {what} >/sys/kernel/debug/provoke-crash/DIRECT";'
               for what, _, _ in WRONGS)


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, 'console.log')
        line = [LAB, 'run', '--mem=1G', f'--log={log}', '--', 'sh', '-c', JOB]
        run = subprocess.run(line, capture_output=True, text=True, check=False)
        lines = consolelog.read(log)
    tap.equal(run.returncode, COMPLAINED, 'the lab says that the kernel complained')
    said = consolelog.complaints(lines)
    for what, name, pattern in WRONGS:
        tap.ok(any(re.search(pattern, text) for text in said), name,
               lambda what=what: f'{what}; complaints:\n' + '\n'.join(said) + '\nconsole:\n'
               + '\n'.join(lines[-60:]) + run.stderr)
    tap.done()


if __name__ == '__main__':
    main()
