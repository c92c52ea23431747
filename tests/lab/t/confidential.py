#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: outside
"""What kernel/ has for SEV-SNP and TDX hosts compiles, without a warning; once per compiler.

Nothing more can be said here: no machine that runs the lab has such a CPU. A soak compiles all of
KVM, otherwise it is the files that have our hooks or include our code.
"""
import os
import subprocess

from gmemlab import SOAK
from lablib import Tap

LAB = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILES = ['arch/x86/kvm/svm/sev.o', 'arch/x86/kvm/vmx/tdx.o', 'arch/x86/kvm/x86.o',
         'arch/x86/kvm/mmu/mmu.o', 'virt/kvm/guest_memfd.o', 'virt/kvm/kvm_main.o']


def main():
    tap = Tap()
    targets = ['arch/x86/kvm/'] if SOAK else FILES
    line = [os.path.join(LAB, 'kernel-build'), '--fragment',
            os.path.join(LAB, 'kernel-confidential.config')]
    built = subprocess.run(line + [f'--only={target}' for target in targets], text=True,
                           stderr=subprocess.PIPE, check=False)
    tap.ok(built.returncode == 0, 'KVM for SEV-SNP and TDX hosts compiles', built.stderr)
    tap.done()


if __name__ == '__main__':
    main()
