# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory of the lab's that a guest mounts by virtiofs, served by the distribution's daemon.

    with FileServer() as server:
        vm = LinuxVm(layout, server.arguments)
        mount(vm)

FILE is in it. The daemon lives as long as its connection, which is as long as the guest's QEMU.
"""
import os
import socket
import subprocess
import tempfile

# The one in Rust, and QEMU's own of old
DAEMONS = {'/usr/libexec/virtiofsd': ['--shared-dir={}', '--sandbox=none', '--cache=never',
                                      '--allow-direct-io'],
           '/usr/lib/qemu/virtiofsd': ['-f', '-o', 'source={},sandbox=chroot,cache=none,'
                                       'allow_direct_io']}
TAG, MOUNTED = 'files', '/mnt'
FILE, FILE_MIB = 'data', 1


def daemon():
    """The path of a daemon that is there; None without one, and then there is no FileServer."""
    return next((path for path in DAEMONS if os.access(path, os.X_OK)), None)


class FileServer:
    """The daemon, its socket, and the directory that it serves."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.socket = self.folder.name + '/socket'
        shared = self.folder.name + '/shared'
        os.mkdir(shared)
        with open(f'{shared}/{FILE}', 'wb') as f:
            f.truncate(FILE_MIB << 20)
        # It listens already, so that nobody has to wait for the daemon
        with socket.socket(socket.AF_UNIX) as listening, open(self.folder.name + '/log', 'wb') as log:
            listening.bind(self.socket)
            listening.listen(1)
            line = [daemon(), f'--fd={listening.fileno()}',
                    *(word.format(shared) for word in DAEMONS[daemon()])]
            self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            pass_fds=[listening.fileno()])

    @property
    def arguments(self):
        """QEMU's, for the device."""
        return ['-chardev', f'socket,id=files,path={self.socket}',
                '-device', f'vhost-user-fs-pci,id=files0,chardev=files,tag={TAG}']

    def data(self):
        """What is in the file."""
        with open(f'{self.folder.name}/shared/{FILE}', 'rb') as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def mount(vm):
    """(status, output) of the guest's command."""
    return vm.run(f'mkdir {MOUNTED} && mount -t virtiofs {TAG} {MOUNTED}')
