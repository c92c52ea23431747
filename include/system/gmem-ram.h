/*
 * gmem and RAM: from RAMBlocks and guest-physical addresses to blocks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A RAMBlock with guest_memfd owns one reference to a GmemBlock,
 * from its creation until it is reclaimed.  In modes none and in-place the
 * guest_memfd is the RAM itself, in mode split it lies beside it.  When QEMU frees the RAMBlock, the
 * block is retired and detached at once; conversions that are still running
 * keep the GmemBlock, but can no longer reach the RAM.
 */

#ifndef SYSTEM_GMEM_RAM_H
#define SYSTEM_GMEM_RAM_H

#include "system/gmem.h"

typedef struct RAMBlock RAMBlock;

/* The block behind @rb, or NULL; borrowed, lives as long as @rb */
GmemBlock *gmem_from_ramblock(const RAMBlock *rb);

/*
 * Make @rb, whose fd is an all-shared guest_memfd, known to the engine, so
 * that it is listed and its conversions are refused.  BQL held.  Returns what
 * gmem_from_ramblock() will.
 */
GmemBlock *gmem_register_none(RAMBlock *rb);

/* Does this VM have a block of the engine at all?  Any thread */
bool gmem_ram_in_use(void);

/*
 * A guest_memfd for @rb, which has its host memory already (system/gmem-ram.c).  In mode
 * in-place it takes the place of that memory.  Returns the file descriptor, or -1 with
 * @errp set.  BQL and the lock of the RAM list held.
 */
int gmem_ram_create_guest_memfd(RAMBlock *rb, Error **errp);
/*
 * The file that an IOMMU may map @rb by, or -1: of guest_memfd the kernel maps addresses
 * only.  Any thread that keeps @rb
 */
int gmem_ram_iommu_fd(RAMBlock *rb);

/*
 * A device has discarded whole pages of @rb, which has freed its memory (a balloon).  In mode split that is
 * the shared side: this frees the other one.  States stay as they are.  0 or -errno.  Any
 * thread that keeps @rb.
 */
int gmem_ram_discard_private(RAMBlock *rb, uint64_t offset, uint64_t size);

/* Hooks of system/physmem.c.  BQL held; @rb may be NULL or have no block */
void gmem_ram_block_named(RAMBlock *rb);
void gmem_ram_block_detach(RAMBlock *rb);
void gmem_ram_block_reclaim(RAMBlock *rb);

/*
 * gmem_convert() for a request that may have been interrupted before: its
 * time runs from @started_ns (QEMU_CLOCK_REALTIME), and once that is up, a
 * kick ends it with -EAGAIN instead of -EINTR.
 */
int gmem_convert_since(uint64_t gpa, uint64_t size, bool to_private,
                       int64_t started_ns, bool (*kicked)(void *opaque),
                       void *opaque);

/*
 * Tell the observer that a fault of the guest at @gpa cannot be resolved.  Does
 * nothing where no block is.  Any thread; the caller limits the rate.
 */
void gmem_notify_fault(uint64_t gpa);

#endif
