/*
 * gmem: QEMU's own touches of guest memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An accessor counts itself in and then looks at the map; a conversion marks the
 * map and then looks at the counters.  Each puts a full barrier between, so that at
 * least one of the two sees the other: an accessor that the conversion did not see
 * finds its pages converting and turns round.
 *
 * Accessors of other pages share the counters and keep coming.  So a stripe has two,
 * and a phase that says where they count themselves in: a conversion waits until it
 * has seen each of the two at zero, not both at once, and sends newcomers to the one
 * that it has seen.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/processor.h"
#include "gmem-internal.h"

/* Sections are short: spin this often before going to sleep */
#define GMEM_DRAIN_SPINS 1000

/* The stripes of a range: from @first, @nr of them, modulo GMEM_STRIPES */
typedef struct GmemStripeSpan {
    unsigned int first;
    unsigned int nr;
} GmemStripeSpan;

static GmemStripeSpan gmem_stripe_span(uint64_t offset, uint64_t size)
{
    uint64_t first = offset >> GMEM_STRIPE_BITS;
    uint64_t last = (offset + size - 1) >> GMEM_STRIPE_BITS;

    return (GmemStripeSpan) {
        .first = first % GMEM_STRIPES,
        .nr = MIN(last - first + 1, GMEM_STRIPES),
    };
}

static GmemStripe *gmem_stripe(GmemBlock *block, const GmemStripeSpan *span,
                               unsigned int i)
{
    return &block->stripes[(span->first + i) % GMEM_STRIPES];
}

void gmem_access_deny(GmemBlock *block, uint64_t offset, uint64_t size,
                      const char *who, uint64_t times)
{
    const GmemObserver *observer = gmem_observer();

    WITH_QEMU_LOCK_GUARD(&block->lock) {
        block->stats.denied += times;
    }
    if (observer->denied) {
        observer->denied(block, offset, size, who, times);
    }
}

/* Bit i of the answer: the phase in which stripe i of the span was entered */
static uint64_t gmem_access_enter(GmemBlock *block, const GmemStripeSpan *span)
{
    uint64_t phases = 0;
    unsigned int i;

    QEMU_BUILD_BUG_ON(GMEM_STRIPES > 64);
    for (i = 0; i < span->nr; i++) {
        GmemStripe *stripe = gmem_stripe(block, span, i);
        uint64_t phase = qatomic_read(&stripe->phase);

        qatomic_inc(&stripe->inside[phase]);
        phases |= phase << i;
    }
    smp_mb__after_rmw();
    return phases;
}

bool gmem_access_begin(GmemAccess *access, GmemBlock *block, uint64_t offset,
                       uint64_t size, const char *who)
{
    *access = (GmemAccess) { .block = block, .offset = offset, .size = size };
    if (!size) {
        return true;
    }
    if (offset < block->size && size <= block->size - offset) {
        GmemStripeSpan span = gmem_stripe_span(offset, size);

        access->phases = gmem_access_enter(block, &span);
        if (gmem_block_range_is(block, offset, size, GMEM_PAGE_SHARED)) {
            return true;
        }
        gmem_access_end(access);
    }
    gmem_access_deny(block, offset, size, who, 1);
    return false;
}

void gmem_access_end(const GmemAccess *access)
{
    GmemStripeSpan span;
    unsigned int i;

    if (!access->size) {
        return;
    }
    span = gmem_stripe_span(access->offset, access->size);
    for (i = 0; i < span.nr; i++) {
        GmemStripe *stripe = gmem_stripe(access->block, &span, i);

        qatomic_dec(&stripe->inside[(access->phases >> i) & 1]);
    }
}

/* Look at both counters; true when each has been seen at zero by now */
static bool gmem_stripe_look(const GmemStripe *stripe, bool seen[2])
{
    unsigned int i;

    for (i = 0; i < 2; i++) {
        seen[i] = seen[i] || !qatomic_load_acquire(&stripe->inside[i]);
    }
    return seen[0] && seen[1];
}

/* Only the drainer: two that turn newcomers away from different counters starve */
static void gmem_stripe_flip(GmemStripe *stripe, const bool seen[2])
{
    unsigned int phase = qatomic_read(&stripe->phase);

    if (!seen[phase] && seen[!phase]) {
        qatomic_set(&stripe->phase, !phase);
    }
}

static int gmem_stripe_drain(GmemStripe *stripe, GmemWait *wait)
{
    bool seen[2] = { false, false }, drainer = false;
    unsigned int spins = 0;
    int ret = 0;

    while (!ret && !gmem_stripe_look(stripe, seen)) {
        drainer = drainer || !qatomic_cmpxchg(&stripe->drainer, 0, 1);
        if (drainer) {
            gmem_stripe_flip(stripe, seen);
        }
        if (spins++ < GMEM_DRAIN_SPINS) {
            cpu_relax();
        } else {
            ret = gmem_wait_backoff(wait);
        }
    }
    if (drainer) {
        qatomic_store_release(&stripe->drainer, 0);
    }
    return ret;
}

int gmem_access_drain(GmemBlock *block, uint64_t offset, uint64_t size,
                      GmemWait *wait)
{
    GmemStripeSpan span = gmem_stripe_span(offset, size);
    unsigned int i;
    int ret = 0;

    smp_mb();
    for (i = 0; i < span.nr && !ret; i++) {
        ret = gmem_stripe_drain(gmem_stripe(block, &span, i), wait);
    }
    return ret;
}
