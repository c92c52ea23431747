/*
 * gmem: holders, and how the engine calls them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A holder is called without locks, so it may come and go while others are
 * being called.  Nobody keeps a pointer to one between calls: holders have ascending
 * ids, and the next to call is looked up by id, under the lock, each time.
 *
 * Joining is made exact by `converting`.  A conversion marks its pages before it
 * notes the youngest id; a holder gets its id before its replay looks at the marks.
 * So a holder is either told to begin, or sees the marks and leaves the pages alone
 * until end() gives them to it.  A replay that found pages usable just before they
 * were marked is waited for: it is on the block's list while it calls.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "gmem-internal.h"

/* A call into a holder, on the stack of the thread that makes it */
typedef struct GmemHolderCall {
    GmemHolder *holder;
    bool gone;                  /* removed from inside this very call */
    struct GmemHolderCall *outer;
} GmemHolderCall;

static __thread GmemHolderCall *gmem_holder_calls;

/* Block lock held */
static void gmem_holder_enter(GmemHolderCall *call, GmemHolder *holder)
{
    holder->users++;
    call->holder = holder;
    call->gone = false;
    call->outer = gmem_holder_calls;
    gmem_holder_calls = call;
}

/* Block lock held; afterwards the holder may be freed any time */
static void gmem_holder_leave(GmemBlock *block, GmemHolderCall *call)
{
    gmem_holder_calls = call->outer;
    if (!call->gone) {
        call->holder->users--;
    }
    qemu_cond_broadcast(&block->holders_idle);
}

void gmem_holder_add(GmemBlock *block, GmemHolder *holder)
{
    assert(holder->ops && holder->ops->begin && holder->ops->end);
    gmem_block_ref(block);
    holder->block = block;
    holder->users = 0;
    holder->leaving = false;
    WITH_QEMU_LOCK_GUARD(&block->lock) {
        holder->id = ++block->last_holder_id;
        QTAILQ_INSERT_TAIL(&block->holders, holder, next);
    }
}

/* The calls that this thread itself is inside of must not be waited for */
static void gmem_holder_disown_calls(GmemHolder *holder)
{
    GmemHolderCall *call;

    for (call = gmem_holder_calls; call; call = call->outer) {
        if (call->holder == holder && !call->gone) {
            call->gone = true;
            holder->users--;
        }
    }
}

void gmem_holder_remove(GmemHolder *holder)
{
    GmemBlock *block = holder->block;

    WITH_QEMU_LOCK_GUARD(&block->lock) {
        assert(!holder->leaving);
        holder->leaving = true;
        QTAILQ_REMOVE(&block->holders, holder, next);
        gmem_holder_disown_calls(holder);
        while (holder->users) {
            qemu_cond_wait(&block->holders_idle, &block->lock);
        }
        holder->block = NULL;
    }
    gmem_block_unref(block);
}

/* Block lock held */
static bool gmem_holder_replaying(GmemBlock *block, const GmemHolder *holder,
                                  uint64_t offset, uint64_t size)
{
    GmemReplay *replay;

    QTAILQ_FOREACH(replay, &block->replays, next) {
        if (replay->holder == holder && replay->offset < offset + size &&
            offset < replay->offset + replay->size) {
            return true;
        }
    }
    return false;
}

/*
 * One step of a replay from @offset: lists in @replay the next run that the holder
 * may have, or an empty one where this step has none.  False when the holder leaves.
 */
static bool gmem_replay_look(GmemBlock *block, const GmemHolderCall *call,
                             GmemReplay *replay, uint64_t offset, uint64_t end)
{
    GmemPageRun run;

    end = MIN(end, QEMU_ALIGN_DOWN(offset, GMEM_REPLAY_BYTES) +
                   GMEM_REPLAY_BYTES);
    QEMU_LOCK_GUARD(&block->lock);
    if (call->gone || call->holder->leaving) {
        return false;
    }
    if (!gmem_map_next_usable(&block->map, gmem_page(offset), gmem_page(end),
                              &run)) {
        run.start = run.end = gmem_page(end);
    }
    replay->holder = call->holder;
    replay->offset = (uint64_t)run.start << GMEM_PAGE_BITS;
    replay->size = (uint64_t)(run.end - run.start) << GMEM_PAGE_BITS;
    if (replay->size) {
        /* what is marked from here on finds us on the list, and waits */
        QTAILQ_INSERT_TAIL(&block->replays, replay, next);
    }
    return true;
}

