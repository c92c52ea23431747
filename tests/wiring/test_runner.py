# SPDX-License-Identifier: GPL-2.0-or-later
"""The test runner: nothing that went wrong in a rig may look like a success."""

import os
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

from common import LayerCase, TOP, write

FINE = "echo 1..2; echo ok 1 - a; echo ok 2 - b"


class RigCase(LayerCase):
    """A tree with the runner and rigs of our own."""

    def setUp(self):
        super().setUp()
        (self.top / "scripts").mkdir()
        for name in ("run-tests", "tap-join"):
            shutil.copy(TOP / "scripts" / name, self.top / "scripts" / name)

    def rig(self, name, body):
        path = self.top / "tests" / name / "run"
        write(path, f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def totals(self, status, line, *names, **more):
        env = {k: v for k, v in os.environ.items() if k not in ("CI", "GMEM_BUILD")}
        run = subprocess.run([self.top / "scripts/run-tests", *names],
                             env=dict(env, **more), capture_output=True,
                             text=True)
        self.assertEqual(run.stdout.splitlines()[-1], line, run.stdout)
        self.assertEqual(run.returncode, status)
        return run.stdout


class Runner(RigCase):

    def test_two_rigs_are_added_up(self):
        self.rig("unit", FINE)
        self.rig("qtest", FINE)
        self.totals(0, "4 passed, 0 failed, 0 skipped")

    def test_one_rig_by_name(self):
        self.rig("unit", FINE)
        self.rig("qtest", "exit 1")
        self.totals(0, "2 passed, 0 failed, 0 skipped", "unit")

    def test_failure_is_shown_with_its_reason(self):
        self.rig("unit", "echo not ok 1 - bad thing; echo '# because'; "
                         "echo 1..1")
        out = self.totals(1, "0 passed, 1 failed, 0 skipped")
        self.assertIn("FAIL unit: bad thing", out)
        self.assertIn("# because", out)

    def test_all_that_a_rig_says_is_kept(self):
        self.rig("unit", FINE + "; echo '# 3 s'")
        out = self.totals(0, "2 passed, 0 failed, 0 skipped")
        self.assertNotIn("# 3 s", out)
        self.assertEqual((self.top / "build/unit.tap").read_text(),
                         "1..2\nok 1 - a\nok 2 - b\n# 3 s\n")

    def test_rig_that_dies_after_its_tests(self):
        self.rig("unit", FINE + "; exit 3")
        self.assertIn("status 3", self.totals(
            1, "2 passed, 1 failed, 0 skipped"))

    def test_rig_that_runs_less_than_planned(self):
        self.rig("unit", "echo 1..3; echo ok 1 - a")
        self.assertIn("1 of 3", self.totals(
            1, "1 passed, 1 failed, 0 skipped"))

    def test_rig_without_a_plan_or_a_test(self):
        self.rig("unit", "echo ok 1 - a")
        self.totals(1, "1 passed, 1 failed, 0 skipped")
        self.rig("unit", "echo 1..0")
        self.totals(1, "0 passed, 1 failed, 0 skipped")

    def test_rig_that_hangs(self):
        self.rig("unit", "echo 1..1; sleep 1000")
        self.assertIn("killed", self.totals(
            1, "0 passed, 1 failed, 0 skipped", GMEM_RIG_TIMEOUT="1"))

    def test_skip_carries_its_reason(self):
        self.rig("unit", "echo 1..2; echo 'ok 1 - a # SKIP no cpu'; "
                         "echo ok 2 - b")
        self.assertIn("skip unit: a (no cpu)", self.totals(
            0, "1 passed, 0 failed, 1 skipped"))

    def test_under_ci_only_host_may_skip(self):
        self.rig("host", "echo '1..0 # SKIP no /dev/kvm'")
        self.rig("unit", FINE)
        self.assertIn("no /dev/kvm", self.totals(
            0, "2 passed, 0 failed, 1 skipped", CI="true"))
        self.rig("lab", "echo '1..0 # SKIP no kernel'")
        self.assertIn("no kernel", self.totals(
            1, "2 passed, 1 failed, 1 skipped", CI="true"))

    def test_lanes_run_side_by_side_and_do_not_mix(self):
        """Each waits for the other to have begun."""
        for name, other in (("unit", "guest"), ("guest", "unit")):
            self.rig(name, f"touch begun-{name}; echo 1..2; echo 'not ok 1 - {name}'; "
                           f"while [ ! -e begun-{other} ]; do sleep 0.1; done; "
                           f"echo 'not ok 2 - {name}'")
        out = self.totals(1, "0 passed, 4 failed, 0 skipped", GMEM_RIG_TIMEOUT="60")
        said = [line.split()[-1] for line in out.splitlines() if "FAIL" in line]
        self.assertIn(said, (["unit"] * 2 + ["guest"] * 2, ["guest"] * 2 + ["unit"] * 2))

    def test_the_lab_runs_alone(self):
        self.rig("unit", "sleep 1; touch over; " + FINE)
        self.rig("lab", "[ -e over ] && " + FINE)
        self.totals(0, "4 passed, 0 failed, 0 skipped")

    def test_an_interrupt_ends_what_runs(self):
        for name in "unit", "guest":
            self.rig(name, f"echo $$ >pid-{name}; echo 1..1; sleep 60")
        # Whoever runs this in the background may have it ignored
        with subprocess.Popen([self.top / "scripts/run-tests"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(
                                  signal.SIGINT, signal.SIG_DFL)) as child:
            pids = [self.pid(name) for name in ("unit", "guest")]
            child.send_signal(signal.SIGINT)
        self.assertEqual(child.returncode, 130)
        self.assertFalse([pid for pid in pids if Path(f"/proc/{pid}/exe").exists()])

    def pid(self, name):
        path = self.top / f"pid-{name}"
        for _ in range(600):
            if path.exists() and path.read_text():
                return int(path.read_text())
            time.sleep(0.05)
        return self.fail(f"{name} did not begin")

    def test_nothing_run_is_no_success(self):
        self.totals(1, "0 passed, 0 failed, 0 skipped")


class Join(RigCase):
    """Programs joined by tap-join, counted by the runner."""

    def joined(self, status, line, *bodies):
        names = []
        for i, body in enumerate(bodies):
            path = self.top / f"prog{i}"
            write(path, f"#!/bin/sh\n{body}\n")
            path.chmod(0o755)
            names.append(f"'{path}'")
        self.rig("unit", f"exec scripts/tap-join {' '.join(names)}")
        return self.totals(status, line)

    def test_points_are_added(self):
        self.joined(0, "4 passed, 0 failed, 0 skipped", FINE, FINE)

    def test_program_that_dies(self):
        self.joined(1, "4 passed, 1 failed, 0 skipped", FINE,
                    FINE + "; kill -SEGV $$")

    def test_program_that_stops_short(self):
        self.joined(1, "3 passed, 1 failed, 0 skipped", FINE,
                    "echo 1..2; echo ok 1 - a")

    def test_program_that_skips_everything(self):
        self.joined(0, "2 passed, 0 failed, 1 skipped", FINE,
                    "echo '1..0 # SKIP not here'")

    def test_program_that_is_not_there(self):
        self.rig("unit", "exec scripts/tap-join ./nowhere")
        self.totals(1, "0 passed, 1 failed, 0 skipped")


if __name__ == "__main__":
    unittest.main()
