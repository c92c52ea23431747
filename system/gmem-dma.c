/*
 * gmem: maps of guest memory by QEMU's own devices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in system/gmem-dma.h.  Not all memory that is unmapped has an entry: memory
 * that was mapped before the VM first ran may have none, and some devices unmap
 * with an address that they have moved on.
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h"
#include "system/gmem-dma.h"
#include "system/gmem-ram.h"
#include "system/gmem-touch-hooks.h"
#include "system/gmem-use.h"
#include "system/memory.h"

bool gmem_dma_begin(MemoryRegion *mr, hwaddr offset, hwaddr size)
{
    GmemBlock *block = gmem_touch_block(mr);

    if (!block || !size || gmem_use_map(block, offset, size)) {
        return true;
    }
    gmem_access_deny(block, offset, size, GMEM_USE_MAP, 1);
    return false;
}

bool gmem_dma_map_guarded(MemoryRegion *mr, hwaddr offset, hwaddr *plen)
{
    if (gmem_dma_begin(mr, offset, *plen)) {
        return true;
    }
    memory_region_unref(mr);
    *plen = 0;
    return false;
}

void gmem_dma_unmap_guarded(MemoryRegion *mr, hwaddr offset, hwaddr size)
{
    GmemBlock *block = gmem_from_ramblock(mr->ram_block);

    if (block && size) {
        gmem_use_unmap(block, offset, size);
    }
}

void gmem_dma_disown_guarded(void *host, hwaddr size)
{
    ram_addr_t offset;
    MemoryRegion *mr = memory_region_from_host(host, &offset);

    if (mr) {
        gmem_dma_unmap_guarded(mr, offset, size);
    }
}
