/*
 * gmem: what a vhost-user back end has: what any thread may ask
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in hw/virtio/gmem-vhost-session.h.  Nothing is done here: what
 * is wanted is noted, for the main loop's next step.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "hw/virtio/gmem-vhost-session.h"

bool gmem_vhost_session_lets_go(GmemVhostSession *s, uint64_t gpa,
                                uint64_t size)
{
    bool had, next;

    QEMU_LOCK_GUARD(&s->lock);
    had = gmem_vhost_table_touches(&s->had, gpa, size);
    next = s->sending && gmem_vhost_table_touches(&s->next, gpa, size);
    if (s->laying || (s->sending ? next : had)) {
        s->asked = MAX(s->asked, s->begun + 1);
        s->asking = true;
    }
    return !s->laying && !had && !next;
}

bool gmem_vhost_session_shared(GmemVhostSession *s)
{
    QEMU_LOCK_GUARD(&s->lock);
    if (s->phase == GMEM_VHOST_OFF && !s->between) {
        return false;
    }
    s->shared = MAX(s->shared, s->begun + 1);
    return true;
}

bool gmem_vhost_session_knows(GmemVhostSession *s, uint64_t *number)
{
    QEMU_LOCK_GUARD(&s->lock);
    *number = *number ?: s->shared;
    return s->done >= *number || s->kept ||
           (s->phase == GMEM_VHOST_OFF && !s->between);
}

unsigned int gmem_vhost_session_moves(GmemVhostSession *s)
{
    QEMU_LOCK_GUARD(&s->lock);
    return s->moves;
}

void gmem_vhost_session_wait(GmemVhostSession *s, unsigned int moves, int ms)
{
    QEMU_LOCK_GUARD(&s->lock);
    if (s->moves == moves) {
        qemu_cond_timedwait(&s->moved, &s->lock, ms);
    }
}
