# SPDX-License-Identifier: GPL-2.0-or-later
"""Our Python programs use no name that nobody defines: Python itself says so only when it gets there."""

import ast
import builtins
import unittest

from common import TOP

FOLDERS = ("scripts", "tests", "kernel", "wiring")


def programs():
    """(path, text) of each file in Python."""
    for path in sorted(p for folder in FOLDERS for p in (TOP / folder).rglob("*")):
        if path.is_file() and path.suffix in ("", ".py"):
            text = path.read_text(encoding="utf-8", errors="replace")
            if path.suffix == ".py" or "python3" in text.partition("\n")[0]:
                yield path, text


def names_of(node):
    """What a node defines, wherever in the file that counts."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)):
        return [node.name]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return [node.id]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(n.asname or n.name).partition(".")[0] for n in node.names]
    return []


def undefined(text):
    nodes = list(ast.walk(ast.parse(text)))
    known = {*dir(builtins), "__file__", *(name for node in nodes for name in names_of(node))}
    return {node.id for node in nodes if isinstance(node, ast.Name)} - known


class Names(unittest.TestCase):

    def test_every_name_is_defined(self):
        seen = 0
        for path, text in programs():
            seen += 1
            with self.subTest(path=str(path.relative_to(TOP))):
                self.assertEqual(undefined(text), set())
        self.assertGreater(seen, 100)

    def test_one_that_is_not_is_noticed(self):
        self.assertEqual(undefined("import os.path as p\ndef f(a):\n    return p.join(a, PATIENT)\n"),
                         {"PATIENT"})


if __name__ == "__main__":
    unittest.main()
