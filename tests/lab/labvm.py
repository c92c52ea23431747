# SPDX-License-Identifier: GPL-2.0-or-later
"""One lab: a QEMU process (TCG, so it runs anywhere) whose guest is a Linux host with KVM.

The guest's root is this machine's / (see init). Three byte streams join the two sides: the
job's standard output, its standard error, and control, which carries one word per line:
up, ready, then "exit N" or "fail REASON". The kernel's console goes to a file of its own.
Both sides of a stream are a socket pair, so nothing needs a name that could collide.
"""
import os
import selectors
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import labwhere
from lablib import firmware_options

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
STREAMS = ('ctl', 'out', 'err')
MASKED = ('/dev', '/proc', '/run', '/sys')
# panic=-1 with -no-reboot ends QEMU at once; clocks need no watchdog, nothing drifts apart here. The
# TSC does not change its rate, though no emulated processor says so. KVM keeps the rate that was found
# first unless it is told so; and when another one is found later, timers of its guests are due late
APPEND = ('lab.host=1 console=ttyS0 earlyprintk=serial,ttyS0 panic=-1 oops=panic nokaslr tsc=reliable '
          'setcpuid=constant_tsc,tsc_known_freq no_timer_check random.trust_cpu=on')
# Emulated, a string instruction moves one unit at a time: a kernel that is told that they are fast clears
# and copies byte by byte. What only makes contexts larger is left out too
CPU = 'max,la57=off,erms=off,fsrm=off,fsrs=off,fsrc=off,fzrm=off,mpx=off,pku=off,pks=off'
# Tables that describe less are read sooner
MACHINE = ('-machine', 'q35,smbus=off,sata=off',
           '-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off')
IN_PLACE = 'kvm.gmem_in_place_conversion=1'
# How much longer than usual everything may take on a kernel with KASAN and lockdep
DEBUG_FACTOR = 6
WEEK = 7 * 24 * 3600


class LabError(Exception):
    """The lab itself could not run; the text says why and what to do."""


def qemu_binary():
    path = os.environ.get('GMEM_QEMU') or os.path.join(TOP, 'build/qemu/qemu-system-x86_64')
    if not os.access(path, os.X_OK):
        raise LabError(f'no QEMU at {path}: build it (make), or set GMEM_QEMU')
    return os.path.abspath(path)


def fragments(given):
    """Options of kernel-build for LAB_KERNEL=WORD or WORD+WORD: each names kernel-WORD.config."""
    options = []
    for word in given.split('+') if given else []:
        fragment = os.path.join(HERE, f'kernel-{word}.config')
        if not os.path.isfile(fragment):
            raise LabError(f'LAB_KERNEL={given}: no directory with a bzImage, and there is no '
                           f'tests/lab/kernel-{word}.config')
        options += ['--fragment', fragment]
    return options


def build_kernel(given=None):
    """The directory with the kernel that is given, by default the one that LAB_KERNEL gives.

    That is a directory that has a bzImage, or variants of the lab's kernel ("debug+small").
    """
    given = os.environ.get('LAB_KERNEL', '') if given is None else given
    if given and os.path.isfile(os.path.join(given, 'bzImage')):
        return os.path.abspath(given)
    made = subprocess.run([os.path.join(HERE, 'kernel-build'), *fragments(given)],
                          stdout=subprocess.PIPE, text=True)
    if made.returncode:
        raise LabError('the lab kernel could not be built (see above)')
    return made.stdout.strip()


def is_built(variants):
    """Whether that kernel is there already, and need not be waited for."""
    found = subprocess.run([os.path.join(HERE, 'kernel-build'), *fragments(variants), '--if-built'],
                           stdout=subprocess.PIPE, text=True)
    return found.returncode == 0 and bool(found.stdout)


def has_checkers(kernel):
    """Whether that kernel is one that looks at every access to memory."""
    try:
        with open(os.path.join(kernel, 'config'), encoding='utf-8') as f:
            return 'CONFIG_KASAN=y\n' in f
    except FileNotFoundError:
        return False


