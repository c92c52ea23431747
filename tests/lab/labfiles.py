# SPDX-License-Identifier: GPL-2.0-or-later
"""Run test files one after the other in one lab: labfiles.py FILE...

Each runs in a process of its own, which finds already loaded what most of them import: in
emulation that takes longer than many a test. labtap.Shared reads the lines that tell one
file's output from the next one's.
"""
import os
import signal
import sys

import gmemlab  # noqa: F401 (for the files)
import labport  # noqa: F401
from labtap import BEGIN, END


def say(*words):
    """A line of its own, whatever was said before; at once, in nobody's buffer when a process is forked."""
    os.write(1, ('\n' + ' '.join(map(str, words)) + '\n').encode())


def run(path):
    """In a session of its own, by which what it leaves behind is known."""
    os.setsid()
    sys.argv = [path]
    with open(path, encoding='utf-8') as f:
        code = compile(f.read(), path, 'exec')
    exec(code, {'__name__': '__main__', '__file__': path})
    sys.exit()


def end_session(leader):
    """What is left of it, the next file should not meet."""
    for pid in map(int, filter(str.isdigit, os.listdir('/proc'))):
        try:
            if os.getsid(pid) == leader:
                os.kill(pid, signal.SIGKILL)
                say('# was left behind, and killed:', pid)
        except ProcessLookupError:
            pass


def main(paths):
    # One stream: of two, one could overtake what tells the files apart
    os.dup2(1, 2)
    for number, path in enumerate(paths):
        say(BEGIN, number)
        child = os.fork()
        if not child:
            run(path)
        _, status = os.waitpid(child, 0)
        end_session(child)
        say(END, number, os.waitstatus_to_exitcode(status))


if __name__ == '__main__':
    main(sys.argv[1:])
