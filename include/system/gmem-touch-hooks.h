/*
 * gmem: QEMU's own touches of guest memory, as the base calls us
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Where QEMU copies to or from guest memory, loads or stores a word of it,
 * or hands out a pointer into it, the state map is asked first.  A copy or a word is
 * touched inside a read-side section (gmem_access_begin/_end), so that no
 * conversion happens under it; when it is refused, the map stays as it is, the
 * caller sees a failed bus access, and the observer hears of it.  A pointer outlives any
 * section: it is only refused when its pages are not shared at that moment.
 *
 * Blocks are guarded always, but for those of mode split that start private (SEV-SNP,
 * TDX): they are guarded once the VM has run, for until then firmware and loaders rightly
 * write the shared side, from where the launch takes it.
 *
 * All of these may be called from any thread, within an RCU read-side section or with a
 * reference to the region, unless they say otherwise.
 */

#ifndef SYSTEM_GMEM_TOUCH_HOOKS_H
#define SYSTEM_GMEM_TOUCH_HOOKS_H

#include "exec/vaddr.h"
#include "system/gmem.h"
#include "system/gmem-touch.h"

/* A block that can have private pages comes (BQL held), or goes (any thread) */
void gmem_touch_arm(void);
void gmem_touch_disarm(void);

/* The block of @mr if QEMU must ask before it touches it, else NULL */
GmemBlock *gmem_touch_block(const MemoryRegion *mr);
/* The first byte of [offset, end) of @block that may not be touched now, or end */
uint64_t gmem_touch_first_denied(GmemBlock *block, uint64_t offset,
                                 uint64_t end);

/* ---- copies ---- */

bool gmem_touch_write_guarded(const MemoryRegion *mr, hwaddr offset, void *to,
                              const void *from, hwaddr size);

/*
 * Copy to @offset of @mr, whose host address is @to.  False: refused, at least in part.
 * Whole 2 MiB before the part that was refused are written then, and the caller does
 * not mark them dirty: blocks with private pages cannot be logged, and are no code of TCG.
 */
static inline bool gmem_touch_write(const MemoryRegion *mr, hwaddr offset,
                                    void *to, const void *from, hwaddr size)
{
    if (likely(!qatomic_read(&gmem_touch_armed))) {
        memmove(to, from, size);
        return true;
    }
    return gmem_touch_write_guarded(mr, offset, to, from, size);
}

/* ---- pointers ---- */

hwaddr gmem_touch_shared_length(const MemoryRegion *mr, hwaddr offset,
                                hwaddr size, const char *who);

hwaddr gmem_touch_cache_guarded(const MemoryRegion *mr, hwaddr offset,
                                hwaddr size);

/*
 * How much of [offset, offset+size) of @mr the cache of a virtio ring may point to.  The
 * ring needs all of it, so less is a refusal, and counted as one.
 */
static inline hwaddr gmem_touch_cache(const MemoryRegion *mr, hwaddr offset,
                                      hwaddr size)
{
    if (likely(!qatomic_read(&gmem_touch_armed))) {
        return size;
    }
    return gmem_touch_cache_guarded(mr, offset, size);
}

/*
 * May @mr be mapped at @offset?  If only a part may, @len and @here, both lengths from
 * there, are cut.  If not, *plen is 0 and the mapping fails.
 */
static inline bool gmem_touch_map(const MemoryRegion *mr, hwaddr offset,
                                  hwaddr *plen, hwaddr *len, hwaddr *here)
{
    if (unlikely(qatomic_read(&gmem_touch_armed))) {
        *len = gmem_touch_shared_length(mr, offset, *len, "dma-map");
        *here = MIN(*here, *len);
        *plen = *len;
    }
    return *len;
}

/*
 * Why the mapping of this element of a scatter list failed, asked when it is about
 * to be tried again: -EFAULT where the memory is private, for then it would be tried
 * for ever; 0 where a retry makes sense.  @is_write: the device writes the memory,
 * which an IOMMU may allow when it forbids to read it.  Takes the RCU read lock itself.
 */
int gmem_touch_dma_result(const QEMUSGList *sg, int index, uint64_t byte,
                          bool is_write);

/*
 * ---- loads and stores of words (memory_ldst.c.inc) ----
 * The section that a word is touched in; its block is NULL while there is none.
 */

bool gmem_touch_enter_guarded(GmemAccess *access, const MemoryRegion *mr,
                              hwaddr offset, hwaddr size);

static inline bool gmem_touch_enter(GmemAccess *access, const MemoryRegion *mr,
                                    hwaddr offset, hwaddr size)
{
    return likely(!qatomic_read(&gmem_touch_armed)) ||
           gmem_touch_enter_guarded(access, mr, offset, size);
}

static inline void gmem_touch_leave(const GmemAccess *access)
{
    if (unlikely(access->block)) {
        gmem_access_end(access);
    }
}

/*
 * What the template's three macros become.  A word that is refused is looked for in
 * @nowhere instead, the region that answers where there is nothing.
 */
#define GMEM_TOUCH_LOCK(lock) \
    GmemAccess gmem_touch; gmem_touch.block = NULL; lock
#define GMEM_TOUCH_UNLOCK(unlock) (gmem_touch_leave(&gmem_touch), unlock)
#define GMEM_TOUCH_TRANSLATE(nowhere, translate, from, addr, xlat, plen,     \
                             is_write, attrs)                                \
    ({                                                                       \
        hwaddr gmem_want_ = *(plen);                                         \
        MemoryRegion *gmem_mr_ = translate(from, addr, xlat, plen, is_write, \
                                           attrs);                           \
        likely(!qatomic_read(&gmem_touch_armed)) ||                          \
        *(plen) < gmem_want_ ||                                              \
        !memory_access_is_direct(gmem_mr_, is_write, attrs) ||               \
        gmem_touch_enter(&gmem_touch, gmem_mr_, *(xlat), gmem_want_) ?       \
            gmem_mr_ : (nowhere);                                            \
    })

/* ---- the monitor (system/gmem-touch-monitor.c) ---- */

/*
 * Before a command reads all of a range: false, with an error that names the block, when
 * a page of it is private.  @who is the command.  BQL held; takes the RCU read lock.
 */
bool gmem_touch_check_physical(hwaddr addr, uint64_t size, const char *who,
                               Error **errp);
bool gmem_touch_check_virtual(CPUState *cpu, vaddr addr, uint64_t size,
                              const char *who, Error **errp);
/* After a read has failed: tell the user when private memory is why.  As above */
void gmem_touch_explain(Monitor *mon, CPUState *cpu, hwaddr addr,
                        uint64_t size, bool is_physical);

#endif
