# SPDX-License-Identifier: GPL-2.0-or-later
"""From the samples of run-lab to tables: medians, ratios, what was promised.

A table has the ratios first and ends with the commands that made its figures. Nothing
here measures; samples are the dictionaries that benchvm.emit() prints.
"""
import itertools
import statistics

MIB = 1 << 20
UNITS = {4096: '4 KiB', 2 * MIB: '2 MiB', 1024 * MIB: '1 GiB'}
CONFIGS = ('in-place', 'split', 'base')
# The rates of the table: what happens, and which times of a sample belong to it
RATES = {
    'to private': ('private',),
    'to shared': ('shared',),
    'round trip': ('private', 'shared'),
    'round trip, touched': ('private', 'shared', 'touch_private', 'touch_shared'),
}
# Where the time of a conversion goes: the way there and back, this program, the kernel
PARTS = ('exit, entry', 'QEMU', 'attributes', 'freeing', 'pre-fault')
SPEED_PROMISE = 5       # in-place to split, round trips of warm 2 MiB
MEMORY_PROMISE = 1.005  # bytes held for a byte of the guest, at any time


class Samples:
    """All samples of a run."""

    def __init__(self):
        self.all = []

    def add(self, sample):
        self.all.append(sample)

    def of(self, bench, **wanted):
        return [s for s in self.all if s['bench'] == bench and
                all(s.get(key) == value for key, value in wanted.items())]

    def values(self, bench, key):
        """Values of a key in order of appearance, each once."""
        return list(dict.fromkeys(s[key] for s in self.of(bench)))

    def commands(self, bench):
        return list(dict.fromkeys(s['line'] for s in self.of('command', of=bench)))


def median(values):
    return statistics.median(values) if values else None


def ratio(one, other):
    return f'{one / other:.2f}x' if one and other else '-'


def number(value, form='.0f'):
    return '-' if value is None else format(value, form)


