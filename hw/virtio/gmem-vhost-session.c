/*
 * gmem: what a vhost-user back end has, wants and knows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in hw/virtio/gmem-vhost-session.h.  Layouts are numbered.  A
 * conversion marks its pages and asks then: a layout that begins later sees the
 * marks.  One that is made just now may have missed them, so as long as it is
 * made nothing is let go.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "hw/virtio/gmem-vhost-session.h"

/*
 * How long a running device may take, with nobody hearing of it, until it is
 * still, or else answers a request at least each such time: then its rings are
 * stopped all the same.  Stopping those of one that does not may take as long
 * as its request.  So it is let go for as long as it was held; and one whose
 * rings were stopped goes on, for as long, when its requests are not answered
 */
#define HOLD_MS 100
#define HOLD_MOST_MS 1000
/*
 * A conversion asks again and again: one that was not heard for so long is over
 */
#define ASKED_MS 200
/* The first and the longest pause between two looks at requests under way */
#define LOOK_MS 1
#define LOOK_SELDOM_MS 20
/*
 * A device that was stopped with requests under way: then its connection is cut
 */
#define DRAIN_MS 500
/*
 * Between two rounds, and in times of what the last one took: the main loop has
 * other work
 */
#define REST_MS 5
#define REST_TIMES 4
/* Tables for what is shared meanwhile, in one step */
#define LAYOUTS 4

void gmem_vhost_session_init(GmemVhostSession *s, const GmemVhostLink *link,
                             void *opaque)
{
    *s = (GmemVhostSession) { .link = link, .opaque = opaque };
    qemu_mutex_init(&s->lock);
    qemu_cond_init(&s->moved);
    gmem_vhost_table_init(&s->had);
    gmem_vhost_table_init(&s->next);
}

void gmem_vhost_session_destroy(GmemVhostSession *s)
{
    gmem_vhost_table_destroy(&s->had);
    gmem_vhost_table_destroy(&s->next);
    qemu_cond_destroy(&s->moved);
    qemu_mutex_destroy(&s->lock);
}

/* Lock held */
static void tell(GmemVhostSession *s)
{
    s->moves++;
    qemu_cond_broadcast(&s->moved);
}

static void set_phase(GmemVhostSession *s, GmemVhostPhase phase)
{
    QEMU_LOCK_GUARD(&s->lock);
    s->phase = phase;
    s->between = s->kept = false;
    tell(s);
}

/* ---- the end of a connection ---- */

/* What the guest was not told is told now: others may never come to it */
static void let_go(GmemVhostSession *s)
{
    if (s->phase == GMEM_VHOST_HELD || s->phase == GMEM_VHOST_STOPPED) {
        s->link->let_go(s->opaque, &s->had);
    }
}

/* It has nothing, and nothing is under way */
static int64_t has_nothing(GmemVhostSession *s)
{
    let_go(s);
    s->quiet = false;
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        gmem_vhost_table_begin(&s->had, 0, NULL, 0);
        gmem_vhost_table_begin(&s->next, 0, NULL, 0);
        s->phase = GMEM_VHOST_OFF;
        s->laying = s->sending = s->draining = s->between = s->kept = false;
        s->done = ++s->begun;
        tell(s);
    }
    s->link->gone(s->opaque);
    return GMEM_VHOST_NEVER;
}

static int64_t cut(GmemVhostSession *s)
{
    s->link->cut(s->opaque);
    return has_nothing(s);
}

/* ---- changing the table ---- */

static int lay_out(GmemVhostSession *s, bool empty)
{
    int ret;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->begun++;
        s->laying = true;
    }
    ret = s->link->lay_out(s->opaque, &s->next, empty);
    QEMU_LOCK_GUARD(&s->lock);
    s->laying = false;
    s->sending = !ret;
    if (ret) {
        gmem_vhost_table_begin(&s->next, 0, NULL, 0);
        tell(s);
    }
    return ret;
}

/* Every piece of @from that @to has not got */
static int change(GmemVhostSession *s, const GmemVhostTable *from,
                  const GmemVhostTable *to, bool add)
{
    unsigned int i;
    int ret = 0;

    for (i = 0; i < from->pieces->len && !ret; i++) {
        const GmemPiece *piece = gmem_vhost_piece(from, i);

        if (!gmem_vhost_table_has(to, piece)) {
            ret = s->link->change(s->opaque, piece, add);
        }
    }
    return ret;
}

/* Nothing is to be removed */
static bool only_grows(const GmemVhostSession *s)
{
    unsigned int i;

    for (i = 0; i < s->had.pieces->len; i++) {
        if (!gmem_vhost_table_has(&s->next, gmem_vhost_piece(&s->had, i))) {
            return false;
        }
    }
    return true;
}

