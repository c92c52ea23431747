/*
 * Holders that come, go and hesitate
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * 1. One that joins in the middle of a conversion, either way, also of one that is
 *    undone, ends up with exactly what is shared.
 * 2. A replay and a begin() of the same pages take turns; a replay of much memory
 *    goes in steps.
 * 3. Leaving waits for a running call, ends a replay between two, leaves the others in
 *    peace, and may be done from inside a call, also by one holder to another.
 * 4. Time and kick are looked at between calls, not only after one that fails.
 * 5. A holder whose begin() takes a big lock, while the owner of that lock adds and
 *    removes holders: nobody waits for ever.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "world.h"

#define PAGES 256

typedef struct Fixture {
    World world;
    FakeBlock *fb;
} Fixture;

/* For callbacks, which get no pointer of the test's */
static FakeHolder *the_late, *the_victim;
static QemuSemaphore entered, proceed;

static void setup(Fixture *f, gconstpointer opaque)
{
    world_init(&f->world);
    f->fb = fake_block_new(&f->world, "ram", PAGES, GMEM_PAGE_SHARED);
    the_late = NULL;
    the_victim = NULL;
    qemu_sem_init(&entered, 0);
    qemu_sem_init(&proceed, 0);
}

static void teardown(Fixture *f, gconstpointer opaque)
{
    fake_block_check(f->fb);
    fake_block_free(f->fb);
    qemu_sem_destroy(&entered);
    qemu_sem_destroy(&proceed);
}

/* ---- joining late ---- */

static void join_once(FakeBlock *fb, GmemPageState to)
{
    if (!the_late) {
        the_late = fake_holder_new(fb, "late");
    }
}

static void join_at_begin(FakeHolder *fh, uint64_t offset, uint64_t size)
{
    join_once(fh->fb, GMEM_PAGE_PRIVATE);
}

static void check_late(Fixture *f, FakeHolder *early)
{
    g_assert_nonnull(the_late);
    fake_holder_check(early);
    fake_holder_check(the_late);
    fake_holder_leave(early);
    fake_holder_leave(the_late);
}

static void test_join_commit(Fixture *f, gconstpointer opaque)
{
    GmemPageState to = GPOINTER_TO_INT(opaque);
    FakeHolder *early = fake_holder_new(f->fb, "early");

    g_assert_cmpint(convert(f->fb, 100, 50, !to), ==, 0);
    f->fb->on_set_state = join_once;
    g_assert_cmpint(convert(f->fb, 90, 70, to), ==, 0);
    check_late(f, early);
}

