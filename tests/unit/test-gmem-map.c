/*
 * The state map
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * 1. Every operation against an array of bytes, at random, for sizes on and off the
 *    word border and both initial states.
 * 2. Nothing outside a range is touched: the rest of the map is made inaccessible.
 * 3. Threads that change pages of one word lose nothing.
 * 4. A fresh map of 1 TiB costs nothing; the worst pattern costs two bits per page.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/thread.h"
#include <sys/mman.h>
#include "gmem-map.h"

#define TIB_PAGES (1UL << (40 - GMEM_PAGE_BITS))

typedef struct Model {
    GmemMap map;
    unsigned int pages;
    uint8_t *shared, *converting;
} Model;

static void model_init(Model *m, unsigned int pages, GmemPageState initial)
{
    m->pages = pages;
    m->shared = g_new0(uint8_t, pages);
    m->converting = g_new0(uint8_t, pages);
    memset(m->shared, initial, pages);
    gmem_map_init(&m->map, pages, initial);
}

static void model_destroy(Model *m)
{
    gmem_map_destroy(&m->map);
    g_free(m->shared);
    g_free(m->converting);
}

/* Mark, flip and unmark a range; sometimes stop half-way, as an undo would */
static void model_change(Model *m, unsigned int first, unsigned int end)
{
    GmemPageState to = g_test_rand_int() & 1;
    bool flip = g_test_rand_int_range(0, 4);
    unsigned int i, marked = 0;

    for (i = first; i < end; i++) {
        marked += m->shared[i] != to;
        m->converting[i] |= m->shared[i] != to;
    }
    g_assert_cmpuint(gmem_map_mark(&m->map, first, end, to), ==, marked);
    if (flip) {
        gmem_map_flip(&m->map, first, end);
        for (i = first; i < end; i++) {
            m->shared[i] ^= m->converting[i];
        }
    }
    if (g_test_rand_int_range(0, 4)) {
        gmem_map_unmark(&m->map, first, end);
        memset(m->converting + first, 0, end - first);
    }
}

static void model_check_runs(Model *m, unsigned int first, unsigned int end)
{
    unsigned int i, a, b;
    GmemPageRun run;
    GmemPageState state;
    bool found;

    for (i = first; i < end && m->shared[i] == m->shared[first]; i++) {
    }
    g_assert_cmpuint(gmem_map_run(&m->map, first, end, &state), ==, i);
    g_assert_cmpuint(state, ==, m->shared[first]);

    for (a = first; a < end && !m->converting[a]; a++) {
    }
    for (b = a; b < end && m->converting[b]; b++) {
    }
    found = gmem_map_next_marked(&m->map, first, end, &run);
    g_assert_cmpuint(found, ==, a < end);
    g_assert(!found || (run.start == a && run.end == b));

    for (a = first; a < end && !(m->shared[a] && !m->converting[a]); a++) {
    }
    for (b = a; b < end && m->shared[b] && !m->converting[b]; b++) {
    }
    found = gmem_map_next_usable(&m->map, first, end, &run);
    g_assert_cmpuint(found, ==, a < end);
    g_assert(!found || (run.start == a && run.end == b));
}

static void model_check(Model *m, unsigned int first, unsigned int end)
{
    unsigned int i, shared = 0, in_range = 0, marked = 0, usable = 0;

    for (i = 0; i < m->pages; i++) {
        shared += m->shared[i];
    }
    for (i = first; i < end; i++) {
        in_range += m->shared[i];
        marked += m->converting[i];
        usable += m->shared[i] && !m->converting[i];
    }
    g_assert_cmpuint(gmem_map_shared_pages(&m->map), ==, shared);
    g_assert_cmpuint(gmem_map_count(&m->map, first, end, GMEM_PAGE_SHARED), ==,
                     in_range);
    g_assert_cmpuint(gmem_map_count(&m->map, first, end, GMEM_PAGE_PRIVATE),
                     ==, end - first - in_range);
    g_assert_cmpuint(gmem_map_count_still(&m->map, first, end,
                                          GMEM_PAGE_SHARED), ==, usable);
    g_assert_cmpuint(gmem_map_count_still(&m->map, first, end,
                                          GMEM_PAGE_PRIVATE),
                     ==, end - first - marked - usable);
    g_assert(gmem_map_range_is(&m->map, first, end, GMEM_PAGE_SHARED) ==
             (!marked && in_range == end - first));
    g_assert(gmem_map_range_is(&m->map, first, end, GMEM_PAGE_PRIVATE) ==
             (!marked && !in_range));
    model_check_runs(m, first, end);
}

static void test_model(void)
{
    static const unsigned int sizes[] = { 1, 63, 64, 65, 127, 128, 500 };
    unsigned int i, round;

    for (i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
        Model m;

        model_init(&m, sizes[i / 2], i & 1);
        for (round = 0; round < 2000; round++) {
            unsigned int first = g_test_rand_int_range(0, m.pages);
            unsigned int end = g_test_rand_int_range(first + 1, m.pages + 1);

            model_change(&m, first, end);
            first = g_test_rand_int_range(0, m.pages);
            end = g_test_rand_int_range(first + 1, m.pages + 1);
            model_check(&m, first, end);
        }
        model_destroy(&m);
    }
}

