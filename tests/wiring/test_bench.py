# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks make of their samples: ratios of medians, and promises kept or missed."""

import sys
import types
import unittest
from importlib import machinery, util

from common import TOP

MIB = 1 << 20
BENCH, LAB = str(TOP / "tests/bench"), str(TOP / "tests/lab")


def load(name):
    """tests/bench/NAME as a module; it needs no lab for that."""
    sys.path[:0] = [BENCH, LAB]
    try:
        loader = machinery.SourceFileLoader(name.replace("-", "_"), f"{BENCH}/{name}")
        module = util.module_from_spec(util.spec_from_loader(loader.name, loader))
        loader.exec_module(module)
        return module
    finally:
        sys.path.remove(BENCH)
        sys.path.remove(LAB)


def conversions(config, seconds, unit=2 * MIB, state="warm"):
    """A sample for each of seconds: one round trip, half of it either way."""
    return [{"bench": "convert", "config": config, "unit": unit, "cpus": 1, "state": state,
             "count": 1, "private": s / 2, "shared": s / 2, "touch_private": 0,
             "touch_shared": 0} for s in seconds]


def cycle(config, step, high, held=0):
    return {"bench": "memory", "config": config, "step": step, "guest": 1000 * MIB,
            "held": held, "high": high * MIB, "samples": 1, "kernel": 0, "anon": 0}


class Figures(unittest.TestCase):

    def setUp(self):
        self.figures = load("figures.py")

    def samples(self, *lists):
        samples = self.figures.Samples()
        for sample in (s for part in lists for s in part):
            samples.add(sample)
        return samples

    def kept(self, *lists):
        return [good for _, good in self.figures.promises(self.samples(*lists))]

    def test_the_median_counts(self):
        split = conversions("split", [9, 10, 11, 10, 10, 500, 10])
        self.assertEqual(self.kept(split, conversions("in-place", [2] * 7)), [True])
        self.assertEqual(self.kept(split, conversions("in-place", [2.01] * 4 + [1] * 3)),
                         [False])

    def test_only_warm_2_mib_is_promised(self):
        slow = conversions("in-place", [10] * 7, state="cold")
        more = conversions("in-place", [10] * 7, unit=4096)
        self.assertEqual(self.kept(conversions("split", [10] * 7), slow, more,
                                   conversions("in-place", [1] * 7)), [True])

    def test_figures_that_are_missing_are_missed(self):
        self.assertEqual(self.kept(conversions("split", [1] * 7)), [False])
        self.assertEqual(self.kept([cycle("split", "start", 1)]), [False])

    def test_memory_between_two_marks_counts(self):
        high = [cycle("in-place", "start", 1001), cycle("in-place", "private", 1006, held=1)]
        self.assertEqual(self.kept(high[:1]), [True])
        self.assertEqual(self.kept(high), [False])

    def test_ratios_stand_first(self):
        text = self.figures.tables(self.samples(conversions("split", [10]),
                                                conversions("in-place", [2]),
                                                conversions("base", [20])))
        row = next(line for line in text.splitlines() if "round trip " in line)
        self.assertEqual(row.split()[:3], ["5.00x", "10.00x", "2.00x"])
        self.assertIn("run-lab --only convert", text)


    def test_traffic_is_held_against_the_same_run(self):
        text = self.figures.tables(self.samples(
            {"bench": "traffic", "config": "split", "beside": beside, "rate": rate, "own": own}
            for beside, rate, own in ((False, 8, 10), (True, 2, 9), (False, 10, 10),
                                      (True, 4, 7), (False, 12, 10), (True, 4, 8))))
        row = next(line for line in text.splitlines() if " split " in line)
        self.assertEqual(row.split(), ["0.40x", "0.80x", "split", "10", "10", "8", "4", "3/3"])


class Plan(unittest.TestCase):

    def test_medians_are_of_seven_or_more(self):
        run_lab = load("run-lab")
        for quick in (False, True):
            for turns in (1, 2, 3):
                options = types.SimpleNamespace(quick=quick, turns=turns, only=None)
                counts = {}
                for turn in range(turns):
                    for name, configs, *words in run_lab.plan(options, turn):
                        rounds = {"convert": 1, "start": 1}.get(name)
                        for config in configs if rounds and configs != ["base"] else ():
                            key = name, config, words[0]
                            counts[key] = counts.get(key, 0) + words[1]
                self.assertIn(("convert", "in-place", "small"), counts)
                self.assertLessEqual(7, min(counts.values()), counts)
