/*
 * gmem: the state map of a block
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two bits per page in two plain bitmaps.  `changed` says that a page's state is
 * not the initial one: the map of a fresh block is all zeros, whatever its size and
 * initial state, and so costs nothing until the guest converts.  `converting` marks
 * the pages of a transaction.  There is no summary level: searches never leave the
 * range they are asked about, and 64 pages per word are fast enough for the longest
 * (docs/devel/engine.md has the measurement).
 *
 * Pages are counted in 4 KiB units, ranges are half-open.  Reading is lock-free.
 * Writing is atomic per word, so writers of different pages never disturb each
 * other; two writers of one page are kept apart by the range reservation.
 */

#ifndef SYSTEM_GMEM_MAP_H
#define SYSTEM_GMEM_MAP_H

#include "system/gmem.h"

#define GMEM_PAGE_BITS 12
#define GMEM_PAGE_BYTES (UINT64_C(1) << GMEM_PAGE_BITS)

typedef struct GmemMap {
    unsigned long *changed;
    unsigned long *converting;
    unsigned long nr_pages;
    size_t bytes;               /* of both bitmaps */
    unsigned long invert;       /* state word = changed ^ invert */
    unsigned long shared_pages; /* follows every flip by popcount */
} GmemMap;

typedef struct GmemPageRun {
    unsigned long start;
    unsigned long end;
} GmemPageRun;

/* An empty map; aborts where address space for 2 bits per page cannot be had */
void gmem_map_init(GmemMap *map, unsigned long nr_pages,
                   GmemPageState initial);
void gmem_map_destroy(GmemMap *map);

unsigned long gmem_map_shared_pages(const GmemMap *map);

/* Every page of [first, end) has @state and is not converting */
bool gmem_map_range_is(const GmemMap *map, unsigned long first,
                       unsigned long end, GmemPageState state);
/* Pages of [first, end) that have @state, converting or not */
unsigned long gmem_map_count(const GmemMap *map, unsigned long first,
                             unsigned long end, GmemPageState state);
/* The same, but without those that are converting */
unsigned long gmem_map_count_still(const GmemMap *map, unsigned long first,
                                   unsigned long end, GmemPageState state);
/* End, at most @limit, of the run of equal state at @first, and its state */
unsigned long gmem_map_run(const GmemMap *map, unsigned long first,
                           unsigned long limit, GmemPageState *state);
/* The first run of [first, limit) of converting pages */
bool gmem_map_next_marked(const GmemMap *map, unsigned long first,
                          unsigned long limit, GmemPageRun *run);
/* The first run of [first, limit) of pages that are shared and not converting */
bool gmem_map_next_usable(const GmemMap *map, unsigned long first,
                          unsigned long limit, GmemPageRun *run);

/* Mark those pages of [first, end) converting that are not @to; their number */
unsigned long gmem_map_mark(GmemMap *map, unsigned long first,
                            unsigned long end, GmemPageState to);
/* Give every converting page of [first, end) the other state; still converting */
void gmem_map_flip(GmemMap *map, unsigned long first, unsigned long end);
/* No page of [first, end) is converting any more */
void gmem_map_unmark(GmemMap *map, unsigned long first, unsigned long end);

#endif
