# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/setup with a package manager of our own: what it asks for, and how."""

import os
import shutil
import subprocess
import unittest

from common import LayerCase, TOP, write

LIST = """\
# a comment
there       it is installed
absent      it is not
old|new     the first that is known
gone|never  no distribution has it
"""


class Setup(LayerCase):

    def setUp(self):
        super().setUp()
        self.bin = self.tmp / "bin"
        self.bin.mkdir()
        self.calls = self.tmp / "calls"
        for tool in ("sh", "sed", "tr", "grep", "mktemp", "rm", "tail",
                     "dirname", "cat"):
            os.symlink(shutil.which(tool), self.bin / tool)
        self.tool("id", "echo 0")
        self.tool("dpkg-query", 'case "$*" in *there) echo -n installed;; '
                                "*) exit 1;; esac")
        self.tool("apt-cache", 'case "$*" in *absent|*new) echo Package: x;; '
                               "esac")
        self.tool("apt-get", f'echo "$*" >> {self.calls}')
        (self.top / "scripts").mkdir()
        # The part that runs last; it has nothing to do in these tests.
        write(self.top / "scripts/setup-newer", "")
        write(self.top / "scripts/packages.txt", LIST)
        shutil.copy(TOP / "scripts/setup", self.top / "scripts/setup")

    def tool(self, name, body):
        path = self.bin / name
        write(path, f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def setup_run(self, status=0):
        """What it said: on stderr where it must fail, else on both."""
        run = subprocess.run([self.top / "scripts/setup"], capture_output=True,
                             text=True, env={"PATH": str(self.bin)})
        self.assertEqual(run.returncode, status, run.stderr)
        return run.stderr if status else run.stdout + run.stderr

    def asked(self):
        return self.calls.read_text().splitlines() \
            if self.calls.exists() else []

    def test_only_what_is_missing_and_known_is_installed(self):
        said = self.setup_run()
        self.assertEqual(self.asked()[-1].split()[-2:], ["absent", "new"])
        self.assertIn("not in this release: gone|never", said)

    def test_nothing_missing_asks_for_nothing(self):
        write(self.top / "scripts/packages.txt", "there  it is\n")
        self.setup_run()
        self.assertEqual(self.asked(), [])

    def test_failed_install_shows_why(self):
        self.tool("apt-get", 'case "$*" in *install*) echo no space; exit 1;; '
                             "esac")
        message = self.setup_run(1)
        self.assertIn("no space", message)
        self.assertIn("apt-get install failed", message)

    def test_neither_root_nor_sudo(self):
        self.tool("id", "echo 1000")
        self.assertIn("no sudo", self.setup_run(1))
        self.assertEqual(self.asked(), [])

    def test_through_sudo(self):
        self.tool("id", "echo 1000")
        self.tool("sudo", f'echo sudo >> {self.calls}; shift; exec "$@"')
        self.setup_run()
        self.assertEqual(self.asked().count("sudo"), 2)

    def test_every_package_is_named_once_with_its_purpose(self):
        names = []
        for line in (TOP / "scripts/packages.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                name, purpose = line.split(None, 1)
                self.assertTrue(purpose)
                names.append(name)
        self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    unittest.main()
