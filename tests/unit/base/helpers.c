/*
 * Memory of a map: who touches it, and how much there is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "impl.h"

static void deny(uintptr_t from, uintptr_t to)
{
    if (from < to) {
        g_assert_cmpint(mprotect((void *)from, to - from, PROT_NONE), ==, 0);
    }
}

void map_fence(void *map, size_t bytes, void *from, size_t size)
{
    uintptr_t page = qemu_real_host_page_size();
    uintptr_t start = (uintptr_t)map, end = ROUND_UP(start + bytes, page);

    deny(start, ROUND_DOWN((uintptr_t)from, page));
    deny(ROUND_UP((uintptr_t)from + size, page), end);
}

size_t map_resident(void *map, size_t bytes)
{
    size_t page = qemu_real_host_page_size(), i, sum = 0;
    uintptr_t start = ROUND_UP((uintptr_t)map, page);
    size_t nr = (bytes - (start - (uintptr_t)map)) / page;
    g_autofree unsigned char *vec = g_malloc(nr + 1);

    g_assert_cmpint(mincore((void *)start, nr * page, vec), ==, 0);
    for (i = 0; i < nr; i++) {
        sum += vec[i] & 1 ? page : 0;
    }
    return sum;
}
