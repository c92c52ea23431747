/*
 * gmem: the conversion transaction
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A request goes through these stages; each has its file or its section here:
 *
 *   plan     validate, sort, merge: nothing can fail later for a reason that was
 *            in the request itself
 *   reserve  the ranges, block by block in order of creation
 *   mark     what changes (the map), and charge it against shared-limit
 *   quiesce  accessors and holders, to private only   (gmem-quiesce.c)
 *   commit   kernel and map, or undo                  (gmem-commit.c)
 *   settle   unmark, end(), free the other side       (gmem-quiesce.c)
 *
 * and backwards from wherever it fails.
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "gmem-internal.h"

/* ---- plan ---- */

static bool gmem_segment_is_valid(const GmemSegment *segment, GmemPageState to)
{
    const GmemBlock *block = segment->block;

    if (!block || !segment->size ||
        !QEMU_IS_ALIGNED(segment->offset | segment->size, GMEM_PAGE_BYTES)) {
        return false;
    }
    if (segment->offset >= block->size ||
        segment->size > block->size - segment->offset) {
        return false;
    }
    /* all of mode none is shared and stays so */
    return block->mode != GMEM_BLOCK_MODE_NONE || to == GMEM_PAGE_SHARED;
}

static bool gmem_block_takes(const GmemBlock *block, const GmemRequest *req)
{
    return !qatomic_read(&block->broken) && !qatomic_read(&block->retired) &&
           (!qatomic_read(&block->closed) || req->restore);
}

