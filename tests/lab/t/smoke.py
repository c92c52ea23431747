#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared timeout=300
"""The lab is what it claims to be: a Linux 7.3 with real guest_memfd and private memory.

1. the kernel's version and the file systems that tests rely on; the rate of the TSC that was found at
   boot is not changed later, as KVM would go on with the first
2. /dev/kvm, its VM types, and the capabilities that gmem stands on
3. per VM type, which guest_memfd flags are accepted
4. a mapped gmem: shared memory can be touched, non-INIT_SHARED memory is SIGBUS
5. a slot with a gmem; attributes to private and back, and requests that must fail
"""
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import struct

from lablib import Tap

PAGE = 4096
CREATE_VM, CHECK_EXTENSION = 0xAE01, 0xAE03
SET_REGION2 = 0x40A0AE49
SET_ATTRIBUTES = 0x4020AED2
CREATE_GMEM = 0xC040AED4
DEFAULT, SW_PROTECTED = 0, 1
MMAP, INIT_SHARED = 1, 2
PRIVATE = 8
SLOT_GMEM = 4
CAPABILITIES = {'USER_MEMORY2': 231, 'MEMORY_FAULT_INFO': 232, 'GUEST_MEMFD': 234,
                'PRE_FAULT_MEMORY': 236, 'GUEST_MEMFD_FLAGS': 244}
ATTRIBUTES, VM_TYPES, EXIT_HYPERCALL = 233, 235, 201


def attempt(fd, request, data):
    """(0, result) or (errno, None) of an ioctl with a structure or a number."""
    try:
        return 0, fcntl.ioctl(fd, request, data)
    except OSError as error:
        return error.errno, None


def gmem(vm, flags, size=4 * PAGE):
    """(errno, fd). The descriptor is the ioctl's return value, which fcntl.ioctl hides."""
    libc = ctypes.CDLL(None, use_errno=True)
    request = ctypes.create_string_buffer(struct.pack('<8Q', size, flags, *[0] * 6))
    fd = libc.ioctl(vm, ctypes.c_ulong(CREATE_GMEM), request)
    return (0, fd) if fd >= 0 else (ctypes.get_errno(), None)


def touch(fd):
    """How a process ends that maps the first page and writes to it."""
    child = os.fork()
    if child == 0:
        with mmap.mmap(fd, PAGE, mmap.MAP_SHARED) as window:
            window[0] = 1
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def slot(vm, gpa, size, host, fd):
    return attempt(vm, SET_REGION2, struct.pack('<IIQQQQII14Q', 0, SLOT_GMEM, gpa, size, host,
                                                0, fd, 0, *[0] * 14))[0]


def attributes(vm, gpa, size, value, flags=0):
    return attempt(vm, SET_ATTRIBUTES, struct.pack('<4Q', gpa, size, value, flags))[0]


def check_machine(tap):
    tap.ok(os.uname().release.startswith('7.3'), 'the kernel is Linux 7.3', os.uname().release)
    for path in ('/dev/vhost-net', '/dev/net/tun', '/dev/vfio/vfio', '/dev/hugepages',
                 '/sys/fs/cgroup/cgroup.controllers', '/sys/kernel/debug/kvm'):
        tap.ok(os.path.exists(path), f'{path} is there')
    with open('/sys/fs/cgroup/cgroup.controllers', encoding='ascii') as f:
        tap.ok('memory' in f.read().split(), 'the memory controller is there')
    with open('/proc/cpuinfo', encoding='ascii') as f:
        tap.ok({'constant_tsc', 'tsc_known_freq'} <= set(f.read().split()),
               'the kernel knows the rate of the TSC, and that it is constant')


