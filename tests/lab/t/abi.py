#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both timeout=900
# lab: append="null_blk.irqmode=2 null_blk.completion_nsec=3000000000"
"""The kernel's guest_memfd answers every call as documented, and holds its promises when many call.

The program is tests/lab/abi: its tables say what each call must answer, its scenes what must stay
true meanwhile. Direct I/O that takes three seconds keeps pages busy.
"""
import os

from lablib import Tap

ASKED = 'kvm.gmem_in_place_conversion=1'


def main():
    program = os.path.join(os.environ['GMEM_ABI'], 'gmem-abi')
    if not os.access(program, os.X_OK):
        Tap().skip_all(f'{program} was not built')
    # What was asked for at boot, not what came of it: that is the program's first result
    with open('/proc/cmdline', encoding='ascii') as f:
        setting = 'on' if ASKED in f.read().split() else 'off'
    os.execv(program, [program, f'--in-place={setting}'])


if __name__ == '__main__':
    main()
