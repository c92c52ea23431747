/*
 * What a vhost-user back end has, wants and knows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *  1. a device that is not started: its table is sent when it starts, and
 *     emptied by the first conversion of a page of it; nothing is asked of a
 *     back end that has nothing
 *  2. a device that runs: held, stopped, changed, started, in this order; many
 *     runs at a time cost one round; nothing is changed that need not be
 *  3. requests under way: held for a while, stopped, and waited for; nothing
 *     changes meanwhile.  One that is not answered: let go again and again, and
 *     never stopped, or, beside others that are, run again and again; but never
 *     where the back end would do it twice.  So it goes when nobody asks any
 *     more
 *  4. what is shared is known once it is in the table, and there when the rings
 *     go on, also when it comes while a table is made or sent, and where they
 *     ran again without one
 *  5. a page that is marked while a table is made is not let go
 *  6. rings whose memory goes: they do not go on; they do once it is back
 *  7. any call that fails ends the connection, once; afterwards it has nothing,
 *     and the guest is told
 *  8. a connection that is closed, at every phase
 *  9. a device that is stopped with requests under way: it is waited for, and
 *     cut after a while; started again it gets the same table, or none; what
 *     was completed while the base stopped it is told
 * 10. a table that cannot be made: what is there stays; the next one is tried
 * 11. the end takes all away, also what parked rings lie in, or cuts
 * 12. two rounds have a rest between them
 */

#include "qemu/osdep.h"
#include "gmem-vhost-fake.h"

/* Any rest is over, also where a round took this machine a while */
#define LATER (1000 * 1000)

static void setup(FakeBackEnd *f, gconstpointer opaque)
{
    fake_init(f);
}

static void setup_running(FakeBackEnd *f, gconstpointer opaque)
{
    setup(f, opaque);
    g_assert_cmpint(fake_start(f), ==, 0);
    f->changes = f->layouts = f->calls = 0;
}

static void teardown(FakeBackEnd *f, gconstpointer opaque)
{
    fake_destroy(f);
}

static void test_off(FakeBackEnd *f, gconstpointer opaque)
{
    fake_mark(f, 3, 2);
    g_assert_true(fake_lets_go(f, 3, 2));
    fake_make_private(f, 3, 2);
    g_assert_cmpint(fake_steps(f, 0), ==, GMEM_VHOST_NEVER);
    g_assert_cmpuint(f->layouts, ==, 0);

    g_assert_cmpint(fake_start(f), ==, 0);
    fake_check(f, false);
    fake_stop(f, 0);
    fake_check(f, false);

    fake_mark(f, 10, 1);
    g_assert_false(fake_lets_go(f, 10, 1));
    g_assert_cmpint(fake_steps(f, 0), ==, GMEM_VHOST_NEVER);
    fake_check(f, true);
    g_assert_true(fake_lets_go(f, 10, 1));
    g_assert_cmpuint(f->cuts, ==, 0);
    fake_make_private(f, 10, 1);

    /* what is shared meanwhile is for the next start */
    fake_make_shared(f, 3, 1);
    g_assert_cmpint(fake_steps(f, 0), ==, GMEM_VHOST_NEVER);
    fake_check(f, true);
    g_assert_cmpint(fake_start(f), ==, 0);
    fake_check(f, false);
}

static void test_round(FakeBackEnd *f, gconstpointer opaque)
{
    unsigned int page;

    /* 0..15 and 48..63 stay pieces of their own */
    fake_mark(f, 16, 32);
    g_assert_false(fake_lets_go(f, 16, 1));
    g_assert_cmpint(fake_steps(f, 0), ==, GMEM_VHOST_NEVER);
    for (page = 16; page < 48; page += 2) {
        g_assert_true(fake_lets_go(f, page, 2));
    }
    fake_check(f, false);
    g_assert_cmpuint(f->starts, ==, 1);
    /* one removed, two added; and hold, stop, start */
    g_assert_cmpuint(f->changes, ==, 3);
    g_assert_cmpuint(f->calls, ==, 6);
    g_assert_cmpuint(f->layouts, ==, 1);

    /* nobody asks: nothing happens */
    fake_make_private(f, 16, 32);
    g_assert_cmpint(fake_steps(f, LATER), ==, GMEM_VHOST_NEVER);
    g_assert_cmpuint(f->calls, ==, 6);

    /* one more piece; the others are left alone */
    fake_make_shared(f, 30, 1);
    g_assert_cmpint(fake_steps(f, LATER), ==, GMEM_VHOST_NEVER);
    g_assert_cmpuint(f->changes, ==, 4);
    fake_check(f, false);
    g_assert_true(f->running && !f->held);
}

