#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: outside
"""The kernel's own tests of guest_memfd and private memory pass on the lab's kernel.

They are built from the kernel's source package. With in-place conversion off all must pass: our
additions leave alone what they do not switch on. With it on those must that do not make memory
private in the old way.
"""
import os
import re
import subprocess
import sys

from lablib import Tap

LAB = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NO_VM_ATTRIBUTES = ('it makes memory private by the attributes of the VM, which this kernel refuses'
                    ' in place (capability 233 is 0)')
# (program and its arguments, why it cannot pass where conversion is in place)
TESTS = [
    ('guest_memfd_test', None),
    ('pre_fault_memory_test', NO_VM_ATTRIBUTES),
    ('x86/private_mem_conversions_test',
     'its guest\'s conversions are the attributes of the VM; and its host keeps a second memory '
     'for what is shared, where in place there is one'),
    ('x86/private_mem_conversions_test -n 2 -m 2', 'the same'),
    ('x86/private_mem_kvm_exits_test', NO_VM_ATTRIBUTES),
]


def programs():
    """The directory with the programs, built if need be; None if they cannot be."""
    names = sorted({test.split()[0] for test, _ in TESTS})
    made = subprocess.run([os.path.join(LAB, 'selftests-build'), *names], stdout=subprocess.PIPE,
                          text=True, check=False)
    return made.stdout.strip() if made.returncode == 0 else None


def run(where, tests, options):
    """(exit status of each test, the lab's own, all that was said)"""
    job = '; '.join(f'echo "# {t}"; {where}/{t} 2>&1; echo "status of {t}: $?"' for t in tests)
    lab = subprocess.run([os.path.join(LAB, 'lab'), 'run', '--timeout=1200', *options, '--', 'sh',
                          '-c', job], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         errors='replace', check=False)
    found = dict(re.findall(r'^status of (.*): (\d+)$', lab.stdout, re.M))
    return found, lab.returncode, lab.stdout


def main():
    tap = Tap()
    where = programs()
    if not tap.ok(where, 'the programs can be built from the kernel\'s source'):
        tap.done()
    for name, options, reasons in (('off', [], [None] * len(TESTS)),
                                   ('on', ['--in-place'], [why for _, why in TESTS])):
        for (test, _), why in zip(TESTS, reasons):
            if why:
                tap.note(f'in place, {test} is not run: {why}')
        tests = [test for (test, _), why in zip(TESTS, reasons) if not why]
        found, status, said = run(where, tests, options)
        for test in tests:
            # 4 is how they skip, which must not be either
            tap.equal(found.get(test), '0', f'{test}, in-place conversion {name}')
        tap.equal(status, 0, f'the kernel does not complain, in-place conversion {name}')
        if status or set(found.values()) != {'0'}:
            tap.note(said)
    sys.stdout.flush()
    tap.done()


if __name__ == '__main__':
    main()
