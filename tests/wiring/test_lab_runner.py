# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's runner: a test file that went wrong is a failure, whatever it printed before."""

import contextlib
import io
import os
import sys
import unittest
from importlib import machinery, util
from pathlib import Path
from unittest import mock

from common import LayerCase, TOP, write

FINE = "print('ok 1 - a')\nprint('1..1')\n"
BAD = "print('not ok 1 - a')\nprint('1..1')\n"


def load():
    """tests/lab/run as a module; it needs neither a QEMU nor a lab for that."""
    folder = str(TOP / "tests/lab")
    sys.path.insert(0, folder)
    try:
        loader = machinery.SourceFileLoader("lab_run", folder + "/run")
        module = util.module_from_spec(util.spec_from_loader("lab_run", loader))
        loader.exec_module(module)
        return module
    finally:
        sys.path.remove(folder)


class LabRunner(LayerCase):

    def results(self, body):
        """What the runner makes of a test with that body: (passed, failed, skipped), output."""
        path = self.top / "test.py"
        write(path, f"#!/usr/bin/python3\n# lab: outside\nimport os, sys\n{body}")
        path.chmod(0o755)
        run, out = load(), io.StringIO()
        with contextlib.redirect_stdout(out):
            report = run.Report()
            for job in run.jobs({"t": str(path)}, None):
                run.run_lab([job], report)
        good = report.number - report.failed - report.skipped
        return (good, report.failed, report.skipped), out.getvalue()

    def fails(self, body, words, passed=1):
        counts, text = self.results(body)
        self.assertEqual(counts, (passed, 1, 0), text)
        self.assertIn(words, text)

    def test_success(self):
        self.assertEqual(self.results(FINE)[0], (1, 0, 0))

    def test_failed_result_counts_once(self):
        self.fails(BAD + "sys.exit(1)", "not ok 1 - t: a", passed=0)

    def test_exception_after_the_plan(self):
        self.fails(FINE + "raise RuntimeError('late')", "no result failed")

    def test_killed_after_the_plan(self):
        self.fails(FINE + "sys.stdout.flush()\nos.kill(os.getpid(), 9)",
                   "status -9")

    def test_other_status(self):
        self.fails(FINE + "sys.exit(3)", "status 3")

    def test_no_result(self):
        self.fails("print('1..0')", "planned no result", passed=0)

    def test_no_plan(self):
        self.fails("print('ok 1 - a')", "without a plan")

    def test_less_than_planned(self):
        self.fails("print('ok 1 - a')\nprint('1..2')", "planned 2 results")

    def test_skip_of_everything(self):
        counts, text = self.results("print('1..0 # SKIP no iron')")
        self.assertEqual(counts, (0, 0, 1), text)
        self.assertIn("# SKIP no iron", text)

    def runs(self, line):
        path = self.top / "test.py"
        write(path, f"#!/usr/bin/python3\n{line}\n")
        return load().runs(str(path))

    def test_header_sizes_the_lab(self):
        self.assertEqual(self.runs("# lab: mem=6G append='a=1 b=2'"),
                         {"": ["--mem=6G", "--append=a=1 b=2"]})

    def test_in_place_is_chosen_per_file(self):
        self.assertEqual(self.runs("# lab: in-place=on"), {"": ["--in-place"]})
        self.assertEqual(self.runs("# lab: in-place=off"), {"": []})
        self.assertEqual(self.runs("# lab: mem=1G\n# lab: in-place=both"),
                         {"": ["--mem=1G"],
                          " (in place)": ["--mem=1G", "--in-place"]})

    def test_a_soak_has_more_modes_and_time(self):
        line = "# lab: in-place=on soak=both timeout=90"
        with mock.patch.dict(os.environ, {"GMEM_SOAK": "0"}):
            self.assertEqual(self.runs(line), {"": ["--timeout=90", "--in-place"]})
        with mock.patch.dict(os.environ, {"GMEM_SOAK": "1"}):
            self.assertEqual(self.runs(line), {"": ["--timeout=900"],
                                               " (in place)": ["--timeout=900", "--in-place"]})

    def test_kernel_is_chosen_per_file(self):
        path = self.top / "test.py"
        write(path, "#!/bin/sh\n# lab: outside kernel=debug+small\n")
        run = load()
        self.assertEqual(run.kernel_for(str(path)), "debug+small")
        self.assertEqual(run.runs(str(path)), {"": None})
        write(path, "#!/bin/sh\n# lab: mem=1G\n")
        self.assertIsNone(run.kernel_for(str(path)))

    def test_kernel_reaches_the_test(self):
        path = self.top / "test.py"
        write(path, "#!/bin/sh\n# lab: outside\necho \"ok 1 - $LAB_KERNEL\"\necho 1..1\n")
        path.chmod(0o755)
        run, out = load(), io.StringIO()
        with contextlib.redirect_stdout(out):
            # What is no variant but a directory with a kernel is taken as it is
            write(self.top / "bzImage", "")
            run.run_lab([run.Job("t", str(path), None, str(self.top), False, False)], run.Report())
        self.assertIn(f"ok 1 - t: {self.top}", out.getvalue())

    def test_what_was_said_last_follows_the_failure(self):
        counts, text = self.results("print('ok 1 - a')\nprint('the end of the console')")
        self.assertEqual(counts, (1, 1, 0), text)
        self.assertRegex(text, "(?s)not ok 2 - t: ended without a plan.*# the end of the console")

    def test_a_kernel_that_cannot_be_built_fails_its_test(self):
        run, out = load(), io.StringIO()
        with contextlib.redirect_stdout(out):
            run.run_lab([run.Job("t", "/nowhere", None, "no-such-variant", False, False)], run.Report())
        self.assertIn("not ok 1 - t: LAB_KERNEL=no-such-variant", out.getvalue())

    def test_own_kernels_come_last_while_they_are_built(self):
        paths = {}
        for name, line in (("a", "kernel=debug+small"), ("b", "mem=1G")):
            path = self.top / name
            write(path, f"#!/bin/sh\n# lab: {line}\n")
            paths[name] = str(path)
        paths["0"] = paths["b"]
        run = load()
        for built, wanted in (False, ["0", "b", "a"]), (True, ["a", "0", "b"]):
            with mock.patch.object(run.labvm, "is_built", lambda kernel, built=built: built):
                self.assertEqual([job.name for job in run.jobs(paths, None)], wanted)
        self.assertEqual([job.name for job in run.jobs(paths, "given")], ["0", "a", "b"])

    def test_files_do_not_mix(self):
        """Two that run side by side and take turns in speaking come out one after the other."""
        path = self.top / "test.py"
        write(path, "#!/usr/bin/python3\n# lab: outside\nimport time\nfor n in range(1, 21):\n"
              "    print(f'ok {n} - {n}', flush=True)\n    time.sleep(0.01)\nprint('1..20')\n")
        path.chmod(0o755)
        run, out = load(), io.StringIO()
        with contextlib.redirect_stdout(out):
            run.run_all(run.jobs({"a": str(path), "b": str(path)}, None), run.Report(), 2)
        names = [line.split()[3] for line in out.getvalue().splitlines() if line[:2] == "ok"]
        self.assertEqual(len(names), 40)
        self.assertEqual(sum(a != b for a, b in zip(names, names[1:])), 1, names)

    def labs(self, *lines, soak="0"):
        """Which of the files a, b, ... with those lines share a lab; and the options of the first."""
        paths = {}
        for name, line in zip("abcdefghijkl", lines):
            path = self.top / f"{name}.py"
            write(path, f"#!/usr/bin/python3\n# lab: {line}\n")
            paths[name] = str(path)
        run = load()
        with mock.patch.dict(os.environ, {"GMEM_SOAK": soak}):
            found = run.labs(run.jobs(paths, None))
        return ["".join(job.name for job in lab) for lab in found], run.joined(found[0])

    def test_files_share_a_lab_of_their_kind(self):
        labs, options = self.labs("shared in-place=on mem=3G timeout=900", "shared mem=2G",
                                  "in-place=on", "shared hugepages=9 mem=10G in-place=on", "mem=2G")
        self.assertEqual(labs, ["ad", "b", "c", "e"])
        self.assertEqual(options, ["--in-place", "--mem=10G", "--hugepages=9", "--timeout=1800"])

    def test_a_lab_that_is_shared_has_at_least_what_is_preset(self):
        labs, options = self.labs("shared timeout=90", "shared mem=512M")
        self.assertEqual((labs, options), (["ab"], ["--mem=4G", "--hugepages=0", "--timeout=1200"]))
        self.assertEqual(self.labs("shared timeout=90")[1], ["--timeout=90"])

    def test_shared_is_refused_where_it_cannot_be(self):
        for line, name in (("shared=on", "test.py"), ("shared", "test.sh")):
            write(self.top / name, f"#!/bin/sh\n# lab: {line}\n")
            with self.assertRaises(SystemExit) as caught:
                load().jobs({"t": str(self.top / name)}, None)
            self.assertIn("has no value, and is for Python files", str(caught.exception))

    def test_nothing_is_shared_in_a_soak(self):
        self.assertEqual(self.labs("shared", "shared", soak="1")[0], ["a", "b"])

    def test_a_lab_is_shared_by_a_few(self):
        self.assertEqual(self.labs(*["shared"] * 8)[0], ["abcdef", "gh"])

    def test_order_of_devices_makes_another_kind(self):
        self.assertEqual(self.labs("shared qemu-arg=a qemu-arg=b", "shared qemu-arg=b qemu-arg=a")[0],
                         ["a", "b"])

    def test_timed_tests_give_way(self):
        paths = self.top / "a.py", self.top / "b.py"
        for path, word in zip(paths, ("timed", "")):
            write(path, f"#!/usr/bin/python3\n# lab: {word} mem=1G\n")
        run = load()
        a, b = (run.command(lab) for lab in
                run.labs(run.jobs({path.stem: str(path) for path in paths}, None)))
        self.assertEqual(a[:3], ["nice", "-n", "5"])
        self.assertEqual((a[4:6], b[1:3]), (["run", "--mem=1G"],) * 2)

    def test_timed_tests_have_their_lab_for_themselves(self):
        self.assertEqual(self.labs("timed shared", "shared", "shared")[0], ["a", "bc"])

    def test_timed_is_refused_with_a_value(self):
        with self.assertRaisesRegex(SystemExit, "has no value"):
            self.labs("timed=1")

    def test_one_lab_more_than_processors_where_there_is_memory(self):
        run = load()
        for gib, labs in ((6, 1), (15, 2), (22, 3), (100, 3)):
            text = mock.mock_open(read_data=f"MemAvailable: {gib << 20} kB\n")
            with mock.patch("builtins.open", text), \
                    mock.patch.object(run.os, "sched_getaffinity", lambda _: {0, 1}):
                self.assertEqual(run.room(), labs)

    def test_own_kernels_are_not_shared(self):
        line = "shared kernel=debug+small"
        with mock.patch.object(load().labvm, "is_built", lambda kernel: True):
            self.assertEqual(self.labs(line, line)[0], ["a", "b"])

    def script(self, paths, after, status):
        """labfiles.py as a program, without what it loads for its files; its end is given."""
        return ("import sys\nsys.modules['gmemlab'] = sys.modules['labport'] = sys\n"
                f"import labfiles, os\nlabfiles.main({paths})\n{after}\nsys.stdout.flush()\n"
                f"os._exit({status})\n")

    def shared(self, *bodies, script=None, after="", status=0):
        """What a report makes of test files in one "lab": here a process."""
        paths = [str(self.top / f"{name}.py") for name, _ in zip("abc", bodies)]
        for path, body in zip(paths, bodies):
            write(Path(path), f"import os, sys\n{body}")
        script = script or self.script(paths, after, status)
        run, out = load(), io.StringIO()
        with contextlib.redirect_stdout(out), \
                mock.patch.dict(os.environ, {"PYTHONPATH": str(TOP / "tests/lab")}):
            report = run.Report()
            run.carry([sys.executable, "-B", "-c", script], None,
                      run.Shared([Path(p).stem for p in paths], report))
        good = report.number - report.failed - report.skipped
        return (good, report.failed, report.skipped), out.getvalue()

    def test_each_file_of_a_lab_has_its_results(self):
        counts, text = self.shared(FINE, BAD + "sys.exit(1)", "print('1..0 # SKIP no iron')")
        self.assertEqual(counts, (1, 1, 1), text)
        for line in ("ok 1 - a: a", "not ok 2 - b: a", "ok 3 - c # SKIP no iron"):
            self.assertIn("\n" + line, "\n" + text)

    def test_what_one_file_does_to_itself_is_its_own(self):
        counts, text = self.shared(FINE + "sys.stdout.flush()\nos.kill(os.getpid(), 9)",
                                   FINE + "raise RuntimeError('late')", FINE)
        self.assertEqual(counts, (3, 2, 0), text)
        self.assertIn("a: ended with status -9", text)
        self.assertIn("b: ended with status 1 though no result failed", text)

    def test_files_after_the_end_of_their_lab_fail(self):
        counts, text = self.shared(FINE, "os.kill(os.getppid(), 9)\nos.kill(os.getpid(), 9)", FINE)
        self.assertEqual(counts, (1, 2, 0), text)
        self.assertIn("b: its lab ended with status -9, after a\n", text)
        self.assertIn("c: did not run", text)

    def test_half_a_line_hides_no_file(self):
        for stream in "stdout", "stderr":
            counts, text = self.shared(BAD + f"sys.{stream}.write('half')\nsys.exit(1)", FINE)
            self.assertEqual(counts, (1, 1, 0), text)
            self.assertIn("# half\n", text)
            self.assertIn("ok 2 - b: a", text)

    def test_another_end_is_not_a_files_end(self):
        for line in "#file-ends 0", "#file-ends 1 0":
            counts, text = self.shared(f"print('{line}', flush=True)\n" + BAD + "sys.exit(1)", FINE)
            self.assertEqual(counts, (1, 1, 0), text)

    def test_what_is_left_behind_is_ended(self):
        body = "import subprocess\nprint('#', subprocess.Popen(['sleep', '1000'], " \
               "process_group=0).pid, flush=True)\n" + FINE
        counts, text = self.shared(body)
        self.assertEqual(counts, (1, 0, 0), text)
        pid = text.split()[1]
        self.assertIn(f"# was left behind, and killed: {pid}", text)
        self.assertFalse(Path(f"/proc/{pid}/exe").exists())

    def test_a_lab_that_does_not_start_says_why(self):
        counts, text = self.shared(FINE, FINE, script="print('lab: why')\nraise SystemExit(125)")
        self.assertEqual(counts, (0, 3, 0), text)
        self.assertRegex(text, "a \\+ b: the lab ended with status 125, after no file\n# lab: why")

    def test_what_a_lab_says_at_its_end_fails_it(self):
        counts, text = self.shared(FINE, FINE, after="print('lab: the kernel complained: x')",
                                   status=123)
        self.assertEqual(counts, (2, 1, 0), text)
        self.assertRegex(text, "not ok 3 - a \\+ b: the lab ended with status 123, after a, b\n# lab: the ")

    def builds(self, status):
        """What the variable of a builder with that exit status is then set to."""
        builder = self.top / "builder"
        write(builder, f"#!/bin/sh\nexit {status}\n")
        builder.chmod(0o755)
        with mock.patch.dict(os.environ, GMEM_BUILD=str(self.top / "b")):
            load().build("GMEM_TEST_THING", str(builder), "folder", "thing")
            return os.environ.get("GMEM_TEST_THING")

    def test_program_is_where_tests_are_told(self):
        self.assertEqual(self.builds(0), str(self.top / "b/folder/thing"))

    def test_program_that_cannot_be_had_is_not_there(self):
        self.assertIsNone(self.builds(3))

    def test_program_that_does_not_build_ends_the_run(self):
        with self.assertRaises(SystemExit):
            self.builds(1)

    def test_mistyped_header_is_refused(self):
        for line, word in (("# lab: inplace=on", "inplace"),
                           ("# lab: in-place=perhaps", "perhaps"),
                           ("# lab: soak=long", "long")):
            with self.assertRaises(SystemExit) as caught:
                self.runs(line)
            self.assertIn(word, str(caught.exception))

    def test_variant_of_the_kernel(self):
        load()
        labvm = sys.modules["labvm"]
        self.assertEqual(labvm.fragments(""), [])
        self.assertEqual(labvm.fragments("debug"),
                         ["--fragment", str(TOP / "tests/lab/kernel-debug.config")])
        both = labvm.fragments("debug+confidential")
        self.assertEqual([Path(f).name for f in both[1::2]],
                         ["kernel-debug.config", "kernel-confidential.config"])
        with self.assertRaises(labvm.LabError) as caught:
            labvm.fragments("debug+debag")
        self.assertIn("kernel-debag.config", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
