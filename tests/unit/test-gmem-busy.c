/*
 * Busy pages: somebody outside QEMU keeps a page that shall go private
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fake kernel zaps the whole range of an attempt before it refuses.  So it counts how
 * often each page was zapped, and how many attempts there were:
 *
 * 1. a page in the middle that lets go after a while: what lies before it is zapped by the
 *    first attempt and by its own step, the rest by few more, however long it took
 * 2. many busy pages, one after the other or scattered: attempts are linear in them
 * 3. all of random patterns become private in the end, with holders agreeing
 * 4. a page that never lets go: EAGAIN, that page named, what went private is shared again
 * 5. the same with a kick instead of a deadline: EINTR
 * 6. a kernel that names no page, or one outside: the range is tried from its start
 * 7. undoing to private (a request to shared that failed) gets past busy pages as well
 */

#include "qemu/osdep.h"
#include "world.h"

#define PAGES 512

static FakeBlock *setup(World *world)
{
    world_init(world);
    return fake_block_new(world, "ram", PAGES, GMEM_PAGE_SHARED);
}

static void check_private(FakeBlock *fb, FakeHolder *fh)
{
    g_assert_cmpuint(gmem_block_shared_bytes(fb->block), ==, 0);
    fake_block_check(fb);
    fake_holder_check(fh);
}

