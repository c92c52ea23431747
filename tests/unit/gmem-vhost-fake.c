/*
 * A back end made of an array, for sessions of vhost-user
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "gmem-vhost-fake.h"

#define HOST(page) (0x7f0000000000 + (page) * PAGE)

/* 0, or the error that this call is to have */
static int next_call(FakeBackEnd *f)
{
    g_assert_true(f->open);
    return ++f->calls == f->fail_at ? -EIO : 0;
}

static bool fake_is_open(void *opaque)
{
    return ((FakeBackEnd *)opaque)->open;
}

static void add_runs(FakeBackEnd *f, GmemVhostTable *table)
{
    unsigned int page;

    for (page = 0; page < PAGES; page++) {
        GmemPiece piece = { page * PAGE, PAGE, HOST(page) };

        if (qatomic_read(&f->shared[page]) &&
            !qatomic_read(&f->converting[page])) {
            gmem_vhost_table_add(table, &piece);
        }
    }
}

static int fake_lay_out(void *opaque, GmemVhostTable *table, bool empty)
{
    FakeBackEnd *f = opaque;
    GmemPin pin = { f->ring * PAGE, PAGE };

    f->layouts++;
    gmem_vhost_table_begin(table, f->room, &pin, f->ring >= 0);
    if (!empty) {
        add_runs(f, table);
    }
    if (f->on_lay_out) {
        f->on_lay_out(f);
    }
    g_assert_true(gmem_vhost_table_end(table));
    return f->lay_out_error;
}

static int fake_park(void *opaque)
{
    FakeBackEnd *f = opaque;

    f->parked = f->park_there = true;
    return 0;
}

static int fake_unpark(void *opaque)
{
    FakeBackEnd *f = opaque;

    f->park_there = false;
    return next_call(f);
}

static int fake_change(void *opaque, const GmemPiece *piece, bool add)
{
    FakeBackEnd *f = opaque;
    uint64_t page = piece->gpa / PAGE, end = page + piece->size / PAGE;

    /* not beneath requests */
    g_assert_false(f->running);
    g_assert_true(f->done);
    g_assert_true(add || f->parked);
    f->changes++;
    if (f->on_change) {
        f->on_change(f);
    }
    if (next_call(f)) {
        return -EIO;
    }
    g_assert_cmphex(piece->host, ==, HOST(page));
    for (; page < end; page++) {
        g_assert_cmpint(qatomic_read(&f->mapped[page]), ==, !add);
        qatomic_set(&f->mapped[page], add);
    }
    return 0;
}

static void fake_changed(void *opaque)
{
    ((FakeBackEnd *)opaque)->parked = false;
}

static void fake_gone(void *opaque)
{
    ((FakeBackEnd *)opaque)->gones++;
}

static int fake_hold(void *opaque, const GmemVhostTable *had)
{
    FakeBackEnd *f = opaque;

    g_assert_true(f->running && !f->held);
    f->held = true;
    return next_call(f);
}

static bool fake_is_still(void *opaque, const GmemVhostTable *had)
{
    return ((FakeBackEnd *)opaque)->still;
}

static bool fake_is_moving(void *opaque, const GmemVhostTable *had)
{
    return ((FakeBackEnd *)opaque)->moving;
}

static int fake_unhold(void *opaque, const GmemVhostTable *had)
{
    FakeBackEnd *f = opaque;

    g_assert_true(f->running && f->held);
    f->held = false;
    f->unholds++;
    return next_call(f);
}

static int fake_stop_rings(void *opaque)
{
    FakeBackEnd *f = opaque;

    g_assert_true(f->running && f->held);
    qatomic_set(&f->running, false);
    return next_call(f);
}

static bool fake_is_done(void *opaque, const GmemVhostTable *had)
{
    return ((FakeBackEnd *)opaque)->done;
}

static bool fake_rings_fit(void *opaque, const GmemVhostTable *table)
{
    FakeBackEnd *f = opaque;

    return f->ring < 0 ||
           gmem_vhost_table_host(table, f->ring * PAGE, PAGE);
}

