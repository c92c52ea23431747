/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pages change their state while other CPUs touch them, all the time. What a CPU finds there
 * is anybody's guess; but a request that was granted stays granted, and no CPU stops. The
 * host compares in the end.
 */
#include "tests.h"

#define AREA    (1 * MiB)

struct work {
    struct extent area;
    uint64_t rounds;
    uint32_t done;
};

static void touch_all(struct work *w)
{
    while (!__atomic_load_n(&w->done, __ATOMIC_ACQUIRE)) {
        for (uint64_t gpa = w->area.start; gpa < w->area.end; gpa += PAGE) {
            *(volatile uint64_t *)gpa += 1;
        }
    }
}

/* Each request is for all of it: then the others are always about to fault some page in */
static void convert_all(struct work *w)
{
    uint64_t pages = (w->area.end - w->area.start) / PAGE;
    long got = RET_OK;

    for (uint64_t i = 0; i < w->rounds && got == RET_OK; i++) {
        got = convert(w->area.start, pages, !(i % 2));
        if (got != RET_OK) {
            fail("touch/request", "round=%lu expected=0 got=%ld", i, got);
        }
    }
    __atomic_store_n(&w->done, 1, __ATOMIC_RELEASE);
}

static void work(void *arg)
{
    if (cpu_index()) {
        touch_all(arg);
    } else {
        convert_all(arg);
    }
}

void test_touch(void)
{
    struct work w = { area(AREA), arg_u64("rounds", 501), 0 };

    if (cpu_count() < 2) {
        skip("touch", "there is one CPU only");
        return;
    }
    if (area_reset("touch/reset", w.area, 1)) {
        check(!on_all_cpus(work, &w), "touch/all", "a CPU ended early");
        shadow_forget(w.area.start, (w.area.end - w.area.start) / PAGE);
    }
}
