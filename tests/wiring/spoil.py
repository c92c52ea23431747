# SPDX-License-Identifier: GPL-2.0-or-later
"""Spoiling the site of a real hook, to see that the weave then stops and names the hook.

For each rule and each file it names: the token at its site is renamed, and the
function (or struct) around the site is doubled; for each insertion its anchor is
removed and doubled. The tests are made from the wiring itself, so a new hook is
tested without being listed.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor

from layer import LayerError, insertions, semantic, weave


def renamed(text: str, row: int, col: int) -> str:
    """text with the token at row (from 1), col (from 0) under another name."""
    lines = text.split("\n")
    line = lines[row - 1]
    lines[row - 1] = line[:col] + re.sub(r"^\W*\w*", "moved_elsewhere",
                                         line[col:], count=1)
    return "\n".join(lines)


def around(lines: list, row: int) -> tuple:
    """First and last line (from 0) of the top-level block around row (from 1)."""
    first = last = row - 1
    while first > 0 and lines[first - 1] and \
            not re.match(r"[}#]|.*\*/$", lines[first - 1]) or \
            not re.match(r"\w", lines[first]):
        first -= 1
    while not lines[last].startswith("}"):
        last += 1
    return first, last


def doubled(text: str, row: int) -> str:
    """text with the top-level block around row written twice."""
    lines = text.split("\n")
    first, last = around(lines, row)
    return "\n".join(lines[:last + 1] + lines[first:last + 1] +
                     lines[last + 1:])


def alone(text: str, row: int) -> tuple:
    """(the top-level block around row, and row in it): all that spatch need read."""
    lines = text.split("\n")
    first, last = around(lines, row)
    return "\n".join(lines[first:last + 1]) + "\n", row - first


class Spoiler:
    """Checks of the wiring below top against tree; whole: read whole files."""

    def __init__(self, top, tree, whole=True):
        self.top, self.tree, self.whole = top, tree, whole
        self.macros = weave.macro_files(top, tree)
        self.jobs = {}
        inserts, patches = weave.hooks(top, None)
        for target, items in inserts.items():
            for item in items:
                self.add(f"{item.name} {target}", self.check_insertion, item)
        for target, users in patches.items():
            for patch in users:
                for rule, count in patch.hooks[target].items():
                    if count:
                        self.add(f"{patch.path.name} {rule} {target}",
                                 self.check_rule, patch, rule, target)

    def add(self, name, *job):
        name = "test_" + re.sub(r"\W+", "_", name)
        assert name not in self.jobs, name
        self.jobs[name] = job

    def fill(self, case):
        """One test in that class for each job."""
        for name in self.jobs:
            setattr(case, name, lambda test, name=name:
                    test.futures[name].result())

    def start(self, case):
        """spatch takes its time: all are started, each test waits for its own."""
        pool = ThreadPoolExecutor(os.cpu_count() or 1)
        case.addClassCleanup(pool.shutdown, cancel_futures=True)
        case.futures = {name: pool.submit(*job)
                        for name, job in sorted(self.jobs.items())}

    def site(self, patch, rule, target, text) -> tuple:
        """(line, column) of the rule's first hit; by itself, hence in this text."""
        _, found = semantic.hits(semantic.alone(patch, rule), text, target,
                                 self.macros)
        return sorted(found[rule])[0][:2]

    def stops(self, patch, rule, target, text):
        """The weave of the spoiled text must fail and say the rule's name."""
        try:
            semantic.apply(patch, text, target, "spoiled", self.macros)
        except LayerError as err:
            assert patch.path.name in str(err) and f"'{rule}'" in str(err), err
        else:
            raise AssertionError(f"{rule} wove into a spoiled {target}")

    def check_rule(self, patch, rule, target):
        text = (self.tree / target).read_text()
        row, col = self.site(patch, rule, target, text)
        if not self.whole:
            text, row = alone(text, row)
            patch = only(patch, rule)
        self.stops(patch, rule, target, renamed(text, row, col))
        self.stops(patch, rule, target, doubled(text, row))

    def check_insertion(self, item):
        lines = (self.tree / item.file).read_text().split("\n")
        at = lines.index(item.anchor)
        for spoiled in (lines[:at] + lines[at + 1:],
                        lines[:at] + [item.anchor] + lines[at:]):
            try:
                insertions.apply("\n".join(spoiled), [item], "spoiled")
            except LayerError as err:
                assert item.name in str(err) and "exactly once" in str(err), err
            else:
                raise AssertionError(f"{item.name} went into a spoiled file")


def only(patch, rule):
    """That rule of the patch, with its own promises and no other's."""
    part = semantic.alone(patch, rule)
    part.hooks = {target: {rule: table[rule]}
                  for target, table in patch.hooks.items() if rule in table}
    return part
