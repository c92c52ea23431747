# SPDX-License-Identifier: GPL-2.0-or-later
"""Run test files one after the other in one lab: labfiles.py FILE...

Each runs in a process of its own, which finds already loaded what most of them import: in
emulation that takes longer than many a test. labtap.Shared reads the lines that tell one
file's output from the next one's.
"""
import os
import sys

import gmemlab  # noqa: F401 (for the files)
import labport  # noqa: F401
from labtap import BEGIN, END


def say(line):
    """At once, and in nobody's buffer when a process is forked."""
    os.write(1, line.encode() + b'\n')


def main(paths):
    for path in paths:
        say(BEGIN)
        child = os.fork()
        if not child:
            sys.argv = [path]
            with open(path, encoding='utf-8') as f:
                code = compile(f.read(), path, 'exec')
            exec(code, {'__name__': '__main__', '__file__': path})
            sys.exit()
        _, status = os.waitpid(child, 0)
        say(f'{END} {os.waitstatus_to_exitcode(status)}')


if __name__ == '__main__':
    main(sys.argv[1:])