/* Leave only the host page with the words of 512 pages at @first accessible */
static void fence(GmemMap *map, unsigned long first, int prot)
{
    uintptr_t page = qemu_real_host_page_size();
    uintptr_t start = (uintptr_t)map->changed, end = start + map->bytes;
    uintptr_t a = (uintptr_t)&map->changed[BIT_WORD(first)] & ~(page - 1);
    uintptr_t b = (uintptr_t)&map->converting[BIT_WORD(first)] & ~(page - 1);

    g_assert_cmpint(mprotect((void *)start, a - start, prot), ==, 0);
    g_assert_cmpint(mprotect((void *)(a + page), b - a - page, prot), ==, 0);
    g_assert_cmpint(mprotect((void *)(b + page), end - b - page, prot), ==, 0);
}

static void test_bounded(void)
{
    unsigned long first = TIB_PAGES / 2, end = first + 512;
    GmemPageState state;
    GmemPageRun run;
    GmemMap map;

    gmem_map_init(&map, TIB_PAGES, GMEM_PAGE_PRIVATE);
    fence(&map, first, PROT_NONE);
    g_assert_cmpuint(gmem_map_mark(&map, first, end, GMEM_PAGE_SHARED), ==,
                     512);
    g_assert(gmem_map_next_marked(&map, first, end, &run));
    gmem_map_flip(&map, first, end);
    gmem_map_unmark(&map, first, end);
    g_assert(!gmem_map_next_marked(&map, first, end, &run));
    g_assert(gmem_map_next_usable(&map, first, end, &run));
    g_assert_cmpuint(gmem_map_run(&map, first, end, &state), ==, end);
    g_assert(gmem_map_range_is(&map, first, end, GMEM_PAGE_SHARED));
    g_assert_cmpuint(gmem_map_count(&map, first, end, state), ==, 512);
    fence(&map, first, PROT_READ | PROT_WRITE);
    gmem_map_destroy(&map);
}

#define THREADS 4

typedef struct Neighbour {
    GmemMap *map;
    unsigned int nr;
    gint64 until;
} Neighbour;

/* Every THREADS-th page is mine, and has to be as I left it */
static void neighbour_round(Neighbour *n, GmemPageState to)
{
    unsigned int page;

    for (page = n->nr; page < 64; page += THREADS) {
        gmem_map_mark(n->map, page, page + 1, to);
        gmem_map_flip(n->map, page, page + 1);
        gmem_map_unmark(n->map, page, page + 1);
    }
    for (page = n->nr; page < 64; page += THREADS) {
        g_assert(gmem_map_range_is(n->map, page, page + 1, to));
    }
}

static void *neighbour(void *opaque)
{
    Neighbour *n = opaque;

    while (g_get_monotonic_time() < n->until) {
        neighbour_round(n, GMEM_PAGE_SHARED);
        neighbour_round(n, GMEM_PAGE_PRIVATE);
    }
    neighbour_round(n, GMEM_PAGE_SHARED);
    return NULL;
}

static void test_neighbours(void)
{
    gint64 until = g_get_monotonic_time() + G_USEC_PER_SEC;
    Neighbour n[THREADS];
    QemuThread threads[THREADS];
    GmemMap map;
    unsigned int i;

    gmem_map_init(&map, 64, GMEM_PAGE_PRIVATE);
    for (i = 0; i < THREADS; i++) {
        n[i] = (Neighbour) { &map, i, until };
        qemu_thread_create(&threads[i], "neighbour", neighbour, &n[i],
                           QEMU_THREAD_JOINABLE);
    }
    for (i = 0; i < THREADS; i++) {
        qemu_thread_join(&threads[i]);
    }
    g_assert_cmpuint(gmem_map_shared_pages(&map), ==, 64);
    gmem_map_destroy(&map);
}

/* Bytes of the map that have memory behind them */
static size_t resident(const GmemMap *map)
{
    size_t page = qemu_real_host_page_size(), i, sum = 0;
    size_t n = DIV_ROUND_UP(map->bytes, page);
    g_autofree unsigned char *vec = g_malloc(n);

    g_assert_cmpint(mincore(map->changed, map->bytes, vec), ==, 0);
    for (i = 0; i < n; i++) {
        sum += vec[i] & 1 ? page : 0;
    }
    return sum;
}

static void test_memory(void)
{
    const unsigned long pages = TIB_PAGES / 64;
    unsigned long page;
    GmemMap map;

    gmem_map_init(&map, TIB_PAGES, GMEM_PAGE_SHARED);
    g_assert_cmpuint(map.bytes * 8, ==, 2 * TIB_PAGES);
    g_assert_cmpuint(gmem_map_shared_pages(&map), ==, TIB_PAGES);
    g_assert_cmpuint(resident(&map), ==, 0);
    gmem_map_destroy(&map);

    gmem_map_init(&map, pages, GMEM_PAGE_SHARED);
    for (page = 0; page < pages; page += 2) {
        gmem_map_mark(&map, page, page + 1, GMEM_PAGE_PRIVATE);
    }
    gmem_map_flip(&map, 0, pages);
    g_assert_cmpuint(gmem_map_shared_pages(&map), ==, pages / 2);
    g_assert_cmpuint(resident(&map), >, 0);
    g_assert_cmpuint(resident(&map) * 8, <=, 2 * pages);
    gmem_map_destroy(&map);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/map/model", test_model);
    g_test_add_func("/gmem/map/bounded", test_bounded);
    g_test_add_func("/gmem/map/neighbours", test_neighbours);
    g_test_add_func("/gmem/map/memory", test_memory);
    return g_test_run();
}
