/*
 * gmem: uses, the ranges of a block that QEMU itself has a pointer to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A *use* says: there is a pointer to these bytes, and somebody goes through
 * it without asking.  One that ends by itself, like a device's transfer, is waited
 * for.  One that lives until somebody ends it, like a ring of virtio, has ask(): a
 * conversion that wants its bytes asks for its end, and waits for that.  Who asks is in
 * the middle of a conversion, so ask() only passes it on to whoever does the work.
 *
 * A *map* is a use that ends by itself and is found again by its place, because whoever
 * unmaps has nothing but that.
 *
 * All uses of a block are one holder.  It joins when the first use begins, so a block
 * without any costs a conversion nothing.  Its name, for events, is that of the use last
 * waited for.
 *
 * What ends by itself is waited for first.  A conversion that comes to nothing because
 * of a transfer has stopped no ring.  One that comes to nothing later may have.
 */

#ifndef SYSTEM_GMEM_USE_H
#define SYSTEM_GMEM_USE_H

#include "qemu/interval-tree.h"
#include "system/gmem.h"

/* What maps are called in events */
#define GMEM_USE_MAP "dma-map"

typedef struct GmemUse GmemUse;

/* Embedded in what is used; belongs to the engine from begin to end */
struct GmemUse {
    IntervalTreeNode range;     /* bytes of the block, last one included */
    GmemBlock *block;
    const char *name;           /* static */
    /*
     * Called once at most, by any thread, with a lock of uses held: must not wait, take
     * locks, or begin or end uses.  NULL: it ends by itself.
     */
    void (*ask)(GmemUse *use);
    bool asked;
};

/*
 * Begin a use of @size bytes, more than none, at @offset of @block.  False: a page of it
 * is private or converting, and nothing has begun.  Any thread; takes leaf locks, the
 * first time the block's.
 */
bool gmem_use_begin(GmemUse *use, GmemBlock *block, uint64_t offset,
                    uint64_t size, const char *name,
                    void (*ask)(GmemUse *use));
/* End it; conversions may go on at once.  Any thread */
void gmem_use_end(GmemUse *use);
/* A use with ask() has the byte at @offset in it.  Any thread */
bool gmem_use_is_asked_for(GmemBlock *block, uint64_t offset);

/* Begin a map; arguments, result and threads as above.  Several may be equal */
bool gmem_use_map(GmemBlock *block, uint64_t offset, uint64_t size);
/*
 * End the map of just these bytes, else one that has the byte at @offset in it.  False: there
 * is none.  Any thread.
 */
bool gmem_use_unmap(GmemBlock *block, uint64_t offset, uint64_t size);

/* Nobody begins a use of @block any more, and all have ended.  Not from a holder's call */
void gmem_uses_retire(GmemBlock *block);

#endif
