/*
 * A world for the engine: a kernel and holders made of arrays
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "world.h"

void world_init(World *world)
{
    memset(world, 0, sizeof(*world));
    world->fail_from = NEVER;
    world->fail_to = NEVER;
}

void world_fail(World *world, unsigned int from, unsigned int to, int error)
{
    qatomic_set(&world->calls, 0);
    world->fail_from = from;
    world->fail_to = to;
    world->fail_with = error;
}

/* The number of this call decides; what goes shared is never busy */
static int world_call(World *world, GmemPageState to)
{
    unsigned int n = qatomic_fetch_inc(&world->calls) + 1;
    int error = qatomic_read(&world->fail_with);

    if (n < qatomic_read(&world->fail_from) ||
        n > qatomic_read(&world->fail_to)) {
        return 0;
    }
    if (to == GMEM_PAGE_SHARED && (world->spare_shared || error == -EAGAIN)) {
        return 0;
    }
    if (world->kick_on_fail) {
        qatomic_set(&world->kicked, true);
    }
    return error;
}

/* ---- blocks ---- */

static bool fake_page_is_held(FakeBlock *fb, unsigned int page)
{
    GmemHolder *holder;
    bool held = false;

    QEMU_LOCK_GUARD(&fb->block->lock);
    QTAILQ_FOREACH(holder, &fb->block->holders, next) {
        FakeHolder *fh = container_of(holder, FakeHolder, holder);

        /* the block's own uses are a holder too, a real one */
        held |= holder != &fb->block->uses.holder &&
                qatomic_read(&fh->held[page]);
    }
    return held;
}

/* As a kernel: zap all of the range, then refuse at the first busy page */
static int fake_zap(FakeBlock *fb, unsigned int first, unsigned int pages,
                    uint64_t *busy)
{
    unsigned int page;

    fb->attempts++;
    for (page = first; page < first + pages; page++) {
        fb->zapped[page]++;
    }
    for (page = first; page < first + pages; page++) {
        if (fb->busy[page]) {
            fb->busy[page] -= fb->busy[page] != NEVER;
            *busy = page * PAGE;
            return -EAGAIN;
        }
    }
    return 0;
}

static int fake_set_state(GmemBlock *block, uint64_t offset, uint64_t size,
                          GmemPageState to, uint64_t *busy)
{
    FakeBlock *fb = gmem_block_opaque(block);
    unsigned int first = offset / PAGE, page;
    int ret;

    g_assert(size && !((offset | size) % PAGE));
    g_assert(offset + size <= gmem_block_size(block));
    if (fb->on_set_state) {
        fb->on_set_state(fb, to);
    }
    qatomic_inc(&fb->steps);
    fb->longest = MAX(fb->longest, size / PAGE);
    ret = world_call(fb->world, to);
    if (ret == -ENOTRECOVERABLE) {      /* half of it done */
        for (page = first; page < first + size / PAGE / 2; page++) {
            qatomic_set(&fb->kernel[page], to);
        }
    }
    if (ret) {
        *busy = offset;
        return ret;
    }
    if (to == GMEM_PAGE_PRIVATE) {
        ret = fake_zap(fb, first, size / PAGE, busy);
        if (ret) {
            return ret;
        }
    }
    for (page = first; page < first + size / PAGE; page++) {
        if (to == GMEM_PAGE_PRIVATE) {
            g_assert(!fake_page_is_held(fb, page));
        }
        qatomic_set(&fb->kernel[page], to);
        qatomic_set(&fb->freed[page], 0);
    }
    return 0;
}

static int fake_discard(GmemBlock *block, uint64_t offset, uint64_t size,
                        GmemPageState state)
{
    FakeBlock *fb = gmem_block_opaque(block);
    unsigned int first = offset / PAGE, page;

    qatomic_inc(&fb->discards);
    for (page = first; page < first + size / PAGE; page++) {
        g_assert(qatomic_read(&fb->kernel[page]) == state);
        qatomic_set(&fb->freed[page], 1);
    }
    return 0;
}

