# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the CPUs of a lab are when it does not come to an end, by the monitor of its QEMU.

A kernel that waits for something has its CPUs in the idle loop; one that spins, or whose CPU was led
astray by the emulator, has not, and says nothing on its console.
"""
import bisect
import os
import re
import time

# One "info registers -a" after another: whether they move tells as much as where they are
LOOKS, PAUSE = 3, 1
QUIET = 2


def symbols(kernel):
    """(addresses, names) of the kernel's code, in order; nothing where there is no System.map."""
    found = []
    try:
        with open(os.path.join(kernel, 'System.map'), encoding='ascii') as f:
            for address, kind, name in map(str.split, f):
                if kind in 'tTwW':
                    found.append((int(address, 16), name))
    except FileNotFoundError:
        pass
    found.sort()
    return [address for address, _ in found], [name for _, name in found]


def named(address, table):
    place = bisect.bisect_right(table[0], address) - 1
    if place < 0 or address >> 63 == 0:
        return f'{address:#x}'
    return f'{table[1][place]}+{address - table[0][place]:#x}'


def answer(monitor, command):
    """What the human monitor says to a command, until it is quiet."""
    text = b''
    try:
        monitor.settimeout(QUIET)
        monitor.sendall(command.encode() + b'\n')
        while data := monitor.recv(65536):
            text += data
    except OSError:     # it is quiet, or gone
        pass
    return text.decode(errors='replace')


def cpus(text, table):
    """A line for each CPU in the output of "info registers -a"."""
    states = re.findall(r'CPU#(\d+)(.*?)(?=CPU#|\Z)', text, re.DOTALL)
    for number, registers in states:
        found = {name: int(value, 16) for name, value in
                 re.findall(r'\b(RIP|CR3|HLT|RSP)=([0-9a-f]+)', registers)}
        where = named(found.get('RIP', 0), table)
        yield (f'CPU {number}: {where}{" (halted)" if found.get("HLT") else ""}, '
               f'RSP {found.get("RSP", 0):#x}, CR3 {found.get("CR3", 0):#x}')


def look(monitor, kernel):
    """Lines that tell where the CPUs are, several times over."""
    table = symbols(kernel)
    for turn in range(LOOKS):
        time.sleep(PAUSE if turn else 0)
        yield from cpus(answer(monitor, 'info registers -a'), table)
