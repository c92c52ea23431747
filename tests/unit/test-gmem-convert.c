/*
 * The conversion transaction
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * 1. What is refused, with nothing changed and nobody called.
 * 2. Segments that overlap, alias, touch and come unsorted.
 * 3. shared-limit, also against requests at once; mode none; retired blocks.
 * 4. Waiting: for another conversion, for an accessor; what is told of it.
 * 5. Accounts: statistics, events, the other side freed.
 * Failures of provider and holders: test-gmem-faults.c.
 */

#include "qemu/osdep.h"
#include "world.h"

#define PAGES 256

static World world;
static FakeBlock *fb;
static FakeHolder *fh;

/* ---- what the observer hears ---- */

static unsigned int nr_stalled, nr_denied, nr_broken;
static uint64_t told_offset, told_size;
static char *told_name;

static void note(uint64_t offset, uint64_t size, const char *name)
{
    told_offset = offset;
    told_size = size;
    g_free(told_name);
    told_name = g_strdup(name);
}

static void on_stalled(GmemBlock *block, uint64_t offset, uint64_t size,
                       const char *holder)
{
    nr_stalled++;
    note(offset, size, holder);
}

static void on_denied(GmemBlock *block, uint64_t offset, uint64_t size,
                      const char *who, uint64_t times)
{
    nr_denied += times;
    note(offset, size, who);
}

static void on_broken(GmemBlock *block, const char *why)
{
    nr_broken++;
    g_assert(gmem_block_is_broken(block));
    g_assert_nonnull(why);
}

static const GmemObserver observer = {
    .stalled = on_stalled,
    .denied = on_denied,
    .broken = on_broken,
};

static void setup(void *fixture, gconstpointer opaque)
{
    world_init(&world);
    fb = fake_block_new(&world, "ram", PAGES, GMEM_PAGE_SHARED);
    fh = fake_holder_new(fb, "holder");
    nr_stalled = nr_denied = nr_broken = 0;
    gmem_set_observer(&observer);
}

static void teardown(void *fixture, gconstpointer opaque)
{
    gmem_set_observer(NULL);
    fake_holder_leave(fh);
    fake_block_free(fb);
    g_clear_pointer(&told_name, g_free);
}

static void check(void)
{
    fake_block_check(fb);
    fake_holder_check(fh);
}

static int request(GmemSegment *segments, unsigned int nr, GmemPageState to)
{
    GmemRequest req = world_request(&world, segments, nr, to);
    int ret = gmem_convert_request(&req);

    g_free(req.stalled_holder);
    return ret;
}

/* ---- refusals ---- */

