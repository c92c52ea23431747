# SPDX-License-Identifier: GPL-2.0-or-later
"""Every real hook, against the real base spoiled at that hook's own site.

For each rule and each file it names: the token at its site is renamed, and the
function (or struct) around the site is doubled; for each insertion its anchor is
removed and doubled. Each time the weave must stop and say that hook's name. The
tests are made from wiring/ itself, so a new hook is tested without being listed.
"""

import re
import unittest

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


class SpoiledSites(unittest.TestCase):
    """Filled below, one test for each rule and file, and each insertion."""

    def stops(self, patch, rule, target, text):
        with self.assertRaises(LayerError) as caught:
            semantic.apply(patch, text, target, "spoiled", MACROS)
        self.assertIn(patch.path.name, str(caught.exception))
        self.assertIn(rule, str(caught.exception))

    def check_rule(self, patch, rule, target):
        text = (TREE / target).read_text()
        _, found = semantic.hits(patch, text, target, MACROS)
        self.assertEqual(len(found[rule]), patch.hooks[target][rule])
        row, col = sorted(found[rule])[0]
        self.stops(patch, rule, target, renamed(text, row, col))
        self.stops(patch, rule, target, doubled(text, row))

    def check_insertion(self, item):
        lines = (TREE / item.file).read_text().split("\n")
        at = lines.index(item.anchor)
        for spoiled in (lines[:at] + lines[at + 1:],
                        lines[:at] + [item.anchor] + lines[at:]):
            with self.assertRaises(LayerError) as caught:
                insertions.apply("\n".join(spoiled), [item], "spoiled")
            self.assertIn(item.name, str(caught.exception))
            self.assertIn("exactly once", str(caught.exception))


def add(name, method, *args):
    name = "test_" + re.sub(r"\W+", "_", name)
    assert not hasattr(SpoiledSites, name), name
    setattr(SpoiledSites, name, lambda self: getattr(self, method)(*args))


def fill():
    inserts, patches = weave.hooks(TOP, None)
    for target, items in inserts.items():
        for item in items:
            add(f"{item.name} {target}", "check_insertion", item)
    for target, users in patches.items():
        for patch in users:
            for rule, count in patch.hooks[target].items():
                if count:
                    add(f"{patch.path.name} {rule} {target}", "check_rule",
                        patch, rule, target)


fill()

if __name__ == "__main__":
    unittest.main()
