/*
 * gmem: reservations of ranges
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A claim asks for some ranges at once.  Claims queue: each waits for those which
 * came before it and overlap, whether these hold their ranges or still wait.  So
 * nobody starves, and a claim that holds nothing yet cannot be overtaken.  A claim
 * is made whole and in one step; with claims on several locks made in one
 * global order of the locks, a circle of waiters cannot form.
 */

#ifndef SYSTEM_GMEM_RANGE_H
#define SYSTEM_GMEM_RANGE_H

#include "qemu/interval-tree.h"
#include "qemu/thread.h"

/* How long somebody is ready to wait, and what ends it early */
typedef struct GmemWait {
    int64_t deadline_ns;        /* gmem_clock_ns() */
    bool (*kicked)(void *opaque);
    void *opaque;
    int64_t backoff_ns;         /* next gmem_wait_backoff() */
    int64_t waited_ns;          /* sum of all back-offs */
} GmemWait;

typedef struct GmemClaim GmemClaim;

typedef struct GmemRange {
    IntervalTreeNode node;
    GmemClaim *claim;
} GmemRange;

struct GmemClaim {
    GmemRange *ranges;          /* disjoint; the caller's */
    unsigned int nr_ranges;
    unsigned int blockers;      /* overlapping ranges of earlier claims */
    uint64_t ticket;
};

typedef struct GmemRangeLock {
    IntervalTreeRoot tree;
    QemuCond moved;             /* some claim lost its last blocker */
    uint64_t next_ticket;
} GmemRangeLock;

/* The clock of deadlines: QEMU_CLOCK_REALTIME, in ns */
int64_t gmem_clock_ns(void);
/* 0: go on waiting; -EINTR: kicked; -EAGAIN: past the deadline */
int gmem_wait_check(const GmemWait *wait);
/* Sleep a little, longer each time, never past the deadline; as gmem_wait_check */
int gmem_wait_backoff(GmemWait *wait);
/* One slice, in ms, for a condition wait that has to notice kicks */
int gmem_wait_slice_ms(const GmemWait *wait);

void gmem_range_lock_init(GmemRangeLock *lock);
void gmem_range_lock_destroy(GmemRangeLock *lock);
/* Nobody holds a range or waits for one.  The mutex is held */
bool gmem_range_lock_is_idle(const GmemRangeLock *lock);

static inline void gmem_range_set(GmemRange *range, uint64_t offset,
                                  uint64_t size)
{
    range->node.start = offset;
    range->node.last = offset + size - 1;
}

/*
 * Get the ranges of @claim.  @mutex guards @lock; held on entry and exit, dropped
 * while waiting.  Returns 0, or -EAGAIN or -EINTR with nothing claimed.
 */
int gmem_range_claim(GmemRangeLock *lock, QemuMutex *mutex, GmemClaim *claim,
                     const GmemWait *wait);
/* Give them back; the mutex is held */
void gmem_range_release(GmemRangeLock *lock, GmemClaim *claim);

#endif
