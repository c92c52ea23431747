# SPDX-License-Identifier: GPL-2.0-or-later
"""The ratios of run-lab as a picture: conversions per second, and memory through the cycle."""
import sys

import figures
from figures import CONFIGS, RATES, UNITS

COLOURS = {'in-place': '#1b4965', 'split': '#f2c14e', 'base': '#999999'}


def groups(samples):
    """[(label, {configuration: conversions per second relative to split})]"""
    keys = dict.fromkeys((s['unit'], s['state'], s['cpus']) for s in samples.of('convert'))
    for unit, state, cpus in sorted(keys):
        for what in list(RATES)[:3]:
            mid = {c: figures.median(figures.rates(samples, c, unit, cpus, state, what))
                   for c in CONFIGS}
            if mid['split']:
                yield (f'{UNITS[unit]} {state}\n{what}, {cpus} vCPU',
                       {c: v / mid['split'] for c, v in mid.items() if v})


def draw_rates(axes, samples):
    drawn = list(groups(samples))
    for number, config in enumerate(CONFIGS):
        places = [i + 0.27 * (number - 1) for i, (_, mid) in enumerate(drawn) if config in mid]
        axes.bar(places, [mid[config] for _, mid in drawn if config in mid], 0.27,
                 label=config, color=COLOURS[config])
    axes.axhline(figures.SPEED_PROMISE, color='black', linewidth=0.6, linestyle='--')
    axes.set_xticks(range(len(drawn)), [label for label, _ in drawn], rotation=90, fontsize=7)
    axes.set_yscale('log')
    axes.set_ylabel('conversions per second, split = 1')
    axes.legend()


def draw_memory(axes, samples):
    for config in CONFIGS:
        found = figures.held(samples, config)
        if found:
            axes.step(range(len(found)), [high for high, _ in found.values()], where='mid',
                      label=config, color=COLOURS[config])
            axes.set_xticks(range(len(found)), list(found), rotation=30, fontsize=7)
    axes.axhline(figures.MEMORY_PROMISE, color='black', linewidth=0.6, linestyle='--')
    axes.set_ylim(bottom=0)
    axes.set_ylabel('bytes held per guest byte')


def draw(samples, path):
    try:
        import matplotlib
    except ImportError:
        sys.exit('run-lab: --plot needs the package python3-matplotlib (make setup)')
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(12, 10), height_ratios=[2, 1],
                                             layout='constrained')
    draw_rates(upper, samples)
    draw_memory(lower, samples)
    figure.savefig(path, dpi=110)
