# SPDX-License-Identifier: GPL-2.0-or-later
"""Line insertions at named anchors, for files that Coccinelle cannot read.

A wiring/*.json file is one concern: why the base must name us there, and a list
of insertions. An anchor is a whole line, compared byte for byte, that must stand
exactly once in the pristine file; so a base that moved is noticed, not guessed at.
Every insertion of a file is placed against the pristine text, therefore their
order does not matter and no insertion can be the anchor of another.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from . import LayerError

MAX_HOOK_LINES = 3
ENGINES = ("gmem", "base")
# What kernel/ is made of; its hooks name their part where QEMU's name engines.
PARTS = ("in-place", "vhost")


@dataclass
class Insertion:
    """lines go before or after (or in place of) the anchor of one file."""
    name: str
    file: str
    anchor: str
    where: str
    lines: list = field(default_factory=list)


def _lines_of(item, path: Path, name: str) -> list:
    if "lines-from" in item:
        return (path.parent / item["lines-from"]).read_text().splitlines()
    lines = item["lines"]
    if len(lines) > MAX_HOOK_LINES:
        raise LayerError(f"{path.name}: hook '{name}' adds {len(lines)} lines, "
                         f"at most {MAX_HOOK_LINES} are allowed")
    return lines


def load(path: Path, engine: str) -> list:
    """The insertions of one wiring/*.json that apply to this engine."""
    try:
        data = json.loads(path.read_text())
    except ValueError as err:
        raise LayerError(f"{path.name}: not valid JSON: {err}") from None
    try:
        if not data["why"].strip():
            raise LayerError(f"{path.name}: 'why' is empty")
        users = data["part" if "part" in data else "engines"]
        return [_load_one(item, path) for item in data["insertions"]
                if not engine or engine in item.get("engines", users)]
    except KeyError as err:
        raise LayerError(f"{path.name}: key {err} is missing") from None


def parts_of(path: Path) -> list:
    """Which parts of the kernel layer a kernel/wiring/*.json belongs to."""
    return json.loads(path.read_text()).get("part", [])


def _load_one(item, path: Path) -> Insertion:
    name = item["name"]
    where = [w for w in ("after", "before", "replace") if w in item]
    if len(where) != 1:
        raise LayerError(f"{path.name}: hook '{name}' needs exactly one of "
                         "'after', 'before' and 'replace'")
    return Insertion(f"{path.name}:{name}", item["file"], item[where[0]],
                     where[0], _lines_of(item, path, name))


def include_line(rule_file: str, target: str, header: str) -> Insertion:
    """Our header, right after the one include that opens every C file of QEMU."""
    return Insertion(f"{rule_file}:include {header}", target,
                     '#include "qemu/osdep.h"', "after",
                     [f'#include "{header}"'])


def apply(text: str, items: list, version: str) -> str:
    """text with every insertion made; LayerError names the one that misses."""
    lines = text.split("\n")
    before, after, gone = {}, {}, set()
    for item in items:
        hits = [i for i, line in enumerate(lines) if line == item.anchor]
        if len(hits) != 1:
            raise LayerError(
                f"hook '{item.name}': anchor '{item.anchor}' stands "
                f"{len(hits)} times in {item.file} of base {version}, "
                "expected exactly once")
        if item.where == "replace":
            gone.add(hits[0])
        target = before if item.where == "before" else after
        target.setdefault(hits[0], []).extend(item.lines)
    out = []
    for i, line in enumerate(lines):
        out += before.get(i, [])
        if i not in gone:
            out.append(line)
        out += after.get(i, [])
    return "\n".join(out)
