# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test inside the lab works with: TAP, a QEMU with QMP and serial port, and memory.

Everything here also runs outside the lab, wherever a QEMU and cgroup v2 are. A test reads

    from lablib import Tap, Vm
    tap = Tap()
    with Vm(['-accel', 'kvm', '-machine', 'q35', '-kernel', image]) as vm:
        tap.ok(vm.serial.wait_for('hello'), 'the guest says hello', vm.report)
    tap.done()

Emulation twice over is slow and its speed means nothing, so the waits here are bounds against
hanging, never measurements: PATIENCE seconds by default.
"""
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = int(os.environ.get('LAB_PATIENCE', '240'))
MIB = 1 << 20
CGROUPS = '/sys/fs/cgroup'
# For Linux in a VM: a CPU that is emulated twice stands still for longer than watchdogs wait, and the
# one that compares clocks between CPUs (7.3) can then wait for ever, with all CPUs stopped
PATIENT = 'tsc=reliable nowatchdog rcupdate.rcu_cpu_stall_suppress=1'
FIRMWARE = ('/usr/share/qemu', '/usr/share/seabios', '/usr/share/ovmf', '/usr/share/OVMF')


def in_place():
    """Whether this kernel converts guest_memfd pages in place ("# lab: in-place=on")."""
    try:
        with open('/sys/module/kvm/parameters/gmem_in_place_conversion', encoding='ascii') as f:
            return f.read().strip() == 'Y'
    except FileNotFoundError:
        return False


class Tap:
    """Test results on standard output. done() prints the plan and ends the program."""

    def __init__(self):
        self.number = self.failed = 0

    def _point(self, good, text):
        self.number += 1
        self.failed += not good
        print(('ok' if good else 'not ok') + f' {self.number} - {text}', flush=True)

    def ok(self, condition, name, detail=None):
        """One result. detail: text, or a function for it, printed when the test failed."""
        self._point(bool(condition), name)
        if not condition and detail is not None:
            self.note(detail() if callable(detail) else detail)
        return bool(condition)

    def equal(self, found, wanted, name):
        return self.ok(found == wanted, name, f'found {found!r}, wanted {wanted!r}')

    def skip(self, name, reason):
        self._point(True, f'{name} # SKIP {reason}')

    def note(self, text):
        for line in str(text).splitlines():
            print('# ' + line, flush=True)

    def skip_all(self, reason):
        """For a test that cannot run here at all; must come before the first result."""
        print(f'1..0 # SKIP {reason}', flush=True)
        sys.exit(0)

    def done(self):
        print(f'1..{self.number}', flush=True)
        sys.exit(1 if self.failed or not self.number else 0)


class QmpError(Exception):
    """QEMU's answer to a command was an error; .kind is its class, the text its description."""

    def __init__(self, answer):
        super().__init__(answer['desc'])
        self.kind = answer['class']


class Qmp:
    """A QMP client on a connected socket. Events are kept until somebody asks for them.

    One client is for one thread; a test that needs two has two (Vm(qmp_clients=2)).
    """

    def __init__(self, sock):
        self.socket = sock
        self.buffer = b''
        self.events = []

    def start(self):
        self._receive(time.monotonic() + PATIENCE)
        self.command('qmp_capabilities')

    def _receive(self, deadline):
        while b'\n' not in self.buffer:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError('QEMU closed its monitor')
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b'\n')
        message = json.loads(line)
        if 'event' in message:
            self.events.append(message)
        return message

    def send(self, name, **arguments):
        """Send a command and do not wait. Underscores in argument names become hyphens."""
        arguments = {k.replace('_', '-'): v for k, v in arguments.items()}
        text = json.dumps({'execute': name, 'arguments': arguments})
        self.socket.settimeout(PATIENCE)
        self.socket.sendall(text.encode() + b'\n')

    def answer(self, timeout=None):
        """The answer to the oldest unanswered command; QmpError when it is an error."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        while True:
            message = self._receive(deadline)
            if 'error' in message:
                raise QmpError(message['error'])
            if 'return' in message:
                return message['return']

    def command(self, name, **arguments):
        self.send(name, **arguments)
        return self.answer()

    def hmp(self, line):
        return self.command('human-monitor-command', command_line=line)

    def wait_event(self, name, timeout=None):
        """The oldest event of that name, taken off the list; None when none comes in time."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        while True:
            for event in self.events:
                if event['event'] == name:
                    self.events.remove(event)
                    return event
            try:
                self._receive(deadline)
            except (TimeoutError, ConnectionError):
                return None


class Serial:
    """A guest's serial port: a thread collects what the guest says, for as long as it lives."""

    def __init__(self, sock):
        self.socket = sock
        self.data = b''
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._collect, daemon=True)
        self.thread.start()

    def _collect(self):
        while True:
            try:
                data = self.socket.recv(65536)
            except OSError:
                data = b''
            with self.changed:
                self.data += data
                self.ended = not data
                self.changed.notify_all()
            if not data:
                return

    @property
    def text(self):
        with self.changed:
            return self.data.decode(errors='replace').replace('\r', '')

    def wait_for(self, pattern, timeout=None):
        """Match object of the first match in everything said so far; None if it never comes."""
        pattern = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + (timeout or PATIENCE)
        while True:
            with self.changed:
                size, ended = len(self.data), self.ended
            if match := pattern.search(self.text):
                return match
            left = deadline - time.monotonic()
            if ended or left <= 0:
                return None
            with self.changed:
                self.changed.wait_for(lambda: len(self.data) > size or self.ended, left)

    def forget(self):
        """What was said so far matches nothing any more."""
        with self.changed:
            self.data = b''

    def write(self, text):
        self.socket.sendall(text.encode())


