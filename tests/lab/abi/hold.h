/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Who may hold a page of a guest_memfd while somebody wants to make it
 * private. The first four hold references, so that the page is busy; the
 * others only map it, which does not keep a page from becoming private.
 */
#ifndef ABI_HOLD_H
#define ABI_HOLD_H

#include "world.h"

enum hold_kind {
    HOLD_DIRECT,        /* an O_DIRECT write in flight, on /dev/nullb0 */
    HOLD_SPLICE,        /* in a pipe, by vmsplice() */
    HOLD_RING,          /* an io_uring's registered buffer */
    HOLD_CHILD_SPLICE,  /* in a pipe of another process */
    HOLD_LOCK,          /* mlock() */
    HOLD_MAP,           /* a further mapping, touched */
    HOLD_CHILD_MAP,     /* touched by another process */
};

/* Hold a page; an errno. Skips the test where the kernel cannot do it. */
int hold(struct world *w, enum hold_kind kind, size_t page);

/* Has a holder let go by itself, so that nothing can be said? */
bool hold_lapsed(const struct world *w);

/* Let everything go. References may outlive this for an instant. */
void hold_release(struct world *w);

#endif
