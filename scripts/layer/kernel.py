# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel layer: kernel/ laid over a Linux tree, and its hooks woven in.

kernel/ has the same form as the rest of this repository: files of ours at the path
they have in Linux, and kernel/wiring with semantic patches and insertions. It consists
of parts, which go away one by one as Linux ships them; a tree that has a part by itself
is left alone by that part.
"""

import re
import shutil
import subprocess
from pathlib import Path

from . import LayerError, TOP, insertions, semantic, weave

SERIES = (7, 3)
# Where a tree shows that it converts guest_memfd pages in place by itself.
IN_PLACE = ("include/uapi/linux/kvm.h", "KVM_SET_MEMORY_ATTRIBUTES2")
NOT_LAID = ("wiring", "README.md")


def version(tree: Path) -> str:
    """What the tree's Makefile says it is, such as 7.3.4."""
    try:
        head = (tree / "Makefile").read_text()[:2000]
    except OSError:
        head = ""
    found = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", head, re.M))
    if len(found) != 3:
        raise LayerError(f"{tree} is not a Linux source tree")
    return ".".join(found[k] for k in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))


def converts_in_place(tree: Path) -> bool:
    """Whether that Linux has in-place conversion without us."""
    path, mark = IN_PLACE
    return (tree / path).is_file() and mark in (tree / path).read_text()


def parts(tree: Path) -> list:
    """The parts that this tree needs; LayerError if it is no tree for us."""
    wanted = "%d.%d" % SERIES
    found = version(tree)
    series = tuple(int(n) for n in found.split(".")[:2])
    own = converts_in_place(tree)
    if series < SERIES:
        raise LayerError(f"kernel/ is made for Linux {wanted}, and {tree} is "
                         f"{found}: give a source of {wanted} or later")
    if series > SERIES and not own:
        raise LayerError(f"{tree} is Linux {found} and has no in-place conversion "
                         f"of guest_memfd; ours is made for {wanted}")
    return [p for p in insertions.PARTS if p != "in-place" or not own]


def _part_of(path: Path) -> str:
    if path.suffix == ".json":
        named = insertions.parts_of(path)
    else:
        named = semantic.load(path).engines
    if len(named) != 1 or named[0] not in insertions.PARTS:
        raise LayerError(f"{path.name}: a file of kernel/wiring belongs to one "
                         f"part: {', '.join(insertions.PARTS)}")
    return named[0]


def files(top: Path, tree: Path) -> dict:
    """path in the tree -> bytes: what differs from Linux's own tree, and what is new.

    top is our kernel/.
    """
    active = parts(tree)
    names = {p.name for p in sorted((top / "wiring").glob("*.*"))
             if p.suffix in (".cocci", ".json") and _part_of(p) in active}
    ours = {}
    for path in sorted(top.rglob("*")):
        there = path.relative_to(top)
        if path.is_file() and there.parts[0] not in NOT_LAID:
            ours[str(there)] = path.read_bytes()
    for there in ours:
        if (tree / there).exists():
            raise LayerError(f"{there} is a file of Linux: a file of ours must not "
                             "stand at its path, hook it instead")
    if names:
        ours.update(weave.weave_all(top, tree, None, f"Linux {version(tree)}", names))
    return ours


def lay(tree: Path, out: Path, woven: dict) -> None:
    """Make out a tree that shares its files with tree, except for those in woven.

    Nothing is written through a shared file: each woven one is a new file. A build
    in another directory (O=) writes nothing into its source tree.
    """
    # Links need one file system, and the right to link files of other users.
    if subprocess.run(["cp", "-al", tree, out], stderr=subprocess.DEVNULL,
                      check=False).returncode:
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", tree, out], check=True)
    for there, data in woven.items():
        path = out / there
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)


def default_top() -> Path:
    """Our kernel/."""
    return TOP / "kernel"