@functools.cache
def warm(binary):
    """Read a program and its libraries: a page of a file is charged to its first reader."""
    libraries = subprocess.run(['ldd', binary], capture_output=True, text=True, check=False)
    for path in [binary, *re.findall(r'/\S+', libraries.stdout)]:
        with open(path, 'rb') as f:
            while f.read(MIB):
                pass


class Cgroup:
    """A cgroup v2 group of our own, to count the memory that one QEMU makes the host hold."""

    def __init__(self, name):
        self.path = f'{CGROUPS}/lab-{name}-{os.getpid()}'
        with open(CGROUPS + '/cgroup.subtree_control', 'w', encoding='ascii') as f:
            f.write('+memory')
        os.mkdir(self.path)

    def enter(self, argv):
        """argv, changed so that it runs in this group from its first instruction on."""
        warm(argv[0])
        return ['sh', '-c', 'echo $$ > "$0/cgroup.procs" && exec "$@"', self.path, *argv]

    def stat(self):
        """memory.stat as {name: bytes or count}."""
        with open(self.path + '/memory.stat', encoding='ascii') as f:
            return {name: int(value) for name, value in map(str.split, f)}

    def guest_bytes(self):
        """Memory held for the guest: gmem, memfd and anonymous pages; huge pages apart.

        "file" already contains what memory.stat also shows as shmem. QEMU's own code is not in
        it (see warm), its heap is: take the difference to the value before the guest ran.
        """
        stat = self.stat()
        return stat['file'] + stat['anon']

    def remove(self):
        """The group must be empty. Its charges may outlive it; they are the kernel's affair."""
        os.rmdir(self.path)


def hugepages_free():
    with open('/proc/meminfo', encoding='ascii') as f:
        return int(re.search(r'HugePages_Free:\s+(\d+)', f.read())[1])


def qemu_binary():
    """The QEMU under test; Vm(qemu=os.environ['GMEM_COMPARE']) for the base's own code."""
    return os.environ.get('GMEM_QEMU') or shutil.which('qemu-system-x86_64')


def firmware_options():
    """QEMU's firmware is the distribution's: our build installs none."""
    return [word for path in FIRMWARE if os.path.isdir(path) for word in ('-L', path)]


class Vm:
    """One QEMU, from start to certain end.

    args: QEMU's arguments; a machine without default devices, display and reboot is preset,
    a serial port (.serial) and one QMP monitor per client (.qmp, .monitors) are added.
    qemu: another binary than GMEM_QEMU. cgroup: a Cgroup that QEMU runs in.
    start=False leaves the monitors unopened, for a QEMU that is expected to refuse its
    arguments: use wait() and .errors.
    """

    def __init__(self, args, qemu=None, cgroup=None, qmp_clients=1, start=True):
        self.log = tempfile.TemporaryFile()
        pairs = [socket.socketpair() for _ in range(1 + qmp_clients)]
        fds = [theirs.fileno() for _, theirs in pairs]
        line = [qemu or qemu_binary(), '-nodefaults', '-no-user-config', '-display', 'none',
                '-no-reboot', *firmware_options(),
                '-chardev', f'socket,id=serial0,fd={fds[0]}', '-serial', 'chardev:serial0']
        for number, fd in enumerate(fds[1:]):
            line += ['-chardev', f'socket,id=qmp{number},fd={fd}',
                     '-mon', f'chardev=qmp{number},mode=control']
        line += args
        line = cgroup.enter(line) if cgroup else line
        self.process = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *line], pass_fds=fds,
                                        stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        for _, theirs in pairs:
            theirs.close()
        self.serial = Serial(pairs[0][0])
        self.monitors = [Qmp(ours) for ours, _ in pairs[1:]]
        self.qmp = self.monitors[0] if self.monitors else None
        if start:
            self._open_monitors()

    def _open_monitors(self):
        try:
            for monitor in self.monitors:
                monitor.start()
        except (OSError, QmpError) as error:
            report = self.report()
            self.close()
            raise RuntimeError(f'QEMU did not start: {error}\n{report}') from error

    @property
    def errors(self):
        """What QEMU has printed so far."""
        self.log.seek(0)
        return self.log.read().decode(errors='replace')

    def report(self):
        """For a failed test: state, QEMU's messages, the end of the serial output."""
        serial = '\n'.join(self.serial.text.splitlines()[-25:])
        return (f'QEMU status {self.process.poll()}\n'
                f'QEMU said:\n{self.errors[-3000:]}\nthe guest said:\n{serial}')

    def wait(self, timeout=None):
        """QEMU's exit status; None when it does not end in time."""
        try:
            return self.process.wait(timeout or PATIENCE)
        except subprocess.TimeoutExpired:
            return None

    def alive(self):
        return self.process.poll() is None

    def quit(self):
        """Ask QEMU to end and return its exit status."""
        try:
            self.qmp.command('quit')
        except ConnectionError:
            pass
        return self.wait()

    def close(self):
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for monitor in self.monitors:
            monitor.socket.close()
        self.serial.thread.join()
        self.serial.socket.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
