# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host holds: per byte of the guest, and in the kernel per converted page.

Counted in the QEMU's cgroup. "held" is memory.stat's file (shmem is in it): the guest's pages
on either side, firmware included. Beside it, not inside: QEMU's heap (anon) and the kernel's
own (kernel, of it page tables). Kernel memory that is charged to nobody shows in the whole
lab's Slab, in which nothing else is going on.
"""
import re
import time

import benchvm
from labside import Sampler, follow, start
from lablib import MIB, Cgroup, Tap
from gmemlab import compare_maps

CYCLE = (256 * MIB, 'test=cycle step=1')
MAPS = (1024 * MIB, 'test=maps step=1 dump=0 base=256M')
BESIDE = ('shmem', 'anon', 'kernel', 'pagetables', 'sec_pagetables', 'slab')
# The kernel sums up its counters every other second, or when enough has changed
SETTLE = 2.5


def system_slab():
    with open('/proc/meminfo', encoding='ascii') as f:
        return int(re.search(r'^Slab: +(\d+)', f.read(), re.M)[1]) * 1024


def cycle(config):
    """All of the guest private, shared, private, touched each time; a sample at each mark."""
    size, words = CYCLE
    benchvm.emit_command('memory', config, size, words)
    group = Cgroup('memory')
    with start(config, size, words, cgroup=group) as vm, Sampler(group) as sampler:
        def at_mark(name, _):
            high, samples = sampler.take()
            stat = group.stat()
            benchvm.emit('memory', config, step=name.removeprefix('cycle/'), guest=size,
                         held=stat['file'], high=high, samples=samples,
                         **{key: stat[key] for key in BESIDE})
        follow(vm, at_mark)
        agreed = config == 'base' or agree(vm)
    group.remove()
    if not agreed:
        raise SystemExit('bench: guest and host do not agree on the state of every page')


class Silent(Tap):
    """Results of a comparison as one verdict."""

    def _point(self, good, text):
        self.failed += not good


def agree(vm):
    tap = Silent()
    compare_maps(tap, vm, vm.layout)
    return not tap.failed


def maps(config, area):
    """Kernel memory that maps of few and of many runs cost; nothing is touched."""
    size, words = MAPS
    words += f' size={area}'
    benchvm.emit_command('maps', config, size, words)
    group, before = Cgroup('maps'), {}

    def account():
        time.sleep(SETTLE)
        stat = group.stat()
        return {'kernel': stat['kernel'], 'anon': stat['anon'], 'system': system_slab()}

    def at_mark(name, _):
        name = name.removeprefix('maps/')
        now = account()
        if name == 'start' or name.endswith('-cleared'):
            before.update(now)
            return
        pages = area // 4096 // (1 if name == 'uniform' else 2)
        benchvm.emit('maps', config, map=name, pages=pages,
                     **{key: now[key] - before[key] for key in now})
    with start(config, size, words, cgroup=group) as vm:
        follow(vm, at_mark)
    group.remove()
