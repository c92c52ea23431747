/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What several scenarios begin and end with.
 */
#include "tests.h"

bool area_reset(const char *name, struct extent a, unsigned gen)
{
    uint64_t pages = (a.end - a.start) / PAGE;
    long ret = convert(a.start, pages, false);

    if (ret != RET_OK) {
        fail(name, "gpa=0x%lx pages=%lu attrs=0x0 expected=0 got=%ld",
             a.start, pages, ret);
        return false;
    }
    range_fill(a.start, pages, gen);
    return true;
}

/* End of the run of pages that have the state of the one at @gpa. */
static uint64_t run_end(uint64_t gpa, uint64_t limit)
{
    bool state = shadow_private(gpa);

    while (gpa < limit && shadow_private(gpa) == state) {
        gpa += PAGE;
    }
    return gpa;
}

bool check_states(const char *name, struct extent a)
{
    for (uint64_t gpa = a.start, end; gpa < a.end; gpa = end) {
        bool state = shadow_private(gpa);
        struct mismatch m = { 0, 0, 0 };
        uint64_t pages;
        long got;

        end = run_end(gpa, a.end);
        pages = (end - gpa) / PAGE;
        got = convert(gpa, pages, state);
        if (got != RET_OK || !range_check(gpa, pages, true, &m)) {
            fail(name, "gpa=0x%lx pages=%lu state=%c ret expected=0 got=%ld "
                 "content at 0x%lx expected=0x%lx got=0x%lx", gpa, pages,
                 state ? 'P' : 'S', got, m.gpa, m.expected, m.got);
            return false;
        }
    }
    pass(name);
    return true;
}
