# SPDX-License-Identifier: GPL-2.0-or-later
"""Conversions as the guest sees them: how long, and where the time goes.

The guest's scenario bench (tests/guest/test_bench.c) times batches. Here the host gets its
turn before each warm sample and reads the range, so that its own page tables hold it too, as
they do after a device has used it. A second VM, with kvm-times.so under it, tells the parts.
"""
import re

import benchvm
from benchvm import DIRECTIONS
from labside import GIB, follow, start
from lablib import MIB

LINE = re.compile(r'^BENCH (.*)$', re.MULTILINE)
# name: (bytes of RAM, words for the guest); 1 GiB ranges need a guest that has them
GUESTS = {
    'small': (512 * MIB, 'test=bench units=4K,2M size=480M step=1 dump=0'),
    'large': (4 * GIB, 'test=bench units=1G base=4G size=2G step=1 dump=0'),
}
PROFILE = (512 * MIB, 'test=bench units=2M size=480M step=1 dump=0 rounds=7')


def host_reads(vm):
    """For follow(): at a sample's mark, have QEMU read the range."""
    def at_mark(_, rest):
        where = benchvm.pairs(rest)
        if 'gpa' in where:
            vm.qmp.command('pmemsave', val=where['gpa'], size=where['bytes'],
                           filename='/dev/null')
    return at_mark


def measure(config, name, rounds, warm):
    size, words = GUESTS[name]
    words += f' rounds={rounds} warm={int(warm)}'
    benchvm.emit_command('convert', config, size, words)
    with start(config, size, words) as vm:
        follow(vm, host_reads(vm))
        lines = [benchvm.pairs(line) for line in LINE.findall(vm.serial.text)]
    khz = next(line['tsc_khz'] for line in lines if 'tsc_khz' in line)
    for line in lines:
        if 'unit' in line:
            seconds = {what: line[what] / khz / 1000
                       for d in DIRECTIONS for what in (d, 'touch_' + d)}
            benchvm.emit('convert', config, unit=line['unit'], cpus=line['cpus'],
                         state=line['state'], count=line['count'], **seconds)


def shares(config, cpus, begin, end, lines):
    """Samples of what lies between two readings of the clocks, summed over all vCPUs."""
    khz = next(line['tsc_khz'] for line in lines if 'tsc_khz' in line)
    warm = [line for line in lines if (line.get('state'), line.get('cpus')) == ('warm', cpus)]
    for d in DIRECTIONS:
        spent = {part: [e - b for b, e in zip(begin[d, part], end[d, part])]
                 for part in benchvm.PARTS}
        benchvm.emit('profile', config, cpus=cpus, direction=d,
                     count=sum(w['count'] for w in warm),
                     guest=cpus * sum(w[d] for w in warm) / khz / 1000,
                     touch=cpus * sum(w['touch_' + d] for w in warm) / khz / 1000,
                     **{part: ns / 1e9 for part, (_, ns) in spent.items()},
                     **{part + '_calls': calls for part, (calls, _) in spent.items()})


def profile(config):
    """vCPU seconds of each part, summed over all warm samples of 2 MiB, on one vCPU and on two."""
    size, words = PROFILE
    benchvm.emit_command('profile', config, size, words)
    times, at = benchvm.Times(), {}
    with times.preloaded():
        vm = start(config, size, words)
    with vm:
        read = host_reads(vm)

        def at_mark(name, rest):
            if '/warm/' in name and 'gpa' not in rest:
                at[int(name.rpartition('/')[2]), bool(rest)] = times.read()[2]
            read(name, rest)
        follow(vm, at_mark)
        lines = [benchvm.pairs(line) for line in LINE.findall(vm.serial.text)]
    for cpus in sorted({cpus for cpus, _ in at}):
        shares(config, cpus, at[cpus, False], at[cpus, True], lines)
