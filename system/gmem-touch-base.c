/*
 * gmem: what an ordinary read refers to, in the comparison binary
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The base's memory.h has the branch of system/gmem-touch.h in both binaries, so that
 * most objects are the same and are compiled once.  Here no block is ever armed.
 */

#include "qemu/osdep.h"
#include "system/memory.h"

unsigned int gmem_touch_armed;

bool gmem_touch_read_guarded(const MemoryRegion *mr, hwaddr offset, void *to,
                             const void *from, hwaddr size)
{
    g_assert_not_reached();
}
