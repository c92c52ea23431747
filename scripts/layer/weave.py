# SPDX-License-Identifier: GPL-2.0-or-later
"""BUILD/src: the pristine base, our files laid over it, and the hooks woven in.

Always made from the pristine tree, never from its own last result. A file there is
written only if its bytes differ, and pristine files keep the base's time stamps, so
that ninja rebuilds what changed and nothing else. BUILD/woven.list names the paths
that are not the base's own bytes; whatever leaves that list is put back or removed.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import LayerError, insertions, semantic

# Directories of ours that the base's build compiles or reads.
LAID = ("accel", "backends", "hw", "include", "migration", "monitor", "qapi",
        "stubs", "system", "target", "util", "gmem",
        "tests/unit", "tests/qtest")
# Build files of ours whose own path belongs to the base, and where they go.
RENAMED = {"meson.build": "gmem/meson.build", "trace-events": "gmem/trace-events",
           "Kconfig": "gmem/Kconfig",
           "tests/meson.build": "tests/gmem/meson.build"}
SUFFIXES = (".c", ".h", ".inc", ".S", ".json", ".build", ".txt", ".hx")
NAMES = ("trace-events", "trace.h", "Kconfig")


def overlay(top: Path, pristine: Path, engine: str) -> dict:
    """path in BUILD/src -> bytes, for every file of ours that goes there."""
    files = {}
    for ours, there in RENAMED.items():
        if (top / ours).is_file():
            files[there] = (top / ours).read_bytes()
    for area in LAID:
        for path in sorted((top / area).rglob("*")):
            if path.is_file() and (path.suffix in SUFFIXES or
                                   path.name in NAMES):
                files[str(path.relative_to(top))] = path.read_bytes()
    for there in files:
        if (pristine / there).exists():
            raise LayerError(f"{there} is a file of the base: a file of ours "
                             "must not stand at its path, hook it instead")
    build = "gmem/meson.build"
    if build in files:
        files[build] = (f"gmem_engine = '{engine}'\n".encode() + files[build])
    return files


def hooks(top: Path, engine: str, names: set = None) -> tuple:
    """(file -> insertions, file -> patches) of all wiring for this engine.

    With names, only of the files called so, whatever their engine.
    """
    inserts, patches, seen = {}, {}, set()
    for path in sorted((top / "wiring").glob("*.json")):
        if path.name == "base.json" or names and path.name not in names:
            continue
        for item in insertions.load(path, engine):
            inserts.setdefault(item.file, []).append(item)
    for path in sorted((top / "wiring").glob("*.cocci")):
        if names and path.name not in names:
            continue
        patch = semantic.load(path)
        if engine and engine not in patch.engines:
            continue
        for target in patch.hooks:
            patches.setdefault(target, []).append(patch)
        for target, header in patch.includes:
            if (target, header) not in seen:
                seen.add((target, header))
                inserts.setdefault(target, []).append(
                    insertions.include_line(path.name, target, header))
    return inserts, patches


def macro_files(top: Path, pristine: Path) -> list:
    """What spatch must know about macros: the base's own list, and ours."""
    return [m for m in (pristine / "scripts/cocci-macro-file.h",
                        top / "wiring/macros.h") if m.is_file()]


def weave_all(top: Path, pristine: Path, engine: str, version: str,
              names: set = None) -> dict:
    """path -> bytes of every base file that a hook changes."""
    inserts, patches = hooks(top, engine, names)
    macros = macro_files(top, pristine)

    def one(target: str) -> tuple:
        path = pristine / target
        if not path.is_file():
            users = [i.name for i in inserts.get(target, [])] + \
                    [p.path.name for p in patches.get(target, [])]
            raise LayerError(f"{users[0]}: base {version} has no file {target}")
        text = insertions.apply(path.read_text(), inserts.get(target, []),
                                version)
        for patch in patches.get(target, []):
            text = semantic.apply(patch, text, target, version, macros)
        return target, text.encode()

    targets = sorted(set(inserts) | set(patches))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return dict(pool.map(one, targets))


def _same(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(path.name + ".gmem-new")
    tmp.write_bytes(data)
    tmp.replace(path)


def _mirror(pristine: Path, src: Path, skip: dict) -> None:
    """Make src equal to pristine, except for the paths in skip."""
    for root, dirs, names in os.walk(pristine):
        names += [d for d in dirs if os.path.islink(os.path.join(root, d))]
        rel = os.path.relpath(root, pristine)
        (src / rel).mkdir(parents=True, exist_ok=True)
        for name in names:
            key = name if rel == "." else f"{rel}/{name}"
            if key in skip:
                continue
            a, b = os.path.join(root, name), os.path.join(src, rel, name)
            _mirror_file(a, b)


def _mirror_file(a: str, b: str) -> None:
    sa = os.lstat(a)
    try:
        sb = os.lstat(b)
    except FileNotFoundError:
        shutil.copy2(a, b, follow_symlinks=False)
        return
    if os.path.islink(a) or (sa.st_size, sa.st_mtime_ns) == \
            (sb.st_size, sb.st_mtime_ns):
        return
    # Put back with the time of now: ninja has built something else from it.
    if not _same(Path(b), Path(a).read_bytes()):
        shutil.copy(a, b)


def update(top: Path, pristine: Path, build: Path, engine: str,
           version: str) -> int:
    """Bring build/src up to date; the number of files that were written."""
    ours = overlay(top, pristine, engine)
    ours.update(weave_all(top, pristine, engine, version))
    src, listing = build / "src", build / "woven.list"
    build.mkdir(parents=True, exist_ok=True)
    old = set(listing.read_text().split("\n")) - {""} if listing.exists() \
        else set()
    # The union first: an interrupted run must not forget a file it wrote.
    _write(listing, "\n".join(sorted(old | set(ours))).encode())
    _mirror(pristine, src, ours)
    for gone in old - set(ours):
        if not (pristine / gone).exists():
            (src / gone).unlink(missing_ok=True)
    written = 0
    for path, data in ours.items():
        if not _same(src / path, data):
            _write(src / path, data)
            written += 1
    _write(listing, "\n".join(sorted(ours)).encode())
    semantic.forget_unused()
    return written
