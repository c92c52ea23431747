/*
 * Which structure should hold the state of pages?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Compares a plain bitmap (what the engine has), the same with a summary bit per word,
 * QEMU's HBitmap and QEMU's interval tree, on one bit per page: changing 2 MiB and
 * back, testing a page, finding the end of a run within 2 MiB and within all of RAM,
 * and memory.  RAM of 1 TiB with 1, 1,000 and 1,000,000 runs spread evenly, and of 16
 * GiB with every other page set, the worst that a guest can do.
 *
 * Prints a line for each structure and map: nanoseconds (median of 7), and MiB.
 */

#include "qemu/osdep.h"
#include "crypto/hash.h"
#include "qemu/bitmap.h"
#include "qemu/bitops.h"
#include "qemu/hbitmap.h"
#include "qemu/host-utils.h"
#include "qemu/interval-tree.h"
#include "qemu/units.h"
#include "gmem-map.h"

#define SAMPLES 7
#define RUN_PAGES 512           /* 2 MiB */

typedef struct Structure {
    const char *name;
    void *(*create)(unsigned long pages);
    void (*change)(void *s, unsigned long first, unsigned long nr, bool set);
    bool (*test)(void *s, unsigned long page);
    /* first page from @first that is set, at most @limit */
    unsigned long (*next)(void *s, unsigned long first, unsigned long limit);
} Structure;

/* ---- plain: the engine's map ---- */

static void *plain_create(unsigned long pages)
{
    GmemMap *map = g_new0(GmemMap, 1);

    gmem_map_init(map, pages, GMEM_PAGE_PRIVATE);
    return map;
}

/* All three passes of a conversion, so more than the others do */
static void plain_change(void *s, unsigned long first, unsigned long nr,
                         bool set)
{
    gmem_map_mark(s, first, first + nr,
                  set ? GMEM_PAGE_SHARED : GMEM_PAGE_PRIVATE);
    gmem_map_flip(s, first, first + nr);
    gmem_map_unmark(s, first, first + nr);
}

static bool plain_test(void *s, unsigned long page)
{
    return gmem_map_range_is(s, page, page + 1, GMEM_PAGE_SHARED);
}

static unsigned long plain_next(void *s, unsigned long first,
                                unsigned long limit)
{
    GmemPageState state;
    unsigned long end = gmem_map_run(s, first, limit, &state);

    return state == GMEM_PAGE_SHARED ? first : end;
}

/* ---- plain with a summary: one bit per word that has a bit set ---- */

typedef struct Summed {
    unsigned long *bits, *summary;
} Summed;

static void *summed_create(unsigned long pages)
{
    Summed *s = g_new0(Summed, 1);

    s->bits = bitmap_new(pages);
    s->summary = bitmap_new(BITS_TO_LONGS(pages));
    return s;
}

static void summed_change(void *opaque, unsigned long first, unsigned long nr,
                          bool set)
{
    Summed *s = opaque;
    unsigned long i;

    if (set) {
        bitmap_set_atomic(s->bits, first, nr);
    } else {
        bitmap_test_and_clear_atomic(s->bits, first, nr);
    }
    for (i = BIT_WORD(first); i <= BIT_WORD(first + nr - 1); i++) {
        if (qatomic_read(&s->bits[i])) {
            set_bit_atomic(i, s->summary);
        } else {
            qatomic_and(&s->summary[BIT_WORD(i)], ~BIT_MASK(i));
        }
    }
}

static bool summed_test(void *opaque, unsigned long page)
{
    return test_bit(page, ((Summed *)opaque)->bits);
}

static unsigned long summed_next(void *opaque, unsigned long first,
                                 unsigned long limit)
{
    Summed *s = opaque;
    unsigned long i = BIT_WORD(first);
    unsigned long word = s->bits[i] & BITMAP_FIRST_WORD_MASK(first);

    if (!word) {
        i = find_next_bit(s->summary, BITS_TO_LONGS(limit), i + 1);
        word = i < BITS_TO_LONGS(limit) ? s->bits[i] : 0;
    }
    return word ? MIN(i * BITS_PER_LONG + ctzl(word), limit) : limit;
}

/* ---- HBitmap ---- */

static void *hbitmap_create(unsigned long pages)
{
    return hbitmap_alloc(pages, 0);
}

static void hbitmap_change(void *s, unsigned long first, unsigned long nr,
                           bool set)
{
    if (set) {
        hbitmap_set(s, first, nr);
    } else {
        hbitmap_reset(s, first, nr);
    }
}

static bool hbitmap_test(void *s, unsigned long page)
{
    return hbitmap_get(s, page);
}

static unsigned long hbitmap_next(void *s, unsigned long first,
                                  unsigned long limit)
{
    int64_t next = hbitmap_next_dirty(s, first, limit - first);

    return next < 0 ? limit : next;
}

/* Of all that HBitmap wants from outside, a checksum that we never ask for */
int qcrypto_hash_digest(QCryptoHashAlgo alg, const void *buf, size_t len,
                        char **digest, Error **errp)
{
    g_assert_not_reached();
}

/* ---- interval tree: a node per run ---- */

static void *tree_create(unsigned long pages)
{
    return g_new0(IntervalTreeRoot, 1);
}

