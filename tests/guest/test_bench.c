/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What conversions cost as the guest sees them, in TSC ticks: figures, printed
 * sample by sample for the host to sum up. For each unit of units= a batch of
 * neighbouring units goes private and comes back, first on one CPU, then on all
 * at once, each in a piece of its own; then, with warm=1, the same again with
 * content. Cold: no page was ever touched. Warm: before it leaves a state, every
 * page was written in it (the time of that is printed too), and with step=1 the
 * host gets its turn before each sample, to touch the shared side.
 *
 * Judged is that every request was granted and that the content is what the rule
 * says: a host that answers at once and does nothing has no figures. Of a long batch
 * no more than TOUCHES pages are touched, evenly spaced: each is an exit of the VM.
 */
#include "tests.h"

#define MAX_UNITS   8
#define MAX_BATCH   128
#define BATCH_BYTES (16 * MiB)
#define TOUCHES     (BATCH_BYTES / PAGE)

enum { PRIVATE, SHARED, DIRECTIONS };
static const char *const states[] = { "cold", "warm" };

/* One piece for each CPU, from base up; ticks are of one sample. */
struct bench {
    uint64_t base, unit, count;
    unsigned cpus, gen;
    bool warm;
    uint32_t arrived, errors;
    uint64_t ticks[2][DIRECTIONS][MAX_CPUS];
};

static struct bench bench;

/* All CPUs of the sample begin together; arrivals are counted, through all of them. */
static void meet(struct bench *b)
{
    uint32_t n = __atomic_add_fetch(&b->arrived, 1, __ATOMIC_ACQ_REL);
    uint32_t all = (n + b->cpus - 1) / b->cpus * b->cpus;

    while ((int32_t)(__atomic_load_n(&b->arrived, __ATOMIC_ACQUIRE) - all) < 0) {
        pause();
    }
}

static void note_error(struct bench *b)
{
    __atomic_add_fetch(&b->errors, 1, __ATOMIC_RELAXED);
}

static void convert_batch(struct bench *b, uint64_t gpa, unsigned to)
{
    for (uint64_t i = 0; i < b->count; i++, gpa += b->unit) {
        long ret = map_gpa_raw(gpa, b->unit / PAGE,
                               to == PRIVATE ? ATTR_PRIVATE : 0);

        if (ret != RET_OK) {
            note_error(b);
        }
    }
}

/* One word of each page: what the last writer left, or what the rule says. */
static void touch_batch(struct bench *b, uint64_t gpa, unsigned gen, bool first)
{
    uint64_t size = b->count * b->unit, end = gpa + size;

    for (; gpa < end; gpa += MAX(size / TOUCHES, PAGE)) {
        volatile uint64_t *word = (void *)gpa;
        uint64_t want = content_rule == RULE_SPLIT ? 0 :
                        page_word(gpa, gen - 1, 0);

        if (!first && *word != want) {
            note_error(b);
        }
        *word = page_word(gpa, gen, 0);
    }
}

static void sample(void *arg)
{
    struct bench *b = arg;
    unsigned cpu = cpu_index();
    uint64_t gpa = b->base + cpu * b->count * b->unit, t;

    for (unsigned to = PRIVATE; to < DIRECTIONS; to++) {
        meet(b);
        t = rdtsc();
        convert_batch(b, gpa, to);
        b->ticks[0][to][cpu] = rdtsc() - t;
        meet(b);
        t = rdtsc();
        if (b->warm) {
            touch_batch(b, gpa, b->gen + to, false);
        }
        b->ticks[1][to][cpu] = rdtsc() - t;
    }
}

/* The first content, written by the boot CPU for all: no sample. */
static void warm_up(void *arg)
{
    struct bench *b = arg;

    for (unsigned cpu = 0; cpu < b->cpus; cpu++) {
        touch_batch(b, b->base + cpu * b->count * b->unit, b->gen - 1, true);
    }
}

