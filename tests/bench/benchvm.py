# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks inside the lab share: samples, and where QEMU's time goes.

A sample is a line of JSON on standard output; tests/bench/run-lab collects them from several
labs. Whatever else is to be said goes to standard error. The configurations that are measured
are those of labside (tests/lab).
"""
import contextlib
import json
import os
import struct
import tempfile

import labside

DIRECTIONS = ('private', 'shared')
PARTS = ('outside', 'attributes', 'free', 'pre_fault')
TIMES = struct.Struct('<3Q16Q')     # struct Times of kvm-times.c


def emit(bench, config, **values):
    print(json.dumps({'bench': bench, 'config': config, **values}), flush=True)


def emit_command(bench, config, size, words):
    emit('command', config, of=bench, line=labside.command(config, size, words))


def pairs(text):
    """The words key=value of a line, numbers as such."""
    words = (word.split('=', 1) for word in text.split() if '=' in word)
    return {key: int(value, 0) if value[0].isdigit() else value for key, value in words}


class Times:
    """Where QEMU spends the time of conversions: kvm-times.so under the VMs started within."""

    def __init__(self):
        self.file = tempfile.NamedTemporaryFile()

    @contextlib.contextmanager
    def preloaded(self):
        """For the start of a Vm. The shell and setpriv on the way do no harm."""
        os.environ.update(LD_PRELOAD=os.environ['GMEM_BENCH_PRELOAD'],
                          GMEM_BENCH_TIMES=self.file.name)
        try:
            yield self
        finally:
            del os.environ['LD_PRELOAD'], os.environ['GMEM_BENCH_TIMES']

    def read(self):
        """(first KVM_RUN, its end, {(direction, part): (count, ns)}); times in ns, 0: not yet."""
        raw = os.pread(self.file.fileno(), TIMES.size, 0)
        _, first, end, *sums = TIMES.unpack(raw.ljust(TIMES.size, b'\0'))
        keys = [(d, p) for d in DIRECTIONS for p in PARTS]
        return first, end, dict(zip(keys, zip(sums[::2], sums[1::2])))
