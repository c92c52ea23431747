/*
 * Pointers that QEMU has into a block
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * 1. A use begins where memory is shared, and nowhere else; a page of it that is converting is
 *    enough to refuse it.
 * 2. A conversion to private waits for what ends by itself, and names it when it does not;
 *    neighbouring pages are not held up, nor is a conversion to shared.
 * 3. What has ask() is asked once, by the first conversion that wants a byte of it, and only
 *    when nothing else is in the way.
 * 4. A kick ends the waiting.
 * 5. A map is found again by its place, as often as it was made; who unmaps something else ends
 *    one that is there.  Neither does how many there are, and where, make it slow.
 * 6. A use that is asked for is found by any byte of it.
 * 7. Who has retired may begin again.
 * 8. Threads begin, end, map and convert: nothing goes private while it is in use.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "world.h"

#define PAGES 64
#define CROWD 50000

typedef struct Fixture {
    World world;
    FakeBlock *fb;
} Fixture;

/* For callbacks, which get no pointer of the test's */
static GmemUse *the_use;
static bool refused_while_converting;
static unsigned int asked;
static QemuSemaphore asking;

static void setup(Fixture *f, gconstpointer opaque)
{
    world_init(&f->world);
    f->fb = fake_block_new(&f->world, "ram", PAGES, GMEM_PAGE_SHARED);
    asked = 0;
    qemu_sem_init(&asking, 0);
}

static void teardown(Fixture *f, gconstpointer opaque)
{
    gmem_uses_retire(f->fb->block);
    fake_block_check(f->fb);
    fake_block_free(f->fb);
    qemu_sem_destroy(&asking);
}

static bool begin(Fixture *f, GmemUse *use, uint64_t offset, uint64_t size)
{
    return gmem_use_begin(use, f->fb->block, offset, size, "map", NULL);
}

static void ask(GmemUse *use)
{
    asked++;
    qemu_sem_post(&asking);
}

/* ---- 1. ---- */

static void use_while_converting(FakeBlock *fb, GmemPageState to)
{
    GmemUse use;

    refused_while_converting = !gmem_use_begin(&use, fb->block, 9 * PAGE, PAGE,
                                               "map", NULL);
    g_assert_true(gmem_use_begin(&use, fb->block, 12 * PAGE, PAGE, "map",
                                 NULL));
    gmem_use_end(&use);
}

