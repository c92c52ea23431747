/*
 * gmem on KVM: conversion in place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  One guest_memfd holds the shared and the private pages of a block, and knows
 * of each which it is: the state lies in the file, whatever memory slots show it where.  So
 * slots may come and go during a conversion, nothing is replayed for them, and nothing is
 * freed after a conversion.  An offset in the block is the same offset in the file.
 *
 * The file descriptor is the block's own: a conversion that is still running when the
 * RAM goes works on a file that nobody else has any more.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include "system/gmem-sigbus.h"
#include "gmem-slots.h"
#include "gmem-uapi.h"
#include "gmem/trace.h"

/* All of the range in the kernel, or none of it.  0 or -errno */
static int set_attributes(GmemBlock *block, uint64_t offset, uint64_t size,
                          GmemPageState to, uint64_t *busy)
{
    GmemKvmBlock *kb = gmem_block_opaque(block);
    GmemKvmAttributes args = {
        .offset = offset,
        .size = size,
        .attributes = to == GMEM_PAGE_PRIVATE ? KVM_MEMORY_ATTRIBUTE_PRIVATE
                                              : 0,
    };
    int ret = ioctl(kb->fd, GMEM_KVM_SET_ATTRIBUTES, &args) ? -errno : 0;

    if (ret) {
        *busy = args.error_offset;
        trace_gmem_in_place_refused(gmem_block_id(block), offset, size,
                                    to == GMEM_PAGE_PRIVATE, ret, *busy);
    }
    /* "Half done" is for the engine to hear from us only, and no kernel says it */
    return ret == -ENOTRECOVERABLE ? -EIO : ret;
}

/* The kernel has made the range shared: put back what of it the map calls private still */
static int take_back(GmemBlock *block, uint64_t offset, uint64_t size)
{
    uint64_t next, busy, end = offset + size;
    GmemPageState state;
    int ret = 0;

    for (; offset < end && !ret; offset = next) {
        next = gmem_block_run(block, offset, end, &state);
        if (state == GMEM_PAGE_PRIVATE) {
            ret = set_attributes(block, offset, next - offset, state, &busy);
        }
    }
    return ret;
}

/* GmemProviderOps.set_state.  What becomes shared is there for QEMU before the map says so */
static int in_place_set_state(GmemBlock *block, uint64_t offset, uint64_t size,
                              GmemPageState to, uint64_t *busy)
{
    GmemKvmBlock *kb = gmem_block_opaque(block);
    int ret = set_attributes(block, offset, size, to, busy);

    if (ret || to == GMEM_PAGE_PRIVATE) {
        return ret;
    }
    ret = gmem_sigbus_restore(kb->host + offset, size);
    if (ret && take_back(block, offset, size)) {
        return -ENOTRECOVERABLE;
    }
    return ret;
}

static const GmemProviderOps kvm_in_place_ops = {
    .name = "kvm-in-place",
    .set_state = in_place_set_state,
    .release = gmem_kvm_block_free,
};

const GmemProviderOps *gmem_kvm_provider(GmemBlockMode mode)
{
    return mode == GMEM_BLOCK_MODE_IN_PLACE ? &kvm_in_place_ops
                                            : &gmem_kvm_split_ops;
}
