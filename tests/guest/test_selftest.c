/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest under test itself; needs no conversions, so it runs anywhere.
 *  1. exceptions are caught, name their vector, and the guest goes on;
 *  2. every CPU runs jobs, and a fault in a job is counted, not fatal;
 *  3. the first and last page of each piece of RAM is reachable and distinct.
 */
#include "tests.h"

static void do_ud(void *arg)
{
    (void)arg;
    cpu_expect_fault();
    asm volatile("ud2");
}

static void do_gp(void *arg)
{
    (void)arg;
    cpu_expect_fault();
    *(volatile uint8_t *)0x8000000000000000UL = 1;
}

static void do_pf(void *arg)
{
    (void)arg;
    cpu_expect_fault();
    *(volatile uint8_t *)0x7fff00000000UL = 1;
}

static void do_de(void *arg)
{
    (void)arg;
    cpu_expect_fault();
    asm volatile("divl %0" : : "r"(0), "a"(1), "d"(0));
}

static const struct {
    const char *name;
    void (*fn)(void *);
    int vector;
} faults[] = {
    { "selftest/divide-error", do_de, 0 },
    { "selftest/invalid-opcode", do_ud, 6 },
    { "selftest/protection-fault", do_gp, 13 },
    { "selftest/page-fault", do_pf, 14 },
};

static uint32_t jobs_run;

static void count_job(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&jobs_run, 1, __ATOMIC_RELAXED);
}

static void check_cpus(void)
{
    unsigned n = cpu_count(), faulted = 0;

    for (unsigned i = 0; i < 100; i++) {
        faulted += on_all_cpus(count_job, NULL);
    }
    check(jobs_run == 100 * n && !faulted, "selftest/jobs",
          "cpus=%u expected=%u got=%u faults=%u", n, 100 * n, jobs_run,
          faulted);
    faulted = on_all_cpus(do_ud, NULL);
    check(faulted == n, "selftest/fault-in-job", "expected=%u got=%u", n,
          faulted);
}

/* A wrong page table would show two addresses the same page. */
static void check_ram(void)
{
    struct mismatch m = { 0, 0, 0 };
    bool ok;

    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < nr_ram; i++) {
            uint64_t first = MAX(ram[i].start, CONVERTIBLE);
            uint64_t last = ram[i].end - PAGE;

            if (first > last || !is_mapped(first, last + PAGE - first)) {
                continue;
            }
            if (!pass) {
                page_fill(first, 1);
                page_fill(last, 2);
                continue;
            }
            ok = page_check(first, false, &m) && page_check(last, false, &m);
            check(ok, "selftest/ram", "gpa=0x%lx expected=0x%lx got=0x%lx",
                  m.gpa, m.expected, m.got);
        }
    }
}

void test_selftest(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
        int got = cpu_guard(faults[i].fn, NULL) - 1;

        check(got == faults[i].vector, faults[i].name, "expected=%d got=%d",
              faults[i].vector, got);
    }
    check_cpus();
    check_ram();
}
