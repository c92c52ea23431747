# SPDX-License-Identifier: GPL-2.0-or-later
"""configure and build: what the two commands do, in the order they do it.

BUILD/layer.json keeps what configure was asked, so that a later build can weave
again by itself; the base's own configure runs again only when its options change.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import LayerError, TOP, base as basemod, say, weave

TOOLS = {"spatch": "coccinelle", "meson": "meson", "ninja": "ninja-build",
         "gcc": "gcc", "pkg-config": "pkgconf", "flex": "flex",
         "bison": "bison", "diff": "diffutils"}
FIRMWARE = ("/usr/share/qemu", "/usr/share/seabios", "/usr/share/OVMF",
            "/usr/lib/ipxe/qemu")
DEFAULTS = ("--python=/usr/bin/python3", "--disable-download",
            "--disable-install-blobs", "--target-list=x86_64-softmmu",
            "--without-default-features", "--enable-kvm", "--enable-tcg",
            "--enable-vhost-kernel", "--enable-vhost-net",
            "--enable-vhost-user", "--enable-vhost-vdpa",
            "--enable-vhost-crypto", "--enable-virtfs", "--enable-attr",
            "--enable-cap-ng", "--enable-slirp", "--enable-pixman",
            "--enable-fdt=system", "--enable-numa", "--enable-tools",
            # Enough for backtraces; all of it takes longer to build
            "--extra-cflags=-g1")
USAGE = """\
Usage: ./configure [options] [options of the base's configure]

  --build-dir=DIR          where everything is built [build]
  --qemu-source=PATH       the base: a directory with the source package, its
                           .dsc or .orig tarball, or an unpacked tree
                           [$QEMU_SOURCE, else the distribution's registry]
  --gmem-engine=gmem|base  base: the base's own conversion code, with only
                           sw-protected-guest added, to compare with [gmem]
  --fetch-only             stop when the base is there, unpacked in the cache
  --weave-only             stop before the base's configure
"""


def parse(argv: list) -> dict:
    """The options that are ours, and the rest for the base."""
    opts = {"build-dir": "build", "qemu-source": "", "gmem-engine": "gmem",
            "fetch-only": False, "weave-only": False, "base": []}
    for arg in argv:
        name, eq, value = arg.removeprefix("--").partition("=")
        if arg in ("-h", "--help"):
            print(USAGE)
            raise SystemExit(0)
        if arg in ("--fetch-only", "--weave-only"):
            opts[name] = True
        elif arg.startswith("--") and name in opts and name != "base":
            if not eq or not value:
                raise LayerError(f"option --{name} needs a value: --{name}=...")
            opts[name] = value
        else:
            opts["base"].append(arg)
    if opts["gmem-engine"] not in ("gmem", "base"):
        raise LayerError(f"--gmem-engine={opts['gmem-engine']} is not known: "
                         "it can be gmem or base")
    return opts


def check_tools(names) -> None:
    """One message that names every missing tool."""
    missing = [f"{t} (package {TOOLS[t]})" for t in names
               if not shutil.which(t)]
    if missing:
        raise LayerError(f"missing tools: {', '.join(missing)}: run "
                         "'make setup', or install the packages")


def base_args(opts: dict, version: str) -> list:
    """The command line of the base's configure; the user's options win."""
    args = list(DEFAULTS)
    args += [f"--firmwarepath={':'.join(FIRMWARE)}",
             f"--with-pkgversion=qemu-gmem {version}, "
             f"{opts['gmem-engine']} engine"]
    if not any(a.startswith("--prefix=") for a in opts["base"]):
        args.append("--prefix=/opt/qemu-gmem")
    if shutil.which("ccache") and \
            not any(a.startswith("--cc=") for a in opts["base"]):
        args.append("--cc=ccache gcc")
    return args + opts["base"]


def environment(build: Path) -> dict:
    """Lets ccache share objects between build directories.

    CCACHE_DEPEND: a first build does not preprocess every file twice.
    """
    return dict(os.environ, CCACHE_BASEDIR=str(build), CCACHE_NOHASHDIR="1",
                CCACHE_DEPEND="1")


def _configure_base(build: Path, args: list) -> None:
    where = build / "qemu"
    stamp = where / "gmem-configured.json"
    if stamp.is_file() and json.loads(stamp.read_text()) == args:
        link_firmware(build)
        return
    where.mkdir(exist_ok=True)
    stamp.unlink(missing_ok=True)
    log = build / "configure.log"
    say(f"configuring the base (log: {log})")
    with log.open("w") as f:
        done = subprocess.run(["../src/configure"] + args, cwd=where,
                              env=environment(build), stdout=f,
                              stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL)
    if done.returncode:
        tail = log.read_text().strip().splitlines()[-15:]
        raise LayerError("the base's configure failed:\n" + "\n".join(tail))
    link_firmware(build)
    stamp.write_text(json.dumps(args))


def link_firmware(build: Path) -> None:
    """Let the binary find the distribution's firmware without being installed.

    A QEMU that runs from its build directory looks for every data directory below
    qemu-bundle, and there only.
    """
    for where in FIRMWARE:
        inside = build / "qemu/qemu-bundle" / where.lstrip("/")
        if inside.is_symlink() or not os.path.isdir(where):
            continue
        if not inside.exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.symlink_to(where)
            continue
        for name in os.listdir(where):      # --prefix=/usr: beside the base's
            if not os.path.lexists(inside / name):
                (inside / name).symlink_to(os.path.join(where, name))


def weave_build(build: Path, opts: dict) -> None:
    """Find the base and bring build/src up to date."""
    base = basemod.pin()
    check_tools(("spatch", "diff"))
    pristine = basemod.find(opts["qemu-source"], base)
    version = (pristine / "VERSION").read_text().strip()
    written = weave.update(TOP, pristine, build, opts["gmem-engine"], version)
    say(f"base {version}, {opts['gmem-engine']} engine: {written} files "
        f"written in {build / 'src'}")


def configure(argv: list) -> None:
    """./configure: from the user's options to a tree that ninja can build."""
    opts = parse(argv)
    build = Path(opts["build-dir"]).resolve()
    if build == TOP:
        raise LayerError("the build directory cannot be the source directory")
    # Kept with the options, so that a later 'make' finds the same base.
    opts["qemu-source"] = opts["qemu-source"] or \
        os.environ.get("QEMU_SOURCE", "")
    if opts["qemu-source"]:
        opts["qemu-source"] = str(Path(opts["qemu-source"]).resolve())
    if opts["fetch-only"]:
        basemod.find(opts["qemu-source"], basemod.pin())
        return
    check_tools(TOOLS if not opts["weave-only"] else ("spatch", "diff"))
    weave_build(build, opts)
    (build / "layer.json").write_text(json.dumps(opts, indent=1))
    if not opts["weave-only"]:
        _configure_base(build, base_args(opts, basemod.pin()["layer"]))
        say(f"configured in {build}: now run 'make'")


def reweave(build: Path) -> dict:
    """Before a build: our files and hooks as they are now."""
    try:
        opts = json.loads((build / "layer.json").read_text())
    except FileNotFoundError:
        raise LayerError(f"{build} is not configured: run ./configure "
                         f"--build-dir={build}") from None
    weave_build(build, opts)
    _configure_base(build, base_args(opts, basemod.pin()["layer"]))
    return opts


def main(command, argv: list) -> int:
    """Run command(argv); a LayerError becomes its one message and status 1."""
    try:
        command(argv)
        return 0
    except LayerError as err:
        print(f"{os.path.basename(sys.argv[0])}: error: {err}",
              file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    return 1
