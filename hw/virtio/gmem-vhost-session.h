/*
 * gmem: what a vhost-user back end has, wants and knows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  There are two tables: the one that the back end has acknowledged
 * (`had`), and, while that is changed, the one that it is changed to (`next`).
 * A page may go private when it is in neither.  Nothing else is kept: the next
 * table is made from the map of what is shared whenever one is needed, so a
 * conversion of however many runs, and all conversions that wait at a time,
 * cost one change of the table.
 *
 * Memory is never taken from under running rings.  The session goes round:
 *
 *   OFF      the device is not started: a table is sent when it starts, and
 *            emptied when a conversion wants a page of it
 *   RUNNING  a conversion wants a change -> the back end's completions are told
 *            to nobody
 *   HELD     a guest that hears of no completion soon has nothing under way;
 *            once that is so, or where it goes on all the same and its requests
 *            are answered, the rings are stopped; where some request is not
 *            answered, it is let go again -> RUNNING
 *   STOPPED  when all that was taken from the rings is answered, the table is
 *            changed, and the rings go on where they stopped -> RUNNING; where
 *            some request is not answered, they go on as it was -> RUNNING
 *
 * All of that is done by the main loop, in steps that do not wait for the
 * guest's requests. Other threads ask, and hear of every move.
 *
 * A connection that fails, or a back end that does not answer, is cut: it is
 * then *gone*, and has nothing.
 *
 * Knows nothing of QEMU but its locks: how things are done is the link's
 * affair.
 */

#ifndef HW_VIRTIO_GMEM_VHOST_SESSION_H
#define HW_VIRTIO_GMEM_VHOST_SESSION_H

#include "qemu/thread.h"
#include "hw/virtio/gmem-vhost-table.h"

/* No step is needed */
#define GMEM_VHOST_NEVER INT64_MAX

/*
 * What a session does to its back end; BQL held.  Functions with an int return
 * 0 or -errno, and the connection is cut after an error.
 *
 * @is_open: there is a connection.
 * @lay_out: make @table from what is shared now; with @empty nothing is
 *     wanted.  -errno: it cannot be made; that does not cut the connection.
 * @park: pieces are about to be removed, and rings may lie in them.
 * @unpark: it is not spoken to again: what @park gave it is taken back.
 * @change: have the back end add or remove @piece, and acknowledge it.
 * @changed: `had` is what was laid out last.
 * @gone: the back end has nothing; without the lock, and maybe more than once.
 * @hold: tell nobody of completions.
 * @is_still: nothing is under way, nor waits to be taken, as far as can be
 *     told.
 * @is_moving: whatever is not still has answered something since this, or
 *     @hold, was called last.
 * @unhold: tell of completions again.
 * @stop: stop the rings, and learn how far they came.
 * @is_done: all that was taken has been answered.
 * @rings_fit: all rings lie in @table.
 * @may_resume: @start is possible, from @had, with requests under way.
 * @start: go on with the rings where they stopped, and tell of completions
 *     again.
 * @let_go: the rings are stopped by others; tell the guest what it was not
 *     told, each time what is new.
 * @cut: end the connection.
 */
typedef struct GmemVhostLink {
    bool (*is_open)(void *opaque);
    int (*lay_out)(void *opaque, GmemVhostTable *table, bool empty);
    int (*park)(void *opaque);
    int (*unpark)(void *opaque);
    int (*change)(void *opaque, const GmemPiece *piece, bool add);
    void (*changed)(void *opaque);
    void (*gone)(void *opaque);
    int (*hold)(void *opaque, const GmemVhostTable *had);
    bool (*is_still)(void *opaque, const GmemVhostTable *had);
    bool (*is_moving)(void *opaque, const GmemVhostTable *had);
    int (*unhold)(void *opaque, const GmemVhostTable *had);
    int (*stop)(void *opaque);
    bool (*is_done)(void *opaque, const GmemVhostTable *had);
    bool (*rings_fit)(void *opaque, const GmemVhostTable *table);
    bool (*may_resume)(void *opaque, const GmemVhostTable *had);
    int (*start)(void *opaque, const GmemVhostTable *had);
    void (*let_go)(void *opaque, const GmemVhostTable *had);
    void (*cut)(void *opaque);
} GmemVhostLink;