/* Ask for page 5, as a conversion does, until @until; how long the rings ran */
static int64_t ask_for(FakeBackEnd *f, int64_t *now, int64_t until)
{
    int64_t ran = 0;

    while (*now < until) {
        int64_t at;

        g_assert_false(fake_lets_go(f, 5, 1));
        g_assert_cmpuint(f->changes, ==, 0);
        at = MIN(fake_steps(f, *now), *now + 15);
        ran += f->running && !f->held ? at - *now : 0;
        *now = at;
    }
    return ran;
}

static void test_under_way(FakeBackEnd *f, gconstpointer opaque)
{
    int64_t now = 0;

    f->still = f->done = false;
    f->redoes = opaque;
    fake_mark(f, 5, 1);
    ask_for(f, &now, 99);
    g_assert_true(f->running && f->held);
    ask_for(f, &now, 1000);
    g_assert_false(f->running);
    if (f->redoes) {
        g_assert_cmpint(ask_for(f, &now, 60 * 1000), ==, 0);
    } else {
        g_assert_cmpint(ask_for(f, &now, 60 * 1000), >, 20 * 1000);
        g_assert_cmpuint(f->starts, >, 10);
    }
    g_assert_cmpuint(f->cuts + f->unholds, ==, 0);
    f->done = true;
    g_assert_false(fake_lets_go(f, 5, 1));
    now = fake_steps(f, now);
    if (now != GMEM_VHOST_NEVER) {
        /* from one rest to the end of the next round */
        g_assert_false(fake_lets_go(f, 5, 1));
        now = fake_steps(f, now);
        g_assert_false(fake_lets_go(f, 5, 1));
        fake_steps(f, now + 100);
    }
    g_assert_true(fake_lets_go(f, 5, 1));
    g_assert_true(f->running);
    fake_check(f, false);
}

/* The conversion ends with its time: the device stands still for nobody */
static void test_nobody_asks(FakeBackEnd *f, gconstpointer opaque)
{
    bool stopped = opaque;
    int64_t now = 0;

    f->still = f->done = false;
    fake_mark(f, 5, 1);
    ask_for(f, &now, stopped ? 150 : 50);
    g_assert_cmpint(f->running, ==, !stopped);
    g_assert_true(f->held);
    g_assert_cmpint(fake_steps(f, now + 400), ==, GMEM_VHOST_NEVER);
    g_assert_true(f->running && !f->held);
    g_assert_cmpuint(f->unholds, ==, !stopped);
    g_assert_cmpuint(f->starts, ==, stopped);

    /* the next one soon gets what it asks for */
    f->still = f->done = true;
    now += 500;
    g_assert_false(fake_lets_go(f, 5, 1));
    fake_steps(f, now);
    g_assert_true(fake_lets_go(f, 5, 1));
    g_assert_cmpuint(f->cuts, ==, 0);
    fake_check(f, false);
}

static void test_silent(FakeBackEnd *f, gconstpointer opaque)
{
    int64_t now, held = 0, begin = 0, end;

    f->still = f->moving = false;
    fake_mark(f, 5, 1);
    g_assert_false(fake_lets_go(f, 5, 1));
    for (now = 0; now < 60 * 1000; now = begin) {
        begin = fake_steps(f, now);
        g_assert_true(f->running);
        held += f->held ? begin - now : 0;
        g_assert_false(fake_lets_go(f, 5, 1));
    }
    /* as long as not */
    g_assert_cmpint(held, >, now / 3);
    g_assert_cmpint(held, <, now * 2 / 3);
    g_assert_cmpuint(f->unholds, >, 10);
    g_assert_cmpuint(f->let_gos + f->cuts + f->changes, ==, 0);
    f->moving = true;
    for (end = now + 3000; !fake_lets_go(f, 5, 1); now += 10) {
        g_assert_cmpint(now, <, end);
        fake_steps(f, now);
    }
    g_assert_true(f->running && !f->held);
}

/* ---- what is shared ---- */

static void share_late(FakeBackEnd *f)
{
    f->on_lay_out = f->on_change = NULL;
    fake_make_shared(f, 40, 1);
}

