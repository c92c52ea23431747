/*
 * gmem: RamDiscardListeners as holders (system/ only)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_GMEM_ATTRIBUTES_H
#define SYSTEM_GMEM_ATTRIBUTES_H

#include "system/gmem.h"
#include "system/memory.h"

/*
 * Make @rdl a holder of the part of @block that @section covers, and tell it
 * what of that is shared.  BQL held.
 */
void gmem_listener_add(GmemBlock *block, RamDiscardListener *rdl,
                       const MemoryRegionSection *section);
/* Take all of it away from @rdl again, and forget it.  BQL held */
void gmem_listener_remove(RamDiscardListener *rdl);

#endif
