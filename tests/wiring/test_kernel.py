# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel layer over a small tree: what is laid, what is skipped, what is refused."""

import contextlib
import io
import os
import unittest
from importlib import machinery, util
from unittest import mock

from common import CODE, TOP, LayerCase, write
from layer import LayerError, kernel

PATCH = """\
// SPDX-License-Identifier: GPL-2.0
//
// A hook to test with.
//
// Part: in-place
// Hook: enter_first virt/a.c 1

@enter_first@
position p;
@@
first@p(...)
{
+\tif (on)
+\t\treturn 0;
...
}
"""


def makefile(version: str) -> str:
    numbers = version.split(".")
    return "# SPDX\n" + "".join(
        f"{name} = {n}\n" for name, n in
        zip(("VERSION", "PATCHLEVEL", "SUBLEVEL"), numbers))


def kernel_build():
    """The program that builds the lab's kernels, as a module."""
    loader = machinery.SourceFileLoader("kernel_build", str(TOP / "tests/lab/kernel-build"))
    build = util.module_from_spec(util.spec_from_loader("kernel_build", loader))
    loader.exec_module(build)
    return build


class Kernel(LayerCase):
    """self.tree is a Linux, self.layer our kernel/ over it."""

    def setUp(self):
        super().setUp()
        self.layer = self.top / "kernel"
        write(self.layer / "wiring/in-place.cocci", PATCH)
        write(self.layer / "virt/ours.c", "int ours;\n")
        write(self.layer / "README.md", "not laid\n")
        write(self.tree / "virt/a.c", CODE.replace("    ", "\t"))
        write(self.tree / "include/uapi/linux/kvm.h", "/* none */\n")
        self.linux("7.3.4")

    def linux(self, version):
        write(self.tree / "Makefile", makefile(version))

    def files(self):
        return kernel.files(self.layer, self.tree)

    def refused(self, *words):
        with self.assertRaises(LayerError) as caught:
            self.files()
        for word in words:
            self.assertIn(word, str(caught.exception))


class Laying(Kernel):

    def test_hook_and_file_of_ours(self):
        woven = self.files()
        self.assertEqual(sorted(woven), ["virt/a.c", "virt/ours.c"])
        self.assertIn("{\n\tif (on)\n\t\treturn 0;\n", woven["virt/a.c"].decode())

    def test_given_tree_is_not_written(self):
        before = (self.tree / "virt/a.c").read_text()
        out = self.tmp / "overlay"
        kernel.lay(self.tree, out, self.files())
        self.assertEqual((self.tree / "virt/a.c").read_text(), before)
        self.assertIn("if (on)", (out / "virt/a.c").read_text())
        self.assertFalse((self.tree / "virt/ours.c").exists())
        self.assertTrue(os.path.samefile(self.tree / "Makefile", out / "Makefile"))

    def test_tree_behind_a_link_is_not_written(self):
        before = (self.tree / "virt/a.c").read_text()
        link, out = self.tmp / "linux", self.tmp / "overlay"
        link.symlink_to(self.tree)
        build = kernel_build()
        with mock.patch.object(kernel, "default_top", return_value=self.layer), \
                contextlib.redirect_stderr(io.StringIO()):
            build.lay_over(str(link), str(out))
        self.assertEqual((self.tree / "virt/a.c").read_text(), before)
        self.assertFalse((self.tree / "virt/ours.c").exists())
        self.assertTrue((out / "virt/ours.c").exists())


class Sanitized(LayerCase):
    """A kernel with KASAN is one in which KASAN looks where it is meant to."""

    def setUp(self):
        super().setUp()
        self.build = kernel_build()
        for folder in self.build.CHECKED:
            write(self.tmp / "src" / folder / "Makefile", "")
            write(self.tmp / "obj" / folder / ".a.o.cmd", "gcc -c a.c\n")
            write(self.tmp / "obj" / folder / ".b.o.cmd", "gcc -fsanitize=kernel-address -c b.c\n")

    def check(self):
        self.build.check_sanitized(str(self.tmp / "src"), str(self.tmp / "obj"))

    def test_everywhere(self):
        self.check()

    def test_folder_of_which_nothing_is_built(self):
        os.remove(self.tmp / "obj/drivers/vfio/.a.o.cmd")
        os.remove(self.tmp / "obj/drivers/vfio/.b.o.cmd")
        self.check()

    def test_not_in_one(self):
        os.remove(self.tmp / "obj/drivers/vhost/.b.o.cmd")
        with self.assertRaisesRegex(self.build.Stop, "does not look at drivers/vhost$"):
            self.check()

    def test_one_that_linux_does_not_have(self):
        os.rename(self.tmp / "src/drivers/vhost", self.tmp / "src/drivers/moved")
        with self.assertRaisesRegex(self.build.Stop, "drivers/vhost.* is not in this kernel"):
            self.check()


class Series(Kernel):

    def own(self, version):
        """A Linux that converts in place by itself."""
        self.linux(version)
        write(self.tree / "include/uapi/linux/kvm.h",
              "#define KVM_SET_MEMORY_ATTRIBUTES2 1\n")

    def test_later_linux_keeps_its_own(self):
        self.own("7.4.0")
        self.assertNotIn("in-place", kernel.parts(self.tree))
        self.assertNotIn("virt/a.c", self.files())

    def test_backport_keeps_its_own(self):
        self.own("7.3.9")
        self.assertNotIn("in-place", kernel.parts(self.tree))

    def test_earlier_linux_is_refused(self):
        self.linux("7.2.1")
        self.refused("made for Linux 7.3", "7.2.1")

    def test_later_linux_without_it_is_refused(self):
        self.linux("7.4.0")
        self.refused("7.4.0", "no in-place conversion")

    def test_no_linux_is_refused(self):
        write(self.tree / "Makefile", "all:\n")
        self.refused("not a Linux source tree")


class Refusals(Kernel):

    def test_renamed_function(self):
        write(self.tree / "virt/a.c", CODE.replace("first", "fist"))
        self.refused("in-place.cocci", "enter_first", "0 times", "Linux 7.3.4")

    def test_doubled_hook_site(self):
        write(self.tree / "virt/a.c", CODE + CODE[CODE.index("int first"):])
        self.refused("enter_first", "2 times")

    def test_file_of_ours_at_the_path_of_a_linux_file(self):
        write(self.layer / "virt/a.c", "int clobber;\n")
        self.refused("virt/a.c", "file of Linux")

    def test_hook_file_without_a_part(self):
        write(self.layer / "wiring/in-place.cocci",
              PATCH.replace("// Part: in-place", "// Engines: gmem"))
        self.refused("in-place.cocci", "belongs to one part")

    def test_unknown_part(self):
        write(self.layer / "wiring/in-place.cocci",
              PATCH.replace("Part: in-place", "Part: in-plaice"))
        self.refused("in-place.cocci", "in-place vhost")


if __name__ == "__main__":
    unittest.main()
