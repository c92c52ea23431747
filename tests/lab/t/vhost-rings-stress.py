#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: kernel=debug+small in-place=on cpus=4 mem=3G timeout=200
# lab: append="ramdisk_size=65536"
"""Everything happens at once to rings that vhost borrows pages of, under KASAN and lockdep.

Half a minute of tests/lab/rings' stress, twenty in a soak. The lab reads the kernel's console: any report
fails the test. That a report would be seen is what "checkers" is about.
"""
import os

import labdisk
from lablib import Tap


def main():
    program = os.path.join(os.environ['GMEM_RINGS'], 'vhost-rings')
    if not os.access(program, os.X_OK):
        Tap().skip_all(f'{program} was not built')
    labdisk.swap_on()
    soak = os.environ.get('GMEM_SOAK') == '1'
    os.execv(program, [program, f'--stress={1200 if soak else 30}'])


if __name__ == '__main__':
    main()
