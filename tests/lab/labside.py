# SPDX-License-Identifier: GPL-2.0-or-later
"""The same guest in three configurations, for whatever compares them.

    in-place   this QEMU, conversion=in-place     labs with in-place=on
    split      this QEMU, conversion=split        labs without
    base       the comparison binary, whose own code converts; labs without

    for config in configurations():
        with start(config, 256 * MIB, 'test=cycle step=1') as vm:
            follow(vm, lambda name, rest: ...)
"""
import os
import re
import shlex
import threading
import time

from lablib import MIB, PATIENCE, in_place
from gmemlab import GuestVm, Layout

GIB = 1 << 30
WAIT = re.compile(r'^WAIT ([^\n]*)\n', re.MULTILINE)
DONE = re.compile(r'^GUEST-DONE pass=\d+ fail=(\d+) skip=(\d+)', re.MULTILINE)


class SideLayout(Layout):
    """One block of RAM, allocated as it is touched, of the configuration's kind."""

    def __init__(self, config, size):
        super().__init__([('ram0', size)], low=size if size <= 2 * GIB else GIB)
        self.config = config

    def machine(self, extra=''):
        low = f',max-ram-below-4g={self.low}{extra}'
        if self.config == 'base':
            return ['-machine', f'q35,confidential-guest-support=guest{low}',
                    '-object', 'sw-protected-guest,id=guest']
        return ['-machine', 'pc-q35-swp' + low]

    def memory(self, more=''):
        kind = ('memory-backend-memfd,share=on' if self.config == 'base' else
                f'memory-backend-gmem,conversion={self.config},conversion-timeout=30000')
        return ['-m', f'{self.size // MIB}M', '-machine', 'memory-backend=ram0',
                '-object', f'{kind},id=ram0,size={self.size},reserve=off']


def configurations():
    """Those that this lab can run, in the order of the table."""
    if in_place():
        return ['in-place']
    return ['split'] + (['base'] if os.access(os.environ.get('GMEM_COMPARE', ''), os.X_OK) else [])


def rule(config):
    """The guest's word for what a conversion does to content."""
    return 'content=inplace' if config == 'in-place' else 'content=split'


def start(config, size, words, **options):
    """A VM of the configuration with the test guest; words are the guest's command line."""
    binary = os.environ['GMEM_COMPARE'] if config == 'base' else None
    layout = SideLayout(config, size)
    vm = GuestVm(layout, f'{words} {rule(config)}', qemu=binary, **options)
    vm.layout = layout
    return vm


def command(config, size, words):
    """The same as a line for people."""
    layout = SideLayout(config, size)
    binary = '$GMEM_COMPARE' if config == 'base' else '$GMEM_QEMU'
    return ' '.join([binary, '-accel kvm -smp 2', shlex.join(layout.machine() + layout.memory()),
                     '-kernel $GMEM_GUEST -append', shlex.quote(f'{words} {rule(config)}')])


def follow(vm, at_mark):
    """Call at_mark(name, rest) at each WAIT of the guest and let it go on, until its end.

    A guest that fails, dies, or stands still between two marks is an error.
    """
    seen, deadline = 0, time.monotonic() + 4 * PATIENCE
    while not (done := DONE.search(vm.serial.text)) and not vm.serial.ended:
        waits = WAIT.findall(vm.serial.text)
        if len(waits) > seen:
            at_mark(*waits[seen].partition(' ')[::2])
            seen, deadline = seen + 1, time.monotonic() + 4 * PATIENCE
            vm.go()
            continue
        if time.monotonic() > deadline:
            break
        with vm.serial.changed:
            vm.serial.changed.wait(0.05)
    if not done or (int(done[1]), int(done[2])) != (0, 0):
        raise RuntimeError('the guest did not succeed\n' + vm.report())


class Meanwhile(threading.Thread):
    """A thread that does its work in run() until self.ending is set: for the time of a with block."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ending = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *unused):
        self.ending.set()
        self.join()


class Sampler(Meanwhile):
    """Looks at a Cgroup's memory all the while, for what a look now and then would miss."""

    def __init__(self, group):
        super().__init__()
        self.group, self.high, self.count = group, 0, 0
        self.lock = threading.Lock()

    def run(self):
        while not self.ending.wait(0.1):
            self.sample()

    def sample(self):
        held = self.group.stat()['file']
        with self.lock:
            self.high = max(self.high, held)
            self.count += 1

    def take(self):
        """(most bytes of files, shmem and guest_memfd held since the last take, samples)"""
        self.sample()
        with self.lock:
            taken = self.high, self.count
            self.high = self.count = 0
        return taken
