/*
 * gmem: telling the kernel, and taking it back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A step changes kernel and map under the commit lock, as one.  A step is all or
 * nothing, so only whole steps ever have to be undone: part by part, the last one
 * first, and in a part run by run, because pages between had the new state before.
 *
 * Nothing interrupts a step, and whoever changes memory slots waits for it with the BQL
 * held.  So it ends at the next multiple of GMEM_STEP_BYTES, and between two steps the
 * commit lock and the provider's section are left; the pages are marked all the while.
 *
 * A part takes no more steps than that unless a page in it is busy.  Every attempt, also
 * one in vain, takes the whole range of the step away from all mappings and looks at each
 * page up to the busy one; so the range is cut there.  What lies before becomes a step of its own and is
 * not touched again, the busy page is asked for alone, and behind it steps double from
 * one page on.  That is linear in the pages, wherever and however many are busy.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "gmem-internal.h"

static bool gmem_commit_again(int error)
{
    return error == -EAGAIN || error == -EINTR;
}

/* Make the marked pages of the range @to; 0 or what the provider said */
static int gmem_commit_step(GmemBlock *block, uint64_t offset, uint64_t size,
                            GmemPageState to, uint64_t *busy)
{
    const GmemProviderOps *ops = block->ops;
    int ret;

    if (ops->enter) {
        ops->enter(block);
    }
    gmem_block_commit_lock(block);
    ret = ops->set_state(block, offset, size, to, busy);
    if (!ret) {
        gmem_map_flip(&block->map, gmem_page(offset),
                      gmem_page(offset + size));
    }
    gmem_block_commit_unlock(block);
    if (ops->leave) {
        ops->leave(block);
    }
    return ret;
}

/* From the first to the last page that changes: what the kernel has to see */
static void gmem_part_hull(const GmemPart *part, uint64_t *start,
                           uint64_t *size)
{
    uint64_t run, run_size, offset = part->offset;

    *start = UINT64_MAX;
    *size = 0;
    if (part->pages == gmem_page(part->size)) {
        *start = part->offset;
        *size = part->size;
        return;
    }
    while (gmem_part_next_run(part, offset, &run, &run_size)) {
        *start = MIN(*start, run);
        offset = run + run_size;
        *size = offset - *start;
    }
}

/* A range on its way to another state; [start, offset) is there */
typedef struct GmemSteps {
    uint64_t offset;
    uint64_t end;
    uint64_t size;              /* of the next step, at most */
    uint64_t busy;              /* the page that cut the range; the end without one */
} GmemSteps;

static GmemSteps gmem_steps_over(uint64_t start, uint64_t size)
{
    return (GmemSteps) {
        .offset = start, .end = start + size, .size = GMEM_STEP_BYTES,
        .busy = start + size,
    };
}

/* One step, or one that failed and is smaller the next time */
static int gmem_steps_next(GmemBlock *block, GmemSteps *s, GmemPageState to)
{
    uint64_t size = GMEM_STEP_BYTES - s->offset % GMEM_STEP_BYTES;
    uint64_t busy = s->offset;
    int ret;

    size = MIN(size, MIN(s->size, s->end - s->offset));
    ret = gmem_commit_step(block, s->offset, size, to, &busy);

    if (ret == -EAGAIN) {
        busy = QEMU_ALIGN_DOWN(busy, GMEM_PAGE_BYTES);
        s->busy = busy - s->offset < size ? busy : s->offset;
        s->size = MAX(s->busy - s->offset, GMEM_PAGE_BYTES);
    } else if (!ret) {
        s->offset += size;
        s->size = s->offset == s->busy ? GMEM_PAGE_BYTES
                                       : MIN(2 * s->size, GMEM_STEP_BYTES);
    }
    return ret;
}

