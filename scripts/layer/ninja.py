# SPDX-License-Identifier: GPL-2.0-or-later
"""Run ninja with its whole output in a log and a line of progress now and then."""

import os
import re
import subprocess
import time
from pathlib import Path

from . import LayerError, say

STEP = 5        # per cent between two lines of progress


WANTED = re.compile(r"(qemu-system-\w+|qemu-img|tests/gmem/[\w-]+): \w+_LINKER")


def wanted(where: Path, env: dict) -> list:
    """What most people build: emulators, qemu-img, and our own tests."""
    # First the build's own description, in which a new test may stand.
    run(where, ["build.ninja"], where.parent / "regenerate.log", env,
        quiet=True)
    listed = subprocess.run(["ninja", "-C", where, "-t", "targets", "all"],
                            capture_output=True, text=True, check=True)
    return WANTED.findall(listed.stdout) or ["all"]


def run(where: Path, targets: list, log: Path, env: dict,
        quiet: bool = False) -> None:
    """ninja -C where targets; LayerError carries what failed."""
    cmd = ["ninja", "-C", str(where)] + targets
    if os.environ.get("GMEM_JOBS"):
        cmd += ["-j", os.environ["GMEM_JOBS"]]
    env = dict(env, NINJA_STATUS="[%f/%t] ")
    started = last = time.monotonic()
    shown, tail = -STEP, []
    with log.open("w") as out, subprocess.Popen(
            cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, errors="replace") as child:
        for line in child.stdout:
            out.write(line)
            tail = (tail + [line])[-400:]
            m = re.match(r"\[(\d+)/(\d+)\]", line)
            done = 100 * int(m[1]) // int(m[2]) if m else -1
            late = m and time.monotonic() - last > 60
            if not quiet and (done >= shown + STEP or late):
                shown, last = done - done % STEP, time.monotonic()
                say(f"{done:3d} %  ({m[1]}/{m[2]}, "
                    f"{time.monotonic() - started:.0f} s)")
    if child.returncode:
        raise LayerError(f"the build failed (whole log: {log}):\n"
                         + _failure(tail))


def _failure(lines: list) -> str:
    first = next((i for i, x in enumerate(lines) if x.startswith("FAILED")
                  or "error:" in x.lower()), max(0, len(lines) - 30))
    return "".join(lines[first:first + 40]).rstrip()