typedef enum GmemVhostPhase {
    GMEM_VHOST_OFF,
    GMEM_VHOST_RUNNING,
    GMEM_VHOST_HELD,
    GMEM_VHOST_STOPPED,
} GmemVhostPhase;

typedef struct GmemVhostSession {
    const GmemVhostLink *link;
    void *opaque;
    int64_t since;              /* ms; when the phase began */
    int64_t look;               /* ms; when it is to be moving, while HELD */
    int64_t not_before;         /* ms; the next round */
    bool draining;              /* was turned off with requests under way */
    bool quiet;                 /* is being stopped, and told nobody of any */
    bool stuck;                 /* no table can be made for now */

    QemuMutex lock;             /* guards what follows; a leaf */
    QemuCond moved;
    unsigned int moves;
    GmemVhostPhase phase;
    GmemVhostTable had, next;
    bool laying;                /* next is made just now: who knows of what */
    bool sending;               /* next is it, as far as it is acknowledged */
    bool between;               /* OFF, but rings may run, or are about to */
    bool kept;                  /* STOPPED until it has what is shared */
    bool asking;                /* since asked_at */
    int64_t asked_at;           /* ms; of a step, as all times */
    /*
     * Numbers of layouts: which one what is shared must be in, and conversions
     * want
     */
    uint64_t shared, asked;
    uint64_t begun, done;
} GmemVhostSession;

void gmem_vhost_session_init(GmemVhostSession *s, const GmemVhostLink *link,
                             void *opaque);
void gmem_vhost_session_destroy(GmemVhostSession *s);

/* ---- BQL ---- */

/* Do what can be done at @now_ms; when to come again, or GMEM_VHOST_NEVER. */
int64_t gmem_vhost_session_step(GmemVhostSession *s, int64_t now_ms);
/* The device is about to be started: what is shared is sent.  0 or -errno. */
int gmem_vhost_session_send(GmemVhostSession *s);
/* Its rings run. */
void gmem_vhost_session_started(GmemVhostSession *s);
/*
 * Its rings are about to be stopped, and (unless the back end is gone) have
 * been: then first, what was completed in between is told, and afterwards how
 * far the rings came may be forgotten.
 */
void gmem_vhost_session_stopping(GmemVhostSession *s);
void gmem_vhost_session_tell_rest(GmemVhostSession *s);
void gmem_vhost_session_stopped(GmemVhostSession *s, int64_t now_ms);
/*
 * Take all from the back end, or cut the connection; it has nothing afterwards.
 */
void gmem_vhost_session_end(GmemVhostSession *s);
/* The memory map has changed. */
void gmem_vhost_session_remap(GmemVhostSession *s);
bool gmem_vhost_session_is_off(GmemVhostSession *s);

/* ---- any thread ---- */

/*
 * [gpa, gpa + size), marked as converting, is not with the back end.  Else a
 * step is needed.
 */
bool gmem_vhost_session_lets_go(GmemVhostSession *s, uint64_t gpa,
                                uint64_t size);
/* Something is shared that was not.  True: a step is needed. */
bool gmem_vhost_session_shared(GmemVhostSession *s);
/*
 * What has been shared until now is known to the back end before it looks at a
 * ring again.  *number is 0 at first, and kept between calls for the same.
 * False: not yet.
 */
bool gmem_vhost_session_knows(GmemVhostSession *s, uint64_t *number);
/* How often it has moved. */
unsigned int gmem_vhost_session_moves(GmemVhostSession *s);
/* Wait until that is more than @moves, or @ms are over. */
void gmem_vhost_session_wait(GmemVhostSession *s, unsigned int moves, int ms);

#endif
