/*
 * gmem: maps of guest memory by QEMU's own devices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  What address_space_map() hands out is in use until
 * address_space_unmap(): a conversion of it to private waits (system/gmem-use.h), as it
 * would for DMA that a real device has in flight, and ends with -EAGAIN when that takes
 * longer than the conversion has.
 *
 * Any thread, within an RCU read-side section or not.
 */

#ifndef SYSTEM_GMEM_DMA_H
#define SYSTEM_GMEM_DMA_H

#include "system/gmem-touch.h"

/*
 * A pointer to [offset, offset+size) of @mr is in use from now on, until gmem_dma_unmap().
 * False: some of it is private or converting; that has been counted as a touch.
 */
bool gmem_dma_begin(MemoryRegion *mr, hwaddr offset, hwaddr size);

bool gmem_dma_map_guarded(MemoryRegion *mr, hwaddr offset, hwaddr *plen);
void gmem_dma_unmap_guarded(MemoryRegion *mr, hwaddr offset, hwaddr size);
void gmem_dma_disown_guarded(void *host, hwaddr size);

/*
 * [offset, offset+*plen) of @mr, which is referenced for that, is about to be handed out.
 * False: some of it goes private just now; *plen is 0 then, and the reference is dropped.
 */
static inline bool gmem_dma_map(MemoryRegion *mr, hwaddr offset,
                                hwaddr *plen)
{
    return likely(!qatomic_read(&gmem_touch_armed)) ||
           gmem_dma_map_guarded(mr, offset, plen);
}

/* What begins at @offset of @mr, or has it in it, is not in use any more, if it was mapped */
static inline void gmem_dma_unmap(MemoryRegion *mr, hwaddr offset,
                                  hwaddr size)
{
    if (unlikely(qatomic_read(&gmem_touch_armed))) {
        gmem_dma_unmap_guarded(mr, offset, size);
    }
}

/*
 * @size bytes at @host, which may be NULL, were mapped to stay so: no end of a transfer is
 * to be waited for, and whoever has them is another holder, or keeps a pointer that
 * nobody knows of.
 */
static inline void gmem_dma_disown(void *host, hwaddr size)
{
    if (unlikely(qatomic_read(&gmem_touch_armed)) && host) {
        gmem_dma_disown_guarded(host, size);
    }
}

#endif
