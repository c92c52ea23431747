# SPDX-License-Identifier: GPL-2.0-or-later
"""Weaving a small base: what is written, what is left alone, what is refused."""

import json
import os
import time
import unittest

from common import CODE, INSERT, PATCH, LayerCase, write
from layer import LayerError, semantic


class Weaving(LayerCase):

    def test_hook_include_and_insertion_are_placed(self):
        self.weave()
        code = self.read("accel/a.c")
        self.assertIn("{\n    gmem_hook();\n    return a;", code)
        self.assertIn('#include "qemu/osdep.h"\n#include "system/x.h"\n', code)
        self.assertEqual(self.read("meson.build"),
                         "before()\nanchor()\nours()\nafter()\n")
        self.assertEqual(self.read("system/ours.c"), "int ours;\n")

    def test_second_weave_writes_nothing(self):
        self.assertGreater(self.weave(), 0)
        before = os.stat(self.out / "src/accel/a.c").st_mtime_ns
        self.assertEqual(self.weave(), 0)
        self.assertEqual(os.stat(self.out / "src/accel/a.c").st_mtime_ns,
                         before)

    def test_pristine_files_keep_their_time(self):
        os.utime(self.tree / "VERSION", (1000, 1000))
        self.weave()
        self.assertEqual(os.stat(self.out / "src/VERSION").st_mtime, 1000)

    def test_only_the_edited_file_is_written(self):
        self.weave()
        write(self.top / "system/ours.c", "int ours = 1;\n")
        self.assertEqual(self.weave(), 1)

    def test_removed_hook_puts_the_base_back_as_new(self):
        os.utime(self.tree / "accel/a.c", (1000, 1000))
        self.weave()
        (self.top / "wiring/a.cocci").unlink()
        now = time.time() - 2
        self.weave()
        self.assertEqual(self.read("accel/a.c"), CODE)
        self.assertGreater(os.stat(self.out / "src/accel/a.c").st_mtime, now)

    def test_removed_file_of_ours_vanishes(self):
        self.weave()
        (self.top / "system/ours.c").unlink()
        self.weave()
        self.assertFalse((self.out / "src/system/ours.c").exists())

    def test_an_edit_in_the_woven_tree_does_not_last(self):
        self.weave()
        for path in ("accel/a.c", "system/ours.c", "VERSION"):
            write(self.out / "src" / path, "spoiled\n")
        self.weave()
        self.assertIn("gmem_hook", self.read("accel/a.c"))
        self.assertEqual(self.read("system/ours.c"), "int ours;\n")
        self.assertEqual(self.read("VERSION"), "10.2.2\n")

    def test_links_to_directories_are_copied(self):
        os.symlink("accel", self.tree / "link")
        self.weave()
        self.assertEqual(os.readlink(self.out / "src/link"), "accel")

    def test_comparison_engine_has_only_its_own_hooks(self):
        self.weave("base")
        self.assertEqual(self.read("accel/a.c"), CODE)
        self.assertIn("ours()", self.read("meson.build"))

    def test_a_failed_weave_leaves_the_last_one_whole(self):
        self.weave()
        good = self.read("accel/a.c")
        write(self.top / "wiring/a.cocci", PATCH.replace("first@", "third@"))
        self.refused("enter_first")
        self.assertEqual(self.read("accel/a.c"), good)


class Refusals(LayerCase):

    def test_renamed_function(self):
        write(self.tree / "accel/a.c", CODE.replace("first", "fist"))
        self.refused("a.cocci", "enter_first", "0 times", "10.2.2",
                     "expected 1")

    def test_doubled_hook_site(self):
        write(self.tree / "accel/a.c",
              CODE + CODE[CODE.index("int first"):])
        self.refused("enter_first", "2 times", "accel/a.c")

    def test_function_that_no_longer_parses(self):
        write(self.tree / "accel/a.c",
              CODE.replace("return a;", "ODD MACRO { (;"))
        self.refused("enter_first", "0 times")

    def test_hook_that_hits_a_name_but_adds_nothing(self):
        spoiled = PATCH.replace("{\n+    gmem_hook();\n...\n}",
                                "{\n<...\n- none();\n+ gmem_hook();\n...>\n}")
        write(self.top / "wiring/a.cocci", spoiled)
        self.refused("enter_first", "add 0 lines", "expected 1")

    def test_rule_that_also_hits_a_file_it_does_not_name(self):
        more = PATCH + "\n@enter_second@\nposition p;\n@@\n" \
            "int second@p(...)\n{\n+    gmem_hook();\n...\n}\n"
        more = more.replace("// Hook", "// Hook: enter_second accel/b.c 1\n"
                            "// Hook")
        write(self.tree / "accel/b.c", CODE)
        write(self.top / "wiring/a.cocci", more)
        self.refused("enter_", "1 times", "expected 0")

    def test_moved_anchor(self):
        write(self.tree / "meson.build", "before()\nanchor(1)\n")
        self.refused("a.json:line", "anchor()", "0 times", "10.2.2")

    def test_doubled_anchor(self):
        write(self.tree / "meson.build", "anchor()\nanchor()\n")
        self.refused("a.json:line", "2 times")

    def test_target_that_the_base_no_longer_has(self):
        (self.tree / "accel/a.c").unlink()
        self.refused("a.cocci", "has no file accel/a.c")

    def test_file_of_ours_at_the_path_of_a_base_file(self):
        write(self.top / "accel/a.c", "int clobber;\n")
        self.refused("accel/a.c", "file of the base")

    def test_insertion_of_four_lines(self):
        four = json.loads(json.dumps(INSERT))
        four["insertions"][0]["lines"] = ["x"] * 4
        write(self.top / "wiring/a.json", json.dumps(four))
        self.refused("'line'", "4 lines", "at most 3")


class Form(LayerCase):
    """What a .cocci file must say about itself before anything is woven."""

    def load_refused(self, text, *words):
        path = self.top / "wiring/a.cocci"
        write(path, text)
        with self.assertRaises(LayerError) as caught:
            semantic.load(path)
        for word in words + ("a.cocci",):
            self.assertIn(word, str(caught.exception))

    def test_hook_of_four_lines(self):
        self.load_refused(PATCH.replace("+    gmem_hook();\n",
                                        "+    gmem_hook();\n" * 4),
                          "enter_first", "4 lines", "at most 3")

    def test_rule_without_position(self):
        self.load_refused(PATCH.replace("position p;", "identifier x;"),
                          "enter_first", "position p")

    def test_rule_without_promise(self):
        self.load_refused(PATCH.replace("// Hook: enter", "// Other: enter"),
                          "enter_first", "Hook:")

    def test_promise_without_rule(self):
        self.load_refused(PATCH.replace(
            "// Hook", "// Hook: lost accel/a.c 1\n// Hook"), "lost")

    def test_rule_without_name(self):
        self.load_refused(PATCH.replace("@enter_first@", "@@"), "@name@")

    def test_unknown_engine(self):
        self.load_refused(PATCH.replace("Engines: gmem", "Engines: mine"),
                          "Engines")

    def test_count_that_is_no_number(self):
        self.load_refused(PATCH.replace("accel/a.c 1", "accel/a.c some"),
                          "Hook: enter_first accel/a.c some")


if __name__ == "__main__":
    unittest.main()
