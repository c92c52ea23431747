/*
 * Mappings of an IOMMU, in units
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The IOMMU is faked and checks: what it maps is not mapped yet; what it unmaps are whole
 * mappings, or parts where it divides; and a page that stays shared is not unmapped, unless
 * it is in the same unit as one that goes.
 *
 *  1. mappings end at borders of units, which lie at multiples of them in the address space
 *  2. units of one page, and an IOMMU that divides: no other page is touched, whatever goes
 *  3. larger units: what is unmapped with a page is its unit, and is mapped again
 *  4. neighbouring mappings that go as a whole go in one call
 *  5. an IOMMU without a mapping left for the rest: an error, and all is as before
 *  6. each call failing once: the notes are right, and nothing but what is reported is lost
 *  7. an IOMMU that divides as a rule, and cannot here
 *  8. all kinds at random, beside a plain list of what must be mapped
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "gmem-units.h"

#define PAGES 256

typedef struct Iommu {
    GmemUnits units;
    int mapping[PAGES];                 /* 0: none */
    int last;                           /* number of the youngest mapping */
    unsigned int mappings, limit;       /* limit 0: none */
    unsigned int calls, fail_at;        /* fail_at 0: never */
    bool refuses_to_divide;
    unsigned long first, end;           /* what is being taken */
    unsigned int interrupted;           /* pages that stay and were unmapped */
} Iommu;

static bool fails(Iommu *iommu)
{
    return ++iommu->calls == iommu->fail_at;
}

static unsigned int count_mappings(const Iommu *iommu)
{
    unsigned int count = 0, page;

    for (page = 0; page < PAGES; page++) {
        count += iommu->mapping[page] &&
                 (!page || iommu->mapping[page] != iommu->mapping[page - 1]);
    }
    return count;
}

static unsigned long unit_of(const Iommu *iommu, unsigned long page)
{
    return (page + iommu->units.phase) / iommu->units.unit;
}

static int fake_map(void *opaque, unsigned long first, unsigned long count)
{
    Iommu *iommu = opaque;
    unsigned long page;

    g_assert_cmpuint(count, >, 0);
    g_assert_cmpuint(first + count, <=, PAGES);
    g_assert_cmpuint(unit_of(iommu, first), ==,
                     unit_of(iommu, first + count - 1));
    if (fails(iommu)) {
        return -ENOMEM;
    }
    if (iommu->limit && count_mappings(iommu) >= iommu->limit) {
        return -ENOSPC;
    }
    iommu->last++;
    for (page = first; page < first + count; page++) {
        g_assert_cmpint(iommu->mapping[page], ==, 0);
        iommu->mapping[page] = iommu->last;
    }
    return 0;
}

/* Does [first, end) cut a mapping in two? */
static bool cuts(const Iommu *iommu, unsigned long first, unsigned long end)
{
    const int *mapping = iommu->mapping;

    return (first && mapping[first] == mapping[first - 1]) ||
           (end < PAGES && mapping[end] == mapping[end - 1]);
}

static void leaves_alone(Iommu *iommu, unsigned long page)
{
    if (page >= iommu->first && page < iommu->end) {
        return;
    }
    iommu->interrupted++;
    g_assert_true(!iommu->units.divides || iommu->refuses_to_divide);
    g_assert_true(unit_of(iommu, page) == unit_of(iommu, iommu->first) ||
                  unit_of(iommu, page) == unit_of(iommu, iommu->end - 1));
}

static int fake_unmap(void *opaque, unsigned long first, unsigned long count)
{
    Iommu *iommu = opaque;
    unsigned long page, end = first + count;

    g_assert_cmpuint(count, >, 0);
    g_assert_cmpuint(end, <=, PAGES);
    if (fails(iommu)) {
        return -ENOMEM;
    }
    if (cuts(iommu, first, end)) {
        g_assert_true(iommu->units.divides);
        if (iommu->refuses_to_divide) {
            return -EINVAL;
        }
        for (page = end; page < PAGES && iommu->mapping[page] ==
                                         iommu->mapping[end - 1]; page++) {
            iommu->mapping[page] = INT_MAX - iommu->last;
        }
        iommu->last++;
    }
    for (page = first; page < end; page++) {
        g_assert_cmpint(iommu->mapping[page], !=, 0);
        leaves_alone(iommu, page);
        iommu->mapping[page] = 0;
    }
    return 0;
}

static const GmemUnitsOps fake_ops = { fake_map, fake_unmap };

static void start(Iommu *iommu, unsigned long unit, unsigned long phase,
                  bool divides)
{
    memset(iommu, 0, sizeof(*iommu));
    iommu->units = (GmemUnits) {
        .ops = &fake_ops, .opaque = iommu, .unit = unit, .phase = phase,
        .divides = divides,
    };
    gmem_units_init(&iommu->units, PAGES);
}

static int give(Iommu *iommu, unsigned long first, unsigned long end)
{
    return gmem_units_give(&iommu->units, first, end);
}