static void tree_add(void *s, uint64_t start, uint64_t last)
{
    IntervalTreeNode *node = g_new0(IntervalTreeNode, 1);

    node->start = start;
    node->last = last;
    interval_tree_insert(node, s);
}

/* Take out what touches the range; put back what is left, or all as one */
static void tree_change(void *s, unsigned long first, unsigned long nr,
                        bool set)
{
    uint64_t start = first, last = first + nr - 1;
    uint64_t from = start ? start - set : start, to = last + set;
    IntervalTreeNode *node;

    while ((node = interval_tree_iter_first(s, from, to))) {
        uint64_t a = node->start, b = node->last;

        interval_tree_remove(node, s);
        g_free(node);
        if (set) {
            start = MIN(start, a);
            last = MAX(last, b);
            continue;
        }
        if (a < start) {
            tree_add(s, a, start - 1);
        }
        if (b > last) {
            tree_add(s, last + 1, b);
        }
    }
    if (set) {
        tree_add(s, start, last);
    }
}

static bool tree_test(void *s, unsigned long page)
{
    return interval_tree_iter_first(s, page, page) != NULL;
}

static unsigned long tree_next(void *s, unsigned long first,
                               unsigned long limit)
{
    IntervalTreeNode *node = interval_tree_iter_first(s, first, limit - 1);

    return node ? MAX(node->start, first) : limit;
}

/* ---- measuring ---- */

static const Structure structures[] = {
    { "plain", plain_create, plain_change, plain_test, plain_next },
    { "summary", summed_create, summed_change, summed_test, summed_next },
    { "hbitmap", hbitmap_create, hbitmap_change, hbitmap_test, hbitmap_next },
    { "tree", tree_create, tree_change, tree_test, tree_next },
};

typedef enum Op { OP_CHANGE, OP_TEST, OP_NEXT, OP_NEXT_FAR, OP_MAX } Op;

static const unsigned int op_rounds[OP_MAX] = { 20000, 200000, 20000, 9 };

static unsigned long sink;

static void one_op(const Structure *st, void *s, Op op, unsigned long at,
                   unsigned long pages)
{
    switch (op) {
    case OP_CHANGE:
        st->change(s, at, RUN_PAGES, true);
        st->change(s, at, RUN_PAGES, false);
        break;
    case OP_TEST:
        sink += st->test(s, at);
        break;
    case OP_NEXT:
        sink += st->next(s, at, at + RUN_PAGES);
        break;
    case OP_NEXT_FAR:
        sink += st->next(s, at, pages);
        break;
    default:
        g_assert_not_reached();
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Changes stay at one place; everything else wanders over all of RAM */
static double measure(const Structure *st, void *s, Op op,
                      unsigned long pages)
{
    unsigned int sample, i, rounds = op_rounds[op];
    double ns[SAMPLES];

    for (sample = 0; sample < SAMPLES; sample++) {
        unsigned long at = pages / 2 + RUN_PAGES;
        gint64 start = g_get_monotonic_time();

        for (i = 0; i < rounds; i++) {
            if (op != OP_CHANGE) {
                at = (at + 0x9e3779b1UL) % (pages - 2 * RUN_PAGES);
            }
            one_op(st, s, op, at, pages);
        }
        ns[sample] = (g_get_monotonic_time() - start) * 1000.0 / rounds;
    }
    qsort(ns, SAMPLES, sizeof(double), compare);
    return ns[SAMPLES / 2];
}

static double resident_mib(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2) {
        resident = 0;
    }
    if (f) {
        fclose(f);
    }
    return resident * (double)qemu_real_host_page_size() / MiB;
}

static void bench_here(const Structure *st, const char *map,
                       unsigned long pages, unsigned long runs)
{
    unsigned long step = pages / MAX(runs / 2, 1), i;
    double mib, before = resident_mib();
    void *s = st->create(pages);
    Op op;

    for (i = 0; i < runs / 2; i++) {
        st->change(s, i * step, step / 2, true);
    }
    mib = resident_mib() - before;
    printf("%-10s %-8s", map, st->name);
    for (op = 0; op < OP_MAX; op++) {
        printf(" %12.1f", measure(st, s, op, pages));
    }
    printf(" %10.1f\n", MAX(mib, 0));
    fflush(stdout);
}

/* In a child, so that each starts with the same, empty heap */
static void bench(const Structure *st, const char *map, unsigned long pages,
                  unsigned long runs)
{
    pid_t child;

    fflush(stdout);
    child = fork();
    if (!child) {
        bench_here(st, map, pages, runs);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

int main(void)
{
    const unsigned long tib = 1UL << 28, small = 1UL << 22;
    unsigned int i;

    printf("%-10s %-8s %12s %12s %12s %12s %10s\n", "runs", "struct",
           "change2MiB", "test", "next2MiB", "next", "MiB");
    for (i = 0; i < ARRAY_SIZE(structures); i++) {
        bench(&structures[i], "1", tib, 1);
        bench(&structures[i], "1000", tib, 1000);
        bench(&structures[i], "1000000", tib, 1000000);
        bench(&structures[i], "worst", small, small);
    }
    return 0;
}
