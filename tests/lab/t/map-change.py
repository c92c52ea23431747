#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: timeout=300
# lab: qemu-arg=-device qemu-arg=edu,addr=0x10 qemu-arg=-device qemu-arg=igb,addr=0x8
"""The lab's emulator: a CPU that changes the memory map does not lead others astray.

One CPU reads a register of one device while the other switches the memory of another device off and
on. The base looks what the first one's TLB holds up in a map that it was not made for.
"""
import os
import subprocess
import tempfile

from lablib import Tap
from labvfio import EDU, IGB, unbind

TURNS = 20000 if os.environ.get('GMEM_SOAK') == '1' else 2000


def main():
    tap = Tap()
    source = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                          'map-change.c')
    for device in (EDU, IGB):
        unbind(device)
        with open(f'/sys/bus/pci/devices/{device}/enable', 'w', encoding='ascii') as f:
            f.write('1')
    with tempfile.TemporaryDirectory() as folder:
        program = folder + '/map-change'
        subprocess.run(['cc', '-O1', '-pthread', '-o', program, source], check=True)
        run = subprocess.run([program, str(TURNS), IGB, EDU], capture_output=True, text=True,
                             check=False)
        tap.note(run.stdout.strip())
        tap.ok(run.returncode == 0, 'a register has its value while the map changes', run.stderr)
    tap.done()


if __name__ == '__main__':
    main()
