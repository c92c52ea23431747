/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every CPU converts at once, rounds= requests in all, a third in each phase:
 *  1. overlap: any CPU, any range. Who wins is open, so only the return values
 *     are compared; then the whole area is made shared and filled anew.
 *  2. disjoint: each CPU has a piece of the area to itself.
 *  3. woven: runs of 1 to 8 pages go to the CPUs in turn, so that several of
 *     them convert pages whose states share a word of any bitmap.
 * In phases 2 and 3 each CPU compares every page it converted; at the end the
 * boot CPU compares every word, and asks for each run's state once more: a
 * request for the state a page has must not touch its content.
 */
#include "tests.h"

#define MAX_RUN 512

enum phase { OVERLAP, DISJOINT, WOVEN, NR_PHASES };
static const char *const phase_name[NR_PHASES] = {
    "overlap", "disjoint", "woven",
};

struct plan {
    struct extent a;
    enum phase phase;
    uint64_t seed, rounds;      /* rounds of each CPU */
    uint64_t done;              /* requests granted, all CPUs */
    bool failed;
};

/* Mostly short, sometimes as long as a huge page. */
static uint64_t random_run(struct rng *r)
{
    switch (rng_below(r, 16)) {
    case 0:
        return MAX_RUN;
    case 1:
        return 1 + rng_below(r, MAX_RUN);
    case 2 ... 7:
        return 1 + rng_below(r, 64);
    default:
        return 1 + rng_below(r, 4);
    }
}

/*
 * The owner of page @n when woven: runs of 1 to 8 pages, their lengths fixed
 * by the position, so that every CPU computes the same.
 */
static uint64_t woven_run(uint64_t n, uint64_t *first, uint64_t *pages)
{
    static const uint8_t lengths[8] = { 1, 3, 8, 2, 5, 1, 7, 5 };
    uint64_t base = n & -32UL, at = 0, i = 0;

    while (at + lengths[i] <= n - base) {
        at += lengths[i++];
    }
    *first = base + at;
    *pages = lengths[i];
    return n / 32 * ARRAY_SIZE(lengths) + i;
}

static struct extent clip(struct extent e, uint64_t first, uint64_t pages)
{
    uint64_t start = e.start + first * PAGE;

    return (struct extent) { start, MIN(start + pages * PAGE, e.end) };
}

/* Choose a range that this CPU may convert in this phase. */
static struct extent choose(const struct plan *p, struct rng *r)
{
    uint64_t n = (p->a.end - p->a.start) / PAGE, cpus = cpu_count();
    uint64_t me = cpu_index(), first, pages, piece = n / cpus;
    struct extent mine;

    switch (p->phase) {
    case DISJOINT:
        mine = clip(p->a, me * piece, piece);
        return clip(mine, rng_below(r, piece), random_run(r));
    case WOVEN:
        do {
            first = rng_below(r, n);
        } while (woven_run(first, &first, &pages) % cpus != me);
        return clip(p->a, first, pages);
    default:
        return clip(p->a, rng_below(r, n), random_run(r));
    }
}

static bool one_request(struct plan *p, struct rng *r)
{
    struct extent e = choose(p, r);
    uint64_t pages = (e.end - e.start) / PAGE, draw = rng_next(r) >> 32;
    bool to_private = draw & 1, write = draw & 2;
    bool racing = p->phase == OVERLAP;
    struct mismatch m;
    long got = racing ? map_gpa(e.start, pages, to_private ? ATTR_PRIVATE : 0)
                      : convert(e.start, pages, to_private);

    if (got != RET_OK) {
        fail("random/request", "phase=%s cpu=%u gpa=0x%lx pages=%lu "
             "private=%d expected=0 got=%ld", phase_name[p->phase],
             cpu_index(), e.start, pages, to_private, got);
        return false;
    }
    if (racing) {
        *(volatile uint64_t *)e.start = draw;
        return true;
    }
    if (!range_check(e.start, pages, true, &m)) {
        fail("random/content", "phase=%s cpu=%u gpa=0x%lx pages=%lu "
             "private=%d content at 0x%lx expected=0x%lx got=0x%lx",
             phase_name[p->phase], cpu_index(), e.start, pages, to_private,
             m.gpa, m.expected, m.got);
        return false;
    }
    if (write) {
        range_fill(e.start, pages, 1 + draw / 4 % GEN_MAX);
    }
    return true;
}

static void work(void *arg)
{
    struct plan *p = arg;
    struct rng r;

    rng_seed(&r, p->seed * MAX_CPUS * NR_PHASES + p->phase * MAX_CPUS +
             cpu_index());
    for (uint64_t i = 0; i < p->rounds; i++) {
        if (__atomic_load_n(&p->failed, __ATOMIC_RELAXED)) {
            return;
        }
        if (!one_request(p, &r)) {
            __atomic_store_n(&p->failed, true, __ATOMIC_RELAXED);
            return;
        }
        __atomic_add_fetch(&p->done, 1, __ATOMIC_RELAXED);
    }
}

static bool run_phase(struct plan *p, enum phase phase)
{
    char name[40];
    unsigned faults;

    p->phase = phase;
    p->done = 0;
    format(name, sizeof(name), "random/%s", phase_name[phase]);
    faults = on_all_cpus(work, p);
    say("# random %s: %lu conversions by %u CPUs", phase_name[phase], p->done,
        cpu_count());
    return check(!p->failed && !faults, name, "done=%lu of %lu faults=%u",
                 p->done, p->rounds * cpu_count(), faults);
}

/* Nobody knows the states after the overlap: ask for one side, then fill. */
static bool settle(const struct plan *p)
{
    uint64_t pages = (p->a.end - p->a.start) / PAGE;

    shadow_forget(p->a.start, pages);
    return area_reset("random/settle", p->a, 3);
}

void test_random(void)
{
    struct plan p = { .a = area(64 * MiB), .seed = arg_u64("seed", 1) };
    uint64_t pages = (p.a.end - p.a.start) / PAGE;
    uint64_t rounds = arg_u64("rounds", 10000), share;
    struct mismatch m = { 0, 0, 0 };
    bool ok;

    share = NR_PHASES * cpu_count();
    p.rounds = (rounds + share - 1) / share;
    if (pages < 32UL * MAX_CPUS) {
        skip("random", "the area is smaller than 2M");
        return;
    }
    say("# random seed=%lu area=0x%lx-0x%lx", p.seed, p.a.start, p.a.end);
    if (!area_reset("random/reset", p.a, 1) || !run_phase(&p, OVERLAP) ||
        !settle(&p) || !run_phase(&p, DISJOINT) || !run_phase(&p, WOVEN)) {
        return;
    }
    ok = range_check(p.a.start, pages, false, &m);
    check(ok, "random/every-word",
          "content at 0x%lx expected=0x%lx got=0x%lx", m.gpa, m.expected,
          m.got);
    check_states("random/states", p.a);
    say("DIGEST random seed=%lu cpus=%u 0x%lx", p.seed, cpu_count(),
        shadow_digest(p.a.start, pages));
}