static int gmem_part_compare(const void *a, const void *b)
{
    const GmemPart *x = a, *y = b;

    if (x->block != y->block) {
        return x->block->seq < y->block->seq ? -1 : 1;
    }
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Sorted parts that touch or overlap become one */
static unsigned int gmem_parts_merge(GmemPart *parts, unsigned int nr)
{
    unsigned int i, last = 0;

    for (i = 1; i < nr; i++) {
        GmemPart *into = &parts[last], *part = &parts[i];
        uint64_t end = into->offset + into->size;

        if (part->block == into->block && part->offset <= end) {
            into->size = MAX(end, part->offset + part->size) - into->offset;
        } else {
            parts[++last] = *part;
        }
    }
    return last + 1;
}

static void gmem_transaction_set_wait(GmemTransaction *t, int64_t now)
{
    unsigned int i;

    t->timeout_ms = t->req->timeout_ms;
    for (i = 0; i < t->nr_parts && !t->req->timeout_ms; i++) {
        uint32_t ms = gmem_block_timeout_ms(t->parts[i].block);

        t->timeout_ms = i ? MIN(t->timeout_ms, ms) : ms;
    }
    t->wait.deadline_ns = now + t->timeout_ms * (int64_t)SCALE_MS;
    t->wait.kicked = t->req->kicked;
    t->wait.opaque = t->req->opaque;
}

static int gmem_transaction_plan(GmemTransaction *t, int64_t now)
{
    GmemRequest *req = t->req;
    unsigned int i;

    for (i = 0; i < req->nr_segments; i++) {
        if (!gmem_segment_is_valid(&req->segments[i], req->to) ||
            !gmem_block_takes(req->segments[i].block, req)) {
            return -EINVAL;
        }
    }
    t->parts = g_new0(GmemPart, req->nr_segments);
    for (i = 0; i < req->nr_segments; i++) {
        t->parts[i].block = req->segments[i].block;
        t->parts[i].offset = req->segments[i].offset;
        t->parts[i].size = req->segments[i].size;
    }
    qsort(t->parts, req->nr_segments, sizeof(GmemPart), gmem_part_compare);
    t->nr_parts = gmem_parts_merge(t->parts, req->nr_segments);
    for (i = 0; i < t->nr_parts; i++) {
        t->parts[i].begun_end = t->parts[i].offset;
        t->parts[i].committed_end = t->parts[i].offset;
        gmem_block_ref(t->parts[i].block);
    }
    gmem_transaction_set_wait(t, now);
    return 0;
}

static void gmem_transaction_free(GmemTransaction *t)
{
    unsigned int i;

    for (i = 0; i < t->nr_parts; i++) {
        gmem_block_unref(t->parts[i].block);
    }
    g_free(t->parts);
    g_free(t->ranges);
    g_free(t->claims);
}

void gmem_transaction_stalled(GmemTransaction *t, GmemBlock *block,
                              uint64_t offset, char *holder)
{
    g_free(t->req->stalled_holder);
    t->req->stalled_holder = holder;
    t->req->stalled_block = block;
    t->req->stalled_offset = offset;
}

/* ---- reserve ---- */

/* Parts of the block of part @i, from there on: they are neighbours */
static unsigned int gmem_parts_of_block(const GmemTransaction *t,
                                        unsigned int i)
{
    unsigned int n = 1;

    while (i + n < t->nr_parts && t->parts[i + n].block == t->parts[i].block) {
        n++;
    }
    return n;
}

static void gmem_transaction_release(GmemTransaction *t)
{
    while (t->nr_claims) {
        GmemClaim *claim = &t->claims[--t->nr_claims];
        GmemBlock *block = t->parts[claim->ranges - t->ranges].block;

        QEMU_LOCK_GUARD(&block->lock);
        gmem_range_release(&block->ranges, claim);
    }
}

static int gmem_transaction_claim(GmemTransaction *t, unsigned int i)
{
    GmemClaim *claim = &t->claims[t->nr_claims];
    GmemBlock *block = t->parts[i].block;
    int ret;

    claim->ranges = &t->ranges[i];
    claim->nr_ranges = gmem_parts_of_block(t, i);
    WITH_QEMU_LOCK_GUARD(&block->lock) {
        ret = gmem_range_claim(&block->ranges, &block->lock, claim, &t->wait);
    }
    if (!ret) {
        t->nr_claims++;
    } else if (ret == -EAGAIN) {
        gmem_transaction_stalled(t, block, t->parts[i].offset,
                                 g_strdup("another conversion"));
    }
    return ret;
}

static int gmem_transaction_reserve(GmemTransaction *t)
{
    unsigned int i;
    int ret = 0;

    t->ranges = g_new0(GmemRange, t->nr_parts);
    t->claims = g_new0(GmemClaim, t->nr_parts);
    for (i = 0; i < t->nr_parts; i++) {
        gmem_range_set(&t->ranges[i], t->parts[i].offset, t->parts[i].size);
    }
    for (i = 0; i < t->nr_parts && !ret; i += gmem_parts_of_block(t, i)) {
        ret = gmem_transaction_claim(t, i);
    }
    return ret;
}

/* ---- mark ---- */

static unsigned long gmem_transaction_mark(GmemTransaction *t)
{
    unsigned long pages = 0;
    unsigned int i;

    for (i = 0; i < t->nr_parts; i++) {
        GmemPart *part = &t->parts[i];

        part->pages = gmem_map_mark(&part->block->map, gmem_page(part->offset),
                                    gmem_page(part->offset + part->size),
                                    t->req->to);
        pages += part->pages;
    }
    return pages;
}

/*
 * Would the request exceed a shared-limit as things are now?  Asked before any
 * waiting, so that a guest hears EINVAL at once and not after a time-out.  Pages
 * that are converting are charged already, by the request that converts them.
 */
static int gmem_transaction_precheck(const GmemTransaction *t)
{
    unsigned int i, n, end;

    for (i = 0; i < t->nr_parts; i = end) {
        GmemBlock *block = t->parts[i].block;
        unsigned long pages = 0;

        end = i + gmem_parts_of_block(t, i);
        for (n = i; n < end; n++) {
            const GmemPart *part = &t->parts[n];

            pages += gmem_map_count_still(&block->map,
                                          gmem_page(part->offset),
                                          gmem_page(part->offset + part->size),
                                          GMEM_PAGE_PRIVATE);
        }
        if (!gmem_block_charge(block, pages, false)) {
            return -EINVAL;
        }
    }
    return 0;
}

static void gmem_transaction_uncharge(GmemTransaction *t, unsigned int end)
{
    unsigned int i;

    for (i = 0; i < end; i++) {
        gmem_block_uncharge(t->parts[i].block, t->parts[i].pages);
    }
}

/*
 * Afterwards what is charged is what the map says is shared: also after an undo that
 * failed, where some pages changed and some did not.
 */
static void gmem_transaction_correct(GmemTransaction *t)
{
    unsigned int i;

    for (i = 0; i < t->nr_parts; i++) {
        GmemPart *part = &t->parts[i];
        unsigned long first = gmem_page(part->offset);
        unsigned long end = gmem_page(part->offset + part->size);
        unsigned long private = gmem_map_count(&part->block->map, first, end,
                                               GMEM_PAGE_PRIVATE);

        if (t->req->to == GMEM_PAGE_PRIVATE) {
            private -= end - first - part->pages;   /* were so before */
        }
        gmem_block_uncharge(part->block, private);
    }
}

/* Charge all marked pages as shared, or none */
static int gmem_transaction_charge(GmemTransaction *t)
{
    unsigned int i, n, end;

    for (i = 0; i < t->nr_parts; i = end) {
        unsigned long pages = 0;

        end = i + gmem_parts_of_block(t, i);
        for (n = i; n < end; n++) {
            pages += t->parts[n].pages;
        }
        if (!gmem_block_charge(t->parts[i].block, pages, true)) {
            gmem_transaction_uncharge(t, i);
            return -EINVAL;
        }
    }
    return 0;
}

static bool gmem_transaction_is_taken(const GmemTransaction *t)
{
    unsigned int i;

    for (i = 0; i < t->nr_parts; i++) {
        if (!gmem_block_takes(t->parts[i].block, t->req)) {
            return false;
        }
    }
    return true;
}

/* ---- accounts ---- */

static unsigned int gmem_latency_bucket(int64_t ns)
{
    uint64_t us = MAX(ns, 0) / SCALE_US;

    return us ? MIN(64 - clz64(us), GMEM_LATENCY_BUCKETS - 1) : 0;
}

static void gmem_stats_add(GmemTransaction *t, unsigned int i, int ret,
                           int64_t ns)
{
    GmemBlockStats *stats = &t->parts[i].block->stats;
    unsigned int end = i + gmem_parts_of_block(t, i);
    unsigned long pages = 0;

    QEMU_LOCK_GUARD(&t->parts[i].block->lock);
    for (; i < end; i++) {
        stats->retries += t->parts[i].retries;
        stats->busy_ns += t->parts[i].busy_ns;
        pages += t->parts[i].pages;
    }
    if (!ret && pages) {
        stats->conversions[t->req->to]++;
        stats->bytes[t->req->to] += (uint64_t)pages << GMEM_PAGE_BITS;
        stats->latency[gmem_latency_bucket(ns)]++;
    } else if (ret && ret != -EINTR) {
        stats->failures++;
        stats->last_error = t->error ?: -ret;
    }
}

static void gmem_transaction_account(GmemTransaction *t, int ret, int64_t ns)
{
    unsigned int i;

    for (i = 0; i < t->nr_parts; i += gmem_parts_of_block(t, i)) {
        gmem_stats_add(t, i, ret, ns);
    }
}

static void gmem_transaction_tell_stalled(GmemTransaction *t)
{
    const GmemObserver *observer = gmem_observer();
    const GmemRequest *req = t->req;
    unsigned int i;

    for (i = 0; i < t->nr_parts && observer->stalled; i++) {
        const GmemPart *part = &t->parts[i];

        if (part->block == req->stalled_block &&
            req->stalled_offset - part->offset < part->size) {
            observer->stalled(part->block, part->offset, part->size,
                              req->stalled_holder);
        }
    }
}

/* ---- all of it ---- */

/* With the pages marked: change them all, or leave everything as it was */
static int gmem_transaction_change(GmemTransaction *t)
{
    bool to_shared = t->req->to == GMEM_PAGE_SHARED;
    int ret = to_shared ? gmem_transaction_charge(t) : gmem_quiesce(t);
    bool charged = to_shared && !ret;

    if (!ret) {
        ret = gmem_commit(t);
    }
    if (!ret) {
        gmem_settle(t);
    } else {
        gmem_unquiesce(t);
    }
    if (charged || !to_shared) {
        gmem_transaction_correct(t);
    }
    return ret;
}

/*
 * What is shared now, or was not taken after all, is the guest's to use when this
 * returns: so holders get a while to catch up, with the ranges free.  Not for
 * longer than a vCPU may be away.  One that is kicked meanwhile must not go on
 * yet, and asks again: so what was shared before counts too.  Returns what the
 * request is to return, which was @ret so far.
 */
static int gmem_transaction_catch_up(GmemTransaction *t, int ret)
{
    bool to_shared = t->req->to == GMEM_PAGE_SHARED;
    GmemWait wait = {
        .deadline_ns = gmem_clock_ns() +
                       MIN(t->timeout_ms, 1000) * (int64_t)SCALE_MS,
        .kicked = t->req->kicked,
        .opaque = t->req->opaque,
    };
    unsigned int i, end;
    int kicked = 0;

    for (i = 0; i < t->nr_parts && to_shared == !ret && !kicked; i = end) {
        unsigned long pages = to_shared;

        end = i + gmem_parts_of_block(t, i);
        for (unsigned int n = i; n < end; n++) {
            pages += t->parts[n].pages;
        }
        if (pages && gmem_holders_settle(t->parts[i].block, &wait) == -EINTR) {
            kicked = -EINTR;
        }
    }
    return to_shared && kicked ? kicked : ret;
}

static int gmem_transaction_run(GmemTransaction *t)
{
    int ret = 0;

    if (t->req->to == GMEM_PAGE_SHARED) {
        ret = gmem_transaction_precheck(t);
    }
    if (!ret) {
        ret = gmem_transaction_reserve(t);
    }
    /* the block may have been broken or closed while this one queued */
    if (!ret && !gmem_transaction_is_taken(t)) {
        ret = -EINVAL;
    }
    if (!ret && gmem_transaction_mark(t)) {
        ret = gmem_transaction_change(t);
    }
    if (ret == -EAGAIN) {
        gmem_transaction_tell_stalled(t);
    }
    gmem_transaction_release(t);
    return ret;
}

int gmem_convert_request(GmemRequest *req)
{
    GmemTransaction t = { .req = req };
    int64_t start = gmem_clock_ns();
    int ret;

    req->stalled_holder = NULL;
    req->stalled_block = NULL;
    req->stalled_offset = 0;
    if (!req->nr_segments) {
        return 0;
    }
    ret = gmem_transaction_plan(&t, start);
    if (!ret) {
        int done = gmem_transaction_run(&t);

        ret = gmem_transaction_catch_up(&t, done);
        gmem_transaction_account(&t, done, gmem_clock_ns() - start);
    }
    gmem_transaction_free(&t);
    return ret;
}
