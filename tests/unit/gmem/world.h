/*
 * A world for the engine: a kernel and holders made of arrays
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each fake block is a GmemBlock whose provider keeps one byte per page, "the kernel".
 * Each fake holder keeps one byte per page it holds.  Both check, at every call, what
 * the contract promises them, and fail on demand: calls of begin() and set_state() are
 * numbered through the world, and the fault says which numbers fail and how.  Pages can be
 * busy as well: as a kernel does, the fake one takes all of the range away from those who
 * have it mapped, and then stops at the first busy page with nothing changed.
 */

#ifndef TESTS_GMEM_WORLD_H
#define TESTS_GMEM_WORLD_H

#include "qemu/thread.h"
#include "gmem-internal.h"

#define PAGE GMEM_PAGE_BYTES
#define NEVER UINT_MAX

typedef struct World World;

typedef struct FakeBlock {
    World *world;
    GmemBlock *block;
    unsigned int pages;
    uint8_t *kernel;            /* GmemPageState of each page, atomic */
    uint8_t *freed;             /* other side freed since it was last used */
    unsigned int *busy;         /* attempts to private that each page still refuses */
    unsigned int *zapped;       /* attempts to private whose range had the page */
    unsigned int attempts;      /* to private */
    unsigned int steps;         /* calls of set_state() */
    unsigned int longest;       /* of them, in pages */
    unsigned int discards;
    bool released;
    /* called from set_state() before it does anything; may be NULL */
    void (*on_set_state)(struct FakeBlock *fb, GmemPageState to);
} FakeBlock;

typedef struct FakeHolder {
    GmemHolder holder;
    World *world;
    FakeBlock *fb;
    QemuMutex lock;
    uint8_t *held;
    uint8_t *begun;
    unsigned int begins, ends;
    void (*on_begin)(struct FakeHolder *fh, uint64_t offset, uint64_t size);
    void (*on_end)(struct FakeHolder *fh, GmemPageState state);
    QemuMutex *bql;             /* taken around the work, when set */
} FakeHolder;

struct World {
    unsigned int calls;         /* so far */
    unsigned int fail_from;     /* first call that fails */
    unsigned int fail_to;       /* last one */
    int fail_with;              /* negative errno */
    bool spare_shared;          /* only what goes private fails */
    bool kicked;
    bool kick_on_fail;
};

void world_init(World *world);
/* Calls [from, to] answer @error */
void world_fail(World *world, unsigned int from, unsigned int to, int error);

FakeBlock *fake_block_new(World *world, const char *id, unsigned int pages,
                          GmemPageState initial);
void fake_block_free(FakeBlock *fb);
/* Like fake_block_new, with what @config says of limits and time */
FakeBlock *fake_block_new_config(World *world, GmemBlockConfig *config);
/* State of the map, as an array that the caller frees */
uint8_t *fake_block_states(FakeBlock *fb);
/* No page is converting; kernel and map agree */
void fake_block_check(FakeBlock *fb);

FakeHolder *fake_holder_new(FakeBlock *fb, const char *name);
void fake_holder_leave(FakeHolder *fh);
void fake_holder_free(FakeHolder *fh);
/* Holds exactly what is shared */
void fake_holder_check(FakeHolder *fh);

/* One segment, with all the time it takes; what gmem_convert_request() says */
int convert(FakeBlock *fb, unsigned int first, unsigned int pages,
            GmemPageState to);
/* The same in 50 ms, for what has to wait in vain */
int convert_briefly(FakeBlock *fb, unsigned int first, unsigned int pages,
                    GmemPageState to);
/* A request over @nr segments with the world's kick; 20 ms */
GmemRequest world_request(World *world, GmemSegment *segments,
                          unsigned int nr, GmemPageState to);

#endif
