# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding, fetching, verifying and unpacking the base, with a package of our own."""

import json
import os
import shutil
import subprocess
import unittest
from unittest import mock

from common import LayerCase, TOP, source_package, write
from layer import LayerError, aptconf, base as basemod, cache_dir, cli


class Packaged(LayerCase):
    """self.package is a source package, self.base what would pin it."""

    def setUp(self):
        super().setUp()
        self.package = self.tmp / "package"
        self.package.mkdir()
        self.base = source_package(self.package)

    def refused(self, given, *words):
        with self.assertRaises(LayerError) as caught:
            basemod.find(str(given), self.base)
        for word in words:
            self.assertIn(word, str(caught.exception))
        self.nothing_half_done()

    def nothing_half_done(self):
        for area in ("base", "downloads"):
            where = cache_dir() / area
            left = list(where.iterdir()) if where.is_dir() else []
            self.assertEqual(left, [])


class Base(Packaged):

    def test_directory_dsc_and_tarball_give_the_same_tree(self):
        trees = {basemod.find(str(p), self.base)
                 for p in (self.package,
                           self.package / self.base["dsc"],
                           self.package / "qemu_10.2.2+ds.orig.tar.xz")}
        self.assertEqual(len(trees), 1)
        self.assertEqual((trees.pop() / "VERSION").read_text(), "10.2.2\n")

    def test_unpacked_tree_is_used_where_it_is(self):
        self.assertEqual(basemod.find(str(self.tree), self.base),
                         self.tree.resolve())

    def test_point_release_is_accepted_other_series_is_not(self):
        write(self.tree / "VERSION", "10.2.7\n")
        basemod.find(str(self.tree), self.base)
        for version in ("10.1.2", "11.0.0", "10.20.1"):
            write(self.tree / "VERSION", version + "\n")
            self.refused(self.tree, version, "10.2.x")

    def test_wrong_checksum(self):
        name = "qemu_10.2.2+ds.orig.tar.xz"
        with (self.package / name).open("ab") as f:
            f.write(b"\0")
        self.refused(self.package, name, "wrong checksum",
                     self.base["sha256"][name])

    def test_package_of_another_version(self):
        dsc = self.package / self.base["dsc"]
        dsc.rename(self.package / "qemu_10.1.0+ds-1.dsc")
        self.refused(self.package, self.base["dsc"], "qemu_10.1.0+ds-1.dsc")

    def test_file_that_is_no_part_of_the_package(self):
        other = self.tmp / "other.tar.xz"
        write(other, "")
        self.refused(other, "other.tar.xz", self.base["dsc"])

    def test_path_that_does_not_exist(self):
        self.refused(self.tmp / "nowhere", "nowhere", "does not exist")

    def test_interrupted_unpacking_leaves_no_tree(self):
        with mock.patch.object(basemod, "_check_tree",
                               side_effect=KeyboardInterrupt):
            with self.assertRaises(KeyboardInterrupt):
                basemod.find(str(self.package), self.base)
        self.nothing_half_done()


