# SPDX-License-Identifier: GPL-2.0-or-later
"""Every real hook, against the real base spoiled at that hook's own site.

For each rule and each file it names: the token at its site is renamed, and the
function (or struct) around the site is doubled; for each insertion its anchor is
removed and doubled. Each time the weave must stop and say that hook's name. The
tests are made from wiring/ itself, so a new hook is tested without being listed.
"""

import os
import re
import unittest
from concurrent.futures import ThreadPoolExecutor

from common import pristine
from layer import LayerError, TOP, insertions, semantic, weave

TREE = pristine()
MACROS = weave.macro_files(TOP, TREE)


def renamed(text: str, row: int, col: int) -> str:
    """text with the token at row (from 1), col (from 0) under another name."""
    lines = text.split("\n")
    line = lines[row - 1]
    lines[row - 1] = line[:col] + re.sub(r"^\W*\w*", "moved_elsewhere",
                                         line[col:], count=1)
    return "\n".join(lines)


def doubled(text: str, row: int) -> str:
    """text with the top-level block around row written twice."""
    lines = text.split("\n")
    first = last = row - 1
    while first > 0 and lines[first - 1] and \
            not re.match(r"[}#]|.*\*/$", lines[first - 1]) or \
            not re.match(r"\w", lines[first]):
        first -= 1
    while not lines[last].startswith("}"):
        last += 1
    return "\n".join(lines[:last + 1] + lines[first:last + 1] +
                     lines[last + 1:])


def site(patch, rule: str, target: str, text: str) -> tuple:
    """(line, column) of the rule's first hit; by itself, hence in this text."""
    _, found = semantic.hits(semantic.alone(patch, rule), text, target, MACROS)
    return sorted(found[rule])[0][:2]


def stops(patch, rule, target, text):
    """The weave of the spoiled text must fail and say the rule's name."""
    try:
        semantic.apply(patch, text, target, "spoiled", MACROS)
    except LayerError as err:
        assert patch.path.name in str(err) and f"'{rule}'" in str(err), err
    else:
        raise AssertionError(f"{rule} wove into a spoiled {target}")


def check_rule(patch, rule, target):
    text = (TREE / target).read_text()
    row, col = site(patch, rule, target, text)
    stops(patch, rule, target, renamed(text, row, col))
    stops(patch, rule, target, doubled(text, row))


def check_insertion(item):
    lines = (TREE / item.file).read_text().split("\n")
    at = lines.index(item.anchor)
    for spoiled in (lines[:at] + lines[at + 1:],
                    lines[:at] + [item.anchor] + lines[at:]):
        try:
            insertions.apply("\n".join(spoiled), [item], "spoiled")
        except LayerError as err:
            assert item.name in str(err) and "exactly once" in str(err), err
        else:
            raise AssertionError(f"{item.name} went into a spoiled file")


class SpoiledSites(unittest.TestCase):
    """Filled below, one test for each rule and file, and each insertion."""

    jobs = {}

    @classmethod
    def setUpClass(cls):
        """spatch takes its time: all are started, each test waits for its own."""
        cls.pool = ThreadPoolExecutor(os.cpu_count() or 1)
        cls.addClassCleanup(cls.pool.shutdown, cancel_futures=True)
        cls.futures = {name: cls.pool.submit(*job)
                       for name, job in sorted(cls.jobs.items())}


def add(name, *job):
    name = "test_" + re.sub(r"\W+", "_", name)
    assert name not in SpoiledSites.jobs, name
    SpoiledSites.jobs[name] = job
    setattr(SpoiledSites, name, lambda self: self.futures[name].result())


def fill():
    inserts, patches = weave.hooks(TOP, None)
    for target, items in inserts.items():
        for item in items:
            add(f"{item.name} {target}", check_insertion, item)
    for target, users in patches.items():
        for patch in users:
            for rule, count in patch.hooks[target].items():
                if count:
                    add(f"{patch.path.name} {rule} {target}", check_rule,
                        patch, rule, target)


fill()

if __name__ == "__main__":
    unittest.main()
