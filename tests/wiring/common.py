# SPDX-License-Identifier: GPL-2.0-or-later
"""A small base of our own making, and a copy of this layer to spoil."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from layer import LayerError, TOP, base as basemod, weave

CODE = """\
#include "qemu/osdep.h"

int first(int a)
{
    return a;
}

int second(int b)
{
    return b + 1;
}
"""
PATCH = """\
// SPDX-License-Identifier: GPL-2.0-or-later
//
// A hook to test with.
//
// Engines: gmem
// Include: accel/a.c system/x.h
// Hook: enter_first accel/a.c 1

@enter_first@
position p;
@@
int first@p(...)
{
+    gmem_hook();
...
}
"""
INSERT = {"why": "to test with", "engines": ["gmem", "base"], "insertions": [
    {"name": "line", "file": "meson.build", "after": "anchor()",
     "lines": ["ours()"]}]}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class LayerCase(unittest.TestCase):
    """self.tree is a base, self.top a layer over it, self.out the build."""

    def setUp(self):
        self.tmp = Path(tempfile.mkdtemp(prefix="gmem-wiring-"))
        self.addCleanup(shutil.rmtree, self.tmp)
        self.tree, self.top, self.out = (
            self.tmp / n for n in ("tree", "top", "out"))
        write(self.tree / "VERSION", "10.2.2\n")
        write(self.tree / "meson.build", "before()\nanchor()\nafter()\n")
        write(self.tree / "accel/a.c", CODE)
        write(self.top / "wiring/a.cocci", PATCH)
        write(self.top / "wiring/a.json", json.dumps(INSERT))
        write(self.top / "system/ours.c", "int ours;\n")
        self.use_cache(self.tmp / "cache")

    def use_cache(self, path: Path):
        """Nothing of a test may stay in, or come from, the user's cache."""
        patch = mock.patch.dict(os.environ, XDG_CACHE_HOME=str(path),
                                GMEM_QUIET="1")
        patch.start()
        self.addCleanup(patch.stop)

    def weave(self, engine="gmem"):
        return weave.update(self.top, self.tree, self.out, engine, "10.2.2")

    def refused(self, *words):
        """The weave stops; its one message has all the words."""
        with self.assertRaises(LayerError) as caught:
            self.weave()
        for word in words:
            self.assertIn(word, str(caught.exception))

    def read(self, path):
        return (self.out / "src" / path).read_text()


def pristine() -> Path:
    """The real base, as the build under test found it."""
    given = os.environ.get("QEMU_SOURCE", "")
    kept = Path(os.environ.get("GMEM_BUILD", TOP / "build")) / "layer.json"
    if kept.is_file():
        given = json.loads(kept.read_text())["qemu-source"] or given
    return basemod.find(given, basemod.pin())


def source_package(where: Path) -> dict:
    """A real source package of a base of our own; what base.json would say."""
    tree = where / "qemu-10.2.2+ds"
    write(tree / "VERSION", "10.2.2\n")
    orig = where / "qemu_10.2.2+ds.orig.tar.xz"
    subprocess.run(["tar", "-cJf", orig, "-C", where, tree.name], check=True)
    write(tree / "debian/control",
          "Source: qemu\nMaintainer: Nobody <nobody@localhost>\n\n"
          "Package: qemu\nArchitecture: any\nDescription: to test with\n")
    write(tree / "debian/changelog",
          "qemu (1:10.2.2+ds-1) unstable; urgency=low\n\n  * Test.\n\n"
          " -- Nobody <nobody@localhost>  Thu, 01 Jan 2026 00:00:00 +0000\n")
    write(tree / "debian/source/format", "3.0 (quilt)\n")
    subprocess.run(["dpkg-source", "-b", tree.name], cwd=where, check=True,
                   capture_output=True)
    shutil.rmtree(tree)
    base = basemod.pin()
    base["sha256"] = {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
                      for p in where.iterdir()}
    return base