static int take(Iommu *iommu, unsigned long first, unsigned long end)
{
    iommu->first = first;
    iommu->end = end;
    return gmem_units_take(&iommu->units, first, end);
}

/* The notes tell what is mapped, and how */
static void check_notes(const Iommu *iommu)
{
    const int *mapping = iommu->mapping;
    unsigned long page;

    for (page = 0; page < PAGES; page++) {
        g_assert_cmpint(test_bit(page, iommu->units.mapped), ==, !!mapping[page]);
        g_assert_cmpint(test_bit(page, iommu->units.starts), ==,
                        mapping[page] &&
                        (!page || mapping[page] != mapping[page - 1]));
    }
}

static void finish(Iommu *iommu)
{
    check_notes(iommu);
    iommu->fail_at = 0;
    g_assert_cmpint(take(iommu, 0, PAGES), ==, 0);
    check_notes(iommu);
    g_assert_true(bitmap_empty(iommu->units.mapped, PAGES));
    gmem_units_destroy(&iommu->units);
}

static void test_borders(void)
{
    static const struct {
        unsigned long unit, phase, first, end;
        unsigned int calls;
    } rows[] = {
        { 1, 0, 3, 10, 7 },
        { 16, 0, 0, 64, 4 },
        { 16, 0, 15, 17, 2 },
        { 16, 0, 1, 15, 1 },
        { 16, 4, 0, 64, 5 },
        { 16, 4, 12, 28, 1 },
        { GMEM_UNITS_ALL, 0, 0, PAGES, 1 },
        { GMEM_UNITS_ALL, 77, 5, 6, 1 },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(rows); i++) {
        Iommu iommu;

        start(&iommu, rows[i].unit, rows[i].phase, false);
        g_assert_cmpint(give(&iommu, rows[i].first, rows[i].end), ==, 0);
        g_assert_cmpuint(iommu.calls, ==, rows[i].calls);
        /* what is there is not mapped again */
        g_assert_cmpint(give(&iommu, rows[i].first, rows[i].end), ==, 0);
        g_assert_cmpuint(iommu.calls, ==, rows[i].calls);
        finish(&iommu);
    }
}

static void test_apart(void)
{
    Iommu iommu;

    start(&iommu, 64, 0, true);
    give(&iommu, 0, 64);
    iommu.calls = 0;
    take(&iommu, 10, 20);
    take(&iommu, 30, 31);
    take(&iommu, 0, 1);
    take(&iommu, 25, 64);
    g_assert_cmpuint(iommu.calls, ==, 5);       /* the last one has a hole in it */
    g_assert_cmpuint(iommu.interrupted, ==, 0);
    finish(&iommu);

    start(&iommu, 1, 0, false);
    give(&iommu, 0, 64);
    iommu.calls = 0;
    take(&iommu, 10, 20);
    g_assert_cmpuint(iommu.calls, ==, 1);
    take(&iommu, 5, 25);
    g_assert_cmpuint(iommu.calls, ==, 3);
    finish(&iommu);
}

static void test_unit(void)
{
    Iommu iommu;

    start(&iommu, 16, 0, false);
    give(&iommu, 0, 64);

    /* in the middle: one is unmapped, two are mapped */
    iommu.calls = 0;
    take(&iommu, 20, 24);
    g_assert_cmpuint(iommu.calls, ==, 3);
    g_assert_cmpuint(iommu.interrupted, ==, 12);
    check_notes(&iommu);

    /* at an edge of what is left: no other page of the unit */
    iommu.calls = iommu.interrupted = 0;
    take(&iommu, 16, 18);
    g_assert_cmpuint(iommu.calls, ==, 2);
    g_assert_cmpuint(iommu.interrupted, ==, 2);

    /* over a border, and over one that goes as a whole */
    iommu.calls = iommu.interrupted = 0;
    take(&iommu, 30, 50);
    g_assert_cmpuint(iommu.calls, ==, 5);
    g_assert_cmpuint(iommu.interrupted, ==, 6 + 14);

    /* what comes back is a mapping of its own, and nobody is disturbed */
    iommu.calls = iommu.interrupted = 0;
    give(&iommu, 16, 50);
    g_assert_cmpuint(iommu.calls, ==, 2 + 1 + 1 + 1);
    g_assert_cmpuint(iommu.interrupted, ==, 0);
    finish(&iommu);
}

static void test_together(void)
{
    Iommu iommu;

    start(&iommu, 16, 0, false);
    give(&iommu, 0, PAGES);
    iommu.calls = 0;
    take(&iommu, 32, 192);
    g_assert_cmpuint(iommu.calls, ==, 1);
    g_assert_cmpuint(iommu.interrupted, ==, 0);
    finish(&iommu);
}

