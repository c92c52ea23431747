/*
 * gmem on KVM: memory slots and their private attribute
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  KVM keeps one private bit per guest-physical page, apart from the
 * memory slots, and never tells it back.  The state map of the block is the
 * truth; the bits of a bound slot's range are its copy, all other bits are
 * shared.  Both are changed under the block's commit lock: by a conversion,
 * which writes the bits and then publishes the map, and by a slot that comes,
 * which is listed first and then copies the map.  Whichever is second therefore
 * sees what the first did.
 *
 * A guest that moves a border between slots (a PAM register) removes and adds most
 * of its memory, and writing a bit for each of its private pages would hold up the
 * BQL as long as it likes.  So a slot that goes is *gone*, but stays listed with
 * its bits until the change of the memory map is complete: what comes back at the
 * same address still has its bits, and only the rest is written or cleared.  What moves
 * in earnest is written, a call for each run of private pages: a window that a guest lays
 * over RAM and takes away (MMCONFIG, 256 MiB) costs up to 32768 of them.
 *
 * Where KVM converts in place there are no such bits: slots are only bound, each page to
 * one of them (gmem-in-place.c).
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/range.h"
#include "system/gmem-ram.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/ramblock.h"
#include "gmem-slots.h"
#include "gmem/trace.h"

#include <linux/kvm.h>

/* The part of a slot that a range of the block covers; false if there is none */
static bool clip(const GmemKvmSlot *slot, uint64_t *offset, uint64_t *size)
{
    uint64_t start = MAX(*offset, slot->offset);
    uint64_t end = MIN(*offset + *size, slot->offset + slot->size);

    if (start >= end) {
        return false;
    }
    *offset = start;
    *size = end - start;
    return true;
}

/* All or nothing in the kernel.  Returns 0 or -errno */
static int set_attributes(uint64_t gpa, uint64_t size, GmemPageState to)
{
    struct kvm_memory_attributes args = {
        .address = gpa,
        .size = size,
        .attributes = to == GMEM_PAGE_PRIVATE ? KVM_MEMORY_ATTRIBUTE_PRIVATE
                                              : 0,
    };
    int ret;

    do {
        ret = kvm_vm_ioctl(kvm_state, KVM_SET_MEMORY_ATTRIBUTES, &args);
    } while (ret == -EINTR);
    return ret;
}

static int set_slot(const GmemKvmSlot *slot, uint64_t offset, uint64_t size,
                    GmemPageState to)
{
    return set_attributes(slot->gpa + (offset - slot->offset), size, to);
}

/* Put the part of @slot that the range covers back to what the map says */
static int restore_slot(GmemBlock *block, const GmemKvmSlot *slot,
                        uint64_t offset, uint64_t size)
{
    uint64_t end, run;
    GmemPageState state;
    int ret = 0;

    if (!clip(slot, &offset, &size)) {
        return 0;
    }
    for (end = offset + size; offset < end && !ret; offset = run) {
        run = gmem_block_run(block, offset, end, &state);
        ret = set_slot(slot, offset, run - offset, state);
    }
    return ret;
}

/* Undo what was done to the slots before @failed */
static int restore_slots(GmemBlock *block, const GmemKvmSlot *failed,
                         uint64_t offset, uint64_t size)
{
    GmemKvmBlock *kb = gmem_block_opaque(block);
    GmemKvmSlot *slot;
    int ret;

    QLIST_FOREACH(slot, &kb->slots, next) {
        if (slot == failed) {
            return 0;
        }
        ret = restore_slot(block, slot, offset, size);
        if (ret) {
            return ret;
        }
    }
    return 0;
}

/* GmemProviderOps.set_state: every bound slot, or none.  Commit lock held */
static int provider_set_state(GmemBlock *block, uint64_t offset, uint64_t size,
                              GmemPageState to, uint64_t *busy)
{
    GmemKvmBlock *kb = gmem_block_opaque(block);
    GmemKvmSlot *slot;
    int ret;

    QLIST_FOREACH(slot, &kb->slots, next) {
        uint64_t part = offset, part_size = size;

        if (!clip(slot, &part, &part_size)) {
            continue;
        }
        ret = set_slot(slot, part, part_size, to);
        if (ret) {
            *busy = part;
            return restore_slots(block, slot, offset, size) ? -ENOTRECOVERABLE
                                                            : ret;
        }
    }
    return 0;
}

const GmemProviderOps gmem_kvm_split_ops = {
    .name = "kvm-split",
    .enter = gmem_kvm_section_enter,
    .leave = gmem_kvm_section_leave,
    .set_state = provider_set_state,
    .discard = gmem_kvm_discard,
    .release = gmem_kvm_block_free,
};

