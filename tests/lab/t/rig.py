#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: outside
"""The lab judges fairly: what went wrong inside is seen outside, and nothing else is.

1. output, errors and exit status come through unchanged, a megabyte too
2. what the job writes stays in the lab, except in the folder given with --out
3. a job that hangs ends with the time-out's status and the console's end
   a driver that is killed leaves no QEMU behind
4. a kernel warning fails a good job, unless it is allowed; a panic ends the lab at once
5. what cannot start says why: no QEMU, no kernel source, a kernel of another version,
   a configuration that Kconfig drops
6. a kernel that another is building is waited for, and the wait is told; kernels are built
   ahead in the background, and nobody waits for that
"""
import fcntl
import hashlib
import os
import re
import signal
import subprocess
import tempfile
import time

import consolelog
from lablib import Tap

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMPLAINED, TIMED_OUT, NO_LAB = 123, 124, 125
SICK = ['[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000010',
        '[    1.0] WARNING: mm/x.c:12 at f+0x1/0x2, CPU#0: sh/1', '[    1.0] Oops: 0000 [#1] SMP',
        '[  130.0] INFO: task qemu:12 blocked for more than 120 seconds.',
        '[    1.0] WARNING: possible circular locking dependency detected',
        '[    1.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:',
        '[    1.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s!',
        '[    1.0] Kernel panic - not syncing: x', '[    1.0] Out of memory: Killed process 7',
        '[    1.0] qemu[7]: segfault at 0 ip 0 sp 0 error 4',
        '[    1.0] BUG: KASAN: slab-use-after-free in f+0x1/0x2',
        '[    1.0] BUG kmalloc-64 (Not tainted): Poison overwritten',
        '[    1.0] refcount_t: underflow; use-after-free.',
        '[    1.0] WARNING: lock held when returning to user space!',
        '[    1.0] INFO: trying to register non-static key.',
        '[    1.0] INFO: lockdep is turned off.']
HEALTHY = ['[    1.0] Run /init as init process', '[    1.0] debugfs: mounted',
           '[    1.0] software IO TLB: mapped', '[    1.0] kvm_amd: Nested Paging enabled']


def lab(*words, options=(), **env):
    line = [os.path.join(HERE, 'lab'), 'run', '--mem', '1G', *options, '--', *words]
    return subprocess.run(line, capture_output=True, env=dict(os.environ, **env),
                          stdin=subprocess.DEVNULL, check=False)


def kernel_build(*words, **env):
    return subprocess.run([os.path.join(HERE, 'kernel-build'), *words], text=True, check=False,
                          capture_output=True, env=dict(os.environ, **env))


def script(text):
    return 'sh', '-c', text


def check_streams(tap, folder):
    """One lab that says a megabyte, complains, writes here and there, and ends with 42."""
    mark, out = os.path.join(folder, 'mark'), os.path.join(folder, 'out')
    os.mkdir(out)
    data = bytes(range(256)) * 4096
    run = lab('python3', '-c', f"""if True:
        import os, sys
        sys.stdout.buffer.write(bytes(range(256)) * 4096)
        sys.stderr.write('err\\n')
        open('{mark}', 'w').write('x')
        sys.stdout.write(open('{mark}').read())
        open(os.environ['LAB_OUT'] + '/kept', 'w').write('y')
        open('/dev/kmsg', 'w').write('<4>WARNING: x.c:1 at y')
        sys.exit(42)""", options=['--out', out, '--allow', r'x\.c:\d at y'])
    tap.equal((run.returncode, run.stderr), (42, b'err\n'),
              'status and errors come through; a warning that is allowed changes nothing')
    tap.equal(hashlib.sha256(run.stdout[:-1]).hexdigest(), hashlib.sha256(data).hexdigest(),
              'a megabyte comes through')
    tap.equal(run.stdout[-1:], b'x', 'the job can write anywhere')
    tap.ok(not os.path.exists(mark), 'and it is forgotten')
    tap.ok(os.path.exists(out + '/kept'), 'except in the folder given', run.stderr.decode())


def check_hang(tap, folder):
    log = os.path.join(folder, 'hang.log')
    run = lab('sleep', '1000', options=['--timeout', '12', '--log', log])
    tap.equal(run.returncode, TIMED_OUT, 'a job that hangs is ended')
    tap.ok(b'the end of the console' in run.stderr and b'12 s (--timeout)' in run.stderr,
           'with the reason and the console', run.stderr.decode())
    lines = re.findall(rb'^lab: CPU [01]: (?:\w+\+0x|0x)[0-9a-f]+', run.stderr, re.MULTILINE)
    tap.equal(len(lines), 6, 'and where the CPUs were, three times')
    tap.ok(os.path.getsize(log), 'the console log is where --log says')