static void test_known(FakeBackEnd *f, gconstpointer opaque)
{
    uint64_t number = 0, other = 0;

    g_assert_true(gmem_vhost_session_knows(&f->session, &number));
    fake_mark(f, 40, 4);
    g_assert_false(fake_lets_go(f, 40, 4));
    fake_steps(f, 0);
    fake_make_private(f, 40, 4);

    fake_make_shared(f, 42, 1);
    number = 0;
    f->still = false;
    g_assert_false(gmem_vhost_session_knows(&f->session, &number));
    fake_steps(f, LATER);
    /* held only: the rings run */
    g_assert_false(gmem_vhost_session_knows(&f->session, &number));
    f->still = true;
    f->done = false;
    fake_steps(f, LATER + 10);
    g_assert_false(f->running);
    fake_make_shared(f, 43, 1);
    /* they may run again without a table */
    g_assert_false(gmem_vhost_session_knows(&f->session, &number));
    g_assert_false(gmem_vhost_session_knows(&f->session, &other));
    fake_steps(f, LATER + 2000);
    g_assert_true(f->running);
    g_assert_false(gmem_vhost_session_knows(&f->session, &number));
    f->done = true;
    fake_steps(f, 2 * LATER);
    g_assert_true(gmem_vhost_session_knows(&f->session, &number));
    g_assert_true(gmem_vhost_session_knows(&f->session, &other));
    fake_check(f, false);
}

static void test_known_late(FakeBackEnd *f, gconstpointer opaque)
{
    bool at_change = GPOINTER_TO_INT(opaque);

    fake_mark(f, 40, 4);
    g_assert_false(fake_lets_go(f, 40, 4));
    fake_steps(f, 0);
    fake_make_private(f, 40, 4);

    f->on_lay_out = at_change ? NULL : share_late;
    f->on_change = at_change ? share_late : NULL;
    fake_mark(f, 2, 1);
    g_assert_false(fake_lets_go(f, 2, 1));
    fake_steps(f, LATER);
    g_assert_true(f->mapped[40]);
    fake_check(f, false);
    g_assert_cmpuint(f->starts, ==, 2);
}

static void test_missed(FakeBackEnd *f, gconstpointer opaque)
{
    uint64_t number = 0;

    fake_mark(f, 7, 1);
    fake_make_private(f, 7, 1);
    g_assert_cmpint(gmem_vhost_session_send(&f->session), ==, 0);
    fake_make_shared(f, 7, 1);
    g_assert_false(gmem_vhost_session_knows(&f->session, &number));
    if (opaque) {
        /* the start fails */
        fake_steps(f, 0);
        fake_check(f, true);
    } else {
        f->running = true;
        gmem_vhost_session_started(&f->session);
        g_assert_false(gmem_vhost_session_knows(&f->session, &number));
        fake_steps(f, 0);
        g_assert_true(f->mapped[7]);
    }
    g_assert_true(gmem_vhost_session_knows(&f->session, &number));
}

static void mark_late(FakeBackEnd *f)
{
    f->on_lay_out = f->on_change = NULL;
    fake_mark(f, 50, 1);
    /* not yet with the back end, or no longer; but who knows */
    g_assert_false(fake_lets_go(f, 50, 1));
}

static void test_marked_late(FakeBackEnd *f, gconstpointer opaque)
{
    bool at_change = GPOINTER_TO_INT(opaque);

    fake_mark(f, 50, 1);
    g_assert_false(fake_lets_go(f, 50, 1));
    fake_steps(f, 0);
    fake_make_private(f, 50, 1);
    fake_make_shared(f, 50, 1);
    g_assert_false(f->mapped[50]);

    f->on_lay_out = at_change ? NULL : mark_late;
    f->on_change = at_change ? mark_late : NULL;
    fake_mark(f, 20, 1);
    g_assert_false(fake_lets_go(f, 20, 1));
    fake_steps(f, LATER);
    g_assert_true(fake_lets_go(f, 20, 1));
    g_assert_true(fake_lets_go(f, 50, 1));
    fake_check(f, false);
    g_assert_cmpuint(f->starts, ==, 2);
    g_assert_cmpuint(f->layouts, ==, 3);
}

/* ---- rings ---- */

