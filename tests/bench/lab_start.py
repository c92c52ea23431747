# SPDX-License-Identifier: GPL-2.0-or-later
"""From exec to the guest's first instruction, by size of the guest.

kvm-times.so notes when the vCPU first enters the guest and comes back from it with something
to do; the clock starts before the process is made. The test guest is what would boot; it is
not waited for.
"""
import time

import benchvm
from labside import GIB, start

WORDS = 'test=selftest'
PATIENCE = 600


def once(config, size):
    """Seconds from start to the first KVM_RUN."""
    times = benchvm.Times()
    with times.preloaded():
        begin = time.monotonic()
        vm = start(config, size, WORDS, more=('-smp', '1'), qmp_clients=0)
    with vm:
        while time.monotonic() < begin + PATIENCE:
            if not vm.alive():
                raise SystemExit('bench: QEMU ended\n' + vm.report())
            time.sleep(0.01)
            if first := times.read()[0]:
                return first / 1e9 - begin
    raise SystemExit('bench: the guest did not start\n' + vm.report())


def measure(config, gib, samples):
    benchvm.emit_command('start', config, gib * GIB, WORDS)
    for _ in range(samples):
        benchvm.emit('start', config, gib=gib, seconds=once(config, gib * GIB))