static void test_join_begin(Fixture *f, gconstpointer opaque)
{
    FakeHolder *early = fake_holder_new(f->fb, "early");

    early->on_begin = join_at_begin;
    g_assert_cmpint(convert(f->fb, 90, 70, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(the_late->begins, ==, 0);
    check_late(f, early);
}

static void test_join_undone(Fixture *f, gconstpointer opaque)
{
    int error = GPOINTER_TO_INT(opaque);
    FakeHolder *early = fake_holder_new(f->fb, "early");

    early->on_begin = join_at_begin;
    world_fail(&f->world, error == -EAGAIN ? 1 : 2, NEVER - 1, error);
    f->world.fail_to = error == -EAGAIN ? NEVER - 1 : 2;
    g_assert_cmpint(convert_briefly(f->fb, 90, 70, GMEM_PAGE_PRIVATE), ==,
                    error);
    /* only who joined late had something to learn from it */
    g_assert_cmpuint(early->begins, ==, error == -EIO);
    world_fail(&f->world, NEVER, NEVER, 0);
    check_late(f, early);
}

/* ---- a replay against a conversion ---- */

static void hesitate(FakeHolder *fh, GmemPageState state)
{
    qemu_sem_post(&entered);
    qemu_sem_wait(&proceed);
    fh->on_end = NULL;
}

static void *replay_main(void *opaque)
{
    FakeHolder *fh = opaque;

    gmem_holder_replay_shared(&fh->holder, 0, fh->fb->pages * PAGE);
    return NULL;
}

static void test_replay_first(Fixture *f, gconstpointer opaque)
{
    FakeHolder *fh = fake_holder_new(f->fb, "slow");
    GmemSegment segment = { f->fb->block, 10 * PAGE, PAGE };
    GmemRequest req = world_request(&f->world, &segment, 1,
                                    GMEM_PAGE_PRIVATE);
    QemuThread thread;

    fh->on_end = hesitate;
    qemu_thread_create(&thread, "replay", replay_main, fh,
                       QEMU_THREAD_JOINABLE);
    qemu_sem_wait(&entered);
    fh->on_end = NULL;          /* it hears that the conversion was undone */
    /* it is still being given the pages, so they cannot be taken away */
    g_assert_cmpint(gmem_convert_request(&req), ==, -EAGAIN);
    g_assert_cmpstr(req.stalled_holder, ==, "slow");
    g_assert_cmpuint(fh->begins, ==, 0);
    g_free(req.stalled_holder);
    qemu_sem_post(&proceed);
    qemu_thread_join(&thread);
    g_assert_cmpint(convert(f->fb, 10, 1, GMEM_PAGE_PRIVATE), ==, 0);
    fake_holder_check(fh);
    fake_holder_leave(fh);
}

static void test_replay_range(Fixture *f, gconstpointer opaque)
{
    FakeHolder *fh = fake_holder_new(f->fb, "some");
    unsigned int page;

    g_assert_cmpint(convert(f->fb, 100, 20, GMEM_PAGE_PRIVATE), ==, 0);
    memset(fh->held, 0, PAGES);
    gmem_holder_replay_shared(&fh->holder, 90 * PAGE, 50 * PAGE);
    for (page = 0; page < PAGES; page++) {
        g_assert_cmpuint(fh->held[page], ==,
                         (page >= 90 && page < 100) ||
                         (page >= 120 && page < 140));
    }
    fake_holder_leave(fh);
}

/* What is given at a time is bounded, and pages beyond wait for nobody */
static void test_replay_chunks(Fixture *f, gconstpointer opaque)
{
    unsigned int chunk = GMEM_REPLAY_BYTES / PAGE;
    FakeBlock *big = fake_block_new(&f->world, "big", 4 * chunk,
                                    GMEM_PAGE_SHARED);
    FakeHolder *fh;
    QemuThread thread;

    /* the third step has nothing to give */
    g_assert_cmpint(convert(big, 2 * chunk, chunk, GMEM_PAGE_PRIVATE), ==, 0);
    fh = fake_holder_new(big, "slow");
    g_assert_cmpuint(fh->ends, ==, 3);
    fh->on_end = hesitate;
    qemu_thread_create(&thread, "replay", replay_main, fh,
                       QEMU_THREAD_JOINABLE);
    qemu_sem_wait(&entered);
    fh->on_end = NULL;          /* the conversion shall not hesitate */
    g_assert_cmpint(convert(big, chunk + 5, 1, GMEM_PAGE_PRIVATE), ==, 0);
    qemu_sem_post(&proceed);
    qemu_thread_join(&thread);
    fake_holder_check(fh);
    fake_holder_leave(fh);
    fake_block_check(big);
    fake_block_free(big);
}

/* ---- many runs ---- */

static void kick_at_tenth(FakeHolder *fh, uint64_t offset, uint64_t size)
{
    qatomic_set(&fh->world->kicked, fh->begins == 9);
}

static void sleep_past_deadline(FakeHolder *fh, uint64_t offset, uint64_t size)
{
    g_usleep(30 * 1000);
}

/* A kick or the deadline ends it between calls that are all fine */
static void test_many_runs(Fixture *f, gconstpointer opaque)
{
    FakeHolder *fh = fake_holder_new(f->fb, "many");
    GmemSegment segment = { f->fb->block, 0, PAGES * PAGE };
    GmemRequest req = world_request(&f->world, &segment, 1,
                                    GMEM_PAGE_PRIVATE);
    unsigned int page;

    for (page = 0; page < PAGES; page += 2) {
        g_assert_cmpint(convert(f->fb, page, 1, GMEM_PAGE_PRIVATE), ==, 0);
    }
    fh->begins = 0;
    fh->on_begin = kick_at_tenth;
    g_assert_cmpint(convert(f->fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, -EINTR);
    g_assert_cmpuint(fh->begins, ==, 10);
    fake_holder_check(fh);

    f->world.kicked = false;
    fh->begins = 0;
    fh->on_begin = sleep_past_deadline;
    g_assert_cmpint(gmem_convert_request(&req), ==, -EAGAIN);
    g_assert_cmpuint(fh->begins, ==, 1);
    g_assert_cmpstr(req.stalled_holder, ==, "many");
    g_free(req.stalled_holder);
    fake_holder_check(fh);
    fake_holder_leave(fh);
}

/* ---- leaving ---- */

static void wait_in_begin(FakeHolder *fh, uint64_t offset, uint64_t size)
{
    qemu_sem_post(&entered);
    qemu_sem_wait(&proceed);
}

static void *convert_main(void *opaque)
{
    g_assert_cmpint(convert(opaque, 5, 100, GMEM_PAGE_PRIVATE), ==, 0);
    return NULL;
}

static bool left;

static void *leave_main(void *opaque)
{
    FakeHolder *fh = opaque;

    gmem_holder_remove(&fh->holder);
    qatomic_store_release(&left, true);
    return NULL;
}

static bool is_leaving(FakeBlock *fb, FakeHolder *fh)
{
    QEMU_LOCK_GUARD(&fb->block->lock);
    return fh->holder.leaving;
}

static void test_leave_waits(Fixture *f, gconstpointer opaque)
{
    FakeHolder *slow = fake_holder_new(f->fb, "slow");
    FakeHolder *other = fake_holder_new(f->fb, "other");
    QemuThread converter, leaver;

    left = false;
    slow->on_begin = wait_in_begin;
    qemu_thread_create(&converter, "convert", convert_main, f->fb,
                       QEMU_THREAD_JOINABLE);
    qemu_sem_wait(&entered);
    qemu_thread_create(&leaver, "leave", leave_main, slow,
                       QEMU_THREAD_JOINABLE);
    while (!is_leaving(f->fb, slow)) {
        g_usleep(100);
    }
    fake_holder_leave(other);   /* is not being called, so this returns */
    g_assert(!qatomic_load_acquire(&left));
    qemu_sem_post(&proceed);
    qemu_thread_join(&leaver);
    qemu_thread_join(&converter);
    g_assert_cmpuint(slow->begins, ==, 1);
    g_assert_cmpuint(slow->ends, ==, 1);    /* its replay; none after leaving */
    fake_holder_free(slow);
}

static void leave_in_begin(FakeHolder *fh, uint64_t offset, uint64_t size)
{
    if (the_victim) {
        gmem_holder_remove(&the_victim->holder);
        the_victim = NULL;
    }
}

static void test_leave_inside(Fixture *f, gconstpointer opaque)
{
    bool self = GPOINTER_TO_INT(opaque);
    FakeHolder *one = fake_holder_new(f->fb, "one");
    FakeHolder *two = fake_holder_new(f->fb, "two");
    FakeHolder *three = fake_holder_new(f->fb, "three");

    two->on_begin = leave_in_begin;
    the_victim = self ? two : three;
    g_assert_cmpint(convert(f->fb, 0, 64, GMEM_PAGE_PRIVATE), ==, 0);
    fake_holder_check(one);
    fake_holder_check(self ? three : two);
    g_assert_cmpuint(self ? two->ends : three->ends, ==, 1);
    fake_holder_leave(one);
    fake_holder_leave(self ? three : two);
    fake_holder_free(self ? two : three);
}

static void say_entered(FakeHolder *fh, GmemPageState state)
{
    qemu_sem_post(&entered);
}

static void test_leave_replay(Fixture *f, gconstpointer opaque)
{
    unsigned int page, round;

    for (page = 0; page < PAGES; page += 2) {
        g_assert_cmpint(convert(f->fb, page, 1, GMEM_PAGE_PRIVATE), ==, 0);
    }
    for (round = 0; round < 500; round++) {
        FakeHolder *fh = fake_holder_new(f->fb, "short");
        QemuThread thread;

        fh->on_end = say_entered;
        qemu_thread_create(&thread, "replay", replay_main, fh,
                           QEMU_THREAD_JOINABLE);
        for (page = 0; page <= round % (PAGES / 2); page++) {
            qemu_sem_wait(&entered);
        }
        fake_holder_leave(fh);      /* and is freed: nobody may look at it */
        qemu_thread_join(&thread);
        while (!qemu_sem_timedwait(&entered, 0)) {
            /* what was said in vain */
        }
    }
}

/* ---- the big lock ---- */

static QemuMutex bql;

static void *device_main(void *opaque)
{
    FakeBlock *fb = opaque;
    unsigned int round;

    /* plugs and unplugs with the lock held throughout, as a monitor does */
    for (round = 0; round < 300; round++) {
        FakeHolder *fh;

        qemu_mutex_lock(&bql);
        fh = fake_holder_new(fb, "hot");
        qemu_mutex_unlock(&bql);
        g_usleep(50);
        qemu_mutex_lock(&bql);
        fake_holder_leave(fh);
        qemu_mutex_unlock(&bql);
    }
    return NULL;
}

static void test_big_lock(Fixture *f, gconstpointer opaque)
{
    FakeHolder *fh;
    QemuThread thread;
    unsigned int round;

    qemu_mutex_init(&bql);
    fh = fake_holder_new(f->fb, "bql");
    fh->bql = &bql;
    qemu_thread_create(&thread, "device", device_main, f->fb,
                       QEMU_THREAD_JOINABLE);
    for (round = 0; round < 500; round++) {
        GmemPageState to = round & 1 ? GMEM_PAGE_SHARED : GMEM_PAGE_PRIVATE;
        GmemSegment segment = { f->fb->block, 20 * PAGE, 100 * PAGE };
        GmemRequest req = world_request(&f->world, &segment, 1, to);

        req.timeout_ms = 60000;
        g_assert_cmpint(gmem_convert_request(&req), ==, 0);
    }
    qemu_thread_join(&thread);
    fake_holder_check(fh);
    fake_holder_leave(fh);
    qemu_mutex_destroy(&bql);
}

static void add(const char *path, gconstpointer data,
                void (*fn)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, data, setup, fn, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/gmem/holder/join/commit-private", GINT_TO_POINTER(GMEM_PAGE_PRIVATE),
        test_join_commit);
    add("/gmem/holder/join/commit-shared", GINT_TO_POINTER(GMEM_PAGE_SHARED),
        test_join_commit);
    add("/gmem/holder/join/begin", NULL, test_join_begin);
    add("/gmem/holder/join/undone-begin", GINT_TO_POINTER(-EAGAIN),
        test_join_undone);
    add("/gmem/holder/join/undone-provider", GINT_TO_POINTER(-EIO),
        test_join_undone);
    add("/gmem/holder/replay/first", NULL, test_replay_first);
    add("/gmem/holder/replay/range", NULL, test_replay_range);
    add("/gmem/holder/replay/chunks", NULL, test_replay_chunks);
    add("/gmem/holder/many-runs", NULL, test_many_runs);
    add("/gmem/holder/leave/waits", NULL, test_leave_waits);
    add("/gmem/holder/leave/replay", NULL, test_leave_replay);
    add("/gmem/holder/leave/self", GINT_TO_POINTER(true), test_leave_inside);
    add("/gmem/holder/leave/other", GINT_TO_POINTER(false), test_leave_inside);
    add("/gmem/holder/big-lock", NULL, test_big_lock);
    return g_test_run();
}