static void test_ring(FakeBackEnd *f, gconstpointer opaque)
{
    uint64_t number = 0;

    f->ring = 12;
    fake_mark(f, 12, 1);
    g_assert_false(fake_lets_go(f, 12, 1));
    g_assert_cmpint(fake_steps(f, 0), ==, GMEM_VHOST_NEVER);
    g_assert_true(fake_lets_go(f, 12, 1));
    g_assert_cmpuint(f->starts, ==, 0);
    /* nor does anybody wait for them: what is shared is there when they do */
    f->shared[12] = false;
    fake_make_shared(f, 40, 1);
    g_assert_true(gmem_vhost_session_knows(&f->session, &number));
    f->shared[12] = true;
    fake_steps(f, 5);
    /* even where the guest writes its ring as if requests were under way */
    f->done = false;
    g_assert_cmpint(fake_steps(f, LATER), <, GMEM_VHOST_NEVER);
    g_assert_false(f->running);
    f->done = true;

    /* others convert meanwhile */
    fake_mark(f, 30, 1);
    g_assert_false(fake_lets_go(f, 30, 1));
    fake_steps(f, 10);
    g_assert_true(fake_lets_go(f, 30, 1));
    fake_make_private(f, 30, 1);
    g_assert_cmpuint(f->starts, ==, 0);

    /* it was not made private after all */
    fake_make_shared(f, 12, 1);
    fake_steps(f, 20);
    g_assert_cmpuint(f->starts, ==, 1);
    fake_check(f, false);
}

/* ---- what fails ---- */

static void test_faults(void)
{
    unsigned int at, cuts = 1;

    for (at = 1; cuts; at++) {
        FakeBackEnd f;

        fake_init(&f);
        g_assert_cmpint(fake_start(&f), ==, 0);
        f.calls = 0;
        f.fail_at = at;
        fake_mark(&f, 16, 32);
        g_assert_false(fake_lets_go(&f, 16, 32));
        g_assert_cmpint(fake_steps(&f, 0), ==, GMEM_VHOST_NEVER);
        g_assert_true(fake_lets_go(&f, 16, 32));
        cuts = f.cuts;
        if (cuts) {
            g_assert_cmpuint(cuts, ==, 1);
            g_assert_false(f.held);
            g_assert_true(fake_lets_go(&f, 0, PAGES));
            g_assert_cmpint(fake_steps(&f, 1000), ==, GMEM_VHOST_NEVER);
            g_assert_cmpint(gmem_vhost_session_send(&f.session), ==,
                            -ENOTCONN);
        }
        fake_destroy(&f);
    }
    /* hold, stop, three changes, start; the last time nothing failed */
    g_assert_cmpuint(at - 1, ==, 7);
}

static void close_at(FakeBackEnd *f, GmemVhostPhase phase)
{
    f->still = phase != GMEM_VHOST_HELD;
    f->done = phase != GMEM_VHOST_STOPPED;
    if (phase == GMEM_VHOST_OFF) {
        fake_stop(f, 0);
    } else if (phase != GMEM_VHOST_RUNNING) {
        fake_mark(f, 1, 1);
        g_assert_false(fake_lets_go(f, 1, 1));
        fake_steps(f, 0);
    }
    g_assert_cmpint(f->session.phase, ==, phase);
    f->open = false;
}

static void test_closed(FakeBackEnd *f, gconstpointer opaque)
{
    GmemVhostPhase phase = GPOINTER_TO_INT(opaque);
    uint64_t number = 0;

    close_at(f, phase);
    fake_mark(f, 3, 1);
    g_assert_false(fake_lets_go(f, 3, 1));
    g_assert_cmpint(fake_steps(f, 1), ==, GMEM_VHOST_NEVER);
    g_assert_true(fake_lets_go(f, 0, PAGES));
    g_assert_cmpuint(f->gones, ==, 1);
    g_assert_true(gmem_vhost_session_knows(&f->session, &number));
    g_assert_cmpuint(f->let_gos, ==, phase == GMEM_VHOST_HELD ||
                                     phase == GMEM_VHOST_STOPPED);
    g_assert_cmpuint(f->cuts, ==, 0);
    /* the base stops the device later, or never */
    fake_stop(f, 2);
    g_assert_cmpint(fake_steps(f, 2), ==, GMEM_VHOST_NEVER);
}

/*
 * What is completed while the base stops a device that told nobody is told
 * afterwards
 */
static void test_rest_told(FakeBackEnd *f, gconstpointer opaque)
{
    f->still = !opaque;
    fake_mark(f, 1, 1);
    g_assert_false(fake_lets_go(f, 1, 1));
    if (opaque) {
        fake_steps(f, 0);
        g_assert_cmpint(f->session.phase, ==, GMEM_VHOST_HELD);
    }
    fake_stop(f, 1);
    g_assert_cmpuint(f->let_gos, ==, opaque ? 2 : 0);
    g_assert_cmpint(fake_start(f), ==, 0);
    fake_stop(f, 2);
    g_assert_cmpuint(f->let_gos, ==, opaque ? 2 : 0);
}

