/*
 * gmem: the one branch that an ordinary read of guest memory pays
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The base's memory.h includes this, so nearly all of QEMU does: only what its inline
 * functions need is here.  The model and the rest are in system/gmem-touch-hooks.h.
 */

#ifndef SYSTEM_GMEM_TOUCH_H
#define SYSTEM_GMEM_TOUCH_H

#include "exec/hwaddr.h"
#include "qemu/atomic.h"

/* How many blocks have pages that can be private; 0 for every ordinary VM */
extern unsigned int gmem_touch_armed;

bool gmem_touch_read_guarded(const MemoryRegion *mr, hwaddr offset, void *to,
                             const void *from, hwaddr size);

/*
 * Copy @size bytes at @offset of @mr, whose host address is @from, for QEMU or a device.
 * False: part of that is private or converting, and what was not copied is zeros
 * in @to.  Any thread, within an RCU read-side section.
 */
static inline bool gmem_touch_read(const MemoryRegion *mr, hwaddr offset,
                                   void *to, const void *from, hwaddr size)
{
    if (likely(!qatomic_read(&gmem_touch_armed))) {
        memcpy(to, from, size);
        return true;
    }
    return gmem_touch_read_guarded(mr, offset, to, from, size);
}

#endif
