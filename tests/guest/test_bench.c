/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a conversion costs as the guest sees it, in TSC ticks. Figures only;
 * the sole judgement is that every request was granted. One CPU, then all at
 * once, each in a piece of its own.
 */
#include "tests.h"

#define MAX_SAMPLES 512

static const struct {
    const char *name;
    uint64_t pages;
} sizes[] = { { "4k", 1 }, { "64k", 16 }, { "2m", 512 } };

struct bench {
    struct extent a;
    uint64_t pages, count;
    uint32_t errors;
    uint64_t ticks[MAX_CPUS][MAX_SAMPLES];
};

static struct bench bench;

static void work(void *arg)
{
    struct bench *b = arg;
    uint64_t piece = (b->a.end - b->a.start) / cpu_count() & -(2 * MiB);
    uint64_t base = b->a.start + cpu_index() * piece;
    uint64_t slots = MAX(piece / (b->pages * PAGE), 1);

    for (uint64_t i = 0; i < b->count; i++) {
        uint64_t gpa = base + i / 2 % slots * b->pages * PAGE;
        uint64_t t = rdtsc();

        if (convert(gpa, b->pages, !(i & 1)) != RET_OK) {
            __atomic_add_fetch(&b->errors, 1, __ATOMIC_RELAXED);
        }
        b->ticks[cpu_index()][i] = rdtsc() - t;
    }
}

static void sort(uint64_t *v, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        uint64_t x = v[i];
        unsigned j = i;

        for (; j && v[j - 1] > x; j--) {
            v[j] = v[j - 1];
        }
        v[j] = x;
    }
}

static void print(const char *size, unsigned cpus)
{
    for (unsigned c = 0; c < cpus; c++) {
        uint64_t *t = bench.ticks[c], sum = 0;

        for (unsigned i = 0; i < bench.count; i++) {
            sum += t[i];
        }
        sort(t, bench.count);
        say("BENCH size=%s cpus=%u cpu=%u count=%lu tsc_min=%lu "
            "tsc_median=%lu tsc_max=%lu tsc_total=%lu", size, cpus, c,
            bench.count, t[0], t[bench.count / 2], t[bench.count - 1], sum);
    }
}

void test_bench(void)
{
    char name[40];
    unsigned faults = 0;

    bench.a = area(64 * MiB);
    bench.count = MIN(MAX(arg_u64("rounds", MAX_SAMPLES), 2), MAX_SAMPLES);
    if (bench.a.end - bench.a.start < 2 * MiB * MAX_CPUS) {
        skip("bench", "the area is smaller than 32M");
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        bench.pages = sizes[i].pages;
        work(&bench);
        print(sizes[i].name, 1);
        if (cpu_count() > 1) {
            faults += on_all_cpus(work, &bench);
            print(sizes[i].name, cpu_count());
        }
        format(name, sizeof(name), "bench/%s", sizes[i].name);
        check(!bench.errors && !faults, name, "errors=%u faults=%u",
              bench.errors, faults);
    }
}