static void test_drain(FakeBackEnd *f, gconstpointer opaque)
{
    int64_t now;

    f->done = false;
    fake_stop(f, 1000);
    /* nobody wants anything */
    g_assert_cmpint(fake_steps(f, 9999), ==, GMEM_VHOST_NEVER);
    fake_mark(f, 9, 1);
    g_assert_false(fake_lets_go(f, 9, 1));
    for (now = 1000; now < 1400; now = fake_steps(f, now)) {
        g_assert_false(fake_lets_go(f, 9, 1));
    }
    if (opaque) {
        f->done = true;
        g_assert_cmpint(fake_steps(f, now), ==, GMEM_VHOST_NEVER);
        fake_check(f, true);
        g_assert_cmpuint(f->cuts, ==, 0);
    } else {
        g_assert_cmpuint(f->cuts, ==, 0);
        g_assert_cmpint(fake_steps(f, 1500), ==, GMEM_VHOST_NEVER);
        g_assert_cmpuint(f->cuts, ==, 1);
        g_assert_cmpuint(f->changes, ==, 0);
    }
    g_assert_true(fake_lets_go(f, 9, 1));
}

static void test_drain_start(FakeBackEnd *f, gconstpointer opaque)
{
    f->done = false;
    fake_stop(f, 0);
    g_assert_cmpint(fake_start(f), ==, 0);
    g_assert_cmpuint(f->changes, ==, 0);
    fake_stop(f, 0);
    fake_mark(f, 9, 1);
    g_assert_false(fake_lets_go(f, 9, 1));
    g_assert_cmpint(fake_start(f), ==, -EBUSY);
    g_assert_cmpuint(f->cuts, ==, 1);
    g_assert_cmpuint(f->changes, ==, 0);
    g_assert_true(fake_lets_go(f, 9, 1));
}

static void test_no_table(FakeBackEnd *f, gconstpointer opaque)
{
    int64_t again;

    f->lay_out_error = -ENOSPC;
    fake_mark(f, 9, 1);
    g_assert_false(fake_lets_go(f, 9, 1));
    again = fake_steps(f, 0);
    g_assert_cmpint(again, <, 1000);
    g_assert_false(f->running);
    g_assert_cmpuint(f->changes, ==, 0);
    /* nobody asks any more: with what it has */
    g_assert_cmpint(fake_steps(f, again), ==, GMEM_VHOST_NEVER);
    g_assert_true(f->running);
    g_assert_cmpuint(f->changes, ==, 0);

    g_assert_false(fake_lets_go(f, 9, 1));
    fake_steps(f, 1000);
    g_assert_false(fake_lets_go(f, 9, 1));
    g_assert_cmpuint(f->cuts, ==, 0);
    g_assert_false(f->running);
    f->lay_out_error = 0;
    g_assert_cmpint(fake_steps(f, 1001), ==, GMEM_VHOST_NEVER);
    g_assert_true(fake_lets_go(f, 9, 1));
    g_assert_true(f->running);
    fake_check(f, false);

    fake_stop(f, 2);
    f->lay_out_error = -ENOSPC;
    g_assert_cmpint(fake_start(f), ==, -ENOSPC);
    g_assert_cmpuint(f->cuts, ==, 0);
}

static void test_end(FakeBackEnd *f, gconstpointer opaque)
{
    fake_stop(f, 0);
    gmem_vhost_session_end(&f->session);
    fake_check(f, true);
    g_assert_false(f->park_there);
    g_assert_cmpuint(f->cuts, ==, 0);

    g_assert_cmpint(fake_start(f), ==, 0);
    f->done = false;
    fake_stop(f, 0);
    gmem_vhost_session_end(&f->session);
    g_assert_cmpuint(f->cuts, ==, 1);
    g_assert_true(fake_lets_go(f, 0, PAGES));
    gmem_vhost_session_end(&f->session);
    g_assert_cmpuint(f->cuts, ==, 1);
}

