/*
 * Reservations of ranges
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * 1. Ranges that do not overlap do not wait; ranges that do come in order of asking,
 *    also where a later one overlaps only one that still waits.
 * 2. A deadline and a kick end a wait, and who gave up is in nobody's way.
 * 3. Many threads, several ranges each, two locks: never two owners, never a circle.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "gmem-range.h"

typedef struct Lock {
    QemuMutex mutex;
    GmemRangeLock ranges;
} Lock;

typedef struct Waiter {
    Lock *lock;
    GmemRange range;
    GmemClaim claim;
    GmemWait wait;
    QemuThread thread;
    int ret;
    bool done;
} Waiter;

static void lock_init(Lock *lock)
{
    qemu_mutex_init(&lock->mutex);
    gmem_range_lock_init(&lock->ranges);
}

static void lock_destroy(Lock *lock)
{
    gmem_range_lock_destroy(&lock->ranges);
    qemu_mutex_destroy(&lock->mutex);
}

static int64_t in_ms(int64_t ms)
{
    return gmem_clock_ns() + ms * SCALE_MS;
}

static void waiter_set(Waiter *w, Lock *lock, uint64_t offset, uint64_t size)
{
    memset(w, 0, sizeof(*w));
    w->lock = lock;
    gmem_range_set(&w->range, offset, size);
    w->claim.ranges = &w->range;
    w->claim.nr_ranges = 1;
    w->wait.deadline_ns = in_ms(60000);
}

static int waiter_claim(Waiter *w)
{
    QEMU_LOCK_GUARD(&w->lock->mutex);
    return gmem_range_claim(&w->lock->ranges, &w->lock->mutex, &w->claim,
                            &w->wait);
}

static void waiter_release(Waiter *w)
{
    QEMU_LOCK_GUARD(&w->lock->mutex);
    gmem_range_release(&w->lock->ranges, &w->claim);
}

static void *waiter_main(void *opaque)
{
    Waiter *w = opaque;

    w->ret = waiter_claim(w);
    qatomic_store_release(&w->done, true);
    return NULL;
}

/* Start it, and return when it has queued */
static void waiter_start(Waiter *w)
{
    uint64_t next;

    WITH_QEMU_LOCK_GUARD(&w->lock->mutex) {
        next = w->lock->ranges.next_ticket;
    }
    qemu_thread_create(&w->thread, "waiter", waiter_main, w,
                       QEMU_THREAD_JOINABLE);
    for (;;) {
        WITH_QEMU_LOCK_GUARD(&w->lock->mutex) {
            if (w->lock->ranges.next_ticket > next) {
                return;
            }
        }
        g_usleep(100);
    }
}

static int waiter_join(Waiter *w)
{
    qemu_thread_join(&w->thread);
    return w->ret;
}

static bool waiter_waits(Waiter *w)
{
    QEMU_LOCK_GUARD(&w->lock->mutex);
    return w->claim.blockers != 0;
}

static void test_order(void)
{
    Waiter a, b, c, d;
    Lock lock;

    lock_init(&lock);
    waiter_set(&a, &lock, 0, 10);
    waiter_set(&b, &lock, 5, 10);
    waiter_set(&c, &lock, 12, 8);
    waiter_set(&d, &lock, 20, 10);
    g_assert_cmpint(waiter_claim(&a), ==, 0);
    waiter_start(&b);
    waiter_start(&c);           /* overlaps b only, which waits */
    g_assert_cmpint(waiter_claim(&d), ==, 0);
    g_assert(waiter_waits(&b) && waiter_waits(&c));

    waiter_release(&a);
    g_assert_cmpint(waiter_join(&b), ==, 0);
    g_assert(waiter_waits(&c) && !qatomic_read(&c.done));
    waiter_release(&b);
    g_assert_cmpint(waiter_join(&c), ==, 0);
    waiter_release(&c);
    waiter_release(&d);
    lock_destroy(&lock);
}

static bool kicked(void *opaque)
{
    return qatomic_read((bool *)opaque);
}

