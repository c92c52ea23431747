# SPDX-License-Identifier: GPL-2.0-or-later
"""Every hook of kernel/, against the real Linux spoiled at that hook's own site."""

import subprocess
import unittest
from pathlib import Path

from layer import TOP, kernel
from spoil import Spoiler


def source() -> Path:
    """The tree that the lab's kernel is built from; None with the reason."""
    done = subprocess.run([TOP / "tests/lab/kernel-build", "--source"],
                          stdout=subprocess.PIPE, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


TREE = source()
SPOILER = Spoiler(kernel.default_top(), TREE, whole=False) if TREE else None


class SpoiledKernel(unittest.TestCase):
    """Filled below, one test for each rule and file, and each insertion."""

    @classmethod
    def setUpClass(cls):
        if not TREE:
            raise unittest.SkipTest("no Linux source: see kernel-build's message")
        SPOILER.start(cls)

    def test_whole_layer_weaves(self):
        woven = kernel.files(kernel.default_top(), TREE)
        self.assertIn("virt/kvm/gmem_in_place.c", woven)
        self.assertIn(b"kvm_gmem_in_place", woven["virt/kvm/guest_memfd.c"])


if SPOILER:
    SPOILER.fill(SpoiledKernel)

if __name__ == "__main__":
    unittest.main()
