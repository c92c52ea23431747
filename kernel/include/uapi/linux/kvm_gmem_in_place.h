/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * In-place conversion of guest_memfd pages between private and shared.
 *
 * The interface is Linux 7.4's.  A kernel that has it in <linux/kvm.h> needs
 * nothing of this file, so everything here stands back behind that.
 */
#ifndef _UAPI_LINUX_KVM_GMEM_IN_PLACE_H
#define _UAPI_LINUX_KVM_GMEM_IN_PLACE_H

#include <linux/kvm.h>

#ifndef KVM_SET_MEMORY_ATTRIBUTES2

/* KVM_CHECK_EXTENSION: the attributes that the ioctl below takes, or 0. */
#define KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES 252

/*
 * Sets the attributes of [offset, offset + size), in bytes, of a guest_memfd.
 * All or nothing: when it fails, no page has changed its state.
 *
 * ENOTTY  switched off (kvm.gmem_in_place_conversion)
 * EFAULT  the argument cannot be read, or error_offset not be written
 * EINVAL  flags, reserved, attributes, range, or a VM without private memory
 * ENOMEM  error_offset is the start of the range
 * EAGAIN  to private only: the page at error_offset is in use by the host
 */
struct kvm_memory_attributes2 {
	union {
		__u64 address;
		__u64 offset;
	};
	__u64 size;
	__u64 attributes;	/* KVM_MEMORY_ATTRIBUTE_PRIVATE or 0 */
	__u64 flags;		/* 0 */
	__u64 error_offset;	/* out, with ENOMEM and EAGAIN */
	__u64 reserved[11];	/* 0 */
};

#define KVM_SET_MEMORY_ATTRIBUTES2 \
	_IOWR(KVMIO, 0xd2, struct kvm_memory_attributes2)

#endif /* KVM_SET_MEMORY_ATTRIBUTES2 */

#endif /* _UAPI_LINUX_KVM_GMEM_IN_PLACE_H */
