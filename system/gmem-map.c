/*
 * gmem: the state map of a block
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Everything walks words.  A word at the border of a range is masked; what
 * is outside the mask belongs to somebody else and is neither judged nor written.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/host-utils.h"
#include <sys/mman.h>
#include "gmem-map.h"

/* Above this the map is mapped, not allocated, so that only touched pages cost */
#define GMEM_MAP_LAZY_BYTES (64 * 1024)

/* What a search looks for */
typedef enum GmemMapBits {
    GMEM_BITS_SHARED,
    GMEM_BITS_CONVERTING,
    GMEM_BITS_USABLE,
} GmemMapBits;

static size_t gmem_map_words(const GmemMap *map)
{
    return BITS_TO_LONGS(map->nr_pages);
}

void gmem_map_init(GmemMap *map, unsigned long nr_pages, GmemPageState initial)
{
    map->nr_pages = nr_pages;
    map->invert = initial == GMEM_PAGE_SHARED ? ~0UL : 0;
    map->shared_pages = initial == GMEM_PAGE_SHARED ? nr_pages : 0;
    map->bytes = 2 * gmem_map_words(map) * sizeof(unsigned long);
    if (map->bytes < GMEM_MAP_LAZY_BYTES) {
        map->changed = g_malloc0(map->bytes);
    } else {
        map->changed = mmap(NULL, map->bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                            -1, 0);
        if (map->changed == MAP_FAILED) {
            g_error("gmem: no address space for a state map of %zu bytes",
                    map->bytes);
        }
    }
    map->converting = map->changed + gmem_map_words(map);
}

void gmem_map_destroy(GmemMap *map)
{
    if (map->bytes < GMEM_MAP_LAZY_BYTES) {
        g_free(map->changed);
    } else {
        munmap(map->changed, map->bytes);
    }
    map->changed = NULL;
    map->converting = NULL;
}

unsigned long gmem_map_shared_pages(const GmemMap *map)
{
    return qatomic_read(&map->shared_pages);
}

/* The bits of word @i that lie in [first, end); the word must touch the range */
static inline unsigned long gmem_map_mask(size_t i, unsigned long first,
                                          unsigned long end)
{
    unsigned long mask = ~0UL;

    if (i == BIT_WORD(first)) {
        mask &= BITMAP_FIRST_WORD_MASK(first);
    }
    if (i == BIT_WORD(end - 1)) {
        mask &= BITMAP_LAST_WORD_MASK(end);
    }
    return mask;
}

static inline unsigned long gmem_map_shared(const GmemMap *map, size_t i)
{
    return qatomic_read(&map->changed[i]) ^ map->invert;
}

/*
 * `converting` is read before the state: it is cleared after the state was
 * published, so whoever sees it clear sees the new state too.
 */
static inline unsigned long gmem_map_usable(const GmemMap *map, size_t i)
{
    unsigned long converting = qatomic_load_acquire(&map->converting[i]);

    return gmem_map_shared(map, i) & ~converting;
}

static inline unsigned long gmem_map_bits(const GmemMap *map, size_t i,
                                          GmemMapBits what)
{
    switch (what) {
    case GMEM_BITS_SHARED:
        return gmem_map_shared(map, i);
    case GMEM_BITS_CONVERTING:
        return qatomic_read(&map->converting[i]);
    case GMEM_BITS_USABLE:
        return gmem_map_usable(map, i);
    }
    g_assert_not_reached();
}

/*
 * First page of [first, limit) whose bit, after @invert, is set; else @limit.
 * Inlined so that @what is settled outside the loop.
 */
static inline QEMU_ALWAYS_INLINE unsigned long
gmem_map_find(const GmemMap *map, unsigned long first, unsigned long limit,
              GmemMapBits what, unsigned long invert)
{
    size_t i;

    if (first >= limit) {
        return limit;
    }
    for (i = BIT_WORD(first); i <= BIT_WORD(limit - 1); i++) {
        unsigned long word = gmem_map_bits(map, i, what) ^ invert;

        word &= gmem_map_mask(i, first, limit);
        if (word) {
            return i * BITS_PER_LONG + ctzl(word);
        }
    }
    return limit;
}

static inline QEMU_ALWAYS_INLINE bool
gmem_map_next(const GmemMap *map, unsigned long first, unsigned long limit,
              GmemMapBits what, GmemPageRun *run)
{
    run->start = gmem_map_find(map, first, limit, what, 0);
    run->end = gmem_map_find(map, run->start, limit, what, ~0UL);
    return run->start < limit;
}

