# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of rig host share: TAP, and a VM on the machine's own KVM.

VMs are run by the base's own qemu.machine, from the build's copy of its sources. A
guest here is SeaBIOS alone: it is slow under nested emulation, so tests wait for
what they need to see, with a limit that only a hang reaches.
"""
import fcntl
import os
import re
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.environ["GMEM_BUILD"], "src", "python"))
from qemu.machine import QEMUMachine  # noqa: E402

QEMU = os.environ["GMEM_QEMU"]
MIB = 1 << 20
BOOTED = "No bootable device"
HANG = 240
# [kvm-gmem] up to Linux 6.18, [guest_memfd] later
GMEM_NAME = re.compile(r"\[(kvm-gmem|guest_memfd)\]")
SHARED_FLAGS = 3        # GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED


class Skip(Exception):
    """A test cannot run here; the text says why."""


def why_not():
    """Why no test can run on this machine, or None."""
    try:
        kvm = os.open("/dev/kvm", os.O_RDWR)
    except OSError as err:
        return f"/dev/kvm: {err.strerror}"
    vm = fcntl.ioctl(kvm, 0xAE01, 0)                    # KVM_CREATE_VM
    flags = fcntl.ioctl(vm, 0xAE03, 244)                # GUEST_MEMFD_FLAGS
    os.close(vm)
    os.close(kvm)
    if flags & SHARED_FLAGS != SHARED_FLAGS:
        return ("the kernel cannot map guest_memfd as shared memory "
                f"(flags {flags:#x}): it takes Linux 6.18")
    return None


class Machine(QEMUMachine):
    """A VM with SeaBIOS' log. Use it in a with statement; launch() starts it."""

    def __init__(self, directory, name="vm", machine="q35"):
        super().__init__(QEMU, name=name, base_temp_dir=directory)
        self.bios_log = os.path.join(directory, f"{name}.bios")
        self.add_args("-machine", machine, "-accel", "kvm", "-cpu", "max",
                      "-nodefaults", "-chardev",
                      f"file,id=bios,path={self.bios_log}", "-device",
                      "isa-debugcon,iobase=0x402,chardev=bios")

    def log(self):
        """What SeaBIOS has said so far."""
        try:
            with open(self.bios_log, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait_log(self, text, since=0):
        """Until SeaBIOS has said text after position since."""
        wait_for(lambda: text in self.log()[since:],
                 lambda: f"SeaBIOS did not say '{text}': ...{self.log()[-400:]}")

    def ok(self, command, **arguments):
        """A QMP command's return value; it must succeed."""
        return self.cmd(command, **arguments)

    def hmp(self, line):
        return self.cmd("human-monitor-command", command_line=line)

    def get(self, path, prop):
        return self.cmd("qom-get", path=path, property=prop)

    def error(self, command, **arguments):
        """The message of a QMP command that must fail."""
        answer = self.qmp(command, **arguments)
        assert "error" in answer, f"{command} did not fail: {answer}"
        return answer["error"]["desc"]

    def memory(self, directory, size):
        """Guest-physical [0, size) as bytes."""
        path = os.path.join(directory, "memory")
        self.cmd("pmemsave", val=0, size=size, filename=path)
        with open(path, "rb") as f:
            data = f.read()
        os.unlink(path)
        return data

    def resident(self, size):
        """Bytes present in each mapping of guest_memfd that is size long."""
        found, wanted = [], False
        with open(f"/proc/{self.get_pid()}/smaps") as smaps:
            for line in smaps:
                words = line.split()
                if "-" in words[0] and not words[0].endswith(":"):
                    low, high = (int(x, 16) for x in words[0].split("-"))
                    wanted = high - low == size and GMEM_NAME.search(line)
                elif wanted and words[0] == "Rss:":
                    found.append(int(words[1]) * 1024)
        return found


def wait_for(condition, complaint, limit=HANG):
    """Until condition() is true; the limit is there for hangs only."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, complaint()
        time.sleep(0.1)


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def run(tests):
    """TAP of [(name, function(directory))]."""
    import tempfile
    reason = why_not()
    if reason:
        print(f"1..0 # SKIP {reason}")
        return 0
    print(f"1..{len(tests)}", flush=True)
    bad = 0
    for number, (name, function) in enumerate(tests, 1):
        print(f"host: {name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="gmem-host-") as directory:
            bad += not _run_one(number, name, function, directory)
    return 1 if bad else 0


def _run_one(number, name, function, directory):
    try:
        function(directory)
        print(f"ok {number} - {name}", flush=True)
    except Skip as why:
        print(f"ok {number} - {name} # SKIP {why}", flush=True)
    except Exception:           # pylint: disable=broad-except
        print(f"not ok {number} - {name}")
        for line in traceback.format_exc().splitlines()[-12:]:
            print(f"# {line}", flush=True)
        return False
    return True