static void test_begin(Fixture *f, gconstpointer opaque)
{
    GmemUse use;

    g_assert_cmpint(convert(f->fb, 8, 4, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_false(begin(f, &use, 8 * PAGE, 1));
    g_assert_false(begin(f, &use, 12 * PAGE - 1, 2));
    g_assert_false(begin(f, &use, 0, 9 * PAGE));
    g_assert_true(begin(f, &use, 12 * PAGE, PAGE));
    gmem_use_end(&use);

    f->fb->on_set_state = use_while_converting;
    g_assert_cmpint(convert(f->fb, 8, 4, GMEM_PAGE_SHARED), ==, 0);
    g_assert_true(refused_while_converting);
    g_assert_cmpint(convert(f->fb, 8, 4, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_true(refused_while_converting);
}

/* ---- 2. ---- */

static void check_busy(Fixture *f, unsigned int first, unsigned int pages,
                       const char *who)
{
    GmemSegment segment = { f->fb->block, first * PAGE, pages * PAGE };
    GmemRequest req = world_request(&f->world, &segment, 1, GMEM_PAGE_PRIVATE);

    g_assert_cmpint(gmem_convert_request(&req), ==, -EAGAIN);
    g_assert_cmpstr(req.stalled_holder, ==, who);
    g_free(req.stalled_holder);
    fake_block_check(f->fb);
}

static void test_busy(Fixture *f, gconstpointer opaque)
{
    GmemUse use, other;

    g_assert_true(begin(f, &use, 8 * PAGE + 100, 2 * PAGE));
    g_assert_true(begin(f, &other, 8 * PAGE, 1));
    check_busy(f, 8, 1, "map");
    check_busy(f, 10, 1, "map");
    check_busy(f, 0, PAGES, "map");
    g_assert_cmpint(convert(f->fb, 0, 8, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(f->fb, 11, 8, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(f->fb, 0, PAGES, GMEM_PAGE_SHARED), ==, 0);
    gmem_use_end(&use);
    check_busy(f, 8, 1, "map");
    gmem_use_end(&other);
    g_assert_cmpint(convert(f->fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
}

static void *end_it_later(void *opaque)
{
    Fixture *f = opaque;

    /* until a conversion waits for it */
    while (gmem_block_range_is(f->fb->block, (uint64_t)8 * PAGE, PAGE,
                               GMEM_PAGE_SHARED)) {
        g_usleep(100);
    }
    g_usleep(20000);
    gmem_use_end(the_use);
    return NULL;
}

static void test_wait(Fixture *f, gconstpointer opaque)
{
    QemuThread thread;
    GmemUse use;

    g_assert_true(begin(f, &use, 8 * PAGE, PAGE));
    the_use = &use;
    qemu_thread_create(&thread, "end", end_it_later, f, QEMU_THREAD_JOINABLE);
    g_assert_cmpint(convert(f->fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    qemu_thread_join(&thread);
}

/* ---- 3. ---- */

static void *end_when_asked(void *opaque)
{
    qemu_sem_wait(&asking);
    gmem_use_end(the_use);
    return NULL;
}

static void test_ask(Fixture *f, gconstpointer opaque)
{
    GmemUse ring, map;
    QemuThread thread;

    g_assert_true(gmem_use_begin(&ring, f->fb->block, 8 * PAGE + 64, 16,
                                 "ring", ask));
    g_assert_true(begin(f, &map, 9 * PAGE, 1));
    g_assert_cmpint(convert(f->fb, 7, 1, GMEM_PAGE_PRIVATE), ==, 0);
    check_busy(f, 8, 2, "map");
    g_assert_cmpuint(asked, ==, 0);
    check_busy(f, 8, 1, "ring");
    check_busy(f, 8, 1, "ring");
    g_assert_cmpuint(asked, ==, 1);

    gmem_use_end(&map);
    the_use = &ring;
    qemu_thread_create(&thread, "end", end_when_asked, f,
                       QEMU_THREAD_JOINABLE);
    g_assert_cmpint(convert(f->fb, 8, 2, GMEM_PAGE_PRIVATE), ==, 0);
    qemu_thread_join(&thread);
    g_assert_cmpuint(asked, ==, 1);
}

/* ---- 4. ---- */

static void *kick_later(void *opaque)
{
    Fixture *f = opaque;

    g_usleep(20000);
    qatomic_set(&f->world.kicked, true);
    return NULL;
}

static void test_kick(Fixture *f, gconstpointer opaque)
{
    GmemSegment segment = { f->fb->block, 0, PAGES * PAGE };
    GmemRequest req = world_request(&f->world, &segment, 1, GMEM_PAGE_PRIVATE);
    QemuThread thread;
    GmemUse use;

    req.timeout_ms = 600000;
    g_assert_true(begin(f, &use, 8 * PAGE, PAGE));
    qemu_thread_create(&thread, "kick", kick_later, f, QEMU_THREAD_JOINABLE);
    g_assert_cmpint(gmem_convert_request(&req), ==, -EINTR);
    qemu_thread_join(&thread);
    gmem_use_end(&use);
    g_free(req.stalled_holder);
}

/* ---- 5. ---- */

static void test_map(Fixture *f, gconstpointer opaque)
{
    GmemBlock *block = f->fb->block;
    unsigned int i;

    g_assert_false(gmem_use_unmap(block, 0, PAGE));
    for (i = 0; i < 3; i++) {
        g_assert_true(gmem_use_map(block, 8 * PAGE + 100, 10));
    }
    g_assert_true(gmem_use_map(block, 8 * PAGE + 100, PAGE));
    g_assert_true(gmem_use_map(block, 7 * PAGE, 2 * PAGE));

    /* each of them has to go, and nothing else */
    for (i = 0; i < 3; i++) {
        check_busy(f, 8, 1, GMEM_USE_MAP);
        g_assert_true(gmem_use_unmap(block, 8 * PAGE + 100, 10));
    }
    check_busy(f, 9, 1, GMEM_USE_MAP);
    check_busy(f, 7, 1, GMEM_USE_MAP);
    g_assert_true(gmem_use_unmap(block, 8 * PAGE + 100, PAGE));
    g_assert_cmpint(convert(f->fb, 9, 1, GMEM_PAGE_PRIVATE), ==, 0);
    check_busy(f, 8, 1, GMEM_USE_MAP);
    g_assert_true(gmem_use_unmap(block, 7 * PAGE, 2 * PAGE));
    g_assert_cmpint(convert(f->fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
}

static void test_map_refused(Fixture *f, gconstpointer opaque)
{
    GmemBlock *block = f->fb->block;

    g_assert_true(gmem_use_map(block, 7 * PAGE, PAGE));
    g_assert_cmpint(convert(f->fb, 8, 4, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_false(gmem_use_map(block, 7 * PAGE, PAGE + 1));
    g_assert_false(gmem_use_map(block, 11 * PAGE, 1));
    /* what was refused has left nothing behind, and taken nothing along */
    check_busy(f, 7, 1, GMEM_USE_MAP);
    g_assert_true(gmem_use_unmap(block, 7 * PAGE, PAGE));
    g_assert_false(gmem_use_unmap(block, 7 * PAGE, PAGE));
    g_assert_cmpint(convert(f->fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
}

/* Devices that have moved the address on, or know another size */
static void test_unmap_around(Fixture *f, gconstpointer opaque)
{
    GmemBlock *block = f->fb->block;
    GmemUse use;

    g_assert_true(begin(f, &use, 8 * PAGE, PAGE));
    g_assert_true(gmem_use_map(block, 8 * PAGE, PAGE));
    g_assert_true(gmem_use_map(block, 20 * PAGE, PAGE));
    g_assert_false(gmem_use_unmap(block, 9 * PAGE, 1));
    g_assert_true(gmem_use_unmap(block, 8 * PAGE + 16, 100));
    /* no map is there, though something else is */
    g_assert_false(gmem_use_unmap(block, 8 * PAGE + 16, 100));
    g_assert_true(gmem_use_unmap(block, 20 * PAGE, 2 * PAGE));
    check_busy(f, 8, 1, "map");
    gmem_use_end(&use);
    g_assert_cmpint(convert(f->fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
}

/* As many as a guest can have, on top of each other and side by side */
static void test_crowd(Fixture *f, gconstpointer opaque)
{
    GmemBlock *block = f->fb->block;
    unsigned int i, round;

    for (round = 0; round < 2; round++) {
        for (i = 0; i < CROWD; i++) {
            g_assert_true(gmem_use_map(block, 8 * PAGE, 1 + i));
            g_assert_true(gmem_use_map(block, i, PAGE));
        }
        for (i = 0; i < CROWD; i++) {
            g_assert_true(gmem_use_unmap(block, 8 * PAGE, 1 + i));
            g_assert_true(gmem_use_unmap(block, i, PAGE));
        }
        g_assert_false(gmem_use_unmap(block, 8 * PAGE, 1));
    }
    g_assert_cmpint(convert(f->fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
}

/* ---- 6. ---- */

static void test_asked_for(Fixture *f, gconstpointer opaque)
{
    GmemBlock *block = f->fb->block;
    GmemUse ring, other;

    g_assert_false(gmem_use_is_asked_for(block, 8 * PAGE));
    g_assert_true(begin(f, &other, 8 * PAGE, 2 * PAGE));
    g_assert_true(gmem_use_begin(&ring, block, 8 * PAGE + 64, PAGE, "ring",
                                 ask));
    g_assert_false(gmem_use_is_asked_for(block, 8 * PAGE + 63));
    g_assert_true(gmem_use_is_asked_for(block, 8 * PAGE + 64));
    g_assert_true(gmem_use_is_asked_for(block, 9 * PAGE + 63));
    g_assert_false(gmem_use_is_asked_for(block, 9 * PAGE + 64));
    gmem_use_end(&ring);
    g_assert_false(gmem_use_is_asked_for(block, 8 * PAGE + 64));
    gmem_use_end(&other);
}

/* ---- 7. ---- */

static void test_retire(Fixture *f, gconstpointer opaque)
{
    GmemUse use;
    int i;

    gmem_uses_retire(f->fb->block);
    for (i = 0; i < 2; i++) {
        g_assert_true(begin(f, &use, 8 * PAGE, PAGE));
        check_busy(f, 8, 1, "map");
        gmem_use_end(&use);
        gmem_uses_retire(f->fb->block);
        gmem_uses_retire(f->fb->block);
    }
    g_assert_cmpint(convert(f->fb, 8, 1, GMEM_PAGE_PRIVATE), ==, 0);
}

/* ---- 8. ---- */

#define USERS 3
#define ROUNDS 2000

static uint8_t in_use[PAGES];       /* atomic: how often each page is */

static void nothing_in_use(FakeBlock *fb, GmemPageState to)
{
    g_autofree uint8_t *states = NULL;
    unsigned int page;

    if (to == GMEM_PAGE_SHARED) {
        return;
    }
    for (page = 0; page < PAGES; page++) {
        bool shared = gmem_block_range_is(fb->block, (uint64_t)page * PAGE,
                                          PAGE, GMEM_PAGE_SHARED);

        g_assert_true(shared || !qatomic_read(&in_use[page]));
    }
}

static void *use_at_random(void *opaque)
{
    Fixture *f = opaque;
    GRand *rand = g_rand_new_with_seed(GPOINTER_TO_UINT(&rand));
    GmemBlock *block = f->fb->block;
    unsigned int i, page, first, pages;

    for (i = 0; i < ROUNDS; i++) {
        bool map = g_rand_boolean(rand);
        uint64_t offset, size;
        GmemUse use;

        first = g_rand_int_range(rand, 0, PAGES);
        pages = g_rand_int_range(rand, 1, MIN(4, PAGES - first) + 1);
        offset = (uint64_t)first * PAGE;
        size = (uint64_t)pages * PAGE;
        if (!(map ? gmem_use_map(block, offset, size)
                  : begin(f, &use, offset, size))) {
            continue;
        }
        for (page = first; page < first + pages; page++) {
            qatomic_inc(&in_use[page]);
        }
        if (i % 64 == 0) {
            g_usleep(100);
        }
        for (page = first; page < first + pages; page++) {
            qatomic_dec(&in_use[page]);
        }
        if (map) {
            g_assert_true(gmem_use_unmap(block, offset, size));
        } else {
            gmem_use_end(&use);
        }
    }
    g_rand_free(rand);
    return NULL;
}

static void *convert_at_random(void *opaque)
{
    Fixture *f = opaque;
    GRand *rand = g_rand_new_with_seed(1);
    unsigned int i, first;

    for (i = 0; i < ROUNDS; i++) {
        first = g_rand_int_range(rand, 0, PAGES - 8);
        g_assert_cmpint(convert(f->fb, first, 8, g_rand_boolean(rand)), ==, 0);
    }
    g_rand_free(rand);
    return NULL;
}

static void test_race(Fixture *f, gconstpointer opaque)
{
    QemuThread users[USERS], converter;
    unsigned int i;

    f->fb->on_set_state = nothing_in_use;
    qemu_thread_create(&converter, "convert", convert_at_random, f,
                       QEMU_THREAD_JOINABLE);
    for (i = 0; i < USERS; i++) {
        qemu_thread_create(&users[i], "use", use_at_random, f,
                           QEMU_THREAD_JOINABLE);
    }
    for (i = 0; i < USERS; i++) {
        qemu_thread_join(&users[i]);
    }
    qemu_thread_join(&converter);
}

#define TEST(name, function) \
    g_test_add("/gmem/use/" name, Fixture, NULL, setup, function, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("begin", test_begin);
    TEST("busy", test_busy);
    TEST("wait", test_wait);
    TEST("ask", test_ask);
    TEST("kick", test_kick);
    TEST("map", test_map);
    TEST("map-refused", test_map_refused);
    TEST("unmap-around", test_unmap_around);
    TEST("crowd", test_crowd);
    TEST("asked-for", test_asked_for);
    TEST("retire", test_retire);
    TEST("race", test_race);
    return g_test_run();
}