/* Nothing but the place of parked rings is there, and the back end keeps it */
static void test_end_fails(FakeBackEnd *f, gconstpointer opaque)
{
    fake_stop(f, 0);
    fake_mark(f, 9, 1);
    g_assert_false(fake_lets_go(f, 9, 1));
    fake_steps(f, 0);
    fake_check(f, true);
    g_assert_true(f->park_there);
    f->fail_at = f->calls + 1;
    gmem_vhost_session_end(&f->session);
    g_assert_cmpuint(f->cuts, ==, 1);
}

static void test_rest(FakeBackEnd *f, gconstpointer opaque)
{
    int64_t again;

    fake_mark(f, 9, 1);
    g_assert_false(fake_lets_go(f, 9, 1));
    fake_steps(f, 1000);
    fake_mark(f, 20, 1);
    g_assert_false(fake_lets_go(f, 20, 1));
    again = fake_steps(f, 1001);
    g_assert_cmpint(again, >, 1001);
    g_assert_cmpuint(f->starts, ==, 1);
    fake_steps(f, again);
    g_assert_true(fake_lets_go(f, 20, 1));
    g_assert_cmpuint(f->starts, ==, 2);
}

/* Somebody wants another page each time, and each table takes 10 ms */
static void want_more(FakeBackEnd *f)
{
    unsigned int page = 20 + f->changes;

    g_usleep(10 * 1000);
    fake_mark(f, page, 1);
    g_assert_false(fake_lets_go(f, page, 1));
}

static void test_rest_wanted(FakeBackEnd *f, gconstpointer opaque)
{
    unsigned int changes;

    fake_mark(f, 9, 1);
    g_assert_false(fake_lets_go(f, 9, 1));
    f->on_change = want_more;
    /* four fifths of the time are the others' */
    g_assert_cmpint(fake_steps(f, 1000), >=, 1000 + 4 * 10 * f->changes);
    g_assert_cmpuint(f->changes, >, 1);
    g_assert_cmpint(f->session.phase, ==, GMEM_VHOST_STOPPED);
    /* whoever asks wakes the main loop, and it looks no sooner for that */
    changes = f->changes;
    g_assert_cmpint(fake_steps(f, 1001), >=, 1000 + 4 * 10 * changes);
    g_assert_cmpuint(f->changes, ==, changes);
    f->on_change = NULL;
    fake_steps(f, 2000);
    g_assert_cmpint(f->session.phase, ==, GMEM_VHOST_RUNNING);
}

#define ADD(name, data, setup, fn) \
    g_test_add("/gmem/vhost-session/" name, FakeBackEnd, \
               GINT_TO_POINTER(data), setup, fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("off", 0, setup, test_off);
    ADD("round", 0, setup_running, test_round);
    ADD("under-way/runs-again", 0, setup_running, test_under_way);
    ADD("under-way/waits", 1, setup_running, test_under_way);
    ADD("nobody-asks/held", 0, setup_running, test_nobody_asks);
    ADD("nobody-asks/stopped", 1, setup_running, test_nobody_asks);
    ADD("silent", 0, setup_running, test_silent);
    ADD("known", 0, setup_running, test_known);
    ADD("known-late/layout", 0, setup_running, test_known_late);
    ADD("known-late/change", 1, setup_running, test_known_late);
    ADD("missed/started", 0, setup, test_missed);
    ADD("missed/failed", 1, setup, test_missed);
    ADD("marked-late/layout", 0, setup_running, test_marked_late);
    ADD("marked-late/change", 1, setup_running, test_marked_late);
    ADD("ring", 0, setup_running, test_ring);
    g_test_add_func("/gmem/vhost-session/faults", test_faults);
    ADD("closed/off", GMEM_VHOST_OFF, setup_running, test_closed);
    ADD("closed/running", GMEM_VHOST_RUNNING, setup_running, test_closed);
    ADD("closed/held", GMEM_VHOST_HELD, setup_running, test_closed);
    ADD("closed/stopped", GMEM_VHOST_STOPPED, setup_running, test_closed);
    ADD("rest-told/held", 1, setup_running, test_rest_told);
    ADD("rest-told/running", 0, setup_running, test_rest_told);
    ADD("drain/cut", 0, setup_running, test_drain);
    ADD("drain/done", 1, setup_running, test_drain);
    ADD("drain/start", 0, setup_running, test_drain_start);
    ADD("no-table", 0, setup_running, test_no_table);
    ADD("end", 0, setup_running, test_end);
    ADD("end-fails", 0, setup_running, test_end_fails);
    ADD("rest", 0, setup_running, test_rest);
    ADD("rest/wanted", 0, setup_running, test_rest_wanted);
    return g_test_run();
}
