/*
 * gmem on KVM: the kernel's interface for in-place conversion (accel/kvm only)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Newer than the base's copy of the kernel headers, so it stands here, under names of our
 * own that no later copy can collide with.
 */

#ifndef ACCEL_KVM_GMEM_UAPI_H
#define ACCEL_KVM_GMEM_UAPI_H

#include <linux/kvm.h>

/*
 * KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, of a VM: the KVM_MEMORY_ATTRIBUTE_* that the pages
 * of its guest_memfds can have.  0 where the kernel does not convert in place.
 */
#define GMEM_KVM_CAP_IN_PLACE 252

/*
 * KVM_SET_MEMORY_ATTRIBUTES2, on a guest_memfd: all of the range or none of it.  EAGAIN (to
 * private only) and ENOMEM store in error_offset where the file kept it from happening.
 */
typedef struct GmemKvmAttributes {
    uint64_t offset;            /* bytes, in the file */
    uint64_t size;
    uint64_t attributes;
    uint64_t flags;             /* must be 0 */
    uint64_t error_offset;      /* out; in the file */
    uint64_t reserved[11];      /* must be 0 */
} GmemKvmAttributes;

#define GMEM_KVM_SET_ATTRIBUTES _IOWR(KVMIO, 0xd2, GmemKvmAttributes)

QEMU_BUILD_BUG_ON(GMEM_KVM_SET_ATTRIBUTES != 0xC080AED2);

#endif
