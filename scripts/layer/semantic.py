# SPDX-License-Identifier: GPL-2.0-or-later
"""Semantic patches (wiring/*.cocci): what they promise, and running spatch.

spatch exits 0 when a rule silently matches nothing, or when a function did not
parse. So each rule that changes code binds `position p`, a script rule appended
here reports the places it hit, and both the places and the number of lines added
are compared with what the header of the file promises.
"""

import hashlib
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import LayerError, cache_dir
from .insertions import ENGINES, MAX_HOOK_LINES, PARTS

HIT = "GMEM-HIT"
# How added code is laid out, here and in the kernel
STYLE = ("--indent", "4")
KERNEL_STYLE = ("--smpl-spacing", "--max-width", "100")
SPATCH_SECONDS = 600        # a careless '...' can take for ever
RULE = re.compile(r"^@\s*(\w+)\b[^@]*@(.*?)^@@$(.*?)(?=^@|\Z)", re.M | re.S)


@dataclass
class Patch:
    """One .cocci file: its engines, rules (name -> lines added) and promises.

    A patch of kernel/wiring has the parts of the kernel layer for engines.
    """
    path: Path
    text: str
    engines: list
    added: dict
    hooks: dict = field(default_factory=dict)      # file -> {rule: count}
    includes: list = field(default_factory=list)   # (file, header)


def _directives(path: Path, text: str):
    for line in text.splitlines():
        m = re.match(r"//\s*(Engines|Part|Hook|Include):\s*(.*)$", line)
        if m:
            yield m.group(1), m.group(2).split()


def _code(text: str) -> str:
    return re.sub(r"^//.*$", "", text, flags=re.M)


def _rules(path: Path, text: str) -> dict:
    """name -> lines added, of every rule that changes code."""
    code = _code(text)
    rules = {}
    for name, head, body in RULE.findall(code):
        if name in ("script", "initialize", "finalize"):
            continue
        plus = [x for x in body.splitlines() if x.startswith("+")]
        if not plus and not re.search(r"^-", body, re.M):
            continue
        if not re.search(r"^\s*position\s+p\s*;", head, re.M):
            raise LayerError(f"{path.name}: rule '{name}' does not declare "
                             "'position p;', so its hits cannot be counted")
        if len(plus) > MAX_HOOK_LINES:
            raise LayerError(f"{path.name}: rule '{name}' adds {len(plus)} "
                             f"lines, at most {MAX_HOOK_LINES} are allowed")
        rules[name] = len(plus)
    rest = RULE.sub("", code).strip()
    if rest:
        raise LayerError(f"{path.name}: not a rule of the form '@name@ ... @@': "
                         f"{rest.splitlines()[0]}")
    return rules


def load(path: Path) -> Patch:
    """Read one .cocci and check what it says about itself."""
    text = path.read_text()
    patch = Patch(path, text, [], _rules(path, text))
    for key, words in _directives(path, text):
        if key in ("Engines", "Part"):
            patch.engines = words
        elif key == "Include" and len(words) == 2:
            patch.includes.append((words[0], words[1]))
        elif key == "Hook" and len(words) == 3 and words[2].isdigit():
            patch.hooks.setdefault(words[1], {})[words[0]] = int(words[2])
        else:
            raise LayerError(f"{path.name}: cannot read '{key}: "
                             f"{' '.join(words)}'")
    _check(patch)
    return patch


def _check(patch: Patch) -> None:
    name = patch.path.name
    if not patch.engines or not any(set(patch.engines) <= set(known)
                                    for known in (ENGINES, PARTS)):
        raise LayerError(f"{name}: needs a line '// Engines:' with one or both "
                         f"of: {' '.join(ENGINES)}; in kernel/ '// Part:' with "
                         f"one of: {' '.join(PARTS)}")
    promised = {rule for table in patch.hooks.values() for rule in table}
    for rule in sorted(set(patch.added) ^ promised):
        raise LayerError(f"{name}: rule '{rule}' must stand both in the patch "
                         "and in a '// Hook: RULE FILE COUNT' line")


def _instrumented(patch: Patch) -> str:
    out = [patch.text]
    for rule in patch.added:
        out.append(f"@script:python@\np << {rule}.p;\n@@\n"
                   f"for x in p: print('{HIT}', '{rule}', x.line, x.column, "
                   "x.file, flush=True)\n")
    return "\n".join(out)


