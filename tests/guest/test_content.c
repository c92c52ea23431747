/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is in a page after a conversion, for ranges of several shapes:
 *  1. fill a window around the range, make the range private, compare all;
 *  2. fill anew, repeat the conversion (nothing may change), compare;
 *  3. make it shared, compare; and the whole round three times;
 *  4. every other page private, compare; then all private over the mix;
 *  5. before all that: pages that nobody has touched, behind the others,
 *     private and shared, compare; then filled, and the round once.
 * "Compare" is every word of every page of the window against the shadow.
 */
#include "tests.h"

#define MARGIN 2

static const struct {
    const char *name;
    uint64_t off, pages;
} shapes[] = {
    { "one-page", 0x10000, 1 },
    { "three-pages", 0x33000, 3 },
    { "64-pages-aligned", 0x40000, 64 },
    { "65-pages", 0x7f000, 65 },
    { "2m", 0x200000, 512 },
    { "2m-unaligned", 0x401000, 512 },
    { "1031-pages", 0x7fb000, 1031 },
};

struct window {
    const char *name;
    uint64_t gpa, pages;    /* the range; the window is MARGIN wider */
    unsigned gen;
};

static bool compare(struct window *w, const char *step)
{
    struct mismatch m;

    if (range_check(w->gpa - MARGIN * PAGE, w->pages + 2 * MARGIN, false,
                    &m)) {
        return true;
    }
    fail(w->name, "%s content at 0x%lx expected=0x%lx got=0x%lx", step, m.gpa,
         m.expected, m.got);
    return false;
}

static bool turn(struct window *w, uint64_t gpa, uint64_t pages, bool p,
                 const char *step)
{
    long got = convert(gpa, pages, p);

    if (got != RET_OK) {
        fail(w->name, "%s gpa=0x%lx pages=%lu attrs=0x%x expected=0 got=%ld",
             step, gpa, pages, p ? ATTR_PRIVATE : 0, got);
    }
    return got == RET_OK;
}

static void refill(struct window *w)
{
    w->gen = w->gen % GEN_MAX + 1;
    range_fill(w->gpa - MARGIN * PAGE, w->pages + 2 * MARGIN, w->gen);
}

static bool round_trip(struct window *w)
{
    static const struct {
        const char *step;
        bool to_private;
    } steps[] = {
        { "to-private", true }, { "to-private-again", true },
        { "to-shared", false }, { "to-shared-again", false },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        refill(w);
        if (!turn(w, w->gpa, w->pages, steps[i].to_private, steps[i].step) ||
            !compare(w, steps[i].step)) {
            return false;
        }
    }
    return true;
}

static bool comb(struct window *w)
{
    refill(w);
    for (uint64_t i = 0; i < w->pages; i += 2) {
        if (!turn(w, w->gpa + i * PAGE, 1, true, "comb")) {
            return false;
        }
    }
    if (!compare(w, "comb")) {
        return false;
    }
    refill(w);
    if (!turn(w, w->gpa, w->pages, true, "comb-to-private") ||
        !compare(w, "comb-to-private")) {
        return false;
    }
    return turn(w, w->gpa, w->pages, false, "comb-to-shared") &&
           compare(w, "comb-to-shared");
}

static void check_shape(unsigned i, uint64_t base)
{
    char name[64];
    struct window w = { name, base + shapes[i].off, shapes[i].pages, i };

    format(name, sizeof(name), "content/%s", shapes[i].name);
    for (unsigned round = 0; round < 3; round++) {
        if (!round_trip(&w)) {
            return;
        }
    }
    if (comb(&w)) {
        pass(name);
    }
}

/* Followed, shared, and never written or converted by any scenario */
static bool is_untouched(uint64_t gpa)
{
    uint8_t *s = shadow(gpa);

    return s && *s == GEN_UNKNOWN;
}

/* The first of @pages untouched pages in a row from @gpa up, or 0 */
static uint64_t find_untouched(uint64_t gpa, uint64_t pages)
{
    uint64_t run = 0;

    for (; is_ram(gpa) && run < pages; gpa += PAGE) {
        run = is_untouched(gpa) ? run + 1 : 0;
    }
    return run == pages ? gpa - pages * PAGE : 0;
}

/*
 * A conversion that finds nothing to free or to copy, on either side: the first
 * turns come before the first touch.  What the pages held is not known, so in
 * place only what is written afterwards can be compared.
 */
static void check_untouched(uint64_t from)
{
    struct window w = { "content/untouched", 0, 64, 9 };
    uint64_t start = find_untouched(from, w.pages + 2 * MARGIN);

    if (!start) {
        skip(w.name, "no untouched pages behind the area");
        return;
    }
    w.gpa = start + MARGIN * PAGE;
    for (unsigned i = 0; i < 4; i++) {
        if (!turn(&w, w.gpa, w.pages, !(i & 1), "untouched")) {
            return;
        }
    }
    if (compare(&w, "untouched") && round_trip(&w)) {
        pass(w.name);
    }
}

void test_content(void)
{
    struct extent a = area(16 * MiB);

    if (a.end - a.start < 16 * MiB) {
        skip("content", "the area is smaller than 16M");
        return;
    }
    a.end = a.start + 16 * MiB;
    check_untouched(a.end);
    if (!area_reset("content/reset", a, 1)) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        check_shape(i, a.start);
    }
    check_states("content/states", a);
}
