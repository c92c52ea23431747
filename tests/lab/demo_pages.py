#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Part b of the demonstration: the test guest converts patterns, QMP watches.

usage (in the lab): demo_pages.py GUEST.elf

Converts in place where the lab's kernel does, else in split mode. Writes
$LAB_OUT/samples.jsonl for scripts/plot-map. Fails when guest and host do not agree
in the end on every page's state, or, in place, when what the guest wrote into
private pages is not there once they are shared, or memory was held twice.
"""
import json
import os
import re
import sys
import time

from lablib import Cgroup, Vm, in_place

GIB = 1 << 30
GUEST_BYTES = 2 * GIB
PATIENCE = 900
MODE = 'in-place' if in_place() else 'split'
ARGS = ['-accel', 'kvm', '-smp', '2', '-m', '2G', '-machine', 'pc-q35-swp,memory-backend=ram0',
        '-object', f'memory-backend-gmem,id=ram0,size=2G,conversion={MODE},'
        'conversion-timeout=30000']
BASE, SIZE, UNIT = GIB // 2, GIB, 2 << 20
WORDS = (f"test=pattern content={'inplace' if in_place() else 'split'} step=1 marks=8 "
         'base=512M size=1G')
# The host's memory for the guest, in bytes per byte of the guest: never more than this
CEILING = 1.005


def full_map(qmp, block):
    """All runs of a block, page by page of the query."""
    runs, offset = [], 0
    while offset is not None:
        part = qmp.command('query-gmem-map', id=block['id'], offset=offset)
        runs += [[r['offset'], r['size'], r['state']] for r in part['ranges']]
        offset = part.get('next')
    return runs


class Watch:
    """Samples of the map and of the memory held, at the guest's marks."""

    def __init__(self, vm, group, path):
        self.vm, self.group = vm, group
        self.before = None
        self.most = 0
        self.start = time.monotonic()
        self.file = open(path, 'w', encoding='utf-8')

    def sample(self, mark=None):
        blocks = self.vm.qmp.command('query-gmem')['blocks']
        held = self.group.guest_bytes()
        if self.before is None:
            self.before = held
        self.most = max(self.most, held)
        sample = {'t': round(time.monotonic() - self.start, 2), 'mark': mark,
                  'held': held - self.before,
                  'blocks': [{'id': b['id'], 'size': b['size'],
                              'runs': full_map(self.vm.qmp, b)} for b in blocks]}
        self.file.write(json.dumps(sample) + '\n')
        self.file.flush()
        return blocks, sample

    def show(self, title):
        print(f'  -- {title}: info gmem', flush=True)
        for line in self.vm.qmp.hmp('info gmem').splitlines():
            print('     ' + line)


def marks(vm):
    """The guest's marks, one by one as they come; it waits for a byte after each."""
    seen = 0
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and vm.alive():
        names = re.findall(r'^MARK ([^\n]*)\n', vm.serial.text, re.M)
        for name in names[seen:]:
            yield name
            deadline = time.monotonic() + PATIENCE
        seen = len(names)
        if seen and names[-1].endswith('/end'):
            return
        time.sleep(0.05)
    sys.exit('demo: the guest went no further\n' + vm.report())


def follow(vm, watch):
    """At each mark of the guest, look, then let it go on."""
    for name in marks(vm):
        pattern, _, step = name.removeprefix('pattern/').partition(' ')
        blocks, sample = watch.sample(pattern if step.startswith('1/') or not step else None)
        private = sum(b['private'] for b in blocks)
        print(f"  {name:24} private {private >> 20:5} MiB   host holds "
              f"{sample['held'] / GIB:5.2f} GiB for a guest of {GUEST_BYTES / GIB:.0f} GiB",
              flush=True)
        if name == 'pattern/start':
            watch.show('before')
        elif name == 'pattern/checkerboard 8/8':
            watch.show('during')
            check_checkerboard(sample['blocks'])
        elif name in ('pattern/fill 8/8', 'pattern/empty 8/8'):
            read_from_outside(vm, name)
        vm.serial.write('.')