class Registry(Packaged):
    """The registry is an apt-get and an apt-cache of our own, first on PATH."""

    def setUp(self):
        super().setUp()
        bin_dir = self.tmp / "bin"
        self.versions = self.tmp / "versions"
        write(self.versions, "\nVersion: 1:10.2.2+ds-1\n")
        self.tool(bin_dir / "apt-cache", f"cat {self.versions}")
        self.tool(bin_dir / "apt-get", f"""
            echo "$APT_CONFIG" >> {self.tmp}/configs
            case "$*" in
            *update*) [ ! -e {self.tmp}/offline ] ||
                {{ echo 'E: no route' >&2; exit 100; }} ;;
            *source*) cp {self.package}/* . ;;
            esac""")
        etc = self.tmp / "etc"
        write(etc / "sources.list", "deb copy:/archive trixie main\n")
        for target in (
                mock.patch.dict(os.environ, PATH=f"{bin_dir}:"
                                                 f"{os.environ['PATH']}"),
                mock.patch.object(aptconf, "ETC", etc)):
            target.start()
            self.addCleanup(target.stop)

    def tool(self, path, body):
        write(path, f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def test_fetched_verified_and_unpacked(self):
        tree = basemod.find("", self.base)
        self.assertEqual((tree / "VERSION").read_text(), "10.2.2\n")
        used = set((self.tmp / "configs").read_text().split())
        self.assertEqual(used, {str(cache_dir() / "apt/apt.conf")})

    def test_second_clone_needs_no_registry(self):
        tree = basemod.find("", self.base)
        write(self.tmp / "offline", "")
        self.assertEqual(basemod.find("", self.base), tree)

    def test_dropped_version_names_the_way_out(self):
        write(self.versions, "\nVersion: 1:11.0.0+ds-1\n")
        self.refused("", "no longer has qemu 1:10.2.2+ds-1", "--qemu-source")

    def test_no_network_names_the_way_out(self):
        write(self.tmp / "offline", "")
        self.refused("", "no route", "--qemu-source")

    def fetch_only(self):
        with mock.patch.object(basemod, "pin", return_value=self.base), \
                mock.patch.dict(os.environ, QEMU_SOURCE=""):
            cli.configure(["--fetch-only", f"--build-dir={self.out}"])

    def test_fetch_only_fills_the_cache_and_nothing_else(self):
        self.fetch_only()
        tree = cache_dir() / "base" / basemod.key(self.base)
        self.assertEqual((tree / "VERSION").read_text(), "10.2.2\n")
        self.assertFalse(self.out.exists())

    def test_fetch_only_fails_without_a_registry(self):
        write(self.tmp / "offline", "")
        with self.assertRaises(LayerError):
            self.fetch_only()
        self.nothing_half_done()

    def test_registry_that_serves_other_bytes(self):
        (self.package / "qemu_10.2.2+ds.orig.tar.xz").write_bytes(b"other")
        self.refused("", "wrong checksum")


class Archive(LayerCase):
    """Reading the machine's own apt sources, in both of their forms."""

    def found(self, name, text):
        write(self.tmp / "etc/sources.list.d/other.list",
              "deb https://vendor.invalid/apt vendor main\n")
        write(self.tmp / "etc" / name, text)
        return aptconf.find_archive(self.tmp / "etc")

    def test_one_line_form(self):
        self.assertEqual(
            self.found("sources.list",
                       "# deb http://no.invalid/ sid main\n"
                       "deb [arch=amd64 signed-by=/k.gpg] http://a.invalid/d "
                       "bookworm main contrib\n"),
            ("http://a.invalid/d", "bookworm", "/k.gpg"))

    def test_one_line_form_without_keyring(self):
        self.assertEqual(
            self.found("sources.list", "deb http://a.invalid/d trixie main\n"),
            ("http://a.invalid/d", "trixie", aptconf.KEYRING))

    def test_deb822_form(self):
        self.assertEqual(
            self.found("sources.list.d/debian.sources",
                       "Types: deb\nEnabled: no\nURIs: http://no.invalid\n"
                       "Suites: sid\n\n"
                       "Types: deb\n# a comment\nURIs: http://a.invalid/d\n"
                       "Suites: trixie trixie-updates\nComponents: main\n"
                       "Signed-By: /k.gpg\n"),
            ("http://a.invalid/d", "trixie", "/k.gpg"))

    def test_no_debian_entry(self):
        with self.assertRaises(LayerError) as caught:
            self.found("sources.list", "")
        self.assertIn("--qemu-source", str(caught.exception))

    def test_private_configuration_names_only_private_paths(self):
        write(self.tmp / "etc/sources.list", "deb http://a.invalid/d sid main\n")
        conf = aptconf.write(root=self.tmp / "apt",
                             etc=self.tmp / "etc").read_text()
        paths = [x.split('"')[1] for x in conf.splitlines() if '"/' in x]
        self.assertTrue(paths)
        for path in paths:
            self.assertTrue(path.startswith(str(self.tmp / "apt")), path)


class FrontDoor(LayerCase):
    """./configure itself: one message on stderr, and a status that is not 0."""

    def configure(self, *args, **env):
        run = subprocess.run(
            [TOP / "configure", f"--build-dir={self.out}"] + list(args),
            env=dict(os.environ, **env), capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stderr.count("error:"), 1)
        self.assertFalse((self.out / "src").exists())
        return run.stderr

    def test_missing_tool(self):
        path = self.tmp / "bin"
        path.mkdir()
        for tool in ("sh", "dirname"):
            os.symlink(shutil.which(tool), path / tool)
        message = self.configure(PATH=str(path))
        self.assertIn("spatch (package coccinelle)", message)
        self.assertIn("make setup", message)

    def test_wrong_version(self):
        write(self.tree / "VERSION", "9.2.0\n")
        message = self.configure(f"--qemu-source={self.tree}")
        self.assertIn("QEMU 9.2.0", message)

    def test_unknown_engine(self):
        self.assertIn("gmem or base", self.configure("--gmem-engine=mine"))

    def test_source_given_by_environment(self):
        message = self.configure(QEMU_SOURCE=str(self.tmp / "nowhere"))
        self.assertIn("nowhere does not exist", message)

    def test_pin_is_complete(self):
        base = json.loads((TOP / "wiring/base.json").read_text())
        self.assertIn(base["dsc"], base["sha256"])
        self.assertEqual(len(base["sha256"]), 3)
        self.assertTrue(base["version"].startswith(base["series"] + "."))


if __name__ == "__main__":
    unittest.main()