bool gmem_map_next_marked(const GmemMap *map, unsigned long first,
                          unsigned long limit, GmemPageRun *run)
{
    return gmem_map_next(map, first, limit, GMEM_BITS_CONVERTING, run);
}

/*
 * The second search may see a page turn usable or unusable after the first
 * looked; an empty run would end a caller's loop too early, so look again.
 */
bool gmem_map_next_usable(const GmemMap *map, unsigned long first,
                          unsigned long limit, GmemPageRun *run)
{
    do {
        if (!gmem_map_next(map, first, limit, GMEM_BITS_USABLE, run)) {
            return false;
        }
        first = run->start;
    } while (run->start == run->end);
    return true;
}

bool gmem_map_range_is(const GmemMap *map, unsigned long first,
                       unsigned long end, GmemPageState state)
{
    unsigned long invert = state == GMEM_PAGE_SHARED ? 0 : ~0UL;
    size_t i;

    for (i = BIT_WORD(first); first < end && i <= BIT_WORD(end - 1); i++) {
        unsigned long mask = gmem_map_mask(i, first, end);
        unsigned long converting = qatomic_load_acquire(&map->converting[i]);

        if ((converting | ~(gmem_map_shared(map, i) ^ invert)) & mask) {
            return false;
        }
    }
    return true;
}

/* Inlined so that @still is settled outside the loop */
static inline QEMU_ALWAYS_INLINE unsigned long
gmem_map_count_bits(const GmemMap *map, unsigned long first, unsigned long end,
                    GmemPageState state, bool still)
{
    unsigned long invert = state == GMEM_PAGE_SHARED ? 0 : ~0UL;
    unsigned long count = 0;
    size_t i;

    for (i = BIT_WORD(first); first < end && i <= BIT_WORD(end - 1); i++) {
        unsigned long mask = gmem_map_mask(i, first, end);

        if (still) {
            mask &= ~qatomic_load_acquire(&map->converting[i]);
        }
        count += ctpopl((gmem_map_shared(map, i) ^ invert) & mask);
    }
    return count;
}

unsigned long gmem_map_count(const GmemMap *map, unsigned long first,
                             unsigned long end, GmemPageState state)
{
    return gmem_map_count_bits(map, first, end, state, false);
}

unsigned long gmem_map_count_still(const GmemMap *map, unsigned long first,
                                   unsigned long end, GmemPageState state)
{
    return gmem_map_count_bits(map, first, end, state, true);
}

unsigned long gmem_map_run(const GmemMap *map, unsigned long first,
                           unsigned long limit, GmemPageState *state)
{
    unsigned long bit = gmem_map_shared(map, BIT_WORD(first)) & BIT_MASK(first);
    unsigned long end;

    *state = bit ? GMEM_PAGE_SHARED : GMEM_PAGE_PRIVATE;
    end = gmem_map_find(map, first + 1, limit, GMEM_BITS_SHARED,
                        bit ? ~0UL : 0);
    return end;
}

unsigned long gmem_map_mark(GmemMap *map, unsigned long first,
                            unsigned long end, GmemPageState to)
{
    unsigned long invert = to == GMEM_PAGE_SHARED ? ~0UL : 0;
    unsigned long count = 0;
    size_t i;

    for (i = BIT_WORD(first); first < end && i <= BIT_WORD(end - 1); i++) {
        unsigned long bits = (gmem_map_shared(map, i) ^ invert) &
                             gmem_map_mask(i, first, end);

        if (bits) {
            qatomic_or(&map->converting[i], bits);
            count += ctpopl(bits);
        }
    }
    return count;
}

void gmem_map_flip(GmemMap *map, unsigned long first, unsigned long end)
{
    unsigned long gained = 0;
    size_t i;

    for (i = BIT_WORD(first); first < end && i <= BIT_WORD(end - 1); i++) {
        unsigned long bits = qatomic_read(&map->converting[i]) &
                             gmem_map_mask(i, first, end);
        unsigned long was;

        if (bits) {
            was = qatomic_fetch_xor(&map->changed[i], bits) ^ map->invert;
            gained += ctpopl(~was & bits) - ctpopl(was & bits);
        }
    }
    /* wraps around where pages were lost, and so does the sum */
    qatomic_add(&map->shared_pages, gained);
}

void gmem_map_unmark(GmemMap *map, unsigned long first, unsigned long end)
{
    size_t i;

    for (i = BIT_WORD(first); first < end && i <= BIT_WORD(end - 1); i++) {
        unsigned long bits = qatomic_read(&map->converting[i]) &
                             gmem_map_mask(i, first, end);

        if (bits) {
            qatomic_and(&map->converting[i], ~bits);
        }
    }
}
