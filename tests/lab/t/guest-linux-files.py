#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: in-place=on soak=both mem=3G timeout=900
"""A Linux guest mounts a directory of its host's by virtiofs, and converts memory meanwhile.

1. the distribution's daemon serves it; what is written, past all caches, is read again
2. the same while all CPUs convert pages at random: each takes a pause of the device. While requests take
   longer than a second, as they may in emulation, a conversion may find no pause in its time: it fails
   with EAGAIN, and the host is told who had the page
3. the daemon has in its file what the guest reads from it
"""
import hashlib

import labfs
from gmemlab import MIB, SOAK, Layout, Tap
from lablib import PATIENCE
from lablinux import compare, module, no_mismatch
from labtraffic import Counts, TrafficVm, converting, make_disk

LAYOUT = Layout([('ram0', 320 * MIB)])
PAGES = 512
SECONDS = 300 if SOAK else 5


def traffic(vm, seconds, seed):
    """What came of reading and writing the file: Counts."""
    status, text = vm.run(f'/traffic disk {vm.disks["files"]} {seconds} {seed} 2>&1',
                          seconds + 2 * PATIENCE)
    return Counts(status, text)


def check_conversions(tap, vm, done):
    tap.ok(done.count > 0, 'there are conversions meanwhile')
    stats = dict(done.stats)
    busy = stats.pop('failures-errno-11', 0)
    stats['failures'] -= busy
    no_mismatch(tap, stats, 'beside the file')
    stalled = [e['data'].get('holder') for e in vm.qmp.events if e['event'] == 'GMEM_CONVERSION_STALLED']
    tap.ok(set(stalled) == ({'vhost-user'} if busy else set()), 'what failed is told, with who had the page',
           f'{busy} failed, told: {stalled}')
    tap.note(f'{done.count} conversions, {busy} beside that found no pause')


def check(tap, vm, server):
    tap.equal(labfs.mount(vm), (0, ''), 'virtiofs is mounted')
    alone = traffic(vm, 1, 1)
    tap.ok(alone.fine, 'every byte is right', alone.text)
    tap.equal(vm.convert(f'alloc {PAGES}'), None, 'the module takes pages')
    beside, done = converting(vm, 42, lambda: traffic(vm, SECONDS, 2))
    tap.ok(beside.fine, 'every byte is right beside conversions', beside.text)
    check_conversions(tap, vm, done)
    compare(tap, vm, LAYOUT, 'in the end')
    status, text = vm.run(f'sha256sum <{labfs.MOUNTED}/{labfs.FILE}')
    tap.equal((status, text.split()[:1]), (0, [hashlib.sha256(server.data()).hexdigest()]),
              'guest and daemon have the same in the file')
    tap.equal(vm.unload(), (0, ''), 'the module is unloaded')
    tap.equal(vm.quit(), 0, 'QEMU ends on its own')


def main():
    tap = Tap()
    if not module():
        tap.skip_all("the lab's kernel has no headers to build the module against")
    if not labfs.daemon():
        tap.skip_all('no virtiofsd here: install the package virtiofsd')
    make_disk()
    with labfs.FileServer() as server, TrafficVm(LAYOUT, server=server) as vm:
        if vm.boot(tap) and tap.equal(vm.load(), (0, ''), 'the module is loaded'):
            check(tap, vm, server)
    tap.done()


if __name__ == '__main__':
    main()
