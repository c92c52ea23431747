/*
 * gmem: how a transaction moves users off its pages, and lets them in again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The marks in the map are the list of what changes: every walk here goes over
 * runs of converting pages, and a run is unmarked right before its holders hear
 * end(), so that a holder may ask the map whether it may use the pages now.
 */

#include "qemu/osdep.h"
#include "gmem-internal.h"

bool gmem_part_next_run(const GmemPart *part, uint64_t offset,
                        uint64_t *start, uint64_t *size)
{
    GmemPageRun run;

    if (!gmem_map_next_marked(&part->block->map, gmem_page(offset),
                              gmem_page(part->offset + part->size), &run)) {
        return false;
    }
    *start = (uint64_t)run.start << GMEM_PAGE_BITS;
    *size = (uint64_t)(run.end - run.start) << GMEM_PAGE_BITS;
    return true;
}

int gmem_part_backoff(GmemTransaction *t, GmemPart *part)
{
    int ret = gmem_wait_backoff(&t->wait);

    part->retries++;
    part->busy_ns += t->wait.waited_ns;
    t->wait.waited_ns = 0;
    return ret;
}

static int gmem_part_drain(GmemTransaction *t, GmemPart *part)
{
    int ret = gmem_access_drain(part->block, part->offset, part->size,
                                &t->wait);

    part->busy_ns += t->wait.waited_ns;
    t->wait.waited_ns = 0;
    t->wait.backoff_ns = 0;
    if (ret == -EAGAIN) {
        gmem_transaction_stalled(t, part->block, part->offset,
                                 g_strdup("QEMU"));
    }
    return ret;
}

/* begin() of all holders for one run; notes in @part how far it came */
static int gmem_part_begin_run(GmemTransaction *t, GmemPart *part,
                               uint64_t start, uint64_t size)
{
    GmemBegun begun = { .called = t->holder_called };
    int ret;

    part->begun_end = start;
    ret = gmem_holders_begin(part->block, start, size, part->last_holder,
                             &begun, &t->wait);
    t->holder_called = begun.called;
    part->retries += begun.retries;
    part->busy_ns += t->wait.waited_ns;
    t->wait.waited_ns = 0;
    t->wait.backoff_ns = 0;
    if (!ret) {
        part->begun_end = start + size;
    } else {
        part->begun_holder = begun.done;
        if (ret == -EAGAIN) {
            gmem_transaction_stalled(t, part->block, start,
                                     g_steal_pointer(&begun.stalled));
        }
    }
    g_free(begun.stalled);
    return ret;
}

static int gmem_part_begin(GmemTransaction *t, GmemPart *part)
{
    uint64_t start, size, offset = part->offset;
    int ret = 0;

    while (!ret && part->last_holder &&
           gmem_part_next_run(part, offset, &start, &size)) {
        ret = gmem_part_begin_run(t, part, start, size);
        offset = start + size;
    }
    return ret;
}

int gmem_quiesce(GmemTransaction *t)
{
    unsigned int i;
    int ret = 0;

    if (t->req->to == GMEM_PAGE_SHARED) {
        return 0;               /* nobody uses private pages */
    }
    for (i = 0; i < t->nr_parts; i++) {
        t->parts[i].last_holder = gmem_holders_last(t->parts[i].block);
    }
    for (i = 0; i < t->nr_parts && !ret; i++) {
        if (t->parts[i].pages) {
            ret = gmem_part_drain(t, &t->parts[i]);
        }
    }
    for (i = 0; i < t->nr_parts && !ret; i++) {
        if (t->parts[i].pages) {
            ret = gmem_part_begin(t, &t->parts[i]);
        }
    }
    return ret;
}

/* Up to which holder begin() was called for the run at @start and succeeded */
static uint64_t gmem_part_begun(const GmemPart *part, uint64_t start)
{
    if (start < part->begun_end) {
        return part->last_holder;
    }
    return start == part->begun_end ? part->begun_holder : 0;
}

/*
 * The run has its final state.  What became shared goes to those who joined late
 * as well: their replay left it out.
 */
static void gmem_part_end_run(GmemPart *part, uint64_t start, uint64_t size,
                              GmemPageState state)
{
    uint64_t begun = gmem_part_begun(part, start);

    gmem_holders_end(part->block, start, size, state, begun,
                     state == GMEM_PAGE_SHARED ? part->last_holder
                                               : UINT64_MAX);
}

static void gmem_part_discard(GmemTransaction *t, GmemPart *part)
{
    GmemBlock *block = part->block;

    if (block->ops->discard &&
        block->ops->discard(block, part->offset, part->size, t->req->to)) {
        qemu_mutex_lock(&block->lock);
        block->stats.discard_failures++;
        qemu_mutex_unlock(&block->lock);
    }
}

static void gmem_part_settle(GmemTransaction *t, GmemPart *part)
{
    uint64_t start, size, offset = part->offset;

    while (gmem_part_next_run(part, offset, &start, &size)) {
        gmem_map_unmark(&part->block->map, gmem_page(start),
                        gmem_page(start + size));
        gmem_part_end_run(part, start, size, t->req->to);
        offset = start + size;
    }
    gmem_part_discard(t, part);
}

void gmem_settle(GmemTransaction *t)
{
    unsigned int i;

    for (i = 0; i < t->nr_parts; i++) {
        if (t->parts[i].pages) {
            gmem_part_settle(t, &t->parts[i]);
        }
    }
}

/*
 * A run that still has the new state could not be undone, and one that is lost was
 * half done.  Nobody knows what the kernel thinks of it, so it stays marked: refused
 * to all accesses for good.
 */
static void gmem_part_unquiesce_run(GmemTransaction *t, GmemPart *part,
                                    uint64_t start, uint64_t size)
{
    GmemMap *map = &part->block->map;
    unsigned long first = gmem_page(start), end = gmem_page(start + size);
    bool to_private = t->req->to == GMEM_PAGE_PRIVATE;

    if (part->lost || gmem_map_count(map, first, end, t->req->to)) {
        if (to_private) {
            gmem_part_end_run(part, start, size, GMEM_PAGE_PRIVATE);
        }
        return;
    }
    gmem_map_unmark(map, first, end);
    if (to_private) {
        /* all: one that was not asked may have left out what was marked */
        gmem_holders_end(part->block, start, size, GMEM_PAGE_SHARED, UINT64_MAX,
                         UINT64_MAX);
    }
}

void gmem_unquiesce(GmemTransaction *t)
{
    unsigned int i;

    for (i = t->nr_parts; i-- > 0; ) {
        GmemPart *part = &t->parts[i];
        uint64_t start, size, offset = part->offset;

        while (part->pages &&
               gmem_part_next_run(part, offset, &start, &size)) {
            gmem_part_unquiesce_run(t, part, start, size);
            offset = start + size;
        }
    }
}
