/*
 * gmem on KVM: free the side that a conversion left behind
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  In split mode a page has two places: the guest_memfd, and the
 * shared side, which is a memfd or anonymous memory.  Only the place of its
 * current state may hold memory.  A huge page of the shared side is one unit: it
 * can be freed only when all its 4 KiB pages are private, which is looked up and
 * acted on under the commit lock, so that none of them turns shared between.
 * Until then its private parts are zeroed, so that a page shared again reads the
 * same whatever backs it.
 * A page that converts may still be undone, and is then shared with what it held:
 * so it keeps its huge page.  If it ends up private, its own discard comes later.
 */

#include "qemu/osdep.h"
#include "qemu/madvise.h"
#include "qemu/units.h"
#include "system/ramblock.h"
#include "system/memory.h"
#include "gmem-slots.h"

#ifdef CONFIG_FALLOCATE_PUNCH_HOLE
#include <linux/falloc.h>
#endif

/*
 * What is freed at once.  Nothing interrupts that, and whoever takes the RAM away waits
 * for it with the BQL held.
 */
#define CHUNK (64 * MiB)

static int punch(int fd, uint64_t offset, uint64_t size)
{
    int ret;

    do {
        ret = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        offset, size);
    } while (ret && errno == EINTR);
    return ret ? -errno : 0;
}

/*
 * Drop what a private mapping holds.  What mem-lock=on-fault has locked goes only by a
 * call of its own (Linux 5.18), and is locked again when it comes back.
 */
static int drop_pages(void *host, uint64_t size)
{
    if (!qemu_madvise(host, size, QEMU_MADV_DONTNEED)) {
        return 0;
    }
#ifdef MADV_DONTNEED_LOCKED
    if (errno == EINVAL && !qemu_madvise(host, size, MADV_DONTNEED_LOCKED)) {
        return 0;
    }
#endif
    return -errno;
}

static int free_shared(RAMBlock *rb, uint64_t offset, uint64_t size)
{
    int ret = 0, err;

    if (rb->fd >= 0) {
        ret = punch(rb->fd, rb->fd_offset + offset, size);
        if (qemu_ram_is_shared(rb)) {
            return ret;
        }
    }
    if (qemu_ram_is_shared(rb)) {
        return qemu_madvise(rb->host + offset, size, QEMU_MADV_REMOVE) ? -errno
                                                                       : 0;
    }
    /* What a private mapping holds is not in the file, if there is a file */
    err = drop_pages(rb->host + offset, size);
    return err ?: ret;
}

/* The huge page at @unit, of which [offset, end) just turned private */
static int free_huge(GmemBlock *block, RAMBlock *rb, uint64_t unit,
                     uint64_t offset, uint64_t end)
{
    uint64_t unit_end = MIN(unit + rb->page_size, gmem_block_size(block));
    int ret;

    gmem_block_commit_lock(block);
    if (gmem_block_range_is(block, unit, unit_end - unit, GMEM_PAGE_PRIVATE)) {
        ret = free_shared(rb, unit, rb->page_size);
    } else {
        /* Part of a huge page stays, and is zeroed as if it had been freed */
        offset = MAX(offset, unit);
        ret = free_shared(rb, offset, MIN(end, unit_end) - offset);
    }
    gmem_block_commit_unlock(block);
    return ret;
}

static int free_huge_range(GmemBlock *block, RAMBlock *rb, uint64_t offset,
                           uint64_t size)
{
    uint64_t unit, end = offset + size;
    int ret = 0, err;

    for (unit = QEMU_ALIGN_DOWN(offset, rb->page_size); unit < end;
         unit += rb->page_size) {
        err = free_huge(block, rb, unit, offset, end);
        ret = ret ?: err;
    }
    return ret;
}

static int discard_side(GmemBlock *block, RAMBlock *rb, uint64_t offset,
                        uint64_t size, GmemPageState state)
{
    if (state == GMEM_PAGE_SHARED) {
        return punch(rb->guest_memfd, offset, size);
    }
    if (rb->page_size != qemu_real_host_page_size()) {
        return free_huge_range(block, rb, offset, size);
    }
    return free_shared(rb, offset, size);
}

/* False once the RAM has gone: there is nothing more to free */
static bool discard_chunk(GmemBlock *block, uint64_t offset, uint64_t size,
                          GmemPageState state, int *ret)
{
    GmemKvmBlock *kb = gmem_block_opaque(block);
    RAMBlock *rb;
    int err;

    g_rw_lock_reader_lock(&kb->rb_lock);
    rb = qatomic_read(&kb->rb);
    if (rb) {
        err = discard_side(block, rb, offset, size, state);
        *ret = *ret ?: err;
    }
    g_rw_lock_reader_unlock(&kb->rb_lock);
    return rb;
}

int gmem_kvm_discard(GmemBlock *block, uint64_t offset, uint64_t size,
                     GmemPageState state)
{
    uint64_t next, end = offset + size;
    int ret = 0;

    for (; offset < end; offset = next) {
        next = MIN(QEMU_ALIGN_DOWN(offset + CHUNK, CHUNK), end);
        if (!discard_chunk(block, offset, next - offset, state, &ret)) {
            break;
        }
    }
    return ret;
}
