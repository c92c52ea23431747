# SPDX-License-Identifier: GPL-2.0-or-later
"""A private configuration for apt, so that the machine's own stays as it is.

The archive that the machine already uses (address and keyring of its first Debian
entry) is asked for more suites than the machine has enabled. Lists and downloads
live in our cache. No address is written anywhere but there.
"""

import re
import subprocess
import time
from pathlib import Path

from . import LayerError, cache_dir, say

SUITES = ("bookworm-backports", "trixie", "trixie-backports", "sid")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
ETC = Path("/etc/apt")
STALE = 24 * 3600
CODENAMES = re.compile(r"^(bookworm|trixie|forky|sid|stable|testing|unstable)$")


def _one_line(text: str):
    for line in text.splitlines():
        m = re.match(r"\s*deb(?:-src)?\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)", line)
        if m:
            signed = re.search(r"signed-by=(\S+)", m.group(1) or "")
            yield m.group(2), m.group(3), signed.group(1) if signed else None


def _deb822(text: str):
    text = re.sub(r"^#.*\n", "", text, flags=re.M)
    for stanza in re.split(r"\n\s*\n", text):
        keys = {k.lower(): v.strip() for k, v in re.findall(
            r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.M)}
        if keys.get("enabled", "yes").lower() == "no":
            continue
        for uri in keys.get("uris", "").split():
            for suite in keys.get("suites", "").split():
                signed = keys.get("signed-by")
                yield uri, suite, signed if signed and "\n" not in signed \
                    else None


def find_archive(etc: Path) -> tuple:
    """(address, suite, keyring) of the machine's first Debian entry."""
    files = [etc / "sources.list"] + sorted((etc / "sources.list.d").glob("*"))
    for path in files:
        if not path.is_file() or path.suffix not in (".list", ".sources"):
            continue
        parse = _deb822 if path.suffix == ".sources" else _one_line
        for uri, suite, signed in parse(path.read_text()):
            if CODENAMES.match(suite):
                return uri, suite, signed or KEYRING
    raise LayerError("no Debian entry in the machine's apt sources: pass the "
                     "base with --qemu-source=DIR|TARBALL|DSC")


def write(suites: tuple = SUITES, root: Path = None, etc: Path = None) -> Path:
    """Write the private configuration; the path for $APT_CONFIG.

    The machine's own suite comes first. Each set of suites has lists of its own, so
    that installing from backports cannot see, and so cannot pick, another release.
    """
    root = root or cache_dir() / ("apt" if suites == SUITES else
                                  "apt-" + "-".join(suites))
    uri, own, key = find_archive(etc or ETC)
    for sub in ("lists/partial", "cache/archives/partial", "parts"):
        (root / sub).mkdir(parents=True, exist_ok=True)
    (root / "sources.list").write_text("".join(
        f"{kind} [signed-by={key}] {uri} {suite} main\n"
        for suite in dict.fromkeys((own,) + suites)
        for kind in ("deb", "deb-src")))
    # Sources are pinned by checksum, so lists of a frozen mirror do no harm; for
    # packages that get installed apt's own judgement stands.
    frozen = 'Acquire::Check-Valid-Until "false";\n' if suites == SUITES else ""
    conf = root / "apt.conf"
    conf.write_text(f'''{frozen}Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "{root}/parts";
Dir::State::lists "{root}/lists";
Dir::Cache "{root}/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
''')
    return conf


def run(args: list, cwd: Path = None,
        suites: tuple = SUITES) -> subprocess.CompletedProcess:
    """Run an apt tool under the private configuration."""
    # env(1) rather than our environment, because sudo drops that.
    conf = ["env", f"APT_CONFIG={write(suites)}", "LC_ALL=C",
            "DEBIAN_FRONTEND=noninteractive"]
    head = args.index("sudo") + 1 if "sudo" in args else 0
    return subprocess.run(args[:head] + conf + args[head:], cwd=cwd,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)


def update(force: bool = False, suites: tuple = SUITES) -> None:
    """Fetch the lists, at most once a day unless forced."""
    stamp = write(suites).parent / "updated"
    if not force and stamp.exists() and \
            time.time() - stamp.stat().st_mtime < STALE:
        return
    say("reading the package lists of the distribution")
    done = run(["apt-get", "update", "-q", "--error-on=any"], suites=suites)
    if done.returncode:
        raise LayerError("cannot read the distribution's package lists ("
                         f"{last_error(done.stderr)}): check the network, or pass "
                         "the base with --qemu-source=DIR|TARBALL|DSC")
    stamp.touch()


def last_error(text: str) -> str:
    """The line of an apt tool's stderr that says what went wrong."""
    lines = [x for x in text.splitlines() if x.startswith("E: ")]
    return (lines or text.splitlines() or ["no message"])[0]


def source(package: str, version: str, directory: Path) -> None:
    """Download one exact version of a source package into directory."""
    update()
    for again in (False, True):
        shown = run(["apt-cache", "showsrc", package]).stdout
        if f"\nVersion: {version}\n" in shown:
            break
        if again:
            raise LayerError(
                f"the distribution's registry no longer has {package} "
                f"{version}: pass a copy of it with "
                "--qemu-source=DIR|TARBALL|DSC")
        update(force=True)
    say(f"downloading {package} {version}")
    done = run(["apt-get", "source", "-q", "--download-only",
                f"{package}={version}"], cwd=directory)
    if done.returncode:
        raise LayerError(f"cannot download {package} {version} "
                         f"({last_error(done.stderr)}): check the network, or pass "
                         "the base with --qemu-source=DIR|TARBALL|DSC")