void *gmem_kvm_block_new(RAMBlock *rb, GmemBlockMode mode, Error **errp)
{
    GmemKvmBlock *kb;
    int fd = -1;

    if (mode == GMEM_BLOCK_MODE_IN_PLACE) {
        fd = qemu_dup(rb->guest_memfd);
        if (fd < 0) {
            error_setg_errno(errp, errno, "cannot keep the guest_memfd open");
            return NULL;
        }
    }
    kb = g_new0(GmemKvmBlock, 1);
    QLIST_INIT(&kb->slots);
    g_rw_lock_init(&kb->rb_lock);
    kb->rb = rb;
    kb->fd = fd;
    kb->host = rb->host;
    return kb;
}

void gmem_kvm_block_free(GmemBlock *block)
{
    GmemKvmBlock *kb = gmem_block_opaque(block);

    g_assert(QLIST_EMPTY(&kb->slots));
    g_rw_lock_clear(&kb->rb_lock);
    if (kb->fd >= 0) {
        close(kb->fd);
    }
    g_free(kb);
}

void gmem_kvm_block_detach(GmemBlock *block)
{
    GmemKvmBlock *kb = gmem_block_opaque(block);

    /* Stops those between two chunks at once; then wait for the chunks under way */
    qatomic_set(&kb->rb, NULL);
    g_rw_lock_writer_lock(&kb->rb_lock);
    g_rw_lock_writer_unlock(&kb->rb_lock);
}

/* ---- hooks of kvm_set_phys_mem() ---- */

/* The block of a region whose slots may be bound, or NULL */
static GmemBlock *bindable_block(MemoryRegion *mr)
{
    GmemBlock *block = mr->ram_block ? gmem_from_ramblock(mr->ram_block) : NULL;

    return block && gmem_block_mode(block) != GMEM_BLOCK_MODE_NONE ? block
                                                                   : NULL;
}

/* Does KVM keep private bits by guest-physical address for the slots of @block? */
static bool has_bits(GmemBlock *block)
{
    return gmem_block_mode(block) == GMEM_BLOCK_MODE_SPLIT;
}

/*
 * The list of slots changes with the BQL and KVM's slots lock held.  Conversions walk it
 * for the bits, so where there are some it takes the commit lock, too; else a conversion
 * that takes its time need not hold up those who have the BQL.
 */
static void lock_list(GmemBlock *block)
{
    if (has_bits(block)) {
        gmem_block_commit_lock(block);
    }
}

static void unlock_list(GmemBlock *block)
{
    if (has_bits(block)) {
        gmem_block_commit_unlock(block);
    }
}

/* KVM binds a page of a guest_memfd to one slot only */
static bool is_bound(GmemBlock *block, uint64_t offset, uint64_t size)
{
    GmemKvmBlock *kb = gmem_block_opaque(block);
    GmemKvmSlot *slot;
    bool found = false;

    QLIST_FOREACH(slot, &kb->slots, next) {
        uint64_t part = offset, part_size = size;

        found |= !slot->gone && clip(slot, &part, &part_size);
    }
    return found;
}

void gmem_kvm_slot_bind(KVMSlot *mem, const MemoryRegionSection *section)
{
    GmemBlock *block = bindable_block(section->mr);
    uint64_t offset;

    if (mem->guest_memfd < 0) {
        return;
    }
    offset = (uint8_t *)mem->ram - section->mr->ram_block->host;
    if (!block || section->readonly || mem->flags & KVM_MEM_READONLY ||
        is_bound(block, offset, mem->memory_size)) {
        mem->guest_memfd = -1;
    }
    mem->flags = gmem_kvm_slot_flags(mem, mem->flags);
}

int gmem_kvm_slot_flags(const KVMSlot *mem, int flags)
{
    if (mem->guest_memfd < 0) {
        return flags & ~KVM_MEM_GUEST_MEMFD;
    }
    /* KVM logs no writes to a bound slot, and refuses the flag */
    return flags & ~KVM_MEM_LOG_DIRTY_PAGES;
}

/* Slots that went in the change under way.  BQL and KVM's slots lock */
static QLIST_HEAD(, GmemKvmSlot) gone_slots =
    QLIST_HEAD_INITIALIZER(gone_slots);

/* Each page of both has the same address, as far as they have the same pages */
static bool is_aligned_with(const GmemKvmSlot *slot, const GmemKvmSlot *other)
{
    return slot->gpa - slot->offset == other->gpa - other->offset;
}

/*
 * Does a slot that is @gone, or one that is not, have the page at @offset at the same
 * address as @slot?  Lowers @next to where the answer may change.  Slots do not
 * come or go meanwhile: the BQL is held.
 */
static bool other_has(GmemKvmBlock *kb, const GmemKvmSlot *slot, bool gone,
                      uint64_t offset, uint64_t *next)
{
    GmemKvmSlot *other;

    QLIST_FOREACH(other, &kb->slots, next) {
        if (other == slot || other->gone != gone ||
            !is_aligned_with(slot, other) ||
            offset >= other->offset + other->size) {
            continue;
        }
        if (offset >= other->offset) {
            *next = MIN(*next, other->offset + other->size);
            return true;
        }
        *next = MIN(*next, other->offset);
    }
    return false;
}

