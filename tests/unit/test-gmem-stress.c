/*
 * Everything at once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * 16 threads convert random ranges of two blocks, up to three segments at a time, with
 * now and then a fault or a kick; others replay, join and leave as holders; others touch
 * pages through read-side sections.  The fakes check each call; an accessor checks that
 * the kernel calls its page shared for as long as it is inside.  At the end kernel, map
 * and holders agree.  Runs for 2 seconds, with GMEM_SOAK for a minute.
 */

#include "qemu/osdep.h"
#include "world.h"

#define PAGES 1024
#define CONVERTERS 16
#define HOLDERS 3
#define ACCESSORS 2

static World world;
static FakeBlock *blocks[2];
static bool stop;
static unsigned int converted, accessed, refused;

/* Private words for each converter: it alone changes them, and knows them */
#define OWN_FIRST(nr) (PAGES - CONVERTERS + (nr))

static bool kicked_sometimes(void *opaque)
{
    return g_rand_int_range(opaque, 0, 50) == 0;
}

/* Overlapping segments below the threads' own pages, and one own page */
static void convert_some(GRand *rand, unsigned int nr)
{
    unsigned int nr_segments = g_rand_int_range(rand, 1, 4), i;
    unsigned int limit = OWN_FIRST(0);
    GmemPageState to = g_rand_boolean(rand);
    GmemSegment segments[4];
    GmemRequest req;
    int ret;

    for (i = 0; i < nr_segments; i++) {
        unsigned int first = g_rand_int_range(rand, 0, limit);
        unsigned int size = g_rand_int_range(rand, 1, 200);

        segments[i].block = blocks[g_rand_boolean(rand)]->block;
        segments[i].offset = first * PAGE;
        segments[i].size = MIN(size, limit - first) * PAGE;
    }
    segments[i] = (GmemSegment) { blocks[nr & 1]->block,
                                  OWN_FIRST(nr) * PAGE, PAGE };
    req = world_request(&world, segments, nr_segments + 1, to);
    req.timeout_ms = 60000;
    req.kicked = kicked_sometimes;
    req.opaque = rand;
    ret = gmem_convert_request(&req);
    g_assert(ret == 0 || ret == -EINTR || ret == -EIO);
    if (!ret) {
        g_assert(gmem_block_range_is(blocks[nr & 1]->block,
                                     OWN_FIRST(nr) * PAGE, PAGE, to));
        qatomic_inc(&converted);
    }
    g_free(req.stalled_holder);
}

static void *converter(void *opaque)
{
    g_autoptr(GRand) rand = g_rand_new();

    while (!qatomic_read(&stop)) {
        convert_some(rand, GPOINTER_TO_UINT(opaque));
    }
    return NULL;
}

static void *comer_and_goer(void *opaque)
{
    while (!qatomic_read(&stop)) {
        FakeHolder *fh = fake_holder_new(blocks[GPOINTER_TO_UINT(opaque) & 1],
                                         "passing");

        g_usleep(500);
        gmem_holder_replay_shared(&fh->holder, PAGE, 100 * PAGE);
        fake_holder_leave(fh);
    }
    return NULL;
}

static void access_some(GRand *rand)
{
    FakeBlock *fb = blocks[g_rand_boolean(rand)];
    unsigned int first = g_rand_int_range(rand, 0, PAGES - 8);
    unsigned int nr = g_rand_int_range(rand, 1, 8), page, again;
    GmemAccess access;

    if (!gmem_access_begin(&access, fb->block, first * PAGE, nr * PAGE,
                           "stress")) {
        qatomic_inc(&refused);
        return;
    }
    for (again = 0; again < 3; again++) {
        for (page = first; page < first + nr; page++) {
            g_assert(qatomic_read(&fb->kernel[page]) == GMEM_PAGE_SHARED);
        }
    }
    gmem_access_end(&access);
    qatomic_inc(&accessed);
}

static void *accessor(void *opaque)
{
    g_autoptr(GRand) rand = g_rand_new();

    while (!qatomic_read(&stop)) {
        access_some(rand);
    }
    return NULL;
}

/* Now and then a call fails; never one to shared, so that each undo succeeds */
static void disturb(unsigned int seconds)
{
    static const int errors[] = { -EAGAIN, -EIO, -ENOMEM };
    gint64 end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
    unsigned int i;

    for (i = 0; g_get_monotonic_time() < end; i++) {
        unsigned int call = qatomic_read(&world.calls) + 20;

        qatomic_set(&world.fail_with, errors[i % ARRAY_SIZE(errors)]);
        qatomic_set(&world.fail_to, call);
        qatomic_set(&world.fail_from, call);
        g_usleep(2000);
    }
    qatomic_set(&stop, true);
}

static void start(GPtrArray *threads, void *(*fn)(void *), unsigned int nr)
{
    unsigned int i;

    for (i = 0; i < nr; i++) {
        QemuThread *thread = g_new(QemuThread, 1);

        qemu_thread_create(thread, "stress", fn, GUINT_TO_POINTER(i),
                           QEMU_THREAD_JOINABLE);
        g_ptr_array_add(threads, thread);
    }
}

static void test_stress(void)
{
    g_autoptr(GPtrArray) threads = g_ptr_array_new_with_free_func(g_free);
    FakeHolder *staying[2];
    unsigned int i;

    world_init(&world);
    world.spare_shared = true;
    for (i = 0; i < 2; i++) {
        blocks[i] = fake_block_new(&world, "stress", PAGES, i);
        staying[i] = fake_holder_new(blocks[i], "staying");
    }
    start(threads, converter, CONVERTERS);
    start(threads, comer_and_goer, HOLDERS);
    start(threads, accessor, ACCESSORS);
    disturb(g_getenv("GMEM_SOAK") ? 60 : 2);
    for (i = 0; i < threads->len; i++) {
        qemu_thread_join(g_ptr_array_index(threads, i));
    }
    for (i = 0; i < 2; i++) {
        fake_block_check(blocks[i]);
        fake_holder_check(staying[i]);
        fake_holder_leave(staying[i]);
        fake_block_free(blocks[i]);
    }
    g_test_message("%u conversions, %u accesses, %u refused", converted,
                   accessed, refused);
    g_assert_cmpuint(converted, >, 0);
    g_assert_cmpuint(accessed, >, 0);
    g_assert_cmpuint(refused, >, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/stress", test_stress);
    return g_test_run();
}
