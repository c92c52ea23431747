/*
 * gmem: QEMU's own touches of guest memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An accessor counts itself in and then looks at the map; a conversion marks the
 * map and then looks at the counters.  Each puts a full barrier between, so that at
 * least one of the two sees the other: an accessor that the conversion did not see
 * finds its pages converting and turns round.
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

static unsigned int *gmem_stripe(GmemBlock *block, const GmemStripeSpan *span,
                                 unsigned int i)
{
    return &block->stripes[(span->first + i) % GMEM_STRIPES].inside;
}

static void gmem_access_deny(GmemBlock *block, uint64_t offset, uint64_t size,
                             const char *who)
{
    const GmemObserver *observer = gmem_observer();

    WITH_QEMU_LOCK_GUARD(&block->lock) {
        block->stats.denied++;
    }
    if (observer->denied) {
        observer->denied(block, offset, size, who);
    }
}

bool gmem_access_begin(GmemBlock *block, uint64_t offset, uint64_t size,
                       const char *who)
{
    if (!size) {
        return true;
    }
    if (offset < block->size && size <= block->size - offset) {
        GmemStripeSpan span = gmem_stripe_span(offset, size);
        unsigned int i;

        for (i = 0; i < span.nr; i++) {
            qatomic_inc(gmem_stripe(block, &span, i));
        }
        smp_mb__after_rmw();
        if (gmem_block_range_is(block, offset, size, GMEM_PAGE_SHARED)) {
            return true;
        }
        gmem_access_end(block, offset, size);
    }
    gmem_access_deny(block, offset, size, who);
    return false;
}

void gmem_access_end(GmemBlock *block, uint64_t offset, uint64_t size)
{
    GmemStripeSpan span;
    unsigned int i;

    if (!size) {
        return;
    }
    span = gmem_stripe_span(offset, size);
    for (i = 0; i < span.nr; i++) {
        qatomic_dec(gmem_stripe(block, &span, i));
    }
}

static int gmem_stripe_drain(const unsigned int *inside, GmemWait *wait)
{
    unsigned int spins = 0;
    int ret;

    while (qatomic_load_acquire(inside)) {
        if (spins++ < GMEM_DRAIN_SPINS) {
            cpu_relax();
            continue;
        }
        ret = gmem_wait_backoff(wait);
        if (ret) {
            return ret;
        }
    }
    return 0;
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
