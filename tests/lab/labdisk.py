# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks in the lab's memory (/dev/ram0 and on; `ramdisk_size=` KiB each, at boot)."""
import subprocess


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def swap_on(disk='/dev/ram0'):
    """Swap space, so that memory can be paged out."""
    run('mkswap', disk)
    run('swapon', disk)


def mount_ext2(folder, disk='/dev/ram1'):
    """A file system with write-back of its own."""
    run('mkfs.ext2', '-q', disk)
    run('mount', '-t', 'ext2', disk, folder)