def build_initramfs(target):
    """Busybox and init, the same bytes for the same inputs."""
    busybox = shutil.which('busybox')
    if not busybox:
        raise LabError('busybox is needed: install the package busybox-static')
    with tempfile.TemporaryDirectory() as tree:
        for folder in ('bin', 'dev', 'proc', 'sys'):
            os.mkdir(os.path.join(tree, folder))
        shutil.copy(busybox, tree + '/bin/busybox')
        shutil.copy(os.path.join(HERE, 'init'), tree + '/init')
        os.chmod(tree + '/init', 0o755)
        names = []
        for folder, dirs, files in os.walk(tree):
            names += [os.path.relpath(os.path.join(folder, n), tree) for n in dirs + files]
        for name in names:
            os.utime(os.path.join(tree, name), (0, 0))
        with open(target, 'wb') as f:
            subprocess.run(['cpio', '--quiet', '-o', '-H', 'newc', '--reproducible', '-R', '0:0'],
                           cwd=tree, stdout=f, check=True, text=True,
                           input=''.join(n + '\n' for n in sorted(names)))


class Lab:
    """A lab that runs one job. Use: Lab(options).run(argv); interactive() for people."""

    def __init__(self, options):
        self.options = options
        self.qemu = qemu_binary()
        self.kernel = build_kernel()
        self.slow = DEBUG_FACTOR if has_checkers(self.kernel) else 1
        self.folder = tempfile.mkdtemp(prefix='qemu-gmem-lab-')
        self.console = os.path.join(self.folder, 'console.log')
        self.marks = {}
        self.monitor = None
        # Lines about a lab that did not come to an end
        self.where = []
        self.status = None
        self.reason = None

    def close(self, keep_log=False):
        """Remove the lab's files; the console log can be kept and is then the only one left."""
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if path == self.console and keep_log:
                continue
            (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
        if not keep_log:
            os.rmdir(self.folder)

    def environment(self):
        """What the job finds in its environment, over and above what a login would set."""
        path = [os.path.dirname(self.qemu), '/usr/local/sbin', '/usr/local/bin', '/usr/sbin',
                '/usr/bin', '/sbin', '/bin']
        env = {k: v for k, v in os.environ.items() if k.startswith(('GMEM_', 'LAB_'))}
        env.update(PATH=':'.join(path), HOME='/root', USER='root', LC_ALL='C.UTF-8',
                   TMPDIR='/run/lab/tmp', PYTHONDONTWRITEBYTECODE='1', PYTHONPATH=HERE,
                   GMEM_QEMU=self.qemu, LAB_KERNEL=self.kernel, LAB='1',
                   TERM=os.environ.get('TERM', 'dumb'), PS1='lab# ')
        if self.slow > 1:
            env.setdefault('LAB_PATIENCE', str(240 * self.slow))
        if self.options.out:
            env['LAB_OUT'] = '/run/lab/out'
        return env

    def write_job(self, argv, interactive=False):
        """Lay the job out as files: a shell script is the one form that needs no quoting rules."""
        here = os.getcwd()
        for path in (here, self.qemu, self.kernel, TOP):
            if os.path.realpath(path).startswith(tuple(m + '/' for m in MASKED)):
                raise LabError(f'{path} cannot be seen in the lab, which has its own '
                               f'{" ".join(MASKED)}: move it')
        job = os.path.join(self.folder, 'job')
        os.mkdir(job)
        with open(job + '/command', 'w', encoding='utf-8') as f:
            for name, value in sorted(self.environment().items()):
                f.write(f'export {name}={shlex.quote(value)}\n')
            if interactive:
                size = shutil.get_terminal_size()
                f.write(f'stty rows {size.lines} cols {size.columns}\n')
            f.write(f'cd {shlex.quote(here)} && exec {shlex.join(argv)}\n')
        for name, wanted in (('interactive', interactive), ('out', self.options.out)):
            if wanted:
                with open(os.path.join(job, name), 'w', encoding='utf-8'):
                    pass
        return job

    def command_line(self, job, fds):
        o = self.options
        initrd = os.path.join(job, 'initramfs')
        build_initramfs(initrd)
        append = APPEND + (f' hugepages={o.hugepages}' if o.hugepages else '')
        append += f' {IN_PLACE}' if o.in_place else ''
        line = [self.qemu, '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none',
                *firmware_options(), *MACHINE, '-accel', 'tcg,thread=multi',
                '-cpu', CPU, '-smp', str(o.cpus), '-m', o.mem,
                '-kernel', os.path.join(self.kernel, 'bzImage'), '-initrd', initrd,
                '-append', ' '.join([append, *o.append]),
                '-chardev', f'file,id=console,path={self.console}', '-serial', 'chardev:console',
                '-device', 'virtio-serial-pci,id=ports']
        shares = [('host', '/', ',readonly=on'), ('job', job, ',readonly=on')]
        shares += [('out', os.path.abspath(o.out), '')] if o.out else []
        for name, path, mode in shares:
            line += ['-fsdev', f'local,id={name},path={path},security_model=none,'
                     f'multidevs=remap{mode}',
                     '-device', f'virtio-9p-pci,fsdev={name},mount_tag={name}']
        line += ['-chardev', f'socket,id=monitor,fd={fds["monitor"]}', '-mon', 'chardev=monitor']
        for name in STREAMS:
            fd = fds[name]
            line += ['-chardev', f'socket,id={name},fd={fd}',
                     '-device', f'virtserialport,bus=ports.0,chardev={name},name=lab.{name}']
        return line + o.qemu_arg

    def start(self, job, extra=(), **kwargs):
        """Start QEMU; returns (process, {name: our end of the stream})."""
        ours, theirs = {}, {}
        for name in (*STREAMS, 'monitor'):
            ours[name], theirs[name] = socket.socketpair()
        fds = {name: s.fileno() for name, s in theirs.items()}
        line = self.command_line(job, fds) + list(extra)
        if self.options.verbose:
            print('lab: ' + shlex.join(line), file=sys.stderr)
        self.started = time.monotonic()
        # However this driver ends, its QEMU ends too
        line = ['setpriv', '--pdeathsig', 'KILL', *line]
        process = subprocess.Popen(line, pass_fds=list(fds.values()), **kwargs)
        for s in theirs.values():
            s.close()
        self.monitor = ours.pop('monitor')
        return process, ours

    def control(self, line):
        word, _, rest = line.partition(' ')
        self.marks[word] = time.monotonic() - self.started
        if word == 'exit':
            self.status = int(rest)
        elif word == 'fail':
            self.reason = f'the lab could not start: {rest}'

    def pump(self, streams, sinks, deadline):
        """Carry the streams until all have ended or time is up; True when they have ended."""
        waiting = selectors.DefaultSelector()
        for name, s in streams.items():
            waiting.register(s, selectors.EVENT_READ, name)
        pending = b''
        while waiting.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in waiting.select(left):
                data = key.fileobj.recv(65536)
                if not data:
                    waiting.unregister(key.fileobj)
                elif key.data == 'ctl':
                    *lines, pending = (pending + data).split(b'\n')
                    for line in lines:
                        self.control(line.decode(errors='replace'))
                else:
                    sinks[key.data](data)
        return True

    def run(self, argv, sinks):
        """Run argv in the lab. sinks: {'out': f(bytes), 'err': f(bytes)}.

        Returns the exit status, or None when there is none; self.reason says why.
        """
        return self.carry(*self.start(self.write_job(argv), stdin=subprocess.DEVNULL),
                          sinks, self.options.timeout * self.slow)

    def carry(self, process, streams, sinks, timeout):
        """From start to the certain end of QEMU; the job's exit status or None."""
        try:
            if not self.pump(streams, sinks, self.started + timeout):
                self.reason = f'no end after {timeout} s (--timeout)'
                self.where = list(labwhere.look(self.monitor, self.kernel))
            elif self.status is None and not self.reason:
                self.reason = f'QEMU ended (status {process.wait()}) before the job did'
        finally:
            process.kill()
            process.wait()
            for s in (self.monitor, *streams.values()):
                s.close()
        return self.status

    def interactive(self, argv):
        """Run argv on this terminal. Ctrl-C and the rest go to the lab."""
        job = self.write_job(argv, interactive=True)
        extra = ['-chardev', 'stdio,id=tty,signal=off',
                 '-device', 'virtconsole,bus=ports.0,chardev=tty']
        return self.carry(*self.start(job, extra), {'out': len, 'err': len}, WEEK)
