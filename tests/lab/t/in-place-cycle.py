#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both mem=3G timeout=900
"""A guest that changes the state of all its memory, several times, is held once.

The guest makes its memory private, shared, and private again, and touches every page each
time. The host looks all the while, ten times a second, and at each of the guest's marks.
1. in place never more than 1.005 bytes for each byte of the guest, firmware included
2. in the lab without in-place conversion the same for split and for the base's own code, which
   free one side and fill the other: their figures stand beside it, limited to 1.02
3. guest and host agree on the state of every page in the end
"""
from gmemlab import SOAK, compare_maps
from labside import Sampler, configurations, follow, start
from lablib import MIB, Cgroup, Tap, in_place

SIZE = 512 * MIB if SOAK else 128 * MIB
LIMITS = {'in-place': 1.005, 'split': 1.02, 'base': 1.02}
# At the first mark the guest has touched nothing but itself
TOUCHED = ('private-touched', 'shared-touched', 'private-2-touched')
OWN = 8 * MIB


def check(tap, config):
    group, seen = Cgroup('held'), []
    with start(config, SIZE, 'test=cycle step=1', cgroup=group) as vm, Sampler(group) as sampler:
        def at_mark(name, _):
            step, (high, samples) = name.removeprefix('cycle/'), sampler.take()
            stat = group.stat()
            tap.note(f'{config}: {step}: {high / SIZE:.4f} of the guest at most in {samples} '
                     f'samples; beside it {stat["kernel"] / MIB:.1f} MiB of kernel memory, '
                     f'{stat["anon"] / MIB:.1f} of heap')
            tap.ok(high <= LIMITS[config] * SIZE, f'{config}: {step}: nothing is held twice',
                   f'{high} bytes for {SIZE}')
            if step in TOUCHED:
                tap.ok(stat['file'] >= SIZE - OWN, f'{config}: {step}: the count sees the memory',
                       f'{stat["file"]} bytes for {SIZE}')
            seen.append(step)
        follow(vm, at_mark)
        tap.equal(len(seen), 7, f'{config}: the guest went through all steps')
        if config != 'base':
            compare_maps(tap, vm, vm.layout)
    group.remove()


def main():
    tap, configs = Tap(), configurations()
    for config in configs:
        check(tap, config)
    if not in_place() and 'base' not in configs:
        tap.skip('base: held', 'no comparison binary (GMEM_COMPARE; make compare)')
    tap.done()


if __name__ == '__main__':
    main()
