/*
 * Holders that need a while to be reached through what is shared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * 1. settle() comes after every end(), once per request, with the range free;
 *    after a request that shared pages or found them shared, or that left pages
 *    shared which were to be private, and after no other; also for those whose
 *    begin() was not called
 * 2. -EAGAIN: it is asked again, with its number, until it answers 0; then the
 *    next one, with a number of its own; one without settle() is left out
 * 3. one that never settles holds a request up until its time is over: then it
 *    has succeeded; or until it is kicked: then it is asked for again, and
 *    waits again
 * 4. one that leaves in the middle of it is not asked again
 */

#include "qemu/osdep.h"
#include "world.h"

#define PAGES 64

/* A fake holder, with something in front of its functions */
typedef struct Settler {
    FakeHolder *fh;
    const GmemHolderOps *plain;
    FakeBlock *fb;
    unsigned int begins, ends, settles;
    unsigned int hesitate;      /* how often settle() answers -EAGAIN */
    bool refuse;                /* to private */
    bool convert, leave;        /* from inside settle() */
    uint64_t last;
} Settler;

typedef struct Fixture {
    World world;
    FakeBlock *fb;
    Settler one, two;
} Fixture;

static Settler *settlers[2];

static Settler *settler(const GmemHolder *holder)
{
    return &settlers[0]->fh->holder == holder ? settlers[0] : settlers[1];
}

static int settler_begin(GmemHolder *holder, uint64_t offset, uint64_t size,
                         int64_t deadline_ns)
{
    Settler *s = settler(holder);

    s->begins++;
    return s->refuse ? -EAGAIN :
           s->plain->begin(holder, offset, size, deadline_ns);
}

static void settler_end(GmemHolder *holder, uint64_t offset, uint64_t size,
                        GmemPageState state)
{
    Settler *s = settler(holder);

    g_assert_cmpuint(s->settles, ==, 0);
    s->ends++;
    s->plain->end(holder, offset, size, state);
}

static int settler_settle(GmemHolder *holder, uint64_t *number)
{
    Settler *s = settler(holder);

    g_assert_cmphex(*number, ==, s->settles ? s->last : 0);
    s->last = *number = (uintptr_t)s + ++s->settles;
    if (s->convert) {
        /* all of it, which would wait for a range that is not free */
        unsigned int settles = s->settles;

        s->convert = false;
        s->settles = 0;
        g_assert_cmpint(convert(s->fb, 0, PAGES, GMEM_PAGE_SHARED), ==, 0);
        g_assert_cmpuint(s->settles, ==, 1);
        s->settles = settles;
    }
    if (s->leave) {
        fake_holder_leave(s->fh);
        return -EAGAIN;
    }
    return s->settles <= s->hesitate ? -EAGAIN : 0;
}

static const GmemHolderOps settler_ops = {
    .begin = settler_begin,
    .end = settler_end,
    .settle = settler_settle,
};

static void join(Fixture *f, Settler *s)
{
    s->fb = f->fb;
    s->fh = fake_holder_new(f->fb, "settler");
    s->plain = s->fh->holder.ops;
    s->fh->holder.ops = &settler_ops;
    settlers[s == &f->two] = s;
}

static void setup(Fixture *f, gconstpointer opaque)
{
    world_init(&f->world);
    f->fb = fake_block_new(&f->world, "ram", PAGES, GMEM_PAGE_SHARED);
    join(f, &f->one);
}

static void teardown(Fixture *f, gconstpointer opaque)
{
    if (!f->one.leave) {
        fake_holder_leave(f->one.fh);
    }
    if (f->two.fh) {
        fake_holder_leave(f->two.fh);
    }
    fake_block_check(f->fb);
    fake_block_free(f->fb);
}

static void forget_calls(Settler *s)
{
    s->begins = s->ends = s->settles = 0;
}