def columns(title, rows, left=()):
    """A table under its title; the columns numbered in left begin where others end."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ['', title, ''] + ['  '.join(
        f'{cell:{"<" if i in left else ">"}{widths[i]}}' for i, cell in enumerate(row)).rstrip()
        for row in rows]


def made_by(samples, bench):
    return ['', f'made by: tests/bench/run-lab --only {bench}; in the lab:',
            *('  ' + line for line in samples.commands(bench))]


def rates(samples, config, unit, cpus, state, what):
    """Conversions (or round trips) per second, sample by sample."""
    return [s['count'] / sum(s[part] for part in RATES[what])
            for s in samples.of('convert', config=config, unit=unit, cpus=cpus, state=state)]


def convert_rows(samples):
    keys = dict.fromkeys((s['unit'], s['state'], s['cpus']) for s in samples.of('convert'))
    for unit, state, cpus in sorted(keys, key=lambda k: (k[0], k[1], k[2])):
        for what in RATES:
            if state == 'cold' and what.endswith('touched'):
                continue
            found = {c: rates(samples, c, unit, cpus, state, what) for c in CONFIGS}
            mid = {c: median(found[c]) for c in CONFIGS}
            yield (ratio(mid['in-place'], mid['split']), ratio(mid['in-place'], mid['base']),
                   ratio(mid['split'], mid['base']),
                   f'{UNITS[unit]} {state}, {cpus} vCPU' + 's' * (cpus > 1), what,
                   *(number(mid[c], '.4g') for c in CONFIGS),
                   '/'.join(str(len(found[c])) for c in CONFIGS))


def convert(samples):
    heads = [('in-place', 'in-place', 'split', '', '', '', '', '', ''),
             ('to split', 'to base', 'to base', 'range', 'conversion', *CONFIGS, 'samples')]
    return columns('Conversions per second, as the guest sees them (medians)',
                   heads + list(convert_rows(samples)), (3, 4))


def shares(s):
    """Microseconds of one conversion: the parts of PARTS, then touching all pages after it."""
    kernel = [s['attributes'], s['free'], s['pre_fault']]
    times = [s['guest'] - s['outside'], s['outside'] - sum(kernel), *kernel, s['touch']]
    return [1e6 * time / s['count'] for time in times]


def profile_rows(samples):
    keys = [(d, cpus) for d in ('private', 'shared') for cpus in samples.values('profile', 'cpus')]
    for (direction, cpus), config in itertools.product(keys, CONFIGS):
        found = samples.of('profile', config=config, direction=direction, cpus=cpus)
        if not found:
            continue
        parts = [statistics.mean(p) for p in zip(*map(shares, found))]
        whole = sum(parts[:-1])
        yield (f'to {direction}, {cpus} vCPU' + 's' * (cpus > 1), config, f'{whole:.0f}',
               *(f'{p:.0f} ({100 * p / whole:.0f}%)' for p in parts[:-1]), f'{parts[-1]:.0f}',
               str(sum(s['count'] for s in found)))


def profile(samples):
    heads = ('', '', 'in all', *PARTS, 'touching after', 'conversions')
    return columns('Where a warm conversion of 2 MiB spends the time of its vCPU, in microseconds '
                   '(means);\nwith two vCPUs, waiting for the other one is in the part that waits',
                   [heads, *profile_rows(samples)], (0, 1))


def held(samples, config):
    """{step: (most bytes per guest byte since the step before, the sample)}"""
    found = {}
    for s in samples.of('memory', config=config):
        found[s['step']] = max(s['high'] / s['guest'], found.get(s['step'], (0,))[0]), s
    return found


def memory_rows(samples):
    found = {c: held(samples, c) for c in CONFIGS}
    for step in samples.values('memory', 'step'):
        there = {c: found[c][step] for c in CONFIGS if step in found[c]}
        yield (*(f'{there[c][0]:.4f}' if c in there else '-' for c in CONFIGS), step,
               *(f'{there[c][1]["kernel"] / MIB:.2f} + {there[c][1]["anon"] / MIB:.2f}'
                 if c in there else '-' for c in CONFIGS))


def memory(samples):
    counted = sum(s['samples'] for s in samples.of('memory'))
    return columns('Host memory per guest byte through a full cycle: the most since the step before '
                   f'({counted} samples);\nbeside it, not inside, MiB of kernel memory + of '
                   "QEMU's heap", [(*CONFIGS, 'step', *CONFIGS), *memory_rows(samples)], (3,))


def start(samples):
    rows = []
    for gib in sorted(samples.values('start', 'gib')):
        found = {c: [s['seconds'] for s in samples.of('start', config=c, gib=gib)]
                 for c in CONFIGS}
        mid = {c: median(found[c]) for c in CONFIGS}
        rows.append((ratio(mid['base'], mid['in-place']), ratio(mid['base'], mid['split']),
                     ratio(mid['split'], mid['in-place']), f'{gib} GiB',
                     *(number(mid[c], '.2f') for c in CONFIGS),
                     '/'.join(str(len(found[c])) for c in CONFIGS)))
    heads = [('base to', 'base to', 'split to', '', '', '', '', ''),
             ('in-place', 'split', 'in-place', 'guest', *CONFIGS, 'samples')]
    return columns("Seconds from start to the guest's first instruction (medians), RAM allocated "
                   'lazily', heads + rows)


def maps(samples):
    rows = []
    for name in samples.values('maps', 'map'):
        mid = {c: [median([s[key] / s['pages'] for s in samples.of('maps', config=c, map=name)])
                   for key in ('kernel', 'system', 'anon')] for c in CONFIGS}
        rows.append((ratio(mid['split'][0], mid['in-place'][0]), name,
                     *(' / '.join(number(v, '.2f') for v in mid[c]) for c in CONFIGS),
                     '/'.join(str(len(samples.of('maps', config=c, map=name))) for c in CONFIGS)))
    heads = [('split to', '', '', '', '', ''), ('in-place', 'private', *CONFIGS, 'samples')]
    return columns('Memory that remembers the map, bytes per private page: kernel (cgroup) / Slab of '
                   "the whole lab / QEMU's heap", heads + rows, (1,))


def traffic(samples):
    rows = []
    for config in CONFIGS:
        mid = {(beside, key): median([s[key] for s in samples.of('traffic', config=config,
                                                                beside=beside)])
               for beside in (False, True) for key in ('rate', 'own')}
        rows.append((ratio(mid[True, 'rate'], mid[False, 'rate']),
                     ratio(mid[True, 'own'], mid[False, 'own']), config,
                     *(number(mid[key], '.4g') for key in sorted(mid)),
                     '/'.join(str(len(samples.of('traffic', config=config, beside=beside)))
                              for beside in (False, True))))
    heads = [('beside to', 'the same,', '', 'alone,', 'alone', 'beside,', 'beside', ''),
             ('alone', 'own time', '', 'own time', '', 'own time', '', 'samples')]
    return columns('Conversions at random, alone and beside traffic of disk and network: per second '
                   'and vCPU,\nand per second of CPU time that the threads which convert were given '
                   '(own time)', heads + rows, (2,))


TABLES = {'convert': convert, 'profile': profile, 'memory': memory, 'start': start, 'maps': maps,
          'traffic': traffic}


def tables(samples):
    lines = []
    for name, table in TABLES.items():
        if samples.of(name):
            lines += table(samples) + made_by(samples, name)
    return '\n'.join(lines)


def speed_promises(samples):
    for cpus in sorted({s['cpus'] for s in samples.of('convert', unit=2 * MIB)}):
        mid = [median(rates(samples, c, 2 * MIB, cpus, 'warm', 'round trip'))
               for c in ('in-place', 'split')]
        text = (f'round trips of warm 2 MiB, {cpus} vCPU' + 's' * (cpus > 1) +
                f': in-place is {ratio(*mid)} split, wanted {SPEED_PROMISE}x')
        yield text, None not in mid and mid[0] >= SPEED_PROMISE * mid[1]


def memory_promises(samples):
    if samples.of('memory'):
        found = held(samples, 'in-place')
        most = max((high for high, _ in found.values()), default=None)
        yield (f'memory per guest byte in place: {number(most, ".4f")} at most, wanted '
               f'{MEMORY_PROMISE}'), most is not None and most <= MEMORY_PROMISE


def promises(samples):
    """[(what, kept)] for what was measured; in-place figures that are missing are not kept."""
    return [*speed_promises(samples), *memory_promises(samples)]
