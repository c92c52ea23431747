#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: in-place=on soak=both mem=3G timeout=900 qemu-arg=-device qemu-arg=intel-iommu
# lab: qemu-arg=-netdev qemu-arg=hubport,id=h8,hubid=0 qemu-arg=-device qemu-arg=igb,addr=0x8,netdev=h8
# lab: qemu-arg=-netdev qemu-arg=hubport,id=ha,hubid=0 qemu-arg=-device qemu-arg=igb,addr=0xa,netdev=ha
"""Devices of a Linux guest pass traffic while its memory is converted beside their buffers.

1. the program that checks traffic notices what is wrong with it
2. the guest's disk and network card use the DMA API, bounce buffers, and vhost-net; another card is assigned
3. all CPUs convert pages at random, without traffic and then with it: every byte of disk and
   networks is right at both ends, all of it has arrived, no conversion failed or waited in vain, and
   no page holds what it should not
4. the disk holds in the end what the guest thinks it holds; guest and host agree on every page
"""
import os
import subprocess
import threading

from gmemlab import MIB, SOAK, Layout, Tap, block
from lablinux import check_log, compare, module, no_mismatch
from labtraffic import (BOUNCE, DISK, PORT, Counts, Listener, TrafficVm, converting,
                        disk_digests, make_disk, network_up, pass_traffic, program,
                        vhost_started)
from labvfio import IGB, assign

LAYOUT = Layout([('ram0', 320 * MIB)])
PAGES = 8192
SECONDS, SECONDS_BEFORE = (600, 60) if SOAK else (60, 10)


def traffic(*words):
    done = subprocess.run([program(), *map(str, words)], text=True, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True)
    return Counts(done.returncode, done.stdout + done.stderr)


def spoil(path, ending):
    """Write into the middle of every MiB, now and then."""
    with open(path, 'r+b', buffering=0) as f:
        while not ending.wait(0.1):
            for mib in range(2):
                f.seek(mib * MIB + MIB // 2)
                f.write(b'spoilt')
                os.fdatasync(f.fileno())


def check_checks(tap):
    tap.ok(traffic('disk', DISK, 2, 1, 1).fine, 'a disk that is left alone has no mismatch')
    ending = threading.Event()
    spoiler = threading.Thread(target=spoil, args=(DISK, ending))
    spoiler.start()
    counts = traffic('disk', DISK, 2, 2, 1)
    ending.set()
    spoiler.join()
    tap.ok(counts.status == 1 and counts.mismatches > 0, 'one that somebody else writes to has',
           counts.text)
    for other, wanted in ((7, 0), (8, 1)):
        listener = Listener('127.0.0.1', 1, 7)
        ends = traffic('connect', '127.0.0.1', PORT, 1, other), listener.counts()
        tap.ok(all(end.status == wanted and bool(end.mismatches) == bool(wanted) for end in ends),
               f'network: {"no" if not wanted else "a"} mismatch is seen at both ends',
               '\n'.join(end.text for end in ends))


def check_devices(tap, vm):
    tap.equal(vm.run('cut -c34 /sys/bus/virtio/devices/*/features'), (0, '1\n1\n'),
              'both virtio devices have ACCESS_PLATFORM')
    tap.equal(network_up(vm), (0, ''), 'the networks are up')
    tap.ok(vhost_started(vm), 'vhost-net has the queues', vm.report)


def check_traffic(tap, results):
    for name, counts in results.items():
        tap.ok(counts.fine, f'{name}: every byte is right, and has arrived', counts.text)
        inside = getattr(counts, 'guest', counts)
        tap.note(f'{name}: {inside.out >> 20} MiB out of the guest, {inside.taken >> 20} into it')


def check_conversions(tap, vm):
    tap.equal(vm.convert(f'alloc {PAGES}'), None, 'the module takes pages')
    slept, without = converting(vm, 42, lambda: vm.run(f'sleep {SECONDS_BEFORE}'))
    tap.equal(slept[0], 0, 'conversions without traffic')
    no_mismatch(tap, without.stats, 'without')
    results, beside = converting(vm, 43, lambda: pass_traffic(vm, SECONDS, 1))
    check_traffic(tap, results)
    tap.ok(without.count and beside.count, 'there are conversions all the while')
    tap.equal(vm.convert('check'), None, 'every word of every page is as it should be')
    no_mismatch(tap, beside.stats, 'beside traffic')
    tap.note(f'conversions per second and vCPU: {without.rate:.0f} without traffic, '
             f'{beside.rate:.0f} beside it ({beside.rate / without.rate:.2f}); in the CPU time of '
             f'those who convert: {beside.rate_of_own_time / without.rate_of_own_time:.2f}')
    compare(tap, vm, LAYOUT, 'in the end', minimum=5)


def check_end(tap, vm):
    tap.ok(int(vm.run(f'cat {BOUNCE}')[1] or 0) > 0, 'DMA went through bounce buffers')
    tap.ok(vhost_started(vm) and 'unable to start vhost' not in vm.errors, 'vhost-net still has the queues',
           vm.report)
    here, there = disk_digests(vm)
    tap.ok(here == there and len(here) > 64, 'guest and host read the same from the disk',
           f'{here} {there}')
    check_log(tap, vm)
    info = block(vm.qmp, 'ram0')
    tap.equal((info['broken'], info['discard-failures'], info['failures']), (False, 0, 0),
              'the host has no failure either')
    tap.equal([e for e in vm.qmp.events if e['event'].startswith(('GMEM_', 'BLOCK_IO_'))], [],
              'nobody stalled, nothing was denied')
    tap.equal(vm.unload(), (0, ''), 'the module is unloaded')
    tap.equal(vm.quit(), 0, 'QEMU ends on its own')


def main():
    tap = Tap()
    if not module():
        tap.skip_all("the lab's kernel has no headers to build the module against")
    make_disk()
    check_checks(tap)
    tap.ok(assign(IGB), 'a card is bound to vfio-pci')
    with TrafficVm(LAYOUT, assigned=True) as vm:
        if vm.boot(tap) and tap.equal(vm.load(), (0, ''), 'the module is loaded'):
            check_devices(tap, vm)
            check_conversions(tap, vm)
            check_end(tap, vm)
    tap.done()


if __name__ == '__main__':
    main()
