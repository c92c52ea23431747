/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Maps of few and of many runs, so that the host can count what remembering them
 * costs: all of the area private in one request, then every second 2 MiB of it, then
 * every second page. A MARK after each, and one when all is shared again; with
 * step=1 the guest waits there. No page is touched.
 */
#include "tests.h"

static const struct {
    const char *name;
    uint64_t unit;      /* 0: the whole area at once */
} maps[] = { { "uniform", 0 }, { "2m", 2 * MiB }, { "4k", PAGE } };

/* Every second unit from the first on; returns what could not be converted. */
static uint64_t draw_map(struct extent a, uint64_t unit)
{
    uint64_t errors = 0;

    if (!unit) {
        return convert(a.start, (a.end - a.start) / PAGE, true) != RET_OK;
    }
    for (uint64_t gpa = a.start; gpa + unit <= a.end; gpa += 2 * unit) {
        errors += convert(gpa, unit / PAGE, true) != RET_OK;
    }
    return errors;
}

void test_maps(void)
{
    struct extent a = area(64 * MiB);
    uint64_t errors;
    char name[40];

    say("# maps base=0x%lx bytes=%lu", a.start, a.end - a.start);
    mark("maps/start");
    for (unsigned i = 0; i < ARRAY_SIZE(maps); i++) {
        errors = draw_map(a, maps[i].unit);
        mark("maps/%s", maps[i].name);
        errors += convert(a.start, (a.end - a.start) / PAGE, false) != RET_OK;
        mark("maps/%s-cleared", maps[i].name);
        format(name, sizeof(name), "maps/%s", maps[i].name);
        check(!errors, name, "errors=%lu", errors);
    }
}