/* What was laid out becomes what the back end has */
static int transfer(GmemVhostSession *s)
{
    int ret = only_grows(s) ? 0 : s->link->park(s->opaque);

    ret = ret ?: change(s, &s->had, &s->next, false) ?:
                 change(s, &s->next, &s->had, true);
    if (ret) {
        cut(s);
        return ret;
    }
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        GmemVhostTable old = s->had;

        s->had = s->next;
        s->next = old;
        gmem_vhost_table_begin(&s->next, 0, NULL, 0);
        s->sending = false;
        s->done = s->begun;
        tell(s);
    }
    s->link->changed(s->opaque);
    return 0;
}

/* ---- the phases ---- */

/* Lock held.  What is shared must be sent; what was asked for, while it is */
static bool is_wanted_locked(GmemVhostSession *s, int64_t now)
{
    if (s->asking) {
        s->asking = false;
        s->asked_at = now;
    }
    return s->shared > s->done ||
           (s->asked > s->done && now - s->asked_at < ASKED_MS);
}

static bool is_wanted(GmemVhostSession *s, int64_t now)
{
    QEMU_LOCK_GUARD(&s->lock);
    return is_wanted_locked(s, now);
}

static int64_t step_off(GmemVhostSession *s, int64_t now)
{
    if (!s->had.pieces->len) {
        return has_nothing(s);
    }
    if (!is_wanted(s, now)) {
        return GMEM_VHOST_NEVER;
    }
    if (s->draining && !s->link->is_done(s->opaque, &s->had)) {
        return now - s->since < DRAIN_MS ? now + LOOK_MS : cut(s);
    }
    s->draining = false;
    set_phase(s, GMEM_VHOST_OFF);
    if (!lay_out(s, true)) {
        transfer(s);
    }
    return GMEM_VHOST_NEVER;
}

/* Everything wanted is in the table, and from here on the rings run */
static bool goes_on(GmemVhostSession *s, int64_t now)
{
    QEMU_LOCK_GUARD(&s->lock);
    if (is_wanted_locked(s, now)) {
        return false;
    }
    s->phase = GMEM_VHOST_RUNNING;
    s->kept = false;
    tell(s);
    return true;
}

/* How long the main loop rests after what began at @began of its clock */
static void rest(GmemVhostSession *s, int64_t now, int64_t began_us)
{
    int64_t spent_ms = (g_get_monotonic_time() - began_us) / 1000;

    s->not_before = now + REST_MS + (REST_TIMES + 1) * spent_ms;
}

/* It runs, and has its rest */
static int64_t come_back(GmemVhostSession *s, int64_t now)
{
    return is_wanted(s, now) ? s->not_before : GMEM_VHOST_NEVER;
}

static int64_t restart(GmemVhostSession *s, int64_t now)
{
    if (s->link->start(s->opaque, &s->had)) {
        return cut(s);
    }
    return come_back(s, now);
}

/* Some request is not answered, or nobody wants anything any more */
static int64_t resume(GmemVhostSession *s, int64_t now, bool wanted)
{
    s->not_before = now + (wanted ? HOLD_MOST_MS : REST_MS);
    set_phase(s, GMEM_VHOST_RUNNING);
    return restart(s, now);
}

/* Requests are under way */
static int64_t step_draining(GmemVhostSession *s, int64_t now)
{
    bool wanted = is_wanted(s, now);

    if ((!wanted || now - s->since >= HOLD_MOST_MS) && !s->kept &&
        s->link->may_resume(s->opaque, &s->had)) {
        return resume(s, now, wanted);
    }
    return now + MIN(LOOK_MS + (now - s->since) / 8, LOOK_SELDOM_MS);
}

/* No request is under way, and the rings do not start without a table */
static void keep(GmemVhostSession *s)
{
    QEMU_LOCK_GUARD(&s->lock);
    s->kept = true;
    tell(s);
}

/* The rings cannot go on: when to look again */
static int64_t stand_still(GmemVhostSession *s, int64_t now, int64_t began_us)
{
    QEMU_LOCK_GUARD(&s->lock);
    if (!is_wanted_locked(s, now)) {
        return GMEM_VHOST_NEVER;
    }
    if (!s->stuck) {
        rest(s, now, began_us);
        return s->not_before;
    }
    return s->shared > s->done ? GMEM_VHOST_NEVER : now + ASKED_MS;
}

static int64_t step_stopped(GmemVhostSession *s, int64_t now)
{
    int64_t began_us = g_get_monotonic_time();
    int i;

    if (!s->link->is_done(s->opaque, &s->had)) {
        return step_draining(s, now);
    }
    keep(s);
    if (now < s->not_before) {
        return s->not_before;
    }
    for (i = 0; i < LAYOUTS; i++) {
        s->stuck = is_wanted(s, now) && lay_out(s, false);
        if (s->sending && transfer(s)) {
            return GMEM_VHOST_NEVER;
        }
        if (s->stuck || !s->link->rings_fit(s->opaque, &s->had)) {
            return stand_still(s, now, began_us);
        }
        if (goes_on(s, now)) {
            rest(s, now, began_us);
            return restart(s, now);
        }
    }
    /* somebody wants something again each time: the others have their turn */
    rest(s, now, began_us);
    return s->not_before;
}

