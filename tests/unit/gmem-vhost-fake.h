/*
 * A back end made of an array, for sessions of vhost-user
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest has PAGES pages, each shared or private, and converting or not.
 * The back end notes for each page whether it has mapped it, and takes only
 * what a real one takes: pieces that it has not got, or just those that it has,
 * and none while its rings run or have requests under way. Calls of the link
 * are numbered; from a given one on they fail.
 */

#ifndef TESTS_GMEM_VHOST_FAKE_H
#define TESTS_GMEM_VHOST_FAKE_H

#include "hw/virtio/gmem-vhost-session.h"

#define PAGE UINT64_C(4096)
#define PAGES 64u

typedef struct FakeBackEnd {
    GmemVhostSession session;
    uint8_t shared[PAGES];      /* atomic, as the next one */
    uint8_t converting[PAGES];
    uint8_t mapped[PAGES];      /* atomic; by the back end */
    unsigned int room;
    int ring;                   /* page of the ring, or -1 */
    bool open, still, moving, done;
    bool running, held;         /* the rings, as it was told; first: atomic */
    unsigned int calls, fail_at;    /* the call that fails; 0: none */
    bool parked, park_there;
    bool redoes;                /* a ring that is started again: its requests */
    unsigned int changes, layouts, starts, cuts, let_gos, unholds, gones;
    int lay_out_error;
    void (*on_lay_out)(struct FakeBackEnd *f);
    void (*on_change)(struct FakeBackEnd *f);
} FakeBackEnd;

void fake_init(FakeBackEnd *f);
void fake_destroy(FakeBackEnd *f);

/* Begin a conversion of pages to private; end it; and the other way round */
void fake_mark(FakeBackEnd *f, unsigned int first, unsigned int count);
void fake_make_private(FakeBackEnd *f, unsigned int first, unsigned int count);
void fake_make_shared(FakeBackEnd *f, unsigned int first, unsigned int count);
bool fake_lets_go(FakeBackEnd *f, unsigned int first, unsigned int count);

/* The device starts: table, then rings.  What sending said */
int fake_start(FakeBackEnd *f);
void fake_stop(FakeBackEnd *f, int64_t now);
/*
 * Steps as long as they are wanted at once, from @now on; when the last one
 * wants another
 */
int64_t fake_steps(FakeBackEnd *f, int64_t now);

/*
 * The back end has just the pages that are shared and not converting, or
 * (@empty) none
 */
void fake_check(FakeBackEnd *f, bool empty);

#endif
