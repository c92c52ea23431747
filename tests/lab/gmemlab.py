# SPDX-License-Identifier: GPL-2.0-or-later
"""The test guest on pc-q35-swp: its VM, and guest and host compared page for page.

The guest (tests/guest) prints what it holds to be private as STATE lines, in guest addresses.
The host answers query-gmem-map in offsets of blocks. Layout translates: blocks lie one after
the other in RAM, whose first part stands at 0 and whose rest stands at 4 GiB.

    layout = Layout([('ram0', 192 * MIB), ('ram1', 320 * MIB)], low=256 * MIB)
    with finished_guest(tap, layout, 'test=table') as (vm, counters):
        tap.equal(counters['ram0']['failures'], 0, 'nothing was refused')
"""
import contextlib
import os
import re
import time

from lablib import (MIB, PATIENCE, Cgroup, QmpError, Tap, Vm,  # noqa: F401 (for the tests)
                    hugepages_free, in_place)

PAGE = 4096
GIB4 = 4 << 30
SOAK = os.environ.get('GMEM_SOAK') == '1'
# What conversions of this lab's KVM do to a page, and the mode of blocks that follows
CONTENT = 'inplace' if in_place() else 'split'
MODE = 'in-place' if in_place() else 'split'
STATE = re.compile(r'^STATE 0x([0-9a-f]+) (\d+) ([PS])$', re.MULTILINE)
DONE = r'^GUEST-DONE pass=(\d+) fail=(\d+) skip=(\d+)\n'


class Layout:
    """Blocks of RAM as (id, bytes), and how much of them stands below 4 GiB.

    options are added to every backend; a backend for which KVM's shared state is asked, e.g.
    'shared-hugetlb=on'. low=None: all of it, which must then be less than 2 GiB.
    """

    def __init__(self, blocks, low=None, options=''):
        self.blocks = blocks
        self.size = sum(size for _, size in blocks)
        self.low = low or self.size
        self.options = options

    def borders(self):
        """Guest addresses where two blocks meet, for the guest's borders=."""
        ends, found = 0, []
        for _, size in self.blocks[:-1]:
            ends += size
            found.append(ends if ends < self.low else ends - self.low + GIB4)
        return ','.join(f'{end:#x}' for end in found)

    def machine(self, extra=''):
        return ['-machine', f'pc-q35-swp,max-ram-below-4g={self.low}{extra}']

    def memory(self, more=''):
        """The backends as NUMA nodes; one block is the machine's memory itself."""
        words = ['-m', f'{self.size // MIB}M{more}']
        for name, size in self.blocks:
            words += ['-object', f'memory-backend-gmem,id={name},size={size},'
                      f'conversion-timeout=30000{self.options}']
        if len(self.blocks) == 1:
            return words + ['-machine', f'memory-backend={self.blocks[0][0]}']
        for number, (name, _) in enumerate(self.blocks):
            words += ['-numa', f'node,nodeid={number},memdev={name}']
        return words

    def locate(self, gpa, size):
        """The pieces of guest memory [gpa, gpa + size), as (block id, offset, bytes)."""
        at = gpa if gpa < GIB4 else gpa - GIB4 + self.low
        start = 0
        for name, length in self.blocks:
            first, last = max(at, start), min(at + size, start + length)
            if first < last:
                yield name, first - start, last - first
            start += length


class GuestVm(Vm):
    """A VM that runs the test guest. It stays, stopped, when the guest has switched it off.

    The guest is told what conversions do to the content of a page here.
    """

    def __init__(self, layout, append, machine='', more=(), memory='', **options):
        self.statuses = set()
        super().__init__(['-accel', 'kvm', *layout.machine(machine), *layout.memory(memory),
                          '-smp', '2', '-no-shutdown', '-kernel', os.environ['GMEM_GUEST'],
                          '-append', f'{append} content={CONTENT}', *more], **options)

    def mark(self, name, timeout=None):
        """Wait until the guest stands at MARK or WAIT name; False when it never does."""
        return bool(self.serial.wait_for(rf'^(MARK|WAIT) {re.escape(name)}\n', timeout))

    def go(self):
        """Let a guest go on that waits for a byte."""
        self.serial.write('.')

    def done(self, timeout=4 * PATIENCE):
        """(passed, failed, skipped) of the guest; None if it never ends. Asks for the state
        of the VM all the while, and keeps the answers in .statuses.
        """
        while timeout > 0:
            self.statuses.add(self.qmp.command('query-status')['status'])
            if match := self.serial.wait_for(DONE, 1):
                return tuple(map(int, match.groups()))
            if self.serial.ended:
                return None
            timeout -= 1
        return None

    def finish(self, tap, skips=0, log=8192):
        """Wait for the guest's end; all of its own checks passed, the VM never stopped, and QEMU said
        no more than log bytes.
        """
        done = self.done()
        bad = [line for line in self.serial.text.splitlines()
               if line.startswith(('not ok', '# EXCEPTION'))]
        tap.ok(done and done[1] == 0 and done[2] <= skips and done[0] > 0,
               "the guest's own checks pass", lambda: f'{done}\n{bad[:20]}\n{self.report()}')
        stops = [e for e in self.events_before_shutdown() if e['event'] == 'STOP']
        # The guest may have switched off before the last question
        self.statuses.discard('shutdown')
        tap.ok(self.statuses <= {'running'} and not stops, 'the VM runs all the while',
               f'{self.statuses} {stops}')
        tap.ok(len(self.errors) < log, 'QEMU does not flood its log',
               lambda: f'{len(self.errors)} bytes:\n{self.errors[:1000]}')
        return done

    def events_before_shutdown(self):
        names = [e['event'] for e in self.qmp.events]
        end = names.index('SHUTDOWN') if 'SHUTDOWN' in names else len(names)
        return self.qmp.events[:end]


