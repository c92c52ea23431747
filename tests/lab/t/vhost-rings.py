#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: in-place=on mem=3G hugepages=8 timeout=900
# lab: append="numa=fake=2 ramdisk_size=65536"
"""vhost's rings work whatever happens to their pages, by uaccess and by borrowed pages.

The program is tests/lab/rings: a vhost-net device whose packets come back over the loopback device,
and pages of its rings that are moved, freed, merged, swapped, split and converted.
"""
import os
import tempfile

import labdisk
from gmemlab import SOAK
from lablib import Tap


def main():
    program = os.path.join(os.environ['GMEM_RINGS'], 'vhost-rings')
    if not os.access(program, os.X_OK):
        Tap().skip_all(f'{program} was not built')
    labdisk.swap_on()
    folder = tempfile.mkdtemp()
    labdisk.mount_ext2(folder)
    os.execv(program, [program, f'--disk={folder}', f'--setups={10000 if SOAK else 1000}'])


if __name__ == '__main__':
    main()