def check_capabilities(tap, kvm):
    types = fcntl.ioctl(kvm, CHECK_EXTENSION, VM_TYPES)
    tap.equal(types & 3, 3, 'VM types default and sw-protected are offered')
    for name, number in CAPABILITIES.items():
        tap.ok(fcntl.ioctl(kvm, CHECK_EXTENSION, number) > 0, f'capability {name}')
    tap.ok(fcntl.ioctl(kvm, CHECK_EXTENSION, EXIT_HYPERCALL) & (1 << 12),
           'the map-range hypercall can exit to QEMU')


def check_flags(tap, default, protected):
    # On 7.3 a VM with private memory may map its gmem but not have it start shared
    table = [('default', default, 0, 0), ('default', default, MMAP, 0),
             ('default', default, MMAP | INIT_SHARED, 0),
             ('default', default, 1 << 63, errno.EINVAL),
             ('sw-protected', protected, 0, 0), ('sw-protected', protected, MMAP, 0),
             ('sw-protected', protected, MMAP | INIT_SHARED, errno.EINVAL)]
    for name, vm, flags, wanted in table:
        error, fd = gmem(vm, flags)
        tap.equal(error, wanted, f'{name} VM: gmem with flags {flags:#x} gives errno {wanted}')
        if fd is not None:
            os.close(fd)
    tap.equal(gmem(default, 0, PAGE + 1)[0], errno.EINVAL, 'an unaligned size is refused')


def check_mapping(tap, default, protected):
    fd = gmem(default, MMAP | INIT_SHARED)[1]
    tap.equal(touch(fd), 0, 'a shared gmem page can be written to')
    tap.equal(touch(gmem(protected, MMAP)[1]), -signal.SIGBUS, 'a private gmem page is SIGBUS')
    try:
        mmap.mmap(gmem(default, 0)[1], PAGE, mmap.MAP_SHARED)
        error = 0
    except OSError as refused:
        error = refused.errno
    tap.equal(error, errno.ENODEV, 'a gmem without the MMAP flag cannot be mapped')


def check_attributes(tap, vm):
    size = 4 * PAGE
    shared = mmap.mmap(-1, size, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    host = ctypes.addressof(ctypes.c_char.from_buffer(shared))
    fd = gmem(vm, 0)[1]
    tap.equal(fcntl.ioctl(vm, CHECK_EXTENSION, ATTRIBUTES), PRIVATE, 'attribute private')
    tap.equal(slot(vm, 0, size, host, fd), 0, 'a slot with a gmem')
    tap.equal(slot(vm, 0, size, host, fd), errno.EINVAL, 'such a slot cannot be changed')
    table = [(0, size, PRIVATE, 0, 0), (PAGE, PAGE, 0, 0, 0), (0, size, 0, 0, 0),
             (1, PAGE, PRIVATE, 0, errno.EINVAL), (0, PAGE - 1, PRIVATE, 0, errno.EINVAL),
             (0, 0, PRIVATE, 0, errno.EINVAL), (0, PAGE, 1, 0, errno.EINVAL),
             (0, PAGE, PRIVATE, 1, errno.EINVAL), (-PAGE & (1 << 64) - 1, 2 * PAGE, 8, 0,
                                                   errno.EINVAL)]
    for gpa, length, value, flags, wanted in table:
        tap.equal(attributes(vm, gpa, length, value, flags), wanted,
                  f'attributes of {gpa:#x}+{length:#x} to {value}, flags {flags}: {wanted}')


def main():
    tap = Tap()
    check_machine(tap)
    if not tap.ok(os.path.exists('/dev/kvm'), '/dev/kvm is there'):
        tap.done()
    kvm = os.open('/dev/kvm', os.O_RDWR)
    default = fcntl.ioctl(kvm, CREATE_VM, DEFAULT)
    protected = fcntl.ioctl(kvm, CREATE_VM, SW_PROTECTED)
    check_capabilities(tap, kvm)
    check_flags(tap, default, protected)
    check_mapping(tap, default, protected)
    check_attributes(tap, protected)
    tap.done()


if __name__ == '__main__':
    main()
