/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Patterns for people to look at, over base= and size= (1 GiB, all CPUs in
 * turn unit by unit). Each pattern is drawn in marks= steps with a MARK after
 * each, so that the host can take a picture; delay= milliseconds pass, or with
 * step=1 the guest waits for a byte.
 */
#include "tests.h"

static bool want_fill(uint64_t u, uint64_t n)
{
    (void)u;
    (void)n;
    return true;
}

static bool want_stripes(uint64_t u, uint64_t n)
{
    return u * 16 / n % 2;
}

static bool want_checkerboard(uint64_t u, uint64_t n)
{
    (void)n;
    return u % 2;
}

/* Runs that grow: 1, 2, 3, ... units private, as many shared. */
static bool want_ramp(uint64_t u, uint64_t n)
{
    uint64_t len = 1;

    (void)n;
    while (u >= 2 * len) {
        u -= 2 * len++;
    }
    return u < len;
}

static bool want_empty(uint64_t u, uint64_t n)
{
    (void)u;
    (void)n;
    return false;
}

static const struct {
    const char *name;
    bool (*wants)(uint64_t unit, uint64_t units);
} patterns[] = {
    { "fill", want_fill },
    { "stripes", want_stripes },
    { "checkerboard", want_checkerboard },
    { "ramp", want_ramp },
    { "fill-again", want_fill },
    { "empty", want_empty },
};

struct drawing {
    uint64_t base, unit, units, from, to;
    bool (*wants)(uint64_t unit, uint64_t units);
    unsigned errors;
    uint64_t error_gpa;
    long error_ret;
};

static void draw_unit(struct drawing *d, uint64_t u)
{
    uint64_t gpa = d->base + u * d->unit;
    bool to_private = d->wants(u, d->units);
    struct mismatch m;
    long got = 0;

    if (shadow_private(gpa) == to_private) {
        return;
    }
    page_fill(gpa, 1 + u % GEN_MAX);
    got = convert(gpa, d->unit / PAGE, to_private);
    if (got == RET_OK && page_check(gpa, true, &m)) {
        return;
    }
    if (!__atomic_fetch_add(&d->errors, 1, __ATOMIC_RELAXED)) {
        d->error_gpa = gpa;
        d->error_ret = got;
    }
}

static void draw(void *arg)
{
    struct drawing *d = arg;

    for (uint64_t u = d->from; u < d->to; u++) {
        if (u % cpu_count() == cpu_index()) {
            draw_unit(d, u);
        }
    }
}

static void draw_pattern(struct drawing *d, unsigned i)
{
    unsigned steps = MAX(arg_u64("marks", 8), 1), faults = 0;
    char name[48];

    d->wants = patterns[i].wants;
    d->errors = 0;
    for (unsigned s = 0; s < steps; s++) {
        d->from = d->units * s / steps;
        d->to = d->units * (s + 1) / steps;
        faults += on_all_cpus(draw, d);
        delay_ms(arg_u64("delay", 0));
        mark("pattern/%s %u/%u", patterns[i].name, s + 1, steps);
    }
    format(name, sizeof(name), "pattern/%s", patterns[i].name);
    check(!d->errors && !faults, name,
          "errors=%u faults=%u first gpa=0x%lx pages=%lu ret=%ld", d->errors,
          faults, d->error_gpa, d->unit / PAGE, d->error_ret);
    format(name, sizeof(name), "pattern/%s-states", patterns[i].name);
    check_states(name, (struct extent) { d->base,
                                         d->base + d->units * d->unit });
}

void test_pattern(void)
{
    struct extent a = area(GiB);
    struct drawing d = { .base = a.start };

    d.unit = MAX(arg_u64("unit", 2 * MiB) & -PAGE, PAGE);
    d.units = (a.end - a.start) / d.unit;
    say("# pattern base=0x%lx unit=0x%lx units=%lu", d.base, d.unit, d.units);
    mark("pattern/start");
    for (unsigned i = 0; i < ARRAY_SIZE(patterns); i++) {
        draw_pattern(&d, i);
    }
    mark("pattern/end");
}