static void fake_release(GmemBlock *block)
{
    FakeBlock *fb = gmem_block_opaque(block);

    g_assert(!fb->released);
    fb->released = true;
}

static const GmemProviderOps fake_ops = {
    .name = "fake",
    .set_state = fake_set_state,
    .discard = fake_discard,
    .release = fake_release,
};

FakeBlock *fake_block_new_config(World *world, GmemBlockConfig *config)
{
    FakeBlock *fb = g_new0(FakeBlock, 1);

    fb->world = world;
    fb->pages = config->size / PAGE;
    fb->kernel = g_new0(uint8_t, fb->pages);
    fb->freed = g_new0(uint8_t, fb->pages);
    fb->busy = g_new0(unsigned int, fb->pages);
    fb->zapped = g_new0(unsigned int, fb->pages);
    memset(fb->kernel, config->initial, fb->pages);
    config->ops = &fake_ops;
    config->opaque = fb;
    fb->block = gmem_block_new(config);
    return fb;
}

FakeBlock *fake_block_new(World *world, const char *id, unsigned int pages,
                          GmemPageState initial)
{
    return fake_block_new_config(world, &(GmemBlockConfig) {
        .id = id,
        .mode = GMEM_BLOCK_MODE_SPLIT,
        .size = pages * PAGE,
        .initial = initial,
    });
}

void fake_block_free(FakeBlock *fb)
{
    gmem_block_retire(fb->block);
    gmem_block_unref(fb->block);
    g_assert(fb->released);
    g_free(fb->kernel);
    g_free(fb->freed);
    g_free(fb->busy);
    g_free(fb->zapped);
    g_free(fb);
}

uint8_t *fake_block_states(FakeBlock *fb)
{
    uint8_t *states = g_new(uint8_t, fb->pages);
    uint64_t offset = 0, end, size = gmem_block_size(fb->block);
    GmemPageState state;

    for (; offset < size; offset = end) {
        end = gmem_block_run(fb->block, offset, size, &state);
        g_assert(end > offset);
        memset(states + offset / PAGE, state, (end - offset) / PAGE);
    }
    return states;
}

void fake_block_check(FakeBlock *fb)
{
    g_autofree uint8_t *states = fake_block_states(fb);
    unsigned int page, shared = 0;

    g_assert_cmpmem(states, fb->pages, fb->kernel, fb->pages);
    for (page = 0; page < fb->pages; page++) {
        g_assert(gmem_block_range_is(fb->block, page * PAGE, PAGE,
                                     states[page]));
        shared += states[page] == GMEM_PAGE_SHARED;
    }
    g_assert_cmpuint(gmem_block_shared_bytes(fb->block), ==, shared * PAGE);
    g_assert_cmpuint(fb->block->charged_pages, ==, shared);
}

/* ---- holders ---- */

static int fake_begin(GmemHolder *holder, uint64_t offset, uint64_t size,
                      int64_t deadline_ns)
{
    FakeHolder *fh = container_of(holder, FakeHolder, holder);
    unsigned int first = offset / PAGE, nr = size / PAGE, page;
    int ret;

    /* whatever time the request has, the holder gets no more than the block's */
    g_assert_cmpint(deadline_ns - gmem_clock_ns(), <=,
                    gmem_block_timeout_ms(fh->fb->block) * (int64_t)SCALE_MS);
    g_assert_cmpint(deadline_ns, >, 0);
    if (fh->on_begin) {
        fh->on_begin(fh, offset, size);
    }
    ret = world_call(fh->world, GMEM_PAGE_PRIVATE);
    if (ret) {
        return -EAGAIN;
    }
    if (fh->bql) {
        qemu_mutex_lock(fh->bql);
    }
    WITH_QEMU_LOCK_GUARD(&fh->lock) {
        fh->begins++;
        for (page = first; page < first + nr; page++) {
            g_assert(!fh->begun[page]);
            fh->begun[page] = 1;
            qatomic_set(&fh->held[page], 0);
        }
    }
    if (fh->bql) {
        qemu_mutex_unlock(fh->bql);
    }
    return 0;
}