def block(qmp, name):
    """What query-gmem tells about the block of the backend called name; None without one."""
    return next((b for b in qmp.command('query-gmem')['blocks']
                 if b.get('qom-path') == '/objects/' + name), None)


def ended(qmp, number):
    """The result of a gmem-convert that nobody waited for; {} when nothing is heard of it."""
    while event := qmp.wait_event('GMEM_CONVERT_COMPLETED'):
        if event['data']['result']['conversion'] == number:
            return event['data']['result']
    return {}


def map_ranges(qmp, block_id, limit=1024):
    """The whole map of the block with that id, read in answers of at most limit ranges."""
    offset, found = 0, []
    while offset is not None:
        answer = qmp.command('query-gmem-map', id=block_id, offset=offset, limit=limit)
        found += answer['ranges']
        offset = answer.get('next')
    return found


def ranges(qmp, name):
    """The whole map of the block of the backend called name."""
    return map_ranges(qmp, block(qmp, name)['id'])


def join(pieces):
    """Sorted (start, end) without neighbours that touch."""
    joined = []
    for start, end in sorted(pieces):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def host_private(qmp, layout):
    """{block: private (start, end)} as the host has it."""
    return {name: join((r['offset'], r['offset'] + r['size']) for r in ranges(qmp, name)
                       if r['state'] == 'private') for name, _ in layout.blocks}


def guest_private(text, layout):
    """The same as the guest's STATE lines have it, and how many bytes they tell about."""
    found, told = {name: [] for name, _ in layout.blocks}, 0
    for gpa, pages, state in STATE.findall(text):
        gpa, size = int(gpa, 16), int(pages) * PAGE
        told += size
        if state == 'P':
            for name, offset, length in layout.locate(gpa, size):
                found[name].append((offset, offset + length))
    return {name: join(pieces) for name, pieces in found.items()}, told


def first_difference(one, two):
    """Some bytes about where two lists of ranges part."""
    odd = sorted(set(one) ^ set(two))[:6]
    return ' '.join(f'{"guest" if r in one else "host"}:{r[0]:#x}-{r[1]:#x}' for r in odd)


def compare_maps(tap, vm, layout, minimum=1):
    """Guest and host agree on the state of every page; at least minimum private ranges."""
    guest, told = guest_private(vm.serial.text, layout)
    host = host_private(vm.qmp, layout)
    for name, _ in layout.blocks:
        tap.ok(guest[name] == host[name], f'{name}: guest and host agree on every page',
               lambda n=name: first_difference(guest[n], host[n]))
        info = block(vm.qmp, name)
        private = sum(end - start for start, end in host[name])
        tap.equal((info['private'], info['shared']), (private, info['size'] - private),
                  f'{name}: query-gmem counts what the map shows')
    # What lies below 1 MiB is not all RAM, so the guest tells about a little less
    tap.ok(layout.size - 2 * MIB < told <= layout.size, "the guest's account is complete",
           f'{told} of {layout.size}')
    count = sum(map(len, guest.values()))
    tap.ok(count >= minimum, f'there are at least {minimum} private ranges to compare',
           f'only {count}')


def counters_add_up(tap, qmp, name):
    """Bytes made private, less those made shared again, are what is private now."""
    info = block(qmp, name)
    there = info['initial'] == 'private' and info['size']
    moved = info['to-private']['bytes'] - info['to-shared']['bytes']
    tap.equal(there + moved, info['private'], f'{name}: the counters add up')
    finished = info['to-private']['conversions'] + info['to-shared']['conversions']
    tap.equal(sum(info['latency']), finished, f'{name}: each conversion has its latency, once')
    tap.equal((info['broken'], info['discard-failures']), (False, 0),
              f'{name}: nothing broke, the other side was always freed')
    return info


@contextlib.contextmanager
def finished_guest(tap, layout, append, minimum=1):
    """A guest that has come to its end: (its VM, {block: what query-gmem counts}).

    Its own checks passed, the host agrees with it on every page, and the counters add up. What
    a test asks beyond that goes into the with block, after which QEMU has to end on its own.
    """
    with GuestVm(layout, append) as vm:
        vm.finish(tap)
        compare_maps(tap, vm, layout, minimum)
        yield vm, {name: counters_add_up(tap, vm.qmp, name) for name, _ in layout.blocks}
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')


def in_time(condition):
    """What happens a while after (RCU, idle threads, an ejected DIMM); bounded, not measured."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.5)
    return False