static void test_limit(void)
{
    Iommu iommu;

    start(&iommu, 16, 0, false);
    iommu.limit = 4;
    g_assert_cmpint(give(&iommu, 0, PAGES), ==, -ENOSPC);
    g_assert_cmpuint(count_mappings(&iommu), ==, 4);
    check_notes(&iommu);
    g_assert_cmpint(take(&iommu, 20, 24), ==, -ENOSPC);
    g_assert_cmpuint(find_next_zero_bit(iommu.units.mapped, PAGES, 0), ==, 64);
    g_assert_cmpuint(iommu.units.lost, ==, 0);
    check_notes(&iommu);

    /* one more mapping is not needed at an edge */
    g_assert_cmpint(take(&iommu, 16, 24), ==, 0);
    finish(&iommu);
}

/* The pages of [first, end) go; every call of that fails once */
static void fail_all(unsigned long unit, unsigned long first, unsigned long end)
{
    unsigned int at;
    bool failed = true;

    for (at = 1; failed; at++) {
        unsigned long page, gone = 0;
        Iommu iommu;
        int ret;

        start(&iommu, unit, 0, false);
        give(&iommu, 0, 128);
        iommu.fail_at = iommu.calls + at;
        ret = take(&iommu, first, end);
        failed = iommu.calls >= iommu.fail_at;
        check_notes(&iommu);
        for (page = 0; page < 128; page++) {
            bool inside = page >= first && page < end;

            gone += !inside && !iommu.mapping[page];
            g_assert_true(ret || !inside || !iommu.mapping[page]);
        }
        g_assert_cmpuint(iommu.units.lost, ==, gone);
        g_assert_cmpuint(gone, ==, 0);          /* the next call works again */
        finish(&iommu);
    }
    g_assert_cmpuint(at, >, 2);
}

static void lose(unsigned long first, unsigned long end, unsigned long lost)
{
    Iommu iommu;

    start(&iommu, 16, 0, false);
    give(&iommu, 0, 48);
    iommu.limit = 1;
    iommu.mapping[200] = INT_MAX;               /* another's, at the limit */
    g_assert_cmpint(take(&iommu, first, end), ==, 0);
    g_assert_cmpuint(iommu.units.lost, ==, lost);
    iommu.mapping[200] = 0;
    finish(&iommu);
}

static void test_fail(void)
{
    fail_all(1, 10, 20);
    fail_all(16, 16, 48);
    fail_all(16, 20, 24);
    fail_all(16, 20, 32);
    fail_all(16, 16, 20);
    fail_all(16, 20, 60);

    /* neither the parts nor the whole can be mapped again */
    lose(4, 8, 12);
    lose(4, 36, 4 + 12);
}

static void test_cannot_divide(void)
{
    Iommu iommu;

    start(&iommu, 64, 0, true);
    give(&iommu, 0, 128);
    take(&iommu, 10, 12);                       /* divided */
    iommu.refuses_to_divide = true;
    iommu.calls = 0;
    g_assert_cmpint(take(&iommu, 20, 24), ==, 0);
    g_assert_cmpuint(iommu.calls, ==, 4);
    g_assert_cmpuint(iommu.interrupted, ==, 52 - 4);
    check_notes(&iommu);
    g_assert_cmpuint(bitmap_count_one(iommu.units.mapped, PAGES), ==,
                     128 - 2 - 4);
    finish(&iommu);
}

static void random_kind(unsigned int seed)
{
    DECLARE_BITMAP(wanted, PAGES);
    GRand *rand = g_rand_new_with_seed(seed);
    Iommu iommu;
    int i;

    bitmap_zero(wanted, PAGES);
    start(&iommu, 1UL << g_rand_int_range(rand, 0, 7),
          0, g_rand_boolean(rand));
    iommu.units.phase = g_rand_int_range(rand, 0, iommu.units.unit);
    for (i = 0; i < 2000; i++) {
        unsigned long first = g_rand_int_range(rand, 0, PAGES);
        unsigned long count = g_rand_int_range(rand, 1, PAGES - first + 1);

        iommu.refuses_to_divide = iommu.units.divides &&
                                  g_rand_int_range(rand, 0, 10) == 0;
        if (g_rand_boolean(rand)) {
            bitmap_set(wanted, first, count);
            g_assert_cmpint(give(&iommu, first, first + count), ==, 0);
        } else {
            bitmap_clear(wanted, first, count);
            g_assert_cmpint(take(&iommu, first, first + count), ==, 0);
        }
        check_notes(&iommu);
        g_assert_true(bitmap_equal(wanted, iommu.units.mapped, PAGES));
    }
    g_assert_cmpuint(iommu.units.lost, ==, 0);
    iommu.refuses_to_divide = false;
    finish(&iommu);
    g_rand_free(rand);
}

static void test_random(void)
{
    unsigned int seed;

    for (seed = 0; seed < 50; seed++) {
        random_kind(seed);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/units/borders", test_borders);
    g_test_add_func("/gmem/units/apart", test_apart);
    g_test_add_func("/gmem/units/unit", test_unit);
    g_test_add_func("/gmem/units/together", test_together);
    g_test_add_func("/gmem/units/limit", test_limit);
    g_test_add_func("/gmem/units/fail", test_fail);
    g_test_add_func("/gmem/units/cannot-divide", test_cannot_divide);
    g_test_add_func("/gmem/units/random", test_random);
    return g_test_run();
}
