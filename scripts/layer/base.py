# SPDX-License-Identifier: GPL-2.0-or-later
"""The base: found or fetched, verified against wiring/base.json, unpacked.

Unpacked trees live in the cache under a name made from the checksums, so that the
same content is unpacked once for all clones. Unpacking happens beside and is
renamed at the end: a tree that is there is whole.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import LayerError, TOP, aptconf, cache_dir, say


def pin(top: Path = TOP) -> dict:
    """What wiring/base.json says about the base."""
    return json.loads((top / "wiring/base.json").read_text())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def key(base: dict) -> str:
    """The cache name of the unpacked base: its checksums, folded."""
    return hashlib.sha256("".join(sorted(
        base["sha256"].values())).encode()).hexdigest()[:16]


def _verify(files: Path, base: dict) -> None:
    for name, want in base["sha256"].items():
        path = files / name
        if not path.is_file():
            others = ", ".join(sorted(p.name for p in files.glob("qemu_*.dsc")))
            hint = f" (it has {others})" if others else ""
            raise LayerError(f"{files} has no {name}{hint}: this layer needs "
                             f"{base['name']} {base['source-version']}")
        got = _sha256(path)
        if got != want:
            raise LayerError(f"{path} has the wrong checksum: sha256 {got}, "
                             f"expected {want}")


def _unpack(files: Path, base: dict) -> Path:
    tree = cache_dir() / "base" / key(base)
    if (tree / "VERSION").is_file():
        return tree
    _verify(files, base)
    if not shutil.which("dpkg-source"):
        raise LayerError("dpkg-source is missing: run 'make setup', or install "
                         "the package dpkg-dev")
    say(f"unpacking {base['name']} {base['source-version']}")
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix=".new-") as tmp:
        done = subprocess.run(
            ["dpkg-source", "--no-check", "-x", files.resolve() / base["dsc"],
             "tree"], cwd=tmp, capture_output=True, text=True)
        if done.returncode:
            raise LayerError("dpkg-source failed: "
                             f"{done.stderr.strip()[-500:]}")
        _check_tree(Path(tmp) / "tree", base)
        try:
            os.rename(Path(tmp) / "tree", tree)
        except OSError:
            if not (tree / "VERSION").is_file():     # another run was faster
                raise
    return tree


def _check_tree(tree: Path, base: dict) -> None:
    version = (tree / "VERSION").read_text().strip()
    if version != base["version"] and \
            not version.startswith(base["series"] + "."):
        raise LayerError(f"{tree} is {base['name']} {version}, this layer "
                         f"needs {base['series']}.x")


def _fetch(base: dict) -> Path:
    tree = cache_dir() / "base" / key(base)
    if (tree / "VERSION").is_file():
        return tree
    kept = cache_dir() / "downloads"
    if not (kept / base["dsc"]).is_file():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept, prefix=".new-") as tmp:
            aptconf.source(base["source-package"], base["source-version"],
                           Path(tmp))
            _verify(Path(tmp), base)
            # The .dsc last: its presence says that the rest is there.
            for name in sorted(base["sha256"], key=lambda n: n == base["dsc"]):
                os.replace(Path(tmp) / name, kept / name)
    return _unpack(kept, base)


def find(given: str, base: dict) -> Path:
    """The pristine tree from the path that the user gave, or the registry."""
    if not given:
        return _fetch(base)
    path = Path(given)
    if path.is_dir() and (path / "VERSION").is_file() and \
            (path / "meson.build").is_file():
        _check_tree(path, base)
        return path.resolve()
    if path.is_dir():
        return _unpack(path, base)
    if path.is_file():
        if path.name not in base["sha256"]:
            raise LayerError(f"{path.name} is not a file of "
                             f"{base['source-version']}: this layer needs one "
                             f"of {', '.join(sorted(base['sha256']))}")
        return _unpack(path.parent, base)
    raise LayerError(f"base source {given} does not exist")