def check_killed(tap, folder):
    """A driver that is asked to end, or shot, takes its QEMU along."""
    for end in (signal.SIGTERM, signal.SIGKILL):
        console = os.path.join(folder, f'killed-{end}')
        mark = f'file,id=mark,path={console}'
        line = [os.path.join(HERE, 'lab'), 'run', '--mem', '1G', '--qemu-arg=-chardev',
                f'--qemu-arg={mark}', '--', 'sleep', '1000']
        with subprocess.Popen(line, stderr=subprocess.DEVNULL) as process:
            there = wait_until(lambda: running(mark))
            process.send_signal(end)
        tap.ok(there and wait_until(lambda: not running(mark)), f'{end.name}: QEMU ends as well')


def running(mark):
    """Whether a QEMU with that word on its command line is alive."""
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                words = f.read().decode(errors='replace').split('\0')
        except OSError:
            continue
        if 'qemu-system' in words[0] and mark in words:
            return True
    return False


def wait_until(condition):
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.1)
    return False


def check_kernel_complaints(tap, folder):
    for line in SICK:
        tap.equal(consolelog.complaints([line]), [line], f'seen: {line[12:50]}')
    tap.equal(consolelog.complaints(HEALTHY), [], 'ordinary lines are no complaints')
    log = ['--log', os.path.join(folder, 'log')]
    warn = script('echo "<4>WARNING: x.c:1 at y" >/dev/kmsg')
    run = lab(*warn, options=log)
    tap.equal(run.returncode, COMPLAINED, 'a warning fails a good job')
    tap.ok(b'x.c:1 at y' in run.stderr, 'and is shown', run.stderr.decode())
    run = lab(*script('echo c >/proc/sysrq-trigger; sleep 1000'), options=log)
    tap.equal(run.returncode, NO_LAB, 'a panic ends the lab')
    tap.ok(b'sysrq triggered crash' in run.stderr, 'and is shown', run.stderr.decode())


def check_refusals(tap, folder):
    run = lab('true', GMEM_QEMU='/nowhere/qemu')
    tap.equal(run.returncode, NO_LAB, 'without a QEMU there is no lab')
    tap.ok(b'no QEMU at /nowhere/qemu' in run.stderr, 'and the message names it')
    table = [('/nowhere', 'neither a file nor a directory'), (folder, 'not a Linux source tree')]
    old = os.path.join(folder, 'old')
    os.mkdir(old)
    with open(old + '/Makefile', 'w', encoding='ascii') as f:
        f.write('VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 0\n')
    for source, message in table + [(old, 'kernel/ is made for Linux 7.3')]:
        run = kernel_build(LINUX_SOURCE=source)
        tap.ok(run.returncode and message in run.stderr and not run.stdout,
               f'kernel source refused: {message}', run.stderr)


def check_dropped(tap, folder):
    fragment = os.path.join(folder, 'fragment')
    with open(fragment, 'w', encoding='ascii') as f:
        f.write('# nothing offers this\nCONFIG_GMEM_NO_SUCH_THING=y\n')
    # --only: not to wait for a kernel that is being built
    run = kernel_build('--fragment', fragment, '--only', 'nothing.o')
    tap.ok(run.returncode and 'CONFIG_GMEM_NO_SUCH_THING: wanted y, is n' in run.stderr,
           'an option that Kconfig drops is named', run.stderr)
    with open(fragment, 'w', encoding='ascii') as f:
        f.write('CONFIG_KVM y\n')
    run = kernel_build('--fragment', fragment)
    tap.ok(run.returncode and 'not a configuration line: CONFIG_KVM y' in run.stderr,
           'a mistyped option is named', run.stderr)


def check_waiting(tap, folder):
    """The lock is held here; there is no source, so that what comes after it ends at once."""
    where = os.path.join(folder, 'qemu-gmem/linux')
    os.makedirs(where)
    env = dict(os.environ, XDG_CACHE_HOME=folder, LINUX_SOURCE='/nowhere')
    env.pop('LAB_KERNEL', None)
    with open(where + '/download.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ahead = subprocess.run([os.path.join(HERE, 'run'), '--ahead', 'smoke'], env=env,
                               capture_output=True, check=False)
        tap.equal((ahead.returncode, ahead.stdout), (0, b''), 'kernels are built ahead unawaited')
        with subprocess.Popen([os.path.join(HERE, 'kernel-build')], env=env, text=True,
                              stderr=subprocess.PIPE) as build:
            first = build.stderr.readline()
            tap.ok('waiting for another download' in first, 'who waits for another says so', first)
            fcntl.flock(lock, fcntl.LOCK_UN)
            rest = build.stderr.read()
    tap.ok(build.returncode and 'neither a file nor a directory' in rest,
           'and goes on when the other is done', rest)


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        check_streams(tap, folder)
        check_hang(tap, folder)
        check_killed(tap, folder)
        check_kernel_complaints(tap, folder)
        check_refusals(tap, folder)
        check_dropped(tap, folder)
        check_waiting(tap, folder)
    tap.done()


if __name__ == '__main__':
    main()