/* Clear the bits that no slot has taken over.  Commit lock held.  0 or -errno */
static int clear_rest(GmemKvmBlock *kb, const GmemKvmSlot *slot)
{
    uint64_t next, offset = slot->offset, end = slot->offset + slot->size;
    int err, ret = 0;

    for (; offset < end; offset = next) {
        next = end;
        if (!other_has(kb, slot, false, offset, &next)) {
            err = set_slot(slot, offset, next - offset, GMEM_PAGE_SHARED);
            ret = ret ?: err;
        }
    }
    return ret;
}

/* A slot that is gone does not come back */
static void forget_slot(GmemKvmSlot *slot)
{
    GmemBlock *block = slot->block;
    int ret = 0;

    QLIST_REMOVE(slot, next_gone);
    lock_list(block);
    QLIST_REMOVE(slot, next);
    /* The next memory at this address must not inherit private pages */
    if (has_bits(block)) {
        ret = clear_rest(gmem_block_opaque(block), slot);
    }
    unlock_list(block);
    if (ret) {
        error_report_once("gmem: KVM kept private pages of '%s' at 0x%" PRIx64
                          " after their memory slot went: %s",
                          gmem_block_id(block), slot->gpa, strerror(-ret));
    }
    trace_gmem_slot_del(gmem_block_id(block), slot->gpa, slot->size, ret);
    gmem_block_unref(block);
    g_free(slot);
}

/* Other memory comes to where @slot will be: its bits must not be found there */
static void forget_others(GmemBlock *block, const GmemKvmSlot *slot)
{
    GmemKvmSlot *gone, *tmp;

    QLIST_FOREACH_SAFE(gone, &gone_slots, next_gone, tmp) {
        if ((gone->block != block || !is_aligned_with(gone, slot)) &&
            ranges_overlap(gone->gpa, gone->size, slot->gpa, slot->size)) {
            forget_slot(gone);
        }
    }
}

static int replay_run(void *opaque, uint64_t offset, uint64_t size)
{
    return set_slot(opaque, offset, size, GMEM_PAGE_PRIVATE);
}

/* Write the bits of @slot that it does not have from one that is gone */
static int replay_slot(GmemBlock *block, GmemKvmSlot *slot)
{
    GmemKvmBlock *kb = gmem_block_opaque(block);
    uint64_t next, offset = slot->offset, end = slot->offset + slot->size;
    int ret = 0;

    for (; offset < end && !ret; offset = next) {
        next = end;
        if (!other_has(kb, slot, true, offset, &next)) {
            ret = gmem_block_replay_private(block, offset, next - offset,
                                            replay_run, slot);
        }
    }
    return ret;
}

int gmem_kvm_slot_added(const KVMSlot *mem, MemoryRegion *mr)
{
    GmemBlock *block = bindable_block(mr);
    GmemKvmBlock *kb;
    GmemKvmSlot *slot;
    int ret;

    if (!block || mem->guest_memfd < 0) {
        return 0;
    }
    kb = gmem_block_opaque(block);
    slot = g_new0(GmemKvmSlot, 1);
    slot->gpa = mem->start_addr;
    slot->offset = mem->guest_memfd_offset;
    slot->size = mem->memory_size;
    slot->as_id = mem->as_id;

    forget_others(block, slot);
    lock_list(block);
    QLIST_INSERT_HEAD(&kb->slots, slot, next);
    unlock_list(block);

    ret = has_bits(block) ? replay_slot(block, slot) : 0;
    if (ret) {
        /* The guest can cause slots to change, so it must not end QEMU */
        gmem_block_break(block, "KVM refused the private pages of a memory "
                         "slot that came back");
    }
    trace_gmem_slot_add(gmem_block_id(block), slot->gpa, slot->offset,
                        slot->size, ret);
    return 0;
}

static GmemKvmSlot *find_slot(GmemKvmBlock *kb, int as_id, uint64_t gpa)
{
    GmemKvmSlot *slot;

    QLIST_FOREACH(slot, &kb->slots, next) {
        if (!slot->gone && slot->as_id == as_id && slot->gpa == gpa) {
            return slot;
        }
    }
    return NULL;
}

void gmem_kvm_slot_removed(const KVMSlot *mem, MemoryRegion *mr)
{
    GmemBlock *block = bindable_block(mr);
    GmemKvmSlot *slot;

    if (!block) {
        return;
    }
    slot = find_slot(gmem_block_opaque(block), mem->as_id, mem->start_addr);
    if (slot) {
        /* The RAM may be freed before the change is complete */
        gmem_block_ref(block);
        slot->block = block;
        slot->gone = true;
        QLIST_INSERT_HEAD(&gone_slots, slot, next_gone);
    }
}

void gmem_kvm_slots_changed(void)
{
    while (!QLIST_EMPTY(&gone_slots)) {
        forget_slot(QLIST_FIRST(&gone_slots));
    }
}
