/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * All convertible RAM private, touched, shared, touched, private, touched, so
 * that the host can count what that costs: a MARK after each step, a wait too
 * with step=1. Requests are chunk= long (2 MiB); CPUs take chunks in turn.
 * base= and size= narrow it down. RAM is left private.
 */
#include "tests.h"

struct pass_plan {
    struct extent e[MAX_RAM];
    unsigned nr;
    uint64_t chunk;
    bool to_private, touch;
    unsigned gen;
    uint32_t errors;
    uint64_t error_gpa;
    long error_ret;
};

static void note_error(struct pass_plan *p, uint64_t gpa, long ret)
{
    if (!__atomic_fetch_add(&p->errors, 1, __ATOMIC_RELAXED)) {
        p->error_gpa = gpa;
        p->error_ret = ret;
    }
}

/* One word is enough to make the host find a page; compare it first. */
static void touch(struct pass_plan *p, uint64_t gpa, uint64_t end)
{
    for (; gpa < end; gpa += PAGE) {
        volatile uint64_t *word = (void *)gpa;
        uint64_t want = content_rule == RULE_SPLIT ? 0 :
                        page_word(gpa, p->gen - 1, 0);

        if (p->gen > 1 && *word != want) {
            note_error(p, gpa, 0);
        }
        *word = page_word(gpa, p->gen, 0);
    }
}

static void work(void *arg)
{
    struct pass_plan *p = arg;
    uint64_t turn = 0;

    for (unsigned i = 0; i < p->nr; i++) {
        for (uint64_t gpa = p->e[i].start; gpa < p->e[i].end;
             gpa += p->chunk) {
            uint64_t end = MIN(gpa + p->chunk, p->e[i].end);
            long ret = 0;

            if (turn++ % cpu_count() != cpu_index()) {
                continue;
            }
            if (p->touch) {
                touch(p, gpa, end);
                continue;
            }
            ret = convert(gpa, (end - gpa) / PAGE, p->to_private);
            if (ret != RET_OK) {
                note_error(p, gpa, ret);
            }
        }
    }
}

static bool step(struct pass_plan *p, const char *name)
{
    unsigned faults;

    p->errors = 0;
    faults = on_all_cpus(work, p);
    mark("%s", name);
    return check(!p->errors && !faults, name, "errors=%u faults=%u first "
                 "gpa=0x%lx ret=%ld", p->errors, faults, p->error_gpa,
                 p->error_ret);
}

/* Without base=: everything that is followed. */
static void collect(struct pass_plan *p)
{
    if (*arg_str("base", "")) {
        p->e[p->nr++] = area(64 * MiB);
        return;
    }
    for (unsigned i = 0; i < nr_ram; i++) {
        struct extent e = { MAX(ram[i].start, CONVERTIBLE), ram[i].end };

        while (e.start < e.end && !shadow(e.end - PAGE)) {
            e.end -= PAGE;
        }
        if (e.start < e.end && is_mapped(e.start, e.end - e.start)) {
            p->e[p->nr++] = e;
        }
    }
}

void test_cycle(void)
{
    static const char *const names[] = { "private", "shared", "private-2" };
    struct pass_plan p = { .chunk = arg_u64("chunk", 2 * MiB) & -PAGE };
    uint64_t bytes = 0;
    char name[40];

    p.chunk = MAX(p.chunk, PAGE);
    collect(&p);
    for (unsigned i = 0; i < p.nr; i++) {
        bytes += p.e[i].end - p.e[i].start;
        shadow_forget(p.e[i].start, (p.e[i].end - p.e[i].start) / PAGE);
    }
    say("# cycle bytes=%lu chunk=%lu", bytes, p.chunk);
    mark("cycle/start");
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        p.to_private = !(i & 1);
        p.touch = false;
        format(name, sizeof(name), "cycle/%s", names[i]);
        if (!step(&p, name)) {
            return;
        }
        p.touch = true;
        p.gen++;
        format(name, sizeof(name), "cycle/%s-touched", names[i]);
        step(&p, name);
    }
}
