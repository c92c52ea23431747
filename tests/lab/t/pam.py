#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=both mem=3G timeout=900
"""A memory slot that goes and comes back knows which of its pages are private.

1. the guest switches a PAM segment with a private page to read-only and off, several times,
   and finds everything as it left it; to-private of a read-only view is refused
2. guest and host agree on the state of every page
3. the host can convert what lies behind a read-only view: the state is the block's
"""
from gmemlab import MIB, PAGE, Layout, Tap, block, finished_guest, host_private

LAYOUT = Layout([('ram0', 96 * MIB)])
SEGMENT = 0xd0000


def main():
    tap = Tap()
    with finished_guest(tap, LAYOUT, 'test=pam', minimum=0) as (vm, counters):
        info = counters['ram0']
        tap.equal((info['to-private']['bytes'], info['private']), (PAGE, 0),
                  'one page was private for a while')
        # The guest is off: its last PAM setting left the segment a read-only view
        answer = vm.qmp.command('gmem-convert', id=block(vm.qmp, 'ram0')['id'], offset=SEGMENT,
                                size=PAGE, state='private', wait=True)
        tap.equal(answer['converted'], PAGE, 'the host converts a page behind a read-only view')
        tap.equal(host_private(vm.qmp, LAYOUT)['ram0'], [(SEGMENT, SEGMENT + PAGE)],
                  'and the map shows it in its place')
    tap.done()


if __name__ == '__main__':
    main()