/* The batch has taken as long as the slowest CPU. */
static uint64_t slowest(const struct bench *b, unsigned what, unsigned to)
{
    uint64_t ticks = 0;

    for (unsigned cpu = 0; cpu < b->cpus; cpu++) {
        ticks = MAX(ticks, b->ticks[what][to][cpu]);
    }
    return ticks;
}

static void print(const struct bench *b, unsigned number)
{
    say("BENCH unit=%lu cpus=%u state=%s sample=%u count=%lu private=%lu "
        "shared=%lu touch_private=%lu touch_shared=%lu", b->unit, b->cpus,
        states[b->warm], number, b->count * b->cpus, slowest(b, 0, PRIVATE),
        slowest(b, 0, SHARED), b->warm ? slowest(b, 1, PRIVATE) : 0,
        b->warm ? slowest(b, 1, SHARED) : 0);
}

static void run(struct bench *b, unsigned samples)
{
    unsigned faults = 0;
    char name[48];

    b->errors = b->arrived = 0;
    b->gen = 2;
    format(name, sizeof(name), "bench/%lu/%s/%u", b->unit, states[b->warm],
           b->cpus);
    if (b->warm) {
        faults += cpu_guard(warm_up, b) != 0;
    }
    mark("%s", name);
    for (unsigned i = 0; i < samples && !faults; i++) {
        if (b->warm) {
            mark("%s sample=%u gpa=0x%lx bytes=%lu", name, i, b->base,
                 b->cpus * b->count * b->unit);
        }
        faults += b->cpus > 1 ? on_all_cpus(sample, b)
                              : cpu_guard(sample, b) != 0;
        b->gen += DIRECTIONS;
        print(b, i);
    }
    mark("%s end", name);
    check(!b->errors && !faults, name, "errors=%u faults=%u", b->errors, faults);
}

/* What turns ticks into seconds; the timer of ACPI has the time. */
static void print_frequency(void)
{
    uint64_t t = rdtsc();

    delay_ms(200);
    say("BENCH tsc_khz=%lu", (rdtsc() - t) / 200);
}

/* A batch for one CPU, long enough to be measured and small enough to be warm. */
static uint64_t batch(uint64_t unit)
{
    return MAX(MIN(BATCH_BYTES / unit, MAX_BATCH), 1);
}

/*
 * Where each unit's batches lie, from the start of the area up; false when the area
 * is too small. The batches of one CPU and of all share their place, so that warm
 * ones of both come after cold ones of both.
 */
static bool place(const uint64_t *units, unsigned n, uint64_t *bases)
{
    struct extent a = area(GiB);
    uint64_t at = a.start;

    for (unsigned i = 0; i < n; i++) {
        at = (at + units[i] - 1) / units[i] * units[i];
        bases[i] = at;
        at += units[i] * batch(units[i]) * cpu_count();
        shadow_forget(bases[i], (at - bases[i]) / PAGE);
    }
    return at <= a.end;
}

void test_bench(void)
{
    uint64_t units[MAX_UNITS] = { 4 * KiB, 2 * MiB }, bases[MAX_UNITS];
    unsigned n = *arg_str("units", "") ? arg_list("units", units, MAX_UNITS) : 2;
    unsigned samples = arg_u64("rounds", 7);

    for (unsigned i = 0; i < n; i++) {
        units[i] = MAX(units[i] & -PAGE, PAGE);
    }
    if (!place(units, n, bases)) {
        skip("bench", "the area is too small for these units");
        return;
    }
    print_frequency();
    for (unsigned warm = 0; warm <= !!arg_u64("warm", 1); warm++) {
        for (unsigned i = 0; i < n; i++) {
            bench.warm = warm;
            bench.unit = units[i];
            bench.base = bases[i];
            bench.count = batch(units[i]);
            for (bench.cpus = 1; ; bench.cpus = cpu_count()) {
                run(&bench, samples);
                if (bench.cpus == cpu_count()) {
                    break;
                }
            }
        }
    }
}