static bool can_be_stopped(GmemVhostSession *s, int64_t now)
{
    if (s->link->is_still(s->opaque, &s->had)) {
        return true;
    }
    if (now < s->look) {
        return false;
    }
    s->look = now + HOLD_MS;
    return s->link->is_moving(s->opaque, &s->had);
}

static int64_t unhold(GmemVhostSession *s, int64_t now, int64_t rest_ms)
{
    if (s->link->unhold(s->opaque, &s->had)) {
        return cut(s);
    }
    set_phase(s, GMEM_VHOST_RUNNING);
    s->not_before = now + rest_ms;
    return come_back(s, now);
}

static int64_t step_held(GmemVhostSession *s, int64_t now)
{
    if (!is_wanted(s, now)) {
        return unhold(s, now, REST_MS);
    }
    if (!can_be_stopped(s, now)) {
        return now - s->since < HOLD_MOST_MS ? now + LOOK_MS :
               unhold(s, now, HOLD_MOST_MS);
    }
    if (s->link->stop(s->opaque)) {
        return cut(s);
    }
    s->since = now;
    set_phase(s, GMEM_VHOST_STOPPED);
    return step_stopped(s, now);
}

static int64_t step_running(GmemVhostSession *s, int64_t now)
{
    if (!is_wanted(s, now)) {
        return GMEM_VHOST_NEVER;
    }
    if (now < s->not_before) {
        return s->not_before;
    }
    s->since = now;
    s->look = now + HOLD_MS;
    set_phase(s, GMEM_VHOST_HELD);
    return s->link->hold(s->opaque, &s->had) ? cut(s) : step_held(s, now);
}

int64_t gmem_vhost_session_step(GmemVhostSession *s, int64_t now_ms)
{
    if (!s->link->is_open(s->opaque)) {
        return has_nothing(s);
    }
    /* phase is written with the BQL only */
    switch (s->phase) {
    case GMEM_VHOST_RUNNING:
        return step_running(s, now_ms);
    case GMEM_VHOST_HELD:
        return step_held(s, now_ms);
    case GMEM_VHOST_STOPPED:
        return step_stopped(s, now_ms);
    default:
        return step_off(s, now_ms);
    }
}

/* ---- the device starts and stops ---- */

int gmem_vhost_session_send(GmemVhostSession *s)
{
    int ret;

    if (!s->link->is_open(s->opaque)) {
        has_nothing(s);
        return -ENOTCONN;
    }
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->between = true;
    }
    ret = lay_out(s, false);
    if (ret) {
        set_phase(s, GMEM_VHOST_OFF);
        return ret;
    }
    if (s->draining && !gmem_vhost_table_equal(&s->had, &s->next) &&
        !s->link->is_done(s->opaque, &s->had)) {
        /* of its former life; it is no use waiting here, with the BQL */
        cut(s);
        return -EBUSY;
    }
    return transfer(s);
}

void gmem_vhost_session_started(GmemVhostSession *s)
{
    s->draining = false;
    set_phase(s, GMEM_VHOST_RUNNING);
}

void gmem_vhost_session_stopping(GmemVhostSession *s)
{
    s->quiet = s->phase == GMEM_VHOST_HELD || s->phase == GMEM_VHOST_STOPPED;
    let_go(s);
    QEMU_LOCK_GUARD(&s->lock);
    s->between = true;
    s->phase = GMEM_VHOST_OFF;
    tell(s);
}

void gmem_vhost_session_tell_rest(GmemVhostSession *s)
{
    if (s->quiet) {
        s->link->let_go(s->opaque, &s->had);
    }
    s->quiet = false;
}

void gmem_vhost_session_stopped(GmemVhostSession *s, int64_t now_ms)
{
    set_phase(s, GMEM_VHOST_OFF);
    s->draining = !s->link->is_done(s->opaque, &s->had);
    s->since = now_ms;
}

void gmem_vhost_session_end(GmemVhostSession *s)
{
    set_phase(s, GMEM_VHOST_OFF);
    if (!s->link->is_open(s->opaque)) {
        has_nothing(s);
        return;
    }
    if (s->had.pieces->len) {
        if ((s->draining && !s->link->is_done(s->opaque, &s->had)) ||
            lay_out(s, true)) {
            cut(s);
            return;
        }
        if (transfer(s)) {
            return;
        }
    }
    if (s->link->unpark(s->opaque)) {
        cut(s);
    }
}

void gmem_vhost_session_remap(GmemVhostSession *s)
{
    QEMU_LOCK_GUARD(&s->lock);
    s->shared = MAX(s->shared, s->begun + 1);
}

bool gmem_vhost_session_is_off(GmemVhostSession *s)
{
    QEMU_LOCK_GUARD(&s->lock);
    return s->phase == GMEM_VHOST_OFF;
}
