#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=3G timeout=900
"""Two vCPUs convert thousands of ranges over two blocks, and everybody agrees afterwards.

1. the guest compares every word of ranges over round trips of their state
2. 10,000 conversions by two vCPUs, overlapping, apart, and woven within the same words of the
   map; the guest compares return values and, by the content rule, every word
3. guest and host agree on the state of every page of both blocks
4. the counters tell of that many conversions and of no failure
The border between the blocks is in the middle of the area.
"""
from gmemlab import MIB, SOAK, Layout, Tap, finished_guest

LAYOUT = Layout([('ram0', 48 * MIB), ('ram1', 80 * MIB)])
ROUNDS = 100000 if SOAK else 10000


def main():
    tap = Tap()
    append = f'test=content,random cpus=2 rounds={ROUNDS}'
    with finished_guest(tap, LAYOUT, append, minimum=500) as (_, counters):
        # What asks for the state that is there counts nothing, what crosses the border twice
        counted = sum(c['to-private']['conversions'] + c['to-shared']['conversions']
                      for c in counters.values())
        tap.ok(ROUNDS / 4 < counted < 3 * ROUNDS, 'a plausible number of conversions is counted',
               str(counted))
        tap.equal([c['failures'] for c in counters.values()], [0, 0], 'none of them failed')
        tap.note(f'{counted} conversions counted')
    tap.done()


if __name__ == '__main__':
    main()
