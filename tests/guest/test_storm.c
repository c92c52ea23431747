/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The same without any order: all CPUs drive all virtio devices, and convert all pages
 * that those use, at random and at once. A device that needs a reset gets one, and so do
 * others now and then. What the host answers is 0 or EAGAIN, no CPU waits without an end,
 * and in the end each device works.
 *
 * A page's lock is held while it is converted, so that its shadow is right; a device's by
 * who drives it. Nobody waits for the latter. The order is device, then pages upwards.
 */
#include "tests.h"

#define REVIVE_ONE_IN   64
#define SWEEP_ONE_IN    16
#define STUCK           16      /* rounds that a queue may be full */

static struct storm {
    struct devices *d;
    uint64_t rounds;
    Lock page[V_MAX * V_PAGES];
    unsigned full[V_MAX];
    uint64_t granted, busy, refused, requests, resets, deaf;
} storm;

static void count(uint64_t *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static void ask(uint64_t gpa, uint64_t pages, bool to_private)
{
    long got = pages_convert(gpa, pages, to_private);

    count(got == RET_OK ? &storm.granted :
          got == RET_EAGAIN ? &storm.busy : &storm.refused);
}

static void flip(unsigned n, bool only_to_shared)
{
    uint64_t gpa = virtio_page(&storm.d->v[0], n);
    bool is_private;

    lock(&storm.page[n]);
    is_private = shadow_private(gpa);
    if (is_private || !only_to_shared) {
        ask(gpa, 1, !is_private);
    }
    unlock(&storm.page[n]);
}

/* All pages of a device with one request, neighbours too: rings, buffers, and all */
static void sweep(unsigned i, bool to_private)
{
    for (unsigned n = 0; n < V_PAGES; n++) {
        lock(&storm.page[i * V_PAGES + n]);
    }
    ask(virtio_page(&storm.d->v[i], 0), V_PAGES, to_private);
    for (unsigned n = 0; n < V_PAGES; n++) {
        unlock(&storm.page[i * V_PAGES + n]);
    }
}

/* The others go on converting its pages meanwhile */
static void revive(unsigned i)
{
    for (unsigned n = 0; n < V_PAGES; n += 2) {
        flip(i * V_PAGES + n, true);
    }
    count(virtio_start(&storm.d->v[i], storm.d->patience) ? &storm.resets : &storm.deaf);
    storm.full[i] = 0;
}

static void offer(struct virtio *v, struct rng *r)
{
    unsigned queue = v->nr_queues > 1 ? rng_below(r, v->nr_queues) : 0;
    unsigned slot = v->q[queue].offered % V_SLOTS;
    bool indirect = rng_below(r, 2), write = rng_below(r, 2);

    if (v->kind == VIRTIO_BLK) {
        blk_offer(v, slot, write, 8 * rng_below(r, 64),
                  virtio_page(v, write ? V_WRITE : V_READ), indirect);
    } else {
        net_offer(v, slot, queue, virtio_page(v, queue ? V_WRITE : V_READ), indirect);
    }
    count(&storm.requests);
}

static void drive(unsigned i, struct rng *r)
{
    struct virtio *v = &storm.d->v[i];
    bool full = false;

    for (unsigned q = 0; q < v->nr_queues; q++) {
        full |= virtio_under_way(v, q) == V_SLOTS;
    }
    if (full) {
        storm.full[i]++;
    }
    if (virtio_status(v) & STATUS_NEEDS_RESET || storm.full[i] > STUCK ||
        !rng_below(r, REVIVE_ONE_IN)) {
        revive(i);
    } else if (!full) {
        offer(v, r);
    }
}

static bool try_lock(Lock *l)
{
    return !__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE);
}

static void work(void *unused)
{
    struct rng r;

    (void)unused;
    rng_seed(&r, arg_u64("seed", 1) + cpu_index());
    for (uint64_t n = 0; n < storm.rounds; n++) {
        unsigned i = rng_below(&r, storm.d->n);

        if (rng_below(&r, 4) && try_lock(&storm.d->v[i].lock)) {
            drive(i, &r);
            unlock(&storm.d->v[i].lock);
        } else if (!rng_below(&r, SWEEP_ONE_IN)) {
            sweep(i, rng_below(&r, 2));
        } else {
            flip(i * V_PAGES + 2 * rng_below(&r, V_PAGES / 2), false);
        }
    }
}

void test_storm(void)
{
    storm.d = devices_begin("storm");
    storm.rounds = arg_u64("rounds", 400);
    if (!storm.d) {
        return;
    }
    check(!on_all_cpus(work, NULL), "storm/all", "a CPU ended early");
    say("# storm: %lu conversions, %lu EAGAIN, %lu requests, %lu resets", storm.granted,
        storm.busy, storm.requests, storm.resets);
    check(storm.granted && !storm.refused, "storm/conversions", "granted=%lu refused=%lu",
          storm.granted, storm.refused);
    check(storm.requests && storm.resets && !storm.deaf, "storm/resets",
          "requests=%lu resets=%lu without-an-end=%lu", storm.requests, storm.resets,
          storm.deaf);
    devices_end("storm", storm.d);
}
