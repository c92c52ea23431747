#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: in-place=on soak=both mem=3G timeout=1200
"""A guest converts just those pages that its devices are using.

It drives two disks, one of them slow and the other one in an IOThread, and two network cards, one of
vhost-net and one of QEMU's own, while frames come in all the time.
1. in order: each part of each ring, what requests name, and buffers of requests under way. The guest
   gets what docs/devel/holders.md promises: tests/guest/test_hostile.c
2. without any order, on all vCPUs: tests/guest/test_storm.c
3. QEMU runs and answers all the while, says little, and agrees with the guest on every page; QMP
   hears of the queues that stopped; QEMU ends on its own
4. split: what becomes of the same guest on the base's code is shown, as comments
"""
import collections
import re
import socket
import subprocess
import time

from gmemlab import MIB, PATIENCE, SOAK, Tap, compare_maps, counters_add_up
from labside import DONE, Meanwhile, configurations, start
from labtraffic import DISK, make_disk

SIZE = 64 * MIB
ROUNDS, ROUNDS_ON_BASE = 10000 if SOAK else 400, 400
SLOW_DISK = '/dev/slowdisk'
CARDS = {'hostile0': 'on', 'hostile1': 'off'}
# What the guest's frames have behind their addresses and kind, if they lay in a private page
SECRET = b'\x88\xb5\x50'
EVERYTHING = 3
FRAME = b'\xff' * 6 + b'\x52\x54\0\0\0\x02' + b'\x88\xb5' + bytes(46)
MODERN = 'disable-legacy=on'
# What was done to a device of the guest; and what did not come of it that should have
RESULT = re.compile(r'^(not )?ok \d+ - \w+/(?:blk|net)\d+/([\w-]+?)(?:-\d+)?(?:/(\S+))?(?: |$)',
                    re.MULTILINE)


def drive(name, path, more=''):
    return ['-drive', f'if=none,id={name},file={path},format=raw,cache=none,aio=threads{more}']


DEVICES = [*drive('slow', SLOW_DISK, ',throttling.iops-total=10'),
           # Its requests begin on the vCPU that rings the bell: they are under way afterwards
           '-device', f'virtio-blk-pci,drive=slow,addr=4,ioeventfd=off,{MODERN}',
           *drive('fast', DISK), '-object', 'iothread,id=io0',
           '-device', f'virtio-blk-pci,drive=fast,addr=5,iothread=io0,{MODERN}']
for slot, (card, vhost) in enumerate(CARDS.items(), 6):
    DEVICES += ['-netdev', f'tap,id={card},ifname={card},script=no,downscript=no,vhost={vhost}',
                '-device', f'virtio-net-pci,netdev={card},addr={slot},romfile=,{MODERN}']


class Frames(Meanwhile):
    """Frames to both cards, until the end; and a look at what comes from them."""

    def __init__(self):
        super().__init__()
        self.sockets, self.secrets = [], 0
        self.seen = collections.Counter()
        for name in CARDS:
            subprocess.run(['busybox', 'ifconfig', name, 'up'], check=True)
            self.sockets.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                              socket.htons(EVERYTHING)))
            self.sockets[-1].bind((name, EVERYTHING))
            self.sockets[-1].setblocking(False)

    def look(self, s):
        try:
            while True:
                frame, sender = s.recvfrom(2048)
                if sender[2] != socket.PACKET_OUTGOING:
                    self.seen[sender[0]] += 1
                    self.secrets += frame[12:15] == SECRET
        except OSError:
            pass

    def run(self):
        while not self.ending.wait(0.02):
            for s in self.sockets:
                try:
                    s.send(FRAME)
                except OSError:         # nobody takes them just now
                    pass
                self.look(s)

    def __exit__(self, *unused):
        super().__exit__()
        for s in self.sockets:
            self.look(s)
            s.close()


def begin(config, words):
    return start(config, SIZE, f'test=hostile,storm traffic=1 {words}', more=DEVICES)