def _spatch(patch: Patch, text: str, target: str, macros: list) -> tuple:
    """(new text, spatch's report), from the cache when nothing changed."""
    script = _instrumented(patch)
    style = KERNEL_STYLE if patch.engines[0] in PARTS else ()
    key = hashlib.sha256("\0".join(
        ["3", *style, script, text] + [m.read_text() for m in macros]).encode())
    stored = cache_dir() / "woven" / key.hexdigest()
    if stored.is_file():
        os.utime(stored)        # forget_unused() goes by the time
        new, _, log = stored.read_text().partition("\0")
        return new, log
    with tempfile.TemporaryDirectory(prefix="gmem-weave-") as tmp:
        sp, src = Path(tmp) / "rule.cocci", Path(tmp) / Path(target).name
        sp.write_text(script)
        src.write_text(text)
        cmd = ["spatch", "--sp-file", sp, "--no-includes", *(style or STYLE),
               "--very-quiet", "--in-place", src]
        if macros:
            # spatch reads only the last --macro-file that it is given.
            one = Path(tmp) / "macros.h"
            one.write_text("\n".join(m.read_text() for m in macros))
            cmd += ["--macro-file", one]
        try:
            run = subprocess.run(cmd, capture_output=True, text=True,
                                 timeout=SPATCH_SECONDS)
        except subprocess.TimeoutExpired:
            raise LayerError(f"{patch.path.name}: spatch does not end on "
                             f"{target} (stopped after {SPATCH_SECONDS} s)"
                             ) from None
        log = run.stdout + run.stderr
        if "Py.find_library" in log:
            raise LayerError("spatch finds no Python library, which it needs "
                             "to count a hook's hits: run 'make setup', or "
                             "install the package libpython3-dev")
        if run.returncode:
            raise LayerError(f"{patch.path.name}: spatch failed on {target}:\n"
                             f"{log.strip()[-1500:]}")
        new = src.read_text()
    stored.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=stored.parent,
                                     delete=False) as f:
        f.write(new + "\0" + log)
    Path(f.name).replace(stored)
    return new, log


def _lines_added(old: str, new: str) -> int:
    """Lines that only new has, as diff(1) counts them."""
    with tempfile.NamedTemporaryFile("w") as f:
        f.write(old)
        f.flush()
        run = subprocess.run(["diff", "--minimal", f.name, "-"], input=new,
                             capture_output=True, text=True)
    return sum(1 for x in run.stdout.splitlines() if x.startswith("> "))


def forget_unused(days: int = 14) -> None:
    """Drop woven files that no clone asked for in so many days."""
    kept = cache_dir() / "woven"
    limit = time.time() - days * 24 * 3600
    for path in kept.iterdir() if kept.is_dir() else ():
        if path.stat().st_mtime < limit:
            path.unlink(missing_ok=True)


def alone(patch: Patch, rule: str) -> Patch:
    """One rule by itself, as a patch of its own; for tests."""
    text = next(m.group(0) for m in RULE.finditer(_code(patch.text))
                if m.group(1) == rule)
    return replace(patch, text=text, added={rule: patch.added[rule]})


def hits(patch: Patch, text: str, target: str, macros: list) -> tuple:
    """(text after the patch, rule -> set of (line, column, file) that it hit).

    A function that an earlier rule has changed is read again from a file of its
    own, and counts its lines from there.
    """
    new, log = _spatch(patch, text, target, macros)
    found = {rule: set() for rule in patch.added}
    for line in log.splitlines():
        if line.startswith(HIT + " "):
            _, rule, row, col, where = line.split()
            found[rule].add((int(row), int(col), where))
    return new, found


def apply(patch: Patch, text: str, target: str, version: str,
          macros: list) -> str:
    """text of target after the patch; LayerError names a rule that missed."""
    new, places = hits(patch, text, target, macros)
    expected = patch.hooks[target]
    missed = [f"rule '{rule}' applies {len(found)} times, "
              f"expected {expected.get(rule, 0)}"
              for rule, found in places.items()
              if len(found) != expected.get(rule, 0)]
    if missed:
        raise LayerError(f"{patch.path.name} on {target} of base {version}: "
                         + "; ".join(missed))
    added = _lines_added(text, new)
    want = sum(patch.added[r] * n for r, n in expected.items())
    if added != want:
        raise LayerError(f"{patch.path.name}: rules {', '.join(expected)} add "
                         f"{added} lines to {target} of base {version}, "
                         f"expected {want}")
    return new
