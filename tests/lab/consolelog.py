# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab kernel's console says about the kernel's health.

A test that passes on a kernel that has warned has not passed: the warning may be about what
our QEMU made the kernel do. So every run is judged by its console log as well.
"""
import re

# What a kernel prints when it finds itself broken. One line each; the line names the place.
COMPLAINTS = re.compile(r'''
      \bBUG:\s | \bkernel\ BUG\ at\b | \bWARNING:\s | \bOops\b | \bgeneral\ protection\ fault
    | \bKernel\ panic\b | \bunable\ to\ handle\b | \bblocked\ for\ more\ than\b
    | \bpossible\ (recursive|circular|irq)\b | \bsuspicious\ RCU\ usage\b
    | \brefcount_t:\  | \bUBSAN: | \brcu:\ INFO:\ .*\bdetected\b | \bsoft\ lockup\b
    | \bOut\ of\ memory:\ | \binconsistent\ lock\ state\b | \bsegfault\ at\b
    | \bBUG\ \S+\ \( | \bnon-static\ key\b | \blockdep\ is\ turned\ off\b
    ''', re.VERBOSE)


def read(path):
    """The log's lines; an absent log is an empty one (QEMU may have died before it began)."""
    try:
        with open(path, encoding='utf-8', errors='replace') as f:
            return [line.rstrip('\r\n') for line in f]
    except FileNotFoundError:
        return []


def complaints(lines, allowed=()):
    """The lines with which the kernel complains, without those an allowed pattern matches."""
    wanted = [re.compile(pattern) for pattern in allowed]
    return [line for line in lines
            if COMPLAINTS.search(line) and not any(p.search(line) for p in wanted)]
