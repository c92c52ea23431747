/*
 * gmem on KVM: the provider's view of a block (accel/kvm only)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_KVM_GMEM_SLOTS_H
#define ACCEL_KVM_GMEM_SLOTS_H

#include "qemu/queue.h"
#include "system/gmem-kvm.h"

/* A memory slot whose private pages come from the block's guest_memfd */
typedef struct GmemKvmSlot {
    uint64_t gpa;
    uint64_t offset;            /* in the block */
    uint64_t size;
    int as_id;
    bool gone;                  /* KVM has dropped it; see gmem_kvm_slot_removed() */
    GmemBlock *block;           /* a reference, while it is gone */
    QLIST_ENTRY(GmemKvmSlot) next;
    QLIST_ENTRY(GmemKvmSlot) next_gone;
} GmemKvmSlot;

typedef struct GmemKvmBlock {
    /* changed with the BQL; in mode split with the block's commit lock, too */
    QLIST_HEAD(, GmemKvmSlot) slots;
    /*
     * The RAM lock.  Whoever touches the RAM itself reads under it, for a bounded
     * time, so that freeing the RAMBlock waits for it.
     */
    GRWLock rb_lock;
    RAMBlock *rb;               /* atomic; NULL once the RAM is going */
    /* constant; in place: the guest_memfd, and where it is mapped until the RAM goes */
    int fd;
    const uint8_t *host;
} GmemKvmBlock;

extern const GmemProviderOps gmem_kvm_split_ops;

/* GmemProviderOps.release */
void gmem_kvm_block_free(GmemBlock *block);

/*
 * GmemProviderOps.enter and .leave: memory slots do not change in between.  Their
 * change waits until all ioctls are over, so this comes before the commit lock, which
 * it needs too.  Any thread, with or without the BQL, but the same for both.
 */
void gmem_kvm_section_enter(GmemBlock *block);
void gmem_kvm_section_leave(GmemBlock *block);

/* GmemProviderOps.discard */
int gmem_kvm_discard(GmemBlock *block, uint64_t offset, uint64_t size,
                     GmemPageState state);

#endif
