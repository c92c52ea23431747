#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on timeout=900
"""The tables of "abi" notice a kernel that is not as documented.

A library between gmem-abi and the kernel lies about one thing at a time: a wrong errno, a page too
many, an argument that should have been refused. Each lie must make a case fail, of those that are
there for it; and without a lie none may. Arguments: the lies to try.
"""
import os
import signal
import subprocess
import sys

from lablib import Tap

ABI = os.environ['GMEM_ABI']
LIAR = os.path.join(ABI, 'liar.so')


def failures(lie, only, most=1):
    """The first cases that fail under a lie, and how many were run until then."""
    line = [os.path.join(ABI, 'gmem-abi'), '--in-place=on', f'--only={only}']
    run, failed = 0, []
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True,
                          env=dict(os.environ, LD_PRELOAD=LIAR, LIE=lie)) as program:
        for text in program.stdout:
            run += text.startswith(('ok', 'not ok'))
            if text.startswith('not ok'):
                failed.append(text.strip())
                if len(failed) == most:
                    program.send_signal(signal.SIGKILL)
                    break
    return failed, run


def main():
    tap = Tap()
    listing = subprocess.run(['/bin/true'], env={'LD_PRELOAD': LIAR, 'LIE': 'list'}, text=True,
                             stdout=subprocess.PIPE, check=True).stdout
    lies = [line.split('\t') for line in listing.splitlines()]
    tap.ok(len(lies) > 50, 'there are lies')
    failed, run = failures('', 'page')
    tap.ok(run > 20 and not failed, 'without a lie, no case fails', f'{run} cases\n{failed}')
    for name, only in lies:
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        failed, run = failures(name, only)
        tap.ok(failed, f'noticed: {name}', f'{run} cases with "{only}" in their names pass')
        tap.note(f'case {run}: {failed}')
    tap.done()


if __name__ == '__main__':
    main()
