/*
 * gmem: RamDiscardListeners as holders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_GMEM_LISTENER_H
#define SYSTEM_GMEM_LISTENER_H

#include "system/gmem.h"
#include "system/memory.h"

/*
 * How what a listener has is mapped, where its own functions will not do.
 *
 * @map: @part is shared, and becomes one mapping.  0 or -errno; says itself what is wrong.
 * @unmap: it goes private.  0, or -errno and nothing has changed: then the conversion fails.
 *     With @divides also parts of mappings, without a moment when the rest is not
 *     mapped; -EINVAL where that cannot be.
 * @lost: @bytes near @part stay shared, and could not be mapped again.
 * @unit: bytes, a power of two from 4 KiB on: a mapping never crosses a multiple of it
 *     in the address space of @part.
 * Called in any thread, for one listener one after the other.
 */
typedef struct GmemListenerOps {
    int (*map)(RamDiscardListener *rdl, MemoryRegionSection *part);
    int (*unmap)(RamDiscardListener *rdl, MemoryRegionSection *part);
    void (*lost)(RamDiscardListener *rdl, const MemoryRegionSection *part,
                 uint64_t bytes);
} GmemListenerOps;

typedef struct GmemListenerConfig {
    const GmemListenerOps *ops;
    uint64_t unit;
    bool divides;
} GmemListenerConfig;

/*
 * Make @rdl a holder of the part of @block that @section covers, and give it what of that is
 * shared.  @config NULL: by the listener's own functions, which take any pages in any order.
 * Returns 0, or the first -errno of mapping: it is a holder all the same.  BQL held.
 */
int gmem_listener_add(GmemBlock *block, RamDiscardListener *rdl,
                      const MemoryRegionSection *section,
                      const GmemListenerConfig *config);
/* Take all of it away from @rdl again, and forget it; one that is unknown is left alone.  BQL held */
void gmem_listener_remove(RamDiscardListener *rdl);

#endif