static void gmem_replay_give(GmemBlock *block, GmemReplay *replay,
                             GmemHolder *holder)
{
    holder->ops->end(holder, replay->offset, replay->size, GMEM_PAGE_SHARED);
    QEMU_LOCK_GUARD(&block->lock);
    QTAILQ_REMOVE(&block->replays, replay, next);
    qemu_cond_broadcast(&block->holders_idle);
}

/* The holder is entered throughout, so that who removes it waits for us */
void gmem_holder_replay_shared(GmemHolder *holder, uint64_t offset,
                               uint64_t size)
{
    GmemBlock *block = holder->block;
    uint64_t end = MIN(offset + size, block->size);
    GmemHolderCall call;
    GmemReplay replay;

    gmem_block_ref(block);
    WITH_QEMU_LOCK_GUARD(&block->lock) {
        gmem_holder_enter(&call, holder);
    }
    while (offset < end &&
           gmem_replay_look(block, &call, &replay, offset, end)) {
        offset = replay.offset + replay.size;
        if (replay.size) {
            gmem_replay_give(block, &replay, holder);
        }
    }
    WITH_QEMU_LOCK_GUARD(&block->lock) {
        gmem_holder_leave(block, &call);
    }
    gmem_block_unref(block);
}

uint64_t gmem_holders_last(GmemBlock *block)
{
    smp_mb();
    QEMU_LOCK_GUARD(&block->lock);
    return block->last_holder_id;
}

/* Block lock held; the eldest holder above @id */
static GmemHolder *gmem_holder_after(GmemBlock *block, uint64_t id)
{
    GmemHolder *holder;

    QTAILQ_FOREACH(holder, &block->holders, next) {
        if (holder->id > id) {
            return holder;
        }
    }
    return NULL;
}

/*
 * Block lock held, dropped meanwhile: @holder, which may be gone afterwards, is next.
 * Is there time left for it?  0, -EAGAIN or -EINTR.
 */
static int gmem_holder_check(GmemBlock *block, const GmemHolder *holder,
                             GmemBegun *begun, const GmemWait *wait)
{
    int ret;

    g_free(begun->stalled);
    begun->stalled = g_strdup(qatomic_read(&holder->name));
    qemu_mutex_unlock(&block->lock);
    ret = gmem_wait_check(wait);
    qemu_mutex_lock(&block->lock);
    return ret;
}

/*
 * Enter the next holder that has to begin, once its replay is out of the way.
 * 1: entered; 0: no holder is left; -EAGAIN or -EINTR: @stalled is the name.
 */
static int gmem_holder_enter_next(GmemBlock *block, uint64_t offset,
                                  uint64_t size, uint64_t last,
                                  GmemBegun *begun, GmemWait *wait,
                                  GmemHolderCall *call)
{
    bool check = begun->called;

    QEMU_LOCK_GUARD(&block->lock);
    for (;;) {
        GmemHolder *holder = gmem_holder_after(block, begun->done);
        int ret;

        if (!holder || holder->id > last) {
            return 0;
        }
        if (!check && !gmem_holder_replaying(block, holder, offset, size)) {
            gmem_holder_enter(call, holder);
            return 1;
        }
        ret = gmem_holder_check(block, holder, begun, wait);
        if (ret) {
            return ret;
        }
        check = false;
        /* look again: the lock was dropped, and its end is told only once */
        if (gmem_holder_replaying(block, holder, offset, size)) {
            qemu_cond_timedwait(&block->holders_idle, &block->lock,
                                gmem_wait_slice_ms(wait));
        }
    }
}

