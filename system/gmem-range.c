/*
 * gmem: reservations of ranges, and how the engine waits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every range of every claim, granted or waiting, is in one interval tree.  A
 * claim counts the overlapping ranges that were there before it; whoever
 * leaves the tree takes one off each later claim it overlapped.
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "gmem-range.h"

/* A kick or a deadline is noticed this soon */
#define GMEM_WAIT_SLICE_NS (5 * SCALE_MS)
#define GMEM_BACKOFF_FIRST_NS (20 * SCALE_US)
#define GMEM_BACKOFF_LAST_NS (5 * SCALE_MS)

int64_t gmem_clock_ns(void)
{
    /* what QEMU_CLOCK_REALTIME reads, without the timers that come with it */
    return get_clock();
}

int gmem_wait_check(const GmemWait *wait)
{
    if (wait->kicked && wait->kicked(wait->opaque)) {
        return -EINTR;
    }
    return gmem_clock_ns() < wait->deadline_ns ? 0 : -EAGAIN;
}

int gmem_wait_backoff(GmemWait *wait)
{
    int64_t now = gmem_clock_ns();
    int64_t ns = MAX(wait->backoff_ns, GMEM_BACKOFF_FIRST_NS);
    int ret = gmem_wait_check(wait);

    if (ret) {
        return ret;
    }
    wait->backoff_ns = MIN(2 * ns, GMEM_BACKOFF_LAST_NS);
    ns = MIN(ns, MAX(wait->deadline_ns - now, 0));
    g_usleep(DIV_ROUND_UP(ns, SCALE_US));
    wait->waited_ns += gmem_clock_ns() - now;
    return wait->kicked && wait->kicked(wait->opaque) ? -EINTR : 0;
}

int gmem_wait_slice_ms(const GmemWait *wait)
{
    int64_t left = wait->deadline_ns - gmem_clock_ns();

    return DIV_ROUND_UP(MIN(MAX(left, 1), GMEM_WAIT_SLICE_NS), SCALE_MS);
}

void gmem_range_lock_init(GmemRangeLock *lock)
{
    memset(&lock->tree, 0, sizeof(lock->tree));
    qemu_cond_init(&lock->moved);
    lock->next_ticket = 0;
}

void gmem_range_lock_destroy(GmemRangeLock *lock)
{
    assert(interval_tree_is_empty(&lock->tree));
    qemu_cond_destroy(&lock->moved);
}

bool gmem_range_lock_is_idle(const GmemRangeLock *lock)
{
    return interval_tree_is_empty(&lock->tree);
}

static GmemRange *gmem_range_first(GmemRangeLock *lock, const GmemRange *by)
{
    IntervalTreeNode *node = interval_tree_iter_first(&lock->tree,
                                                      by->node.start,
                                                      by->node.last);

    return node ? container_of(node, GmemRange, node) : NULL;
}

static GmemRange *gmem_range_next(GmemRange *range, const GmemRange *by)
{
    IntervalTreeNode *node = interval_tree_iter_next(&range->node,
                                                     by->node.start,
                                                     by->node.last);

    return node ? container_of(node, GmemRange, node) : NULL;
}

static void gmem_range_queue(GmemRangeLock *lock, GmemClaim *claim)
{
    unsigned int i;

    claim->ticket = lock->next_ticket++;
    claim->blockers = 0;
    for (i = 0; i < claim->nr_ranges; i++) {
        GmemRange *mine = &claim->ranges[i];
        GmemRange *other = gmem_range_first(lock, mine);

        for (; other; other = gmem_range_next(other, mine)) {
            claim->blockers++;
        }
    }
    for (i = 0; i < claim->nr_ranges; i++) {
        claim->ranges[i].claim = claim;
        interval_tree_insert(&claim->ranges[i].node, &lock->tree);
    }
}

/* One range of @claim is gone; true if somebody may go on now */
static bool gmem_range_unblock(GmemRangeLock *lock, GmemClaim *claim,
                               const GmemRange *gone)
{
    GmemRange *other = gmem_range_first(lock, gone);
    bool moved = false;

    for (; other; other = gmem_range_next(other, gone)) {
        if (other->claim->ticket > claim->ticket) {
            moved |= --other->claim->blockers == 0;
        }
    }
    return moved;
}

void gmem_range_release(GmemRangeLock *lock, GmemClaim *claim)
{
    bool moved = false;
    unsigned int i;

    for (i = 0; i < claim->nr_ranges; i++) {
        interval_tree_remove(&claim->ranges[i].node, &lock->tree);
    }
    for (i = 0; i < claim->nr_ranges; i++) {
        moved |= gmem_range_unblock(lock, claim, &claim->ranges[i]);
    }
    if (moved) {
        qemu_cond_broadcast(&lock->moved);
    }
}

int gmem_range_claim(GmemRangeLock *lock, QemuMutex *mutex, GmemClaim *claim,
                     const GmemWait *wait)
{
    gmem_range_queue(lock, claim);
    while (claim->blockers) {
        int ret = 0;

        /* not polled under the mutex: the caller's function is no leaf */
        qemu_mutex_unlock(mutex);
        ret = gmem_wait_check(wait);
        qemu_mutex_lock(mutex);
        if (!claim->blockers) {
            break;
        }
        if (ret) {
            gmem_range_release(lock, claim);
            return ret;
        }
        qemu_cond_timedwait(&lock->moved, mutex, gmem_wait_slice_ms(wait));
    }
    return 0;
}