static void test_refused(void *fixture, gconstpointer opaque)
{
    const struct {
        uint64_t offset, size;
    } bad[] = {
        { 0, 0 }, { 1, PAGE }, { 0, PAGE - 1 }, { PAGES * PAGE, PAGE },
        { 0, (PAGES + 1) * PAGE }, { PAGE, PAGES * PAGE },
        { PAGE, UINT64_MAX & ~(PAGE - 1) }, { -PAGE, PAGE }, { -PAGE, 2 * PAGE },
    };
    unsigned int i;

    for (i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
        /* behind a good one, so that nothing may have been done for that */
        GmemSegment segments[] = {
            { fb->block, 0, 4 * PAGE },
            { fb->block, bad[i / 2].offset, bad[i / 2].size },
        };

        g_assert_cmpint(request(segments, 2, i & 1), ==, -EINVAL);
    }
    g_assert_cmpint(request((GmemSegment[]) { { NULL, 0, PAGE } }, 1, 0), ==,
                    -EINVAL);
    g_assert_cmpint(request(NULL, 0, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(world.calls, ==, 0);
    check();
}

static void test_nothing_to_do(void *fixture, gconstpointer opaque)
{
    unsigned int calls, discards, ends;
    GmemBlockStats stats;

    g_assert_cmpint(convert(fb, 0, 100, GMEM_PAGE_PRIVATE), ==, 0);
    calls = world.calls;
    discards = fb->discards;
    ends = fh->ends;
    g_assert_cmpint(convert(fb, 20, 80, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(fb, 100, 80, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(world.calls, ==, calls);
    g_assert_cmpuint(fb->discards, ==, discards);
    g_assert_cmpuint(fh->ends, ==, ends);
    gmem_block_get_stats(fb->block, &stats);
    g_assert_cmpuint(stats.conversions[GMEM_PAGE_PRIVATE], ==, 1);
    check();
}

static void test_mode_none(void *fixture, gconstpointer opaque)
{
    GmemBlockConfig config = {
        .id = "none", .mode = GMEM_BLOCK_MODE_NONE, .size = 4 * PAGE,
        .initial = GMEM_PAGE_SHARED,
    };
    GmemBlock *block = gmem_block_new(&config);
    GmemSegment segment = { block, 0, PAGE };

    g_assert_cmpint(request(&segment, 1, GMEM_PAGE_PRIVATE), ==, -EINVAL);
    g_assert_cmpint(request(&segment, 1, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(gmem_block_shared_bytes(block), ==, 4 * PAGE);
    gmem_block_retire(block);
    gmem_block_unref(block);
}

static void test_retired(void *fixture, gconstpointer opaque)
{
    FakeBlock *gone = fake_block_new(&world, "gone", 8, GMEM_PAGE_PRIVATE);
    GmemBlock *found = gmem_block_find("gone");

    g_assert(found == gone->block);
    gmem_block_retire(gone->block);
    gmem_block_retire(gone->block);
    g_assert_null(gmem_block_find("gone"));
    g_assert_cmpint(convert(gone, 0, 1, GMEM_PAGE_SHARED), ==, -EINVAL);
    gmem_block_unref(found);
    fake_block_free(gone);
}

/* ---- segments ---- */

static void test_segments(void *fixture, gconstpointer opaque)
{
    FakeBlock *other = fake_block_new(&world, "other", PAGES,
                                      GMEM_PAGE_SHARED);
    GmemSegment segments[] = {
        { other->block, 10 * PAGE, 20 * PAGE },
        { fb->block, 50 * PAGE, 50 * PAGE },
        { fb->block, 40 * PAGE, 10 * PAGE },    /* touches */
        { fb->block, 60 * PAGE, 5 * PAGE },     /* lies inside */
        { other->block, 10 * PAGE, 20 * PAGE }, /* the same again */
        { fb->block, 90 * PAGE, 30 * PAGE },    /* overlaps */
        { fb->block, 200 * PAGE, 1 * PAGE },
    };
    GmemBlockStats stats;

    world.calls = 0;
    g_assert_cmpint(request(segments, 7, GMEM_PAGE_PRIVATE), ==, 0);
    /* two merged parts of fb for one holder, and a step for each of three parts */
    g_assert_cmpuint(world.calls, ==, 2 + 3);
    check();
    fake_block_check(other);
    g_assert_cmpuint(gmem_block_shared_bytes(fb->block), ==,
                     (PAGES - 81) * PAGE);
    g_assert_cmpuint(gmem_block_shared_bytes(other->block), ==,
                     (PAGES - 20) * PAGE);
    gmem_block_get_stats(fb->block, &stats);
    g_assert_cmpuint(stats.conversions[GMEM_PAGE_PRIVATE], ==, 1);
    g_assert_cmpuint(stats.bytes[GMEM_PAGE_PRIVATE], ==, 81 * PAGE);
    fake_block_free(other);
}

static void test_alternating(void *fixture, gconstpointer opaque)
{
    unsigned int page, begins;

    for (page = 0; page < PAGES; page += 2) {
        g_assert_cmpint(convert(fb, page, 1, GMEM_PAGE_PRIVATE), ==, 0);
    }
    check();
    begins = fh->begins;
    g_assert_cmpint(convert(fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(fh->begins - begins, ==, PAGES / 2);
    check();
    g_assert_cmpuint(gmem_block_shared_bytes(fb->block), ==, 0);
}

/* ---- shared-limit ---- */

static void test_limit(void *fixture, gconstpointer opaque)
{
    GmemSegment twice[] = {
        { fb->block, 0, 6 * PAGE }, { fb->block, 8 * PAGE, 6 * PAGE },
    };

    g_assert_cmpint(convert(fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    gmem_block_set_shared_limit(fb->block, 11 * PAGE + PAGE / 2);
    g_assert_cmpint(request(twice, 2, GMEM_PAGE_SHARED), ==, -EINVAL);
    g_assert_cmpint(request(twice, 1, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpint(convert(fb, 0, 11, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpint(convert(fb, 0, 12, GMEM_PAGE_SHARED), ==, -EINVAL);
    g_assert_cmpint(convert(fb, 0, 11, GMEM_PAGE_SHARED), ==, 0);
    /* a failure gives its charge back */
    g_assert_cmpint(convert(fb, 0, 5, GMEM_PAGE_PRIVATE), ==, 0);
    world_fail(&world, 1, 1, -EIO);
    g_assert_cmpint(convert(fb, 0, 5, GMEM_PAGE_SHARED), ==, -EIO);
    check();
    g_assert_cmpint(convert(fb, 0, 5, GMEM_PAGE_SHARED), ==, 0);
    check();
}

/* While a request is under way its pages count; EINVAL comes without a wait */
static void try_more(FakeBlock *block, GmemPageState to)
{
    block->on_set_state = NULL;
    g_assert_cmpint(convert(block, 100, 6, GMEM_PAGE_SHARED), ==, -EINVAL);
    g_assert_cmpint(convert(block, 100, 5, GMEM_PAGE_PRIVATE), ==, 0);
    /* reserved, but the answer does not depend on who has it */
    g_assert_cmpint(convert(block, 0, 50, GMEM_PAGE_SHARED), ==, -EINVAL);
}

static void test_limit_at_once(void *fixture, gconstpointer opaque)
{
    g_assert_cmpint(convert(fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    gmem_block_set_shared_limit(fb->block, 10 * PAGE);
    fb->on_set_state = try_more;
    g_assert_cmpint(convert(fb, 0, 5, GMEM_PAGE_SHARED), ==, 0);
    check();
}

/* Who asks for what is being made shared waits; the pages count once */
static void try_same_shared(FakeBlock *block, GmemPageState to)
{
    block->on_set_state = NULL;
    g_assert_cmpint(convert_briefly(block, 2, 8, GMEM_PAGE_SHARED), ==, -EAGAIN);
}

static void test_limit_once(void *fixture, gconstpointer opaque)
{
    g_assert_cmpint(convert(fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    gmem_block_set_shared_limit(fb->block, 10 * PAGE);
    fb->on_set_state = try_same_shared;
    g_assert_cmpint(convert(fb, 0, 10, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpint(convert(fb, 2, 8, GMEM_PAGE_SHARED), ==, 0);
    check();
}

/* ---- waiting ---- */

static void try_same(FakeHolder *holder, uint64_t offset, uint64_t size)
{
    holder->on_begin = NULL;
    g_assert_cmpint(convert_briefly(fb, 3, 1, GMEM_PAGE_PRIVATE), ==, -EAGAIN);
    g_assert_cmpstr(told_name, ==, "another conversion");
    qatomic_set(&world.kicked, true);
    g_assert_cmpint(convert(fb, 3, 1, GMEM_PAGE_SHARED), ==, -EINTR);
    qatomic_set(&world.kicked, false);
    g_assert_cmpint(convert(fb, 10, 1, GMEM_PAGE_PRIVATE), ==, 0);
}

static void test_reserved(void *fixture, gconstpointer opaque)
{
    fh->on_begin = try_same;
    g_assert_cmpint(convert(fb, 0, 10, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(nr_stalled, ==, 1);
    check();
}

static void test_access(void *fixture, gconstpointer opaque)
{
    GmemBlockStats stats;
    GmemAccess access;

    g_assert(gmem_access_begin(&access, fb->block, 5 * PAGE + 7, 100, "dma"));
    g_assert_cmpint(convert_briefly(fb, 4, 4, GMEM_PAGE_PRIVATE), ==, -EAGAIN);
    g_assert_cmpuint(nr_stalled, ==, 1);
    g_assert_cmpstr(told_name, ==, "QEMU");
    g_assert_cmpuint(fh->begins, ==, 0);
    gmem_access_end(&access);
    check();

    g_assert_cmpint(convert(fb, 4, 4, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert(!gmem_access_begin(&access, fb->block, 3 * PAGE, 2 * PAGE, "dump"));
    g_assert_cmpuint(nr_denied, ==, 1);
    g_assert_cmpuint(told_offset, ==, 3 * PAGE);
    g_assert_cmpstr(told_name, ==, "dump");
    g_assert(!gmem_access_begin(&access, fb->block, PAGES * PAGE - 1, 2, "beyond"));
    g_assert(!gmem_access_begin(&access, fb->block, PAGE, UINT64_MAX, "overflow"));
    g_assert(gmem_access_begin(&access, fb->block, PAGES * PAGE, 0, "nothing"));
    gmem_access_end(&access);
    gmem_block_get_stats(fb->block, &stats);
    g_assert_cmpuint(stats.denied, ==, 3);

    /* touches that were noticed too late to be refused */
    gmem_access_deny(fb->block, 5 * PAGE, 1, "pointer", 40);
    g_assert_cmpuint(nr_denied, ==, 43);
    g_assert_cmpuint(told_offset, ==, 5 * PAGE);
    g_assert_cmpstr(told_name, ==, "pointer");
    gmem_block_get_stats(fb->block, &stats);
    g_assert_cmpuint(stats.denied, ==, 43);
    /* refused ones left nothing behind that a conversion would wait for */
    g_assert_cmpint(convert(fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    check();
}

static void touch_converting(FakeBlock *block, GmemPageState to)
{
    GmemAccess access;

    g_assert(!gmem_access_begin(&access, block->block, 4 * PAGE, 8, "touch"));
    g_assert(!gmem_block_range_is(block->block, 4 * PAGE, PAGE,
                                  GMEM_PAGE_SHARED));
    g_assert(!gmem_block_range_is(block->block, 4 * PAGE, PAGE,
                                  GMEM_PAGE_PRIVATE));
    g_assert(gmem_block_range_is(block->block, 8 * PAGE, PAGE,
                                 GMEM_PAGE_SHARED));
}

static void test_access_converting(void *fixture, gconstpointer opaque)
{
    fb->on_set_state = touch_converting;
    g_assert_cmpint(convert(fb, 4, 4, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(fb, 4, 4, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(nr_denied, ==, 2);
    check();
}

/* Polled while the conversion waits: the next accessor is in before the last leaves */
static bool overlap(void *opaque)
{
    GmemAccess *last = opaque, next;

    g_assert(gmem_access_begin(&next, fb->block, 100 * PAGE, 8, "crowd"));
    gmem_access_end(last);
    *last = next;
    return false;
}

static void test_access_crowd(void *fixture, gconstpointer opaque)
{
    GmemSegment segment = { fb->block, 5 * PAGE, PAGE };
    GmemAccess last;
    unsigned int i;

    /* several times: in either phase */
    for (i = 0; i < 5; i++) {
        GmemRequest req = world_request(&world, &segment, 1, i & 1);

        req.kicked = overlap;
        req.opaque = &last;
        req.timeout_ms = 1000;
        g_assert(gmem_access_begin(&last, fb->block, 90 * PAGE, 8, "crowd"));
        g_assert_cmpint(gmem_convert_request(&req), ==, 0);
        g_free(req.stalled_holder);
        gmem_access_end(&last);
    }
    check();
}

/* ---- accounts ---- */

static void test_accounts(void *fixture, gconstpointer opaque)
{
    GmemBlockStats stats;
    uint64_t sum = 0;
    unsigned int i;

    world_fail(&world, 1, 3, -EAGAIN);
    g_assert_cmpint(convert(fb, 4, 4, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(fb, 4, 2, GMEM_PAGE_SHARED), ==, 0);
    world_fail(&world, 1, NEVER, -EAGAIN);
    g_assert_cmpint(convert_briefly(fb, 4, 4, GMEM_PAGE_PRIVATE), ==, -EAGAIN);
    world_fail(&world, NEVER, NEVER, 0);
    gmem_block_get_stats(fb->block, &stats);
    g_assert_cmpuint(stats.conversions[GMEM_PAGE_PRIVATE], ==, 1);
    g_assert_cmpuint(stats.conversions[GMEM_PAGE_SHARED], ==, 1);
    g_assert_cmpuint(stats.bytes[GMEM_PAGE_PRIVATE], ==, 4 * PAGE);
    g_assert_cmpuint(stats.bytes[GMEM_PAGE_SHARED], ==, 2 * PAGE);
    g_assert_cmpuint(stats.retries, >, 3);
    g_assert_cmpuint(stats.busy_ns, >, 0);
    g_assert_cmpuint(stats.failures, ==, 1);
    g_assert_cmpint(stats.last_error, ==, EAGAIN);
    for (i = 0; i < GMEM_LATENCY_BUCKETS; i++) {
        sum += stats.latency[i];
    }
    g_assert_cmpuint(sum, ==, 2);
    for (i = 4; i < 8; i++) {
        g_assert_cmpuint(fb->freed[i], ==, 1);
    }
    check();
}

static void test_broken(void *fixture, gconstpointer opaque)
{
    FakeBlock *other = fake_block_new(&world, "other", 8, GMEM_PAGE_SHARED);
    GmemSegment segments[] = {
        { fb->block, 0, PAGE }, { other->block, 0, PAGE },
    };
    GmemAccess access;

    world_fail(&world, 3, NEVER, -EIO);
    g_assert_cmpint(request(segments, 2, GMEM_PAGE_PRIVATE), ==, -EIO);
    g_assert_cmpuint(nr_broken, ==, 1);
    g_assert(gmem_block_is_broken(fb->block));
    g_assert(!gmem_block_is_broken(other->block));
    world_fail(&world, NEVER, NEVER, 0);
    g_assert_cmpint(convert(fb, 100, 1, GMEM_PAGE_PRIVATE), ==, -EINVAL);
    g_assert_cmpint(request(segments, 2, GMEM_PAGE_PRIVATE), ==, -EINVAL);
    g_assert(!gmem_access_begin(&access, fb->block, 0, 1, "test"));
    fake_block_check(other);
    fake_block_free(other);
}

static int count_private(void *opaque, uint64_t offset, uint64_t size)
{
    uint64_t *sum = opaque;

    *sum += size;
    return *sum > 5 * PAGE ? -E2BIG : 0;
}

static void test_replay_private(void *fixture, gconstpointer opaque)
{
    uint64_t sum = 0;

    g_assert_cmpint(convert(fb, 4, 4, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(fb, 10, 1, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(fb, 20, 90, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(gmem_block_replay_private(fb->block, 5 * PAGE, 10 * PAGE,
                                              count_private, &sum), ==, 0);
    g_assert_cmpuint(sum, ==, 4 * PAGE);
    g_assert_cmpint(gmem_block_replay_private(fb->block, 0, PAGES * PAGE,
                                              count_private, &sum), ==,
                    -E2BIG);
    check();
}

static void add(const char *name, void (*fn)(void *, gconstpointer))
{
    g_autofree char *path = g_strconcat("/gmem/convert/", name, NULL);

    g_test_add_vtable(path, 1, NULL, setup, fn, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("refused", test_refused);
    add("nothing-to-do", test_nothing_to_do);
    add("mode-none", test_mode_none);
    add("retired", test_retired);
    add("segments", test_segments);
    add("alternating", test_alternating);
    add("limit", test_limit);
    add("limit-at-once", test_limit_at_once);
    add("limit-once", test_limit_once);
    add("reserved", test_reserved);
    add("access", test_access);
    add("access-converting", test_access_converting);
    add("access-crowd", test_access_crowd);
    add("accounts", test_accounts);
    add("broken", test_broken);
    add("replay-private", test_replay_private);
    return g_test_run();
}
