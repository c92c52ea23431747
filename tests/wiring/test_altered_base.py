# SPDX-License-Identifier: GPL-2.0-or-later
"""Every real hook, against the real base spoiled at that hook's own site."""

import unittest

from common import pristine
from layer import TOP
from spoil import Spoiler

SPOILER = Spoiler(TOP, pristine())


class SpoiledSites(unittest.TestCase):
    """Filled below, one test for each rule and file, and each insertion."""

    @classmethod
    def setUpClass(cls):
        SPOILER.start(cls)


SPOILER.fill(SpoiledSites)

if __name__ == "__main__":
    unittest.main()