def comments(tap, vm):
    for line in re.findall(r'^# (?:hostile|storm).*', vm.serial.text, re.MULTILINE):
        tap.note(line[2:])


def messages(tap, vm):
    """What QEMU said, and how often."""
    said = collections.Counter(re.sub(r'\d+', 'N', line) for line in vm.errors.splitlines())
    for line, times in said.most_common(12):
        tap.note(f'{times}: {line}')


def check_events(tap, vm):
    names = collections.Counter(e['event'] for e in vm.qmp.events)
    tap.note(f'events: {dict(names)}')
    tap.ok(names['GMEM_QUEUE_STOPPED'], 'QMP heard of queues that stopped', dict(names))
    tap.ok(not names['GUEST_PANICKED'] and not names['BLOCK_IO_ERROR'], 'and of nothing worse',
           dict(names))


def fates(text):
    """{torment: Counter of what was missed, or 'as promised'} over all devices."""
    found = collections.defaultdict(collections.Counter)
    for bad, torment, missed in RESULT.findall(text):
        found[torment][missed if bad else 'as promised'] += 1
    return found


def show_beside(tap, by_config):
    """What became of each torment, how often, on each configuration."""
    for torment in next(iter(by_config.values())):
        told = (', '.join(f'{times} {what}' for what, times in fate[torment].items()) or '-'
                for fate in by_config.values())
        tap.note(f'{torment}: ' + '; '.join(f'{c}: {t}' for c, t in zip(by_config, told)))


def check(tap, config):
    """A run that keeps what is promised; its fates."""
    began = time.monotonic()
    with begin(config, f'rounds={ROUNDS}') as vm:
        with Frames() as frames:
            vm.finish(tap, log=MIB)     # its lines are counted by the second
        lines, seconds = len(vm.errors.splitlines()), time.monotonic() - began
        tap.ok(lines <= seconds + 10, 'QEMU says something once in a second at most',
               lambda: f'{lines} lines in {seconds} s\n{vm.errors[:2000]}')
        tap.ok(len(frames.seen) == len(CARDS) and not frames.secrets,
               'both cards send, and nothing from private pages',
               f'{frames.seen} {frames.secrets}')
        comments(tap, vm)
        tap.note(f'{config}: {lines} lines of QEMU in {seconds:.0f} s')
        messages(tap, vm)
        compare_maps(tap, vm, vm.layout)
        info = counters_add_up(tap, vm.qmp, 'ram0')
        tap.note(f'{config}: {info["failures"]} conversions failed')
        check_events(tap, vm)
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')
        return fates(vm.serial.text)


def watch(vm, seconds):
    """The VM's state when the guest has ended, or does not."""
    deadline = time.monotonic() + seconds
    status = 'running'
    while vm.alive() and time.monotonic() < deadline and not DONE.search(vm.serial.text):
        try:
            status = vm.qmp.command('query-status')['status']
        except (OSError, ValueError):
            status = 'does not answer'
        if status != 'running':
            break
        time.sleep(1)
    return status


def show(tap, config):
    """The base: nothing is asserted of code that is not ours. Its fates."""
    with begin(config, f'rounds={ROUNDS_ON_BASE} patience=2000 dump=0') as vm:
        with Frames():
            status = watch(vm, 2 * PATIENCE)
        done = DONE.search(vm.serial.text)
        tap.note(f'{config}: {done[0] if done else "the guest did not come to its end"}; '
                 f'QEMU {"lives" if vm.alive() else f"ended with {vm.wait()}"}, the VM: {status}; '
                 f'{len(vm.errors.splitlines())} lines of QEMU')
        comments(tap, vm)
        messages(tap, vm)
        return fates(vm.serial.text)


def main():
    tap = Tap()
    make_disk()
    make_disk(SLOW_DISK)
    show_beside(tap, {config: (show if config == 'base' else check)(tap, config)
                      for config in configurations()})
    tap.done()


if __name__ == '__main__':
    main()