/* Until the next attempt: no wait where what lies before the busy page can go */
static int gmem_part_wait(GmemTransaction *t, GmemPart *part,
                          const GmemSteps *s, int error)
{
    int ret = error == -EAGAIN && s->busy > s->offset ?
        gmem_wait_check(&t->wait) : gmem_part_backoff(t, part);

    if (ret == -EAGAIN) {
        gmem_transaction_stalled(t, part->block,
                                 MIN(s->busy, s->end - GMEM_PAGE_BYTES), NULL);
    }
    return ret;
}

static void gmem_part_failed(GmemTransaction *t, GmemPart *part, int error)
{
    if (error == -ENOTRECOVERABLE) {
        part->lost = true;
        gmem_block_break(part->block, "the kernel did a part of a conversion "
                         "and would not take it back");
    }
    t->error = -error;
}

static int gmem_commit_part(GmemTransaction *t, GmemPart *part)
{
    uint64_t start, size;
    GmemSteps s;
    int ret, wait;

    gmem_part_hull(part, &start, &size);
    s = gmem_steps_over(start, size);
    while (s.offset < s.end) {
        ret = gmem_steps_next(part->block, &s, t->req->to);
        if (!ret) {
            part->committed_end = s.offset;
            t->wait.backoff_ns = 0;
            continue;
        }
        if (!gmem_commit_again(ret)) {
            gmem_part_failed(t, part, ret);
            return -EIO;
        }
        wait = gmem_part_wait(t, part, &s, ret);
        if (wait) {
            return wait;
        }
    }
    return 0;
}

static int gmem_undo_run(GmemTransaction *t, GmemPart *part, uint64_t start,
                         uint64_t size, GmemWait *wait)
{
    GmemPageState from = t->req->to == GMEM_PAGE_SHARED ? GMEM_PAGE_PRIVATE
                                                        : GMEM_PAGE_SHARED;
    GmemSteps s = gmem_steps_over(start, size);
    int ret;

    do {
        ret = gmem_steps_next(part->block, &s, from);
    } while (s.offset < s.end &&
             (!ret || ((gmem_commit_again(ret) || ret == -ENOMEM) &&
                       !gmem_wait_backoff(wait))));
    return ret;
}

static bool gmem_undo_part(GmemTransaction *t, GmemPart *part, GmemWait *wait)
{
    uint64_t start, size, offset = part->offset;
    bool undone = true;

    while (gmem_part_next_run(part, offset, &start, &size) &&
           start < part->committed_end) {
        int ret;

        size = MIN(size, part->committed_end - start);
        ret = gmem_undo_run(t, part, start, size, wait);
        if (ret) {
            t->error = -ret;
            gmem_block_break(part->block,
                             "the kernel refused to undo a failed conversion");
            undone = false;
        }
        offset = start + size;
    }
    part->committed_end = part->offset;
    return undone;
}

/*
 * The way back has a time allowance of its own, the blocks' if the request had less,
 * and listens to no kick: what is half done must not stay so.  It is one for all;
 * once it is used up, what is left is tried once each.
 */
static bool gmem_undo(GmemTransaction *t)
{
    uint32_t ms = t->timeout_ms;
    bool undone = true;
    GmemWait wait = { };
    unsigned int i;

    for (i = 0; i < t->nr_parts; i++) {
        ms = MAX(ms, gmem_block_timeout_ms(t->parts[i].block));
    }
    wait.deadline_ns = gmem_clock_ns() + ms * (int64_t)SCALE_MS;
    for (i = t->nr_parts; i-- > 0; ) {
        undone &= gmem_undo_part(t, &t->parts[i], &wait);
    }
    return undone;
}

int gmem_commit(GmemTransaction *t)
{
    unsigned int i;
    int ret = 0;

    for (i = 0; i < t->nr_parts && !ret; i++) {
        if (t->parts[i].pages) {
            ret = gmem_commit_part(t, &t->parts[i]);
        }
    }
    if (ret && !gmem_undo(t)) {
        ret = -EIO;
    }
    return ret;
}
