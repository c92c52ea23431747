# SPDX-License-Identifier: GPL-2.0-or-later
"""The front door's machinery: find the base, lay our files over it, weave.

A failure that a person can act on is a LayerError: its text is the one message
that is printed, and nothing half-done is left behind.
"""

import os
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent


class LayerError(Exception):
    """One clear message for the person who runs configure."""


def cache_dir() -> Path:
    """Where downloads and unpacked sources live, shared by all clones."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "qemu-gmem"


def say(text: str) -> None:
    """Progress for a person; flushed, because children print too."""
    if not os.environ.get("GMEM_QUIET"):
        print(f"  {text}", flush=True)