static void fake_end(GmemHolder *holder, uint64_t offset, uint64_t size,
                     GmemPageState state)
{
    FakeHolder *fh = container_of(holder, FakeHolder, holder);
    unsigned int first = offset / PAGE, nr = size / PAGE, page;

    if (fh->on_end) {
        fh->on_end(fh, state);
    }
    QEMU_LOCK_GUARD(&fh->lock);
    fh->ends++;
    for (page = first; page < first + nr; page++) {
        g_assert(state == GMEM_PAGE_SHARED || fh->begun[page]);
        fh->begun[page] = 0;
        g_assert(state == GMEM_PAGE_SHARED || !fh->held[page]);
        if (state == GMEM_PAGE_SHARED) {
            g_assert(qatomic_read(&fh->fb->kernel[page]) == GMEM_PAGE_SHARED);
            qatomic_set(&fh->held[page], 1);
        }
    }
}

static const GmemHolderOps fake_holder_ops = {
    .begin = fake_begin,
    .end = fake_end,
};

FakeHolder *fake_holder_new(FakeBlock *fb, const char *name)
{
    FakeHolder *fh = g_new0(FakeHolder, 1);

    fh->holder.ops = &fake_holder_ops;
    fh->holder.name = name;
    fh->world = fb->world;
    fh->fb = fb;
    qemu_mutex_init(&fh->lock);
    fh->held = g_new0(uint8_t, fb->pages);
    fh->begun = g_new0(uint8_t, fb->pages);
    gmem_holder_add(fb->block, &fh->holder);
    gmem_holder_replay_shared(&fh->holder, 0, gmem_block_size(fb->block));
    return fh;
}

void fake_holder_leave(FakeHolder *fh)
{
    gmem_holder_remove(&fh->holder);
    fake_holder_free(fh);
}

void fake_holder_free(FakeHolder *fh)
{
    qemu_mutex_destroy(&fh->lock);
    g_free(fh->held);
    g_free(fh->begun);
    g_free(fh);
}

void fake_holder_check(FakeHolder *fh)
{
    g_autofree uint8_t *states = fake_block_states(fh->fb);
    unsigned int page;

    for (page = 0; page < fh->fb->pages; page++) {
        g_assert(!fh->begun[page]);
        g_assert_cmpuint(fh->held[page], ==, states[page] == GMEM_PAGE_SHARED);
    }
}

/* ---- requests ---- */

static bool world_kicked(void *opaque)
{
    World *world = opaque;

    return qatomic_read(&world->kicked);
}

GmemRequest world_request(World *world, GmemSegment *segments,
                          unsigned int nr, GmemPageState to)
{
    return (GmemRequest) {
        .segments = segments,
        .nr_segments = nr,
        .to = to,
        .timeout_ms = 20,
        .kicked = world_kicked,
        .opaque = world,
    };
}

static int convert_within(FakeBlock *fb, unsigned int first,
                          unsigned int pages, GmemPageState to, uint32_t ms)
{
    GmemSegment segment = { fb->block, first * PAGE, pages * PAGE };
    GmemRequest req = world_request(fb->world, &segment, 1, to);
    int ret;

    req.timeout_ms = ms;
    ret = gmem_convert_request(&req);
    g_free(req.stalled_holder);
    return ret;
}

int convert(FakeBlock *fb, unsigned int first, unsigned int pages,
            GmemPageState to)
{
    return convert_within(fb, first, pages, to, 60000);
}

int convert_briefly(FakeBlock *fb, unsigned int first, unsigned int pages,
                    GmemPageState to)
{
    return convert_within(fb, first, pages, to, 50);
}