static void test_middle(void)
{
    const unsigned int at = 200, patience = 50;
    World world;
    FakeBlock *fb = setup(&world);
    FakeHolder *fh = fake_holder_new(fb, "holder");
    GmemBlockStats stats;
    unsigned int page;

    fb->busy[at] = patience;
    g_assert_cmpint(convert(fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    check_private(fb, fh);
    for (page = 0; page < at; page++) {
        g_assert_cmpuint(fb->zapped[page], ==, 2);
    }
    g_assert_cmpuint(fb->zapped[at], ==, patience + 1);
    for (page = at + 1; page < PAGES; page++) {
        g_assert_cmpuint(fb->zapped[page], ==, 2);
    }
    /* the first, the part before, the page, and steps of 2, 4 ... 256 pages behind it */
    g_assert_cmpuint(fb->attempts, <=, 2 + patience + 9);
    gmem_block_get_stats(fb->block, &stats);
    g_assert_cmpuint(stats.retries, ==, patience - 1);
    g_assert_cmpuint(stats.conversions[GMEM_PAGE_PRIVATE], ==, 1);
    g_assert_cmpuint(fh->begins, ==, 1);
    g_assert_cmpuint(fh->ends, ==, 2);
    fake_holder_leave(fh);
    fake_block_free(fb);
}

/* What one attempt costs is what it zaps: all pages together, per page of the block */
static unsigned int zaps(const FakeBlock *fb)
{
    unsigned int page, sum = 0;

    for (page = 0; page < PAGES; page++) {
        sum += fb->zapped[page];
    }
    return sum;
}

/* Every @every'th page of 512 is busy for one attempt that comes to it */
static void check_many(unsigned int every)
{
    World world;
    FakeBlock *fb = setup(&world);
    FakeHolder *fh = fake_holder_new(fb, "holder");
    unsigned int page, busy = DIV_ROUND_UP(PAGES, every);

    for (page = 0; page < PAGES; page += every) {
        fb->busy[page] = 1;
    }
    g_assert_cmpint(convert(fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    check_private(fb, fh);
    /* in vain, up to it, the page, and doubling steps up to the next */
    g_assert_cmpuint(fb->attempts, <=, busy * (3 + g_bit_storage(every)) + 1);
    g_assert_cmpuint(zaps(fb), <=, PAGES * (3 + 2) + PAGES);
    fake_holder_leave(fh);
    fake_block_free(fb);
}

static void test_many(void)
{
    static const unsigned int every[] = { 1, 2, 3, 7, 64, 300 };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(every); i++) {
        check_many(every[i]);
    }
}

static void test_random(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    int round;

    for (round = 0; round < 200; round++) {
        unsigned int first = g_rand_int_range(rand, 0, PAGES - 1), i;
        unsigned int pages = g_rand_int_range(rand, 1, PAGES - first);
        World world;
        FakeBlock *fb = setup(&world);
        FakeHolder *fh = fake_holder_new(fb, "holder");

        for (i = 0; i < 20; i++) {
            g_assert_cmpint(convert(fb, g_rand_int_range(rand, 0, PAGES), 1,
                                    GMEM_PAGE_PRIVATE), ==, 0);
            fb->busy[g_rand_int_range(rand, 0, PAGES)] =
                g_rand_int_range(rand, 0, 4);
        }
        g_assert_cmpint(convert(fb, first, pages, GMEM_PAGE_PRIVATE), ==, 0);
        g_assert_true(gmem_block_range_is(fb->block, first * PAGE, pages * PAGE,
                                          GMEM_PAGE_PRIVATE));
        fake_block_check(fb);
        fake_holder_check(fh);
        fake_holder_leave(fh);
        fake_block_free(fb);
    }
    g_rand_free(rand);
}

static struct {
    unsigned int calls;
    uint64_t offset;
    uint64_t size;
    bool unknown_holder;
} told;

static void tell_stalled(GmemBlock *block, uint64_t offset, uint64_t size,
                         const char *holder)
{
    told.calls++;
    told.offset = offset;
    told.size = size;
    told.unknown_holder = !holder;
}

static const GmemObserver observer = { .stalled = tell_stalled };

/* Both ways to give up; the pages before the busy one have changed by then */
static void check_gives_up(bool kick, unsigned int first, unsigned int at)
{
    GmemSegment segment = { .offset = first * PAGE,
                            .size = (PAGES - first) * PAGE };
    World world;
    FakeBlock *fb = setup(&world);
    FakeHolder *fh = fake_holder_new(fb, "holder");
    GmemRequest req;
    unsigned int page;

    segment.block = fb->block;
    req = world_request(&world, &segment, 1, GMEM_PAGE_PRIVATE);
    fb->busy[at] = NEVER;
    world.kicked = kick;
    memset(&told, 0, sizeof(told));
    gmem_set_observer(&observer);
    g_assert_cmpint(gmem_convert_request(&req), ==, kick ? -EINTR : -EAGAIN);
    gmem_set_observer(NULL);
    g_assert_cmpuint(told.calls, ==, !kick);
    if (!kick) {
        g_assert_cmpuint(told.offset, ==, segment.offset);
        g_assert_cmpuint(told.size, ==, segment.size);
        g_assert_true(told.unknown_holder);
        g_assert_true(req.stalled_block == fb->block);
        g_assert_cmpuint(req.stalled_offset, ==, at * PAGE);
    }
    g_assert_false(gmem_block_is_broken(fb->block));
    g_assert_cmpuint(gmem_block_shared_bytes(fb->block), ==, PAGES * PAGE);
    fake_block_check(fb);
    fake_holder_check(fh);
    for (page = 0; page < at; page++) {
        g_assert_cmpuint(fb->zapped[page], <=, 2);
    }
    g_free(req.stalled_holder);
    fake_holder_leave(fh);
    fake_block_free(fb);
}

static void test_gives_up(gconstpointer kick)
{
    check_gives_up(GPOINTER_TO_INT(kick), 0, 0);
    check_gives_up(GPOINTER_TO_INT(kick), 0, 300);
    check_gives_up(GPOINTER_TO_INT(kick), 5, PAGES - 1);
}

/* A kernel that answers EAGAIN without a page, or with one that is not in the range */
static uint64_t named;
static unsigned int refusals;

static int vague_set_state(GmemBlock *block, uint64_t offset, uint64_t size,
                           GmemPageState to, uint64_t *busy)
{
    if (to == GMEM_PAGE_PRIVATE && refusals) {
        refusals--;
        *busy = named;
        return -EAGAIN;
    }
    return 0;
}

static void test_vague(void)
{
    static const GmemProviderOps ops = {
        .name = "vague", .set_state = vague_set_state,
    };
    static const uint64_t names[] = {
        0, 7 * PAGE, 8 * PAGE, 8 * PAGE + 1, 24 * PAGE - 1, 24 * PAGE,
        UINT64_MAX, UINT64_MAX - PAGE,
    };
    GmemBlockConfig config = {
        .id = "ram", .mode = GMEM_BLOCK_MODE_IN_PLACE, .size = PAGES * PAGE,
        .initial = GMEM_PAGE_SHARED, .ops = &ops,
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        GmemBlock *block = gmem_block_new(&config);
        GmemSegment segment = { block, 8 * PAGE, 16 * PAGE };
        GmemRequest req = { .segments = &segment, .nr_segments = 1,
                            .to = GMEM_PAGE_PRIVATE, .timeout_ms = 60000 };

        named = names[i];
        refusals = 5;
        g_assert_cmpint(gmem_convert_request(&req), ==, 0);
        g_assert_cmpuint(gmem_block_shared_bytes(block), ==,
                         (PAGES - 16) * PAGE);
        gmem_block_retire(block);
        gmem_block_unref(block);
    }
}

/* The second block's kernel has no memory, so the first one has to go back to private */
static void test_undo(void)
{
    World world;
    FakeBlock *fb[2];
    FakeHolder *fh;
    GmemSegment segments[2];
    GmemRequest req;
    unsigned int i;

    fb[0] = setup(&world);
    fb[1] = fake_block_new(&world, "other", PAGES, GMEM_PAGE_PRIVATE);
    fh = fake_holder_new(fb[0], "holder");
    g_assert_cmpint(convert(fb[0], 100, 300, GMEM_PAGE_PRIVATE), ==, 0);
    for (i = 0; i < 2; i++) {
        segments[i] = (GmemSegment) { fb[i]->block, 0, PAGES * PAGE };
    }
    for (i = 120; i < 400; i += 17) {
        fb[0]->busy[i] = 3;
    }
    req = world_request(&world, segments, 2, GMEM_PAGE_SHARED);
    req.timeout_ms = 60000;
    world_fail(&world, 2, 2, -ENOMEM);
    g_assert_cmpint(gmem_convert_request(&req), ==, -EIO);
    g_assert_false(gmem_block_is_broken(fb[0]->block));
    g_assert_cmpuint(gmem_block_shared_bytes(fb[0]->block), ==,
                     (PAGES - 300) * PAGE);
    g_assert_cmpuint(gmem_block_shared_bytes(fb[1]->block), ==, 0);
    for (i = 0; i < 2; i++) {
        fake_block_check(fb[i]);
    }
    fake_holder_check(fh);
    fake_holder_leave(fh);
    fake_block_free(fb[0]);
    fake_block_free(fb[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/busy/middle", test_middle);
    g_test_add_func("/gmem/busy/many", test_many);
    g_test_add_func("/gmem/busy/random", test_random);
    g_test_add_data_func("/gmem/busy/gives-up", GINT_TO_POINTER(false),
                         test_gives_up);
    g_test_add_data_func("/gmem/busy/kicked", GINT_TO_POINTER(true),
                         test_gives_up);
    g_test_add_func("/gmem/busy/vague", test_vague);
    g_test_add_func("/gmem/busy/undo", test_undo);
    return g_test_run();
}