def check_checkerboard(blocks):
    """The host's map against what the guest has drawn: every second unit is private."""
    drawn = [[at, UNIT, 'private'] for at in range(BASE + UNIT, BASE + SIZE, 2 * UNIT)]
    found = [run for run in blocks[0]['runs'] if run[2] == 'private']
    if found != drawn:
        sys.exit(f'demo: the host has {len(found)} private ranges, from {found[:3]}; '
                 f'the guest drew {len(drawn)}, from {drawn[:3]}')
    print(f'  guest drew {len(drawn)} private ranges; the host has the same {len(found)}',
          flush=True)


def read_from_outside(vm, name):
    """What the host sees of a page that the guest has filled while it was private."""
    answer = vm.qmp.hmp(f'xp /2gx {BASE:#x}').strip()
    print(f'  (qemu) xp /2gx {BASE:#x}\n     ' + answer.replace('\n', '\n     '), flush=True)
    if name == 'pattern/fill 8/8':
        if 'private' not in answer:
            sys.exit('demo: the host could read a private page')
    elif in_place():
        words = [int(word, 16) for word in answer.partition(':')[2].split()]
        if not any(words):
            sys.exit('demo: the content of the page did not survive')
        print('     That is what the guest wrote while the page was private.')


def judge_memory(watch):
    """One byte for each byte of the guest, whatever it converts."""
    ratio = watch.most / GUEST_BYTES
    print(f'  The host held at most {ratio:.3f} bytes per byte of the guest.')
    if in_place() and ratio > CEILING:
        sys.exit(f'demo: more than {CEILING}')


def guest_states(text):
    """[(gpa, pages, private)] as the guest says at its end."""
    return [(int(g, 16), int(p), s == 'P')
            for g, p, s in re.findall(r'^STATE 0x([0-9a-f]+) (\d+) ([PS])$', text, re.M)]


def compare(vm, watch):
    """Guest and host about the same pages. Below the hole offset and address are equal."""
    states = guest_states(vm.serial.text)
    host = {}
    for b in vm.qmp.command('query-gmem')['blocks']:
        if b['id'] == 'ram0' or b['size'] == GUEST_BYTES:
            host = b
    runs = [(o, o + n) for o, n, s in full_map(vm.qmp, host) if s == 'private']
    said = [(g, g + p * 4096) for g, p, private in states if private]
    print(f'  guest says: {len(said)} private ranges; host says: {len(runs)}')
    if not states or said != runs:
        sys.exit(f'demo: guest and host do not agree: {said[:5]} and {runs[:5]}')
    print('  They agree on every page.')
    info = host
    print(f"  host counted {info['to-private']['conversions']} conversions to private "
          f"({info['to-private']['bytes'] >> 20} MiB), {info['to-shared']['conversions']} to "
          f"shared ({info['to-shared']['bytes'] >> 20} MiB), {info['failures']} failures")


def main():
    image = sys.argv[1]
    out = os.environ['LAB_OUT'] + '/samples.jsonl'
    group = Cgroup('demo')
    print('  $ qemu-system-x86_64 ' + ' '.join(ARGS) + f' -kernel guest.elf -append "{WORDS}"')
    with Vm([*ARGS, '-no-shutdown', '-kernel', image, '-append', WORDS], cgroup=group) as vm:
        watch = Watch(vm, group, out)
        follow(vm, watch)
        end = vm.serial.wait_for(r'^GUEST-DONE pass=(\d+) fail=(\d+) skip=(\d+)', PATIENCE)
        if not end or end[2] != '0' or end[3] != '0':
            sys.exit('demo: the guest found something wrong\n' + vm.report())
        print(f'  guest says: {end[1]} checks passed, of every page it converted')
        if in_place():
            print('  It filled a page of each 2 MiB before it converted them; all were kept.')
        if vm.alive():
            compare(vm, watch)
            watch.show('after')
        judge_memory(watch)


if __name__ == '__main__':
    main()