static int gmem_holder_begin(GmemBlock *block, uint64_t offset, uint64_t size,
                             GmemBegun *begun, int64_t deadline_ns,
                             GmemHolderCall *call)
{
    GmemHolder *holder = call->holder;
    uint64_t id = holder->id;
    int ret = holder->ops->begin(holder, offset, size, deadline_ns);

    QEMU_LOCK_GUARD(&block->lock);
    if (!ret || call->gone) {
        begun->done = id;
        ret = 0;
    } else {
        g_free(begun->stalled);
        begun->stalled = g_strdup(qatomic_read(&holder->name));
    }
    gmem_holder_leave(block, call);
    return ret;
}

int gmem_holders_begin(GmemBlock *block, uint64_t offset, uint64_t size,
                       uint64_t last, GmemBegun *begun, GmemWait *wait)
{
    int64_t patience = gmem_block_timeout_ms(block) * (int64_t)SCALE_MS;
    GmemHolderCall call;
    int ret;

    for (;;) {
        ret = gmem_holder_enter_next(block, offset, size, last, begun, wait,
                                     &call);
        if (ret <= 0) {
            return ret;
        }
        begun->called = true;
        /* a request may have an hour, but a kick is not looked at meanwhile */
        ret = gmem_holder_begin(block, offset, size, begun,
                                MIN(wait->deadline_ns,
                                    gmem_clock_ns() + patience), &call);
        if (!ret) {
            continue;
        }
        begun->retries++;
        ret = gmem_wait_backoff(wait);
        if (ret) {
            return ret;
        }
    }
}

/* Enter the next holder above @id that has to hear end(); false: none */
static bool gmem_holder_enter_end(GmemBlock *block, uint64_t id, uint64_t done,
                                  uint64_t last, GmemHolderCall *call)
{
    GmemHolder *holder;

    QEMU_LOCK_GUARD(&block->lock);
    holder = gmem_holder_after(block, id < done ? id : MAX(id, last));
    if (holder && holder->id > done && holder->id <= last) {
        holder = gmem_holder_after(block, last);
    }
    if (!holder) {
        return false;
    }
    gmem_holder_enter(call, holder);
    return true;
}

void gmem_holders_end(GmemBlock *block, uint64_t offset, uint64_t size,
                      GmemPageState state, uint64_t done, uint64_t last)
{
    GmemHolderCall call;
    uint64_t id = 0;

    while (gmem_holder_enter_end(block, id, done, last, &call)) {
        id = call.holder->id;
        call.holder->ops->end(call.holder, offset, size, state);
        WITH_QEMU_LOCK_GUARD(&block->lock) {
            gmem_holder_leave(block, &call);
        }
    }
}

/* Enter the first holder above @done that wants to settle; false: none */
static bool gmem_holder_enter_settle(GmemBlock *block, uint64_t done,
                                     GmemHolderCall *call)
{
    GmemHolder *holder;

    QEMU_LOCK_GUARD(&block->lock);
    do {
        holder = gmem_holder_after(block, done);
        done = holder ? holder->id : done;
    } while (holder && !holder->ops->settle);
    if (holder) {
        gmem_holder_enter(call, holder);
    }
    return holder;
}

/* It is left between two calls, so that who removes it waits for one at most */
int gmem_holders_settle(GmemBlock *block, GmemWait *wait)
{
    uint64_t done = 0, asked = 0, number = 0;
    GmemHolderCall call;
    int ret = 0;

    while (!ret && gmem_holder_enter_settle(block, done, &call)) {
        uint64_t id = call.holder->id;
        bool settled;

        number = id == asked ? number : 0;
        asked = id;
        settled = !call.holder->ops->settle(call.holder, &number);
        WITH_QEMU_LOCK_GUARD(&block->lock) {
            settled |= call.gone;
            gmem_holder_leave(block, &call);
        }
        if (settled) {
            done = id;
        } else {
            ret = gmem_wait_backoff(wait);
        }
    }
    return ret;
}
