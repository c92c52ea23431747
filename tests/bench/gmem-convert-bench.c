/*
 * What one conversion of 2 MiB costs, kernel and holders faked
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Linked with the engine or with the base's code (tests/unit/base/impl.h); the script
 * tests/bench/run-engine runs both and compares. Two listeners. RAM of 16 GiB and of
 * 1 TiB, with maps of 1, 1,000 and 1,000,000 runs in two layouts:
 *
 *   low      runs of 2 pages in the first 8 GiB, the conversion at 12 GiB: the same
 *            guest, only RAM grows
 *   spread   the runs cover RAM evenly, the conversion is in its middle
 *
 * A sample is one conversion there and one back. All maps are made first, samples
 * go round over them, and the median of 7 counts. Prints "cost LAYOUT GIB RUNS NS".
 */

#include "qemu/osdep.h"
#include "impl.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define PAGE UINT64_C(4096)
#define SAMPLES 7
#define SAMPLE_USEC 20000

typedef struct Case {
    const char *layout;
    uint64_t size;
    unsigned int runs;
    Ram *ram;
    Listener *listeners[2];
    uint64_t at;
    double ns[SAMPLES];
} Case;

static void nothing(void *opaque, bool to_private)
{
}

/*
 * From the top down: the base looks for the next shared page above each time,
 * and would take minutes the other way round.
 */
static void case_make(Case *c)
{
    bool low = !strcmp(c->layout, "low");
    uint64_t step = low ? 4 * PAGE : c->size / MAX(c->runs / 2, 1);
    unsigned int i;

    step = ROUND_UP(step, 2 * PAGE);
    c->ram = impl_ram_new(c->size);
    for (i = c->runs / 2; i-- > 0; ) {
        if ((i + 1) * step <= c->size) {
            impl_convert(c->ram, i * step, step / 2, false);
        }
    }
    for (i = 0; i < 2; i++) {
        c->listeners[i] = impl_listen(c->ram, nothing, NULL);
    }
    c->at = low ? 12 * GIB : c->size / 2;
}

static void case_free(Case *c)
{
    unsigned int i;

    for (i = 0; i < 2; i++) {
        impl_unlisten(c->ram, c->listeners[i]);
    }
    impl_ram_free(c->ram);
}

static double case_sample(Case *c)
{
    gint64 start = g_get_monotonic_time(), now = start;
    unsigned int n = 0;

    while (now - start < SAMPLE_USEC) {
        impl_convert(c->ram, c->at, 2 * MIB, false);
        impl_convert(c->ram, c->at, 2 * MIB, true);
        n += 2;
        now = n % 16 ? now : g_get_monotonic_time();
    }
    return (now - start) * 1000.0 / n;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Every other page shared: the worst a guest can do to the map */
static void print_worst_pattern(void)
{
    uint64_t size = 16 * GIB, offset;
    Ram *ram = impl_ram_new(size);

    for (offset = size; offset; offset -= 2 * PAGE) {
        impl_convert(ram, offset - 2 * PAGE, PAGE, false);
    }
    printf("bits %.3f\n", impl_map_bytes(ram) * 8.0 / (size / PAGE));
    impl_ram_free(ram);
}

int main(void)
{
    static const unsigned int runs[] = { 1, 1000, 1000000 };
    Case cases[12], *c = cases;
    unsigned int i, sample;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        cases[i] = (Case) {
            .layout = i < 6 ? "low" : "spread",
            .size = i / 3 % 2 ? 1024 * GIB : 16 * GIB,
            .runs = runs[i % 3],
        };
        case_make(&cases[i]);
    }
    for (sample = 0; sample < SAMPLES; sample++) {
        for (c = cases; c < cases + ARRAY_SIZE(cases); c++) {
            c->ns[sample] = case_sample(c);
        }
    }
    for (c = cases; c < cases + ARRAY_SIZE(cases); c++) {
        qsort(c->ns, SAMPLES, sizeof(double), compare);
        printf("cost %s %" PRIu64 " %u %.1f\n", c->layout, c->size / GIB,
               c->runs, c->ns[SAMPLES / 2]);
        case_free(c);
    }
    print_worst_pattern();
    return 0;
}
