/*
 * Failures at every point of a conversion
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two blocks with mixed states, five holders, a request of four segments that overlap
 * and come in no order.  The calls of begin() and set_state() that it makes are counted;
 * then, for every call N, for each direction and each kind of failure, the same request
 * is made with call N failing, and kernel, map and holders have to agree afterwards:
 *
 * 1. once EAGAIN: tried again, and converted
 * 2. EAGAIN from N on: EAGAIN, nothing changed, the holder named when it was one
 * 3. once ENOMEM: EIO from the provider, nothing changed
 *    and the same when undoing needs a few attempts, even where the request has
 *    hardly any time; but all attempts together have one time, not each run its own
 * 4. EAGAIN from N on and a kick: EINTR, nothing changed
 * 5. EIO from N on, so that undoing fails too: the block is broken, and what nobody
 *    knows the state of is refused and held by nobody
 * 6. ENOTRECOVERABLE, with half of the pages changed: the same
 */

#include "qemu/osdep.h"
#include "world.h"

#define PAGES 200

typedef struct Scene {
    World world;
    FakeBlock *blocks[2];
    FakeHolder *holders[5];
    uint8_t *before[2];
    GmemPageState to;
    GmemRequest req;
    GmemSegment segments[4];
} Scene;

static void scene_init(Scene *s, GmemPageState to)
{
    unsigned int i;

    world_init(&s->world);
    for (i = 0; i < 2; i++) {
        s->blocks[i] = fake_block_new(&s->world, i ? "b1" : "b0", PAGES,
                                      i ? GMEM_PAGE_SHARED
                                        : GMEM_PAGE_PRIVATE);
    }
    for (i = 0; i < 5; i++) {
        s->holders[i] = fake_holder_new(s->blocks[i & 1], i & 1 ? "odd" : "even");
    }
    /* three runs to change in either direction, on and off word borders */
    g_assert_cmpint(convert(s->blocks[0], 10, 60, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpint(convert(s->blocks[0], 128, 3, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpint(convert(s->blocks[1], 64, 64, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(s->blocks[1], 190, 1, GMEM_PAGE_PRIVATE), ==, 0);
    for (i = 0; i < 2; i++) {
        s->before[i] = fake_block_states(s->blocks[i]);
    }
    s->segments[0] = (GmemSegment) { s->blocks[1]->block, 50 * PAGE, 50 * PAGE };
    s->segments[1] = (GmemSegment) { s->blocks[0]->block, 60 * PAGE, 90 * PAGE };
    s->segments[2] = (GmemSegment) { s->blocks[0]->block, 0, 61 * PAGE };
    s->segments[3] = (GmemSegment) { s->blocks[1]->block, 120 * PAGE,
                                     80 * PAGE };
    s->to = to;
    s->req = world_request(&s->world, s->segments, 4, to);
    s->req.timeout_ms = 60000;
}

static void scene_check_states(Scene *s, bool changed)
{
    unsigned int i, j, page;

    for (i = 0; i < 2; i++) {
        g_autofree uint8_t *expect = g_memdup2(s->before[i], PAGES);
        g_autofree uint8_t *states = fake_block_states(s->blocks[i]);

        for (j = 0; changed && j < 4; j++) {
            GmemSegment *seg = &s->segments[j];

            for (page = 0; page < seg->size / PAGE; page++) {
                if (seg->block == s->blocks[i]->block) {
                    expect[seg->offset / PAGE + page] = s->to;
                }
            }
        }
        g_assert_cmpmem(states, PAGES, expect, PAGES);
    }
}

static void scene_check(Scene *s, bool changed)
{
    unsigned int i;

    scene_check_states(s, changed);
    for (i = 0; i < 2; i++) {
        g_assert(!gmem_block_is_broken(s->blocks[i]->block));
        g_assert_cmpuint(s->blocks[i]->discards > 2, ==, changed);
        fake_block_check(s->blocks[i]);
    }
    for (i = 0; i < 5; i++) {
        fake_holder_check(s->holders[i]);
    }
}

static void scene_destroy(Scene *s)
{
    unsigned int i;

    for (i = 0; i < 5; i++) {
        fake_holder_leave(s->holders[i]);
    }
    for (i = 0; i < 2; i++) {
        g_free(s->before[i]);
        fake_block_free(s->blocks[i]);
    }
    g_free(s->req.stalled_holder);
}

static int scene_run(Scene *s, unsigned int from, unsigned int to, int error)
{
    world_fail(&s->world, from, to, error);
    return gmem_convert_request(&s->req);
}

/* How many calls the request makes when nothing fails */
static unsigned int count_calls(GmemPageState to)
{
    unsigned int calls;
    Scene s;

    scene_init(&s, to);
    g_assert_cmpint(scene_run(&s, NEVER, NEVER, 0), ==, 0);
    scene_check(&s, true);
    calls = s.world.calls;
    scene_destroy(&s);
    return calls;
}

/* begin() of 5 holders, 2 or 3 runs each, and one set_state() per merged segment */
#define PROVIDER_CALLS 3

static void test_once_busy(gconstpointer opaque)
{
    GmemPageState to = GPOINTER_TO_INT(opaque);
    unsigned int calls = count_calls(to), n;

    for (n = 1; n <= calls; n++) {
        GmemBlockStats stats[2];
        Scene s;

        scene_init(&s, to);
        g_assert_cmpint(scene_run(&s, n, n, -EAGAIN), ==, 0);
        scene_check(&s, true);
        gmem_block_get_stats(s.blocks[0]->block, &stats[0]);
        gmem_block_get_stats(s.blocks[1]->block, &stats[1]);
        g_assert_cmpuint(stats[0].retries + stats[1].retries, ==,
                         to == GMEM_PAGE_PRIVATE);
        scene_destroy(&s);
    }
}

static void test_always_busy(void)
{
    unsigned int calls = count_calls(GMEM_PAGE_PRIVATE), n;

    for (n = 1; n <= calls; n++) {
        Scene s;

        scene_init(&s, GMEM_PAGE_PRIVATE);
        /* time enough to come to the provider, where it makes a difference */
        s.req.timeout_ms = n <= calls - PROVIDER_CALLS ? 2 : 500;
        g_assert_cmpint(scene_run(&s, n, NEVER, -EAGAIN), ==, -EAGAIN);
        scene_check(&s, false);
        g_assert_nonnull(s.req.stalled_block);
        if (n <= calls - PROVIDER_CALLS) {
            g_assert_cmpstr(s.req.stalled_holder, ==,
                            s.req.stalled_block == s.blocks[0]->block ? "even"
                                                                      : "odd");
        } else {
            g_assert_null(s.req.stalled_holder);
        }
        scene_destroy(&s);
    }
}

static void test_once_failing(gconstpointer opaque)
{
    GmemPageState to = GPOINTER_TO_INT(opaque);
    unsigned int calls = count_calls(to), n;

    for (n = calls - PROVIDER_CALLS + 1; n <= calls; n++) {
        GmemBlockStats stats;
        Scene s;

        scene_init(&s, to);
        g_assert_cmpint(scene_run(&s, n, n, -ENOMEM), ==, -EIO);
        scene_check(&s, false);
        gmem_block_get_stats(s.blocks[0]->block, &stats);
        g_assert_cmpuint(stats.failures, ==, 1);
        g_assert_cmpint(stats.last_error, ==, ENOMEM);
        /* and it works the next time */
        g_assert_cmpint(scene_run(&s, NEVER, NEVER, 0), ==, 0);
        scene_check(&s, true);
        scene_destroy(&s);
    }
}

static void test_kicked(void)
{
    unsigned int calls = count_calls(GMEM_PAGE_PRIVATE), n;

    for (n = 1; n <= calls; n++) {
        Scene s;

        scene_init(&s, GMEM_PAGE_PRIVATE);
        s.world.kick_on_fail = true;
        g_assert_cmpint(scene_run(&s, n, NEVER, -EAGAIN), ==, -EINTR);
        scene_check(&s, false);
        qatomic_set(&s.world.kicked, false);
        g_assert_cmpint(scene_run(&s, NEVER, NEVER, 0), ==, 0);
        scene_check(&s, true);
        scene_destroy(&s);
    }
}

/* The kernel is short of memory on the way back too, but not for long */
static void test_undo_retried(gconstpointer opaque)
{
    GmemPageState to = GPOINTER_TO_INT(opaque);
    unsigned int calls = count_calls(to), n;

    for (n = calls - PROVIDER_CALLS + 2; n <= calls; n++) {
        Scene s;

        scene_init(&s, to);
        g_assert_cmpint(scene_run(&s, n, n + 2, -ENOMEM), ==, -EIO);
        scene_check(&s, false);
        scene_destroy(&s);
    }
}

/* What is not known for sure is neither accessible nor held */
static void check_nothing_exposed(Scene *s, unsigned int b)
{
    FakeBlock *fb = s->blocks[b];
    unsigned int i, page;

    for (page = 0; page < PAGES; page++) {
        bool usable = gmem_block_range_is(fb->block, page * PAGE, PAGE,
                                          GMEM_PAGE_SHARED);
        GmemAccess access;

        if (usable) {
            g_assert_cmpuint(fb->kernel[page], ==, GMEM_PAGE_SHARED);
        }
        for (i = b; i < 5; i += 2) {
            g_assert_cmpuint(s->holders[i]->held[page], ==, usable);
            g_assert(!s->holders[i]->begun[page]);
        }
        g_assert(gmem_access_begin(&access, fb->block, page * PAGE, PAGE,
                                   "test") == usable);
        if (usable) {
            gmem_access_end(&access);
        }
    }
}

/* Whatever came of it, shared-limit is compared with what is shared */
static void check_charge(Scene *s, unsigned int b)
{
    g_assert_cmpuint(s->blocks[b]->block->charged_pages * PAGE, ==,
                     gmem_block_shared_bytes(s->blocks[b]->block));
}

static void test_undo_failing(gconstpointer opaque)
{
    GmemPageState to = GPOINTER_TO_INT(opaque);
    unsigned int calls = count_calls(to), n, b;

    for (n = calls - PROVIDER_CALLS + 1; n <= calls; n++) {
        bool undo = n > calls - PROVIDER_CALLS + 1;
        Scene s;

        scene_init(&s, to);
        g_assert_cmpint(scene_run(&s, n, NEVER, -EIO), ==, -EIO);
        g_assert(gmem_block_is_broken(s.blocks[0]->block) == undo);
        world_fail(&s.world, NEVER, NEVER, 0);
        for (b = 0; b < 2; b++) {
            bool broken = gmem_block_is_broken(s.blocks[b]->block);

            check_nothing_exposed(&s, b);
            check_charge(&s, b);
            g_assert_cmpint(convert(s.blocks[b], 0, 1, GMEM_PAGE_SHARED), ==,
                            broken ? -EINVAL : 0);
        }
        scene_destroy(&s);
    }
}

/* The provider leaves a step half done: only that part is lost, for good */
static void test_half_done(gconstpointer opaque)
{
    GmemPageState to = GPOINTER_TO_INT(opaque);
    unsigned int calls = count_calls(to), n, b;

    for (n = calls - PROVIDER_CALLS + 1; n <= calls; n++) {
        Scene s;

        scene_init(&s, to);
        g_assert_cmpint(scene_run(&s, n, n, -ENOTRECOVERABLE), ==, -EIO);
        scene_check_states(&s, false);
        for (b = 0; b < 2; b++) {
            /* one part of the first block, then two of the other */
            bool broken = b == (n > calls - PROVIDER_CALLS + 1);

            g_assert(gmem_block_is_broken(s.blocks[b]->block) == broken);
            check_nothing_exposed(&s, b);
            check_charge(&s, b);
        }
        scene_destroy(&s);
    }
}

/* From this call on, for longer than a millisecond of back-offs */
static void fail_for_long(FakeBlock *fb, GmemPageState to)
{
    fb->on_set_state = NULL;
    world_fail(fb->world, 1, 10, -ENOMEM);
}

/* A request with hardly any time of its own is undone with the block's */
static void test_undo_has_time(gconstpointer opaque)
{
    GmemPageState to = GPOINTER_TO_INT(opaque);
    Scene s;
    int ret;

    scene_init(&s, to);
    gmem_block_set_timeout_ms(s.blocks[1]->block, 60000);
    /* the second part fails, and so do enough calls to use up 1 ms */
    s.req.timeout_ms = 1;
    s.segments[0] = (GmemSegment) { s.blocks[0]->block, 0, 100 * PAGE };
    s.segments[1] = (GmemSegment) { s.blocks[1]->block, 0, 128 * PAGE };
    s.req.nr_segments = 2;
    world_fail(&s.world, NEVER, NEVER, 0);
    s.blocks[1]->on_set_state = fail_for_long;
    ret = gmem_convert_request(&s.req);
    /* on a slow machine its time may be over before it comes to the provider */
    g_assert(ret == -EIO || (ret == -EAGAIN && to == GMEM_PAGE_PRIVATE));
    world_fail(&s.world, NEVER, NEVER, 0);
    s.blocks[1]->on_set_state = NULL;
    scene_check(&s, false);
    scene_destroy(&s);
}

/* Not one of many runs can be undone: they have one time, not one each */
static void test_undo_once(void)
{
    World world;
    FakeBlock *blocks[2];
    GmemSegment segments[2];
    GmemRequest req;
    unsigned int page;

    world_init(&world);
    for (page = 0; page < 2; page++) {
        blocks[page] = fake_block_new(&world, "ram", PAGES, GMEM_PAGE_SHARED);
        gmem_block_set_timeout_ms(blocks[page]->block, 20);
        segments[page] = (GmemSegment) { blocks[page]->block, 0,
                                         PAGES * PAGE };
    }
    for (page = 0; page < PAGES; page += 2) {
        g_assert_cmpint(convert(blocks[0], page, 1, GMEM_PAGE_PRIVATE), ==, 0);
    }
    req = world_request(&world, segments, 2, GMEM_PAGE_PRIVATE);
    world_fail(&world, 2, NEVER, -ENOMEM);
    g_assert_cmpint(gmem_convert_request(&req), ==, -EIO);
    g_assert(gmem_block_is_broken(blocks[0]->block));
    /* back-offs of 20 us doubling to 5 ms fill 20 ms with less than 16 calls */
    g_assert_cmpuint(world.calls, <, 2 + PAGES / 2 + 16);
    g_free(req.stalled_holder);
    fake_block_free(blocks[0]);
    fake_block_free(blocks[1]);
}

int main(int argc, char **argv)
{
    gconstpointer private = GINT_TO_POINTER(GMEM_PAGE_PRIVATE);
    gconstpointer shared = GINT_TO_POINTER(GMEM_PAGE_SHARED);

    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/gmem/faults/once-busy/private", private,
                         test_once_busy);
    g_test_add_data_func("/gmem/faults/once-busy/shared", shared,
                         test_once_busy);
    g_test_add_func("/gmem/faults/always-busy", test_always_busy);
    g_test_add_data_func("/gmem/faults/once-failing/private", private,
                         test_once_failing);
    g_test_add_data_func("/gmem/faults/once-failing/shared", shared,
                         test_once_failing);
    g_test_add_data_func("/gmem/faults/undo-retried/private", private,
                         test_undo_retried);
    g_test_add_data_func("/gmem/faults/undo-retried/shared", shared,
                         test_undo_retried);
    g_test_add_data_func("/gmem/faults/undo-has-time/private", private,
                         test_undo_has_time);
    g_test_add_data_func("/gmem/faults/undo-has-time/shared", shared,
                         test_undo_has_time);
    g_test_add_func("/gmem/faults/undo-once", test_undo_once);
    g_test_add_func("/gmem/faults/kicked", test_kicked);
    g_test_add_data_func("/gmem/faults/undo-failing/private", private,
                         test_undo_failing);
    g_test_add_data_func("/gmem/faults/undo-failing/shared", shared,
                         test_undo_failing);
    g_test_add_data_func("/gmem/faults/half-done/private", private,
                         test_half_done);
    g_test_add_data_func("/gmem/faults/half-done/shared", shared,
                         test_half_done);
    return g_test_run();
}
