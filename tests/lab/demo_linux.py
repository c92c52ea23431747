#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Part a of the demonstration: a stock kernel as guest of a VM whose RAM is gmem.

usage (in the lab): demo_linux.py VMLINUZ
"""
import os
import shutil
import subprocess
import sys
import tempfile

from lablib import PATIENT, Vm

INIT = '''#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
exec </dev/console >/dev/console 2>&1
echo "+ uname -a"; /bin/busybox uname -a
echo "+ free -m"; /bin/busybox free -m
echo "+ echo demo: \\$((6 * 7))"; echo "demo: $((6 * 7))"
/bin/busybox poweroff -f
'''
PATIENCE = 800


def initrd(folder):
    tree = os.path.join(folder, 'tree')
    for name in ('bin', 'dev', 'proc'):
        os.makedirs(os.path.join(tree, name))
    shutil.copy('/bin/busybox', tree + '/bin/busybox')
    os.mknod(tree + '/dev/console', 0o20600, os.makedev(5, 1))
    with open(tree + '/init', 'w', encoding='ascii') as f:
        f.write(INIT)
    os.chmod(tree + '/init', 0o755)
    image = os.path.join(folder, 'initrd')
    with open(image, 'wb') as f:
        subprocess.run('find . | cpio --quiet -o -H newc', cwd=tree, shell=True, check=True,
                       stdout=f)
    return image


def main():
    kernel = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        args = ['-accel', 'kvm', '-cpu', 'host', '-m', '512M',
                '-object', 'memory-backend-gmem,id=ram0,size=512M',
                '-machine', 'q35,memory-backend=ram0',
                '-kernel', kernel, '-initrd', initrd(folder),
                '-append', f'console=ttyS0 quiet panic=-1 {PATIENT}']
        print('  $ qemu-system-x86_64 ' + ' '.join(args[:10]) + ' -kernel '
              + os.path.basename(kernel) + ' ...', flush=True)
        with Vm([*args, '-no-shutdown']) as vm:
            done = vm.serial.wait_for(r'^demo: 42$', PATIENCE)
            if not done:
                sys.exit('demo: the guest did not get to its shell command\n' + vm.report())
            said = vm.serial.text
            print('\n'.join('  guest| ' + line
                            for line in said[said.index('+ uname'):].splitlines()))
            for block in vm.qmp.command('query-gmem')['blocks']:
                print(f"  host | block {block['id']}: mode {block['mode']}, "
                      f"{block['size'] >> 20} MiB, shared {block['shared'] >> 20} MiB")


if __name__ == '__main__':
    main()
