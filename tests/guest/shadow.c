/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the guest believes about its pages: a byte for each page of RAM from
 * CONVERTIBLE up, in one array that runs through the extents. A page belongs
 * to one CPU at a time, so the bytes need no lock.
 */
#include "memory.h"

#define SHADOW_PAGES (8 * GiB / PAGE)

enum rule content_rule;

static uint8_t bytes[SHADOW_PAGES];
static struct {
    uint64_t start, end, index;
} followed[MAX_RAM];
static unsigned nr_followed;

void shadow_init(void)
{
    uint64_t index = 0;

    for (unsigned i = 0; i < nr_ram; i++) {
        uint64_t start = MAX(ram[i].start, CONVERTIBLE);
        uint64_t pages = ram[i].end > start ? (ram[i].end - start) / PAGE : 0;

        if (pages > SHADOW_PAGES - index) {
            pages = SHADOW_PAGES - index;
            say("# RAM from 0x%lx up is not followed", start + pages * PAGE);
        }
        if (pages) {
            followed[nr_followed].start = start;
            followed[nr_followed].end = start + pages * PAGE;
            followed[nr_followed++].index = index;
            index += pages;
        }
    }
    memset(bytes, GEN_UNKNOWN, index);
}

uint8_t *shadow(uint64_t gpa)
{
    for (unsigned i = 0; i < nr_followed; i++) {
        if (gpa >= followed[i].start && gpa < followed[i].end) {
            return &bytes[followed[i].index +
                          (gpa - followed[i].start) / PAGE];
        }
    }
    return NULL;
}

bool shadow_private(uint64_t gpa)
{
    uint8_t *s = shadow(gpa);

    return s && *s & SHADOW_PRIVATE;
}

/*
 * Call @fn for each followed piece of a range. The range may be longer than
 * the address space, so its end is clipped instead of computed.
 */
static void for_each_piece(uint64_t gpa, uint64_t pages,
                           void (*fn)(uint8_t *, uint64_t, uint8_t),
                           uint8_t arg)
{
    for (unsigned i = 0; i < nr_followed; i++) {
        uint64_t start = MAX(gpa, followed[i].start);
        uint64_t skipped = (start - gpa) / PAGE, n;

        if (start >= followed[i].end || skipped >= pages) {
            continue;
        }
        n = MIN(pages - skipped, (followed[i].end - start) / PAGE);
        fn(&bytes[followed[i].index + (start - followed[i].start) / PAGE],
           n, arg);
    }
}

static void convert_piece(uint8_t *s, uint64_t n, uint8_t to)
{
    for (; n; n--, s++) {
        if ((*s & SHADOW_PRIVATE) != to) {
            *s = to | (content_rule == RULE_SPLIT ? GEN_ZERO
                                                  : *s & ~SHADOW_PRIVATE);
        }
    }
}

void shadow_convert(uint64_t gpa, uint64_t pages, bool to_private)
{
    for_each_piece(gpa, pages, convert_piece, to_private ? SHADOW_PRIVATE : 0);
}

static void forget_piece(uint8_t *s, uint64_t n, uint8_t unused)
{
    (void)unused;
    for (; n; n--, s++) {
        *s = (*s & SHADOW_PRIVATE) | GEN_UNKNOWN;
    }
}

void shadow_forget(uint64_t gpa, uint64_t pages)
{
    for_each_piece(gpa, pages, forget_piece, 0);
}

static void say_run(uint64_t from, uint64_t to, bool is_private)
{
    if (to > from) {
        say("STATE 0x%lx %lu %c", from, (to - from) / PAGE,
            is_private ? 'P' : 'S');
    }
}

/* Pages that are not followed are never made private, so they are shared. */
void shadow_dump(void)
{
    for (unsigned i = 0; i < nr_ram; i++) {
        uint64_t from = ram[i].start;
        bool state = false;

        for (unsigned k = 0; k < nr_followed; k++) {
            uint64_t start = followed[k].start, end = followed[k].end;

            if (start < ram[i].start || end > ram[i].end) {
                continue;
            }
            for (uint64_t gpa = start; gpa < end; gpa += PAGE) {
                uint8_t s = bytes[followed[k].index + (gpa - start) / PAGE];

                if (!!(s & SHADOW_PRIVATE) != state) {
                    say_run(from, gpa, state);
                    from = gpa;
                    state = !state;
                }
            }
            if (state) {
                say_run(from, end, state);
                from = end;
                state = false;
            }
        }
        say_run(from, ram[i].end, state);
    }
}

uint64_t shadow_digest(uint64_t gpa, uint64_t pages)
{
    uint64_t h = 0xcbf29ce484222325;

    for (; pages; pages--, gpa += PAGE) {
        uint8_t *s = shadow(gpa);

        h = (h ^ (s ? *s : 0)) * 0x100000001b3;
    }
    return h;
}

uint64_t page_word(uint64_t gpa, unsigned gen, unsigned i)
{
    if (gen == GEN_ZERO) {
        return 0;
    }
    return (gpa + 8 * i + 1) * 0x9e3779b97f4a7c15 ^
           gen * 0xff51afd7ed558ccdULL;
}

void page_fill(uint64_t gpa, unsigned gen)
{
    volatile uint64_t *p = (void *)gpa;
    uint8_t *s = shadow(gpa);

    for (unsigned i = 0; i < PAGE / 8; i++) {
        p[i] = page_word(gpa, gen, i);
    }
    if (s) {
        *s = (*s & SHADOW_PRIVATE) | gen;
    }
}

bool page_is(uint64_t gpa, unsigned gen, bool quick, struct mismatch *m)
{
    const volatile uint64_t *p = (void *)gpa;

    /* 73 words apart: first and last word, and eight cache lines. */
    for (unsigned i = 0; i < PAGE / 8; i += quick ? 73 : 1) {
        uint64_t got = p[i], want = page_word(gpa, gen, i);

        if (got != want) {
            *m = (struct mismatch) { gpa + 8 * i, want, got };
            return false;
        }
    }
    return true;
}

bool page_check(uint64_t gpa, bool quick, struct mismatch *m)
{
    uint8_t *s = shadow(gpa);
    unsigned gen = s ? *s & ~SHADOW_PRIVATE : GEN_UNKNOWN;

    return gen == GEN_UNKNOWN || page_is(gpa, gen, quick, m);
}

bool range_check(uint64_t gpa, uint64_t pages, bool quick, struct mismatch *m)
{
    for (; pages; pages--, gpa += PAGE) {
        if (!page_check(gpa, quick, m)) {
            return false;
        }
    }
    return true;
}

void range_fill(uint64_t gpa, uint64_t pages, unsigned gen)
{
    for (; pages; pages--, gpa += PAGE) {
        page_fill(gpa, gen);
    }
}
