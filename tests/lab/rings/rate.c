/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Packets per second by uaccess and by borrowed pages, in turn, on one device.
 * A packet here goes through both queues and the loopback device, so that the
 * rings are a small part of what it costs. Nothing is judged.
 */
#include "tests.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TURNS  7
#define ROUNDS 300u

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double measure(struct device *d, bool on)
{
    double start;

    switch_set(on);
    exchange_until_borrowed(d);
    start = now();
    exchange_surely(d, ROUNDS);
    return ROUNDS * BATCH / (now() - start);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

enum verdict rate(const void *unused)
{
    double samples[2][TURNS];
    struct device d;
    struct place p;
    unsigned turn, on;

    (void)unused;
    place_open(&p, MEMFD, rings_bytes(256));
    device_open(&d, 256, 0, p.base);
    must(!device_start(&d));
    for (turn = 0; turn < TURNS; turn++) {
        for (on = 0; on < 2; on++) {
            samples[on][turn] = measure(&d, on);
        }
    }
    for (on = 0; on < 2; on++) {
        qsort(samples[on], TURNS, sizeof(double), by_size);
        printf("# %s: %.0f packets per second (%.0f to %.0f, median of %d)\n",
               on ? "by borrowed pages" : "by uaccess", samples[on][TURNS / 2],
               samples[on][0], samples[on][TURNS - 1], TURNS);
    }
    printf("# ratio of the medians: %.3f\n",
           samples[1][TURNS / 2] / samples[0][TURNS / 2]);
    fflush(stdout);
    return PASSED;
}
