# SPDX-License-Identifier: GPL-2.0-or-later
"""Conversions of a Linux guest, alone and beside traffic of its disk and its network card.

One VM for all samples of a configuration: some seconds without traffic, then as many with it, in
turn. What is written, read, sent and received is compared, and so is every converted page.
"""
import os
import shlex

import benchvm
from labside import SideLayout, rule
from labtraffic import DEVICES, TrafficVm, converting, make_disk, network_up, pass_traffic
from lablib import MIB

SIZE, PAGES, SECONDS = 320 * MIB, 8192, 5


def start(config, layout):
    """The VM, ready to convert."""
    vm = TrafficVm(layout, qemu=os.environ['GMEM_COMPARE'] if config == 'base' else None)
    content = rule(config).replace('inplace', 'in-place')
    if (not vm.serial.wait_for('^guest: ready') or network_up(vm)[0] or vm.load(content)[0]
            or vm.convert(f'alloc {PAGES}')):
        report = vm.report()
        vm.close()
        raise SystemExit('bench: the Linux guest is not ready\n' + report)
    return vm


def sample(vm, seed, beside):
    """Conversions of some seconds; what went wrong with them or with the traffic ends it all."""
    if beside:
        results, done = converting(vm, seed, lambda: pass_traffic(vm, SECONDS, seed))
    else:
        results, done = {}, converting(vm, seed, lambda: vm.run(f'sleep {SECONDS}'))[1]
    wrong = [name for name, counts in results.items() if not counts.fine]
    wrong += [key for key, value in done.stats.items()
              if key.startswith(('mismatch', 'failure')) and value]
    if wrong:
        raise SystemExit(f'bench: {" ".join(wrong)}\n{vm.report()}')
    return done


def measure(config, rounds):
    make_disk()
    layout = SideLayout(config, SIZE)
    binary = '$GMEM_COMPARE' if config == 'base' else '$GMEM_QEMU'
    benchvm.emit('command', config, of='traffic', line=f'{binary} -accel kvm -smp 2 ' + shlex.join(
        layout.machine() + layout.memory() + DEVICES))
    with start(config, layout) as vm:
        for number in range(rounds):
            for beside in (False, True):
                done = sample(vm, 2 * number + beside + 1, beside)
                benchvm.emit('traffic', config, beside=beside, rate=done.rate,
                             own=done.rate_of_own_time)