static bool fake_may_resume(void *opaque, const GmemVhostTable *had)
{
    FakeBackEnd *f = opaque;

    return !f->redoes && fake_rings_fit(f, had);
}

static int fake_start_rings(void *opaque, const GmemVhostTable *had)
{
    FakeBackEnd *f = opaque;

    g_assert_true(f->held && !f->running);
    g_assert_true(f->done || !f->redoes);
    g_assert_true(fake_rings_fit(f, had));
    qatomic_set(&f->running, true);
    f->held = false;
    f->starts++;
    return next_call(f);
}

static void fake_let_go(void *opaque, const GmemVhostTable *had)
{
    FakeBackEnd *f = opaque;

    f->held = false;
    f->let_gos++;
}

static void fake_cut(void *opaque)
{
    FakeBackEnd *f = opaque;
    unsigned int page;

    f->cuts++;
    f->open = f->park_there = false;
    qatomic_set(&f->running, false);
    for (page = 0; page < PAGES; page++) {
        qatomic_set(&f->mapped[page], false);
    }
}

static const GmemVhostLink fake_link = {
    .is_open = fake_is_open,
    .lay_out = fake_lay_out,
    .park = fake_park,
    .unpark = fake_unpark,
    .change = fake_change,
    .changed = fake_changed,
    .gone = fake_gone,
    .hold = fake_hold,
    .is_still = fake_is_still,
    .is_moving = fake_is_moving,
    .unhold = fake_unhold,
    .stop = fake_stop_rings,
    .is_done = fake_is_done,
    .rings_fit = fake_rings_fit,
    .may_resume = fake_may_resume,
    .start = fake_start_rings,
    .let_go = fake_let_go,
    .cut = fake_cut,
};

void fake_init(FakeBackEnd *f)
{
    *f = (FakeBackEnd) {
        .room = PAGES, .ring = -1, .open = true, .still = true,
        .moving = true, .done = true,
    };
    memset(f->shared, true, sizeof(f->shared));
    gmem_vhost_session_init(&f->session, &fake_link, f);
}

void fake_destroy(FakeBackEnd *f)
{
    gmem_vhost_session_destroy(&f->session);
}

/* ---- what a guest does ---- */

static void set(uint8_t *pages, unsigned int first, unsigned int count,
                bool value)
{
    while (count--) {
        qatomic_set(&pages[first++], value);
    }
}

void fake_mark(FakeBackEnd *f, unsigned int first, unsigned int count)
{
    set(f->converting, first, count, true);
    smp_mb();
}

void fake_make_private(FakeBackEnd *f, unsigned int first, unsigned int count)
{
    set(f->shared, first, count, false);
    set(f->converting, first, count, false);
}

void fake_make_shared(FakeBackEnd *f, unsigned int first, unsigned int count)
{
    set(f->shared, first, count, true);
    set(f->converting, first, count, false);
    gmem_vhost_session_shared(&f->session);
}

bool fake_lets_go(FakeBackEnd *f, unsigned int first, unsigned int count)
{
    return gmem_vhost_session_lets_go(&f->session, first * PAGE, count * PAGE);
}

int fake_start(FakeBackEnd *f)
{
    int ret = gmem_vhost_session_send(&f->session);

    if (!ret) {
        qatomic_set(&f->running, true);
        gmem_vhost_session_started(&f->session);
    }
    return ret;
}

void fake_stop(FakeBackEnd *f, int64_t now)
{
    gmem_vhost_session_stopping(&f->session);
    qatomic_set(&f->running, false);
    f->held = false;
    gmem_vhost_session_tell_rest(&f->session);
    gmem_vhost_session_stopped(&f->session, now);
}

int64_t fake_steps(FakeBackEnd *f, int64_t now)
{
    int64_t again;
    int i = 0;

    do {
        again = gmem_vhost_session_step(&f->session, now);
        g_assert_cmpint(i++, <, 100);
    } while (again <= now);
    return again;
}

void fake_check(FakeBackEnd *f, bool empty)
{
    unsigned int page;

    for (page = 0; page < PAGES; page++) {
        bool wanted = !empty && f->shared[page] && !f->converting[page];

        g_assert_cmpint(f->mapped[page], ==, wanted);
    }
}