static void test_when(Fixture *f, gconstpointer opaque)
{
    Settler *s = &f->one;

    /* it may be the rest of one that was kicked */
    g_assert_cmpint(convert(f->fb, 0, PAGES, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(s->settles, ==, 1);
    g_assert_cmpuint(s->ends, ==, 0);
    forget_calls(s);
    g_assert_cmpint(convert(f->fb, 10, 2, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(f->fb, 20, 2, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(s->settles, ==, 0);

    /* two runs */
    forget_calls(s);
    s->convert = true;
    g_assert_cmpint(convert(f->fb, 0, 40, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(s->ends, ==, 2);
    g_assert_cmpuint(s->settles, ==, 1);

    forget_calls(s);
    s->refuse = true;
    g_assert_cmpint(convert_briefly(f->fb, 0, 40, GMEM_PAGE_PRIVATE), ==,
                    -EAGAIN);
    g_assert_cmpuint(s->begins, >, 0);
    g_assert_cmpuint(s->ends, ==, 1);
    g_assert_cmpuint(s->settles, ==, 1);
}

/* Who was not asked may have left the pages out nonetheless */
static void test_not_asked(Fixture *f, gconstpointer opaque)
{
    join(f, &f->two);
    f->one.refuse = true;
    g_assert_cmpint(convert_briefly(f->fb, 8, 8, GMEM_PAGE_PRIVATE), ==,
                    -EAGAIN);
    g_assert_cmpuint(f->two.begins, ==, 0);
    g_assert_cmpuint(f->two.ends, ==, 1);
    g_assert_cmpuint(f->two.settles, ==, 1);
}

static void test_again(Fixture *f, gconstpointer opaque)
{
    FakeHolder *plain = fake_holder_new(f->fb, "plain");

    join(f, &f->two);
    f->one.hesitate = 3;
    f->two.hesitate = 5;
    g_assert_cmpint(convert(f->fb, 8, 8, GMEM_PAGE_PRIVATE), ==, 0);
    forget_calls(&f->one);
    forget_calls(&f->two);
    g_assert_cmpint(convert(f->fb, 8, 8, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(f->one.settles, ==, 4);
    g_assert_cmpuint(f->two.settles, ==, 6);
    fake_holder_leave(plain);
}

static void test_never(Fixture *f, gconstpointer opaque)
{
    GmemSegment segment = { f->fb->block, 0, PAGES * PAGE };
    GmemRequest req = world_request(&f->world, &segment, 1, GMEM_PAGE_SHARED);
    GmemBlockStats stats;

    g_assert_cmpint(convert(f->fb, 8, 8, GMEM_PAGE_PRIVATE), ==, 0);
    forget_calls(&f->one);
    f->one.hesitate = UINT_MAX;
    if (opaque) {
        /* else its time would never be over */
        req.timeout_ms = UINT32_MAX;
        f->world.kicked = true;
    }
    g_assert_cmpint(gmem_convert_request(&req), ==, opaque ? -EINTR : 0);
    g_assert_cmpuint(f->one.settles, >, 0);
    g_assert_cmpuint(f->one.ends, ==, 1);
    gmem_block_get_stats(f->fb->block, &stats);
    g_assert_cmpuint(stats.conversions[GMEM_PAGE_SHARED], ==, 1);
    g_assert_true(gmem_block_range_is(f->fb->block, 0, PAGES * PAGE,
                                      GMEM_PAGE_SHARED));
    /* asked again, it does not go on without the holder, and counts no more */
    f->world.kicked = false;
    f->one.settles = 0;
    f->one.hesitate = 3;
    g_assert_cmpint(convert(f->fb, 0, PAGES, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(f->one.settles, ==, 4);
    gmem_block_get_stats(f->fb->block, &stats);
    g_assert_cmpuint(stats.conversions[GMEM_PAGE_SHARED], ==, 1);
}

static void test_leave(Fixture *f, gconstpointer opaque)
{
    join(f, &f->two);
    g_assert_cmpint(convert(f->fb, 8, 8, GMEM_PAGE_PRIVATE), ==, 0);
    forget_calls(&f->one);
    forget_calls(&f->two);
    f->one.leave = true;
    g_assert_cmpint(convert(f->fb, 8, 8, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(f->one.settles, ==, 1);
    g_assert_cmpuint(f->two.settles, ==, 1);
}

#define ADD(name, data, fn) \
    g_test_add("/gmem/settle/" name, Fixture, GINT_TO_POINTER(data), setup, \
               fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("when", 0, test_when);
    ADD("not-asked", 0, test_not_asked);
    ADD("again", 0, test_again);
    ADD("never/time", 0, test_never);
    ADD("never/kick", 1, test_never);
    ADD("leave", 0, test_leave);
    return g_test_run();
}