static void test_give_up(void)
{
    Waiter a, late, kick, last;
    bool kick_now = false;
    Lock lock;

    lock_init(&lock);
    waiter_set(&a, &lock, 0, 10);
    waiter_set(&late, &lock, 0, 20);
    waiter_set(&kick, &lock, 5, 15);
    waiter_set(&last, &lock, 15, 5);
    kick.wait.kicked = kicked;
    kick.wait.opaque = &kick_now;
    late.wait.deadline_ns = in_ms(30);

    g_assert_cmpint(waiter_claim(&a), ==, 0);
    waiter_start(&late);
    waiter_start(&kick);
    waiter_start(&last);        /* behind late and kick only */
    g_assert(waiter_waits(&last));
    g_assert_cmpint(waiter_join(&late), ==, -EAGAIN);
    g_assert(waiter_waits(&last) && waiter_waits(&kick));
    qatomic_set(&kick_now, true);
    g_assert_cmpint(waiter_join(&kick), ==, -EINTR);
    g_assert_cmpint(waiter_join(&last), ==, 0);
    waiter_release(&last);
    waiter_release(&a);
    lock_destroy(&lock);
}

#define CELLS 64
#define THREADS 8
#define ROUNDS 400

typedef struct Crowd {
    Lock locks[2];
    uint8_t owned[2][CELLS];
} Crowd;

/* Up to three disjoint ranges, in order; how many */
static unsigned int crowd_pick(GRand *rand, GmemRange *ranges)
{
    unsigned int nr = 0, from = 0;

    while (nr < 3 && from < CELLS) {
        unsigned int first = g_rand_int_range(rand, from, CELLS);
        unsigned int size = g_rand_int_range(rand, 1, 1 + CELLS / 4);

        size = MIN(size, CELLS - first);
        gmem_range_set(&ranges[nr++], first, size);
        from = first + size;
    }
    return nr;
}

static void crowd_own(Crowd *crowd, unsigned int l, GmemClaim *claim, int add)
{
    unsigned int i;
    uint64_t cell;

    for (i = 0; i < claim->nr_ranges; i++) {
        const IntervalTreeNode *node = &claim->ranges[i].node;

        for (cell = node->start; cell <= node->last; cell++) {
            /* plain accesses: the reservation is the lock */
            g_assert_cmpint(crowd->owned[l][cell], ==, add < 0);
            crowd->owned[l][cell] += add;
        }
    }
}

static void *crowd_main(void *opaque)
{
    Crowd *crowd = opaque;
    g_autoptr(GRand) rand = g_rand_new();
    GmemRange ranges[2][3];
    unsigned int round, l;

    for (round = 0; round < ROUNDS; round++) {
        GmemWait wait = { .deadline_ns = in_ms(120000) };
        GmemClaim claims[2];

        for (l = 0; l < 2; l++) {
            Lock *lock = &crowd->locks[l];

            claims[l].ranges = ranges[l];
            claims[l].nr_ranges = crowd_pick(rand, ranges[l]);
            WITH_QEMU_LOCK_GUARD(&lock->mutex) {
                g_assert_cmpint(gmem_range_claim(&lock->ranges, &lock->mutex,
                                                 &claims[l], &wait), ==, 0);
            }
            crowd_own(crowd, l, &claims[l], 1);
        }
        for (l = 0; l < 2; l++) {
            crowd_own(crowd, l, &claims[l], -1);
            WITH_QEMU_LOCK_GUARD(&crowd->locks[l].mutex) {
                gmem_range_release(&crowd->locks[l].ranges, &claims[l]);
            }
        }
    }
    return NULL;
}

static void test_crowd(void)
{
    QemuThread threads[THREADS];
    Crowd crowd = { 0 };
    unsigned int i;

    lock_init(&crowd.locks[0]);
    lock_init(&crowd.locks[1]);
    for (i = 0; i < THREADS; i++) {
        qemu_thread_create(&threads[i], "crowd", crowd_main, &crowd,
                           QEMU_THREAD_JOINABLE);
    }
    for (i = 0; i < THREADS; i++) {
        qemu_thread_join(&threads[i]);
    }
    lock_destroy(&crowd.locks[0]);
    lock_destroy(&crowd.locks[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/range/order", test_order);
    g_test_add_func("/gmem/range/give-up", test_give_up);
    g_test_add_func("/gmem/range/crowd", test_crowd);
    return g_test_run();
}
