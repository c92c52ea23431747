/*
 * What a vhost-user back end has, while many threads convert
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each of some threads has pages of its own and makes them private and shared
 * again, at random, or begins and undoes that, while this one does what a main
 * loop does, with a device that starts and stops, has requests under way, and
 * (2.) loses its connection.
 *
 *  1. a page that was let go is not with the back end until it is shared again,
 *     and rings that run have every page that is said to be known
 *  2. with connections that are cut, the first half of that, and nobody waits
 *     for ever
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "gmem-vhost-fake.h"

#define THREADS 4u
#define OWN (PAGES / THREADS)
#define CONVERSIONS 400u

typedef struct Guest {
    FakeBackEnd *f;
    unsigned int first;
    uint32_t random;
    bool cuts;
    unsigned int *left;         /* threads, atomic */
} Guest;

static uint32_t draw(uint32_t *random, uint32_t end)
{
    *random = *random * 1664525 + 1013904223;
    return (*random >> 8) % end;
}

static void check_unmapped(FakeBackEnd *f, unsigned int first,
                           unsigned int count)
{
    while (count--) {
        g_assert_false(qatomic_read(&f->mapped[first++]));
    }
}

static void to_private(Guest *g, unsigned int first, unsigned int count)
{
    FakeBackEnd *f = g->f;
    unsigned int moves;

    fake_mark(f, first, count);
    for (;;) {
        moves = gmem_vhost_session_moves(&f->session);
        if (fake_lets_go(f, first, count)) {
            break;
        }
        gmem_vhost_session_wait(&f->session, moves, 10);
    }
    check_unmapped(f, first, count);
    fake_make_private(f, first, count);
    g_usleep(draw(&g->random, 50));
    check_unmapped(f, first, count);
}

static void to_shared(Guest *g, unsigned int first, unsigned int count)
{
    FakeBackEnd *f = g->f;
    uint64_t number = 0;
    unsigned int moves = gmem_vhost_session_moves(&f->session);

    fake_make_shared(f, first, count);
    while (!gmem_vhost_session_knows(&f->session, &number)) {
        gmem_vhost_session_wait(&f->session, moves, 10);
        moves = gmem_vhost_session_moves(&f->session);
    }
    if (qatomic_read(&f->running) && !g->cuts) {
        smp_mb();
        while (count--) {
            g_assert_true(qatomic_read(&f->mapped[first++]));
        }
    }
}

static void *run_guest(void *opaque)
{
    Guest *g = opaque;
    unsigned int i;

    for (i = 0; i < CONVERSIONS; i++) {
        unsigned int first = draw(&g->random, OWN);
        unsigned int count = 1 + draw(&g->random, OWN - first);

        if (draw(&g->random, 4)) {
            to_private(g, g->first + first, count);
        } else {
            /* it is undone, whether it was asked for or not */
            fake_mark(g->f, g->first + first, count);
            if (draw(&g->random, 2)) {
                fake_lets_go(g->f, g->first + first, count);
            }
        }
        to_shared(g, g->first + first, count);
    }
    qatomic_dec(g->left);
    return NULL;
}

static void turn(FakeBackEnd *f, uint32_t *random, int64_t now, bool cuts)
{
    f->still = draw(random, 3);
    f->moving = draw(random, 2);
    f->done = draw(random, 3);
    if (cuts && !draw(random, 50)) {
        f->fail_at = f->calls + 1 + draw(random, 6);
    }
    if (f->session.phase == GMEM_VHOST_OFF) {
        f->open = true;
        f->done = true;
        if (draw(random, 2)) {
            fake_start(f);
        }
    } else if (!draw(random, 20)) {
        fake_stop(f, now);
    }
    gmem_vhost_session_step(&f->session, now);
}

static void test_stress(gconstpointer opaque)
{
    bool cuts = GPOINTER_TO_INT(opaque);
    uint32_t random = g_test_rand_int();
    unsigned int i, left = THREADS;
    QemuThread threads[THREADS];
    Guest guests[THREADS];
    FakeBackEnd f;
    int64_t now;

    fake_init(&f);
    for (i = 0; i < THREADS; i++) {
        guests[i] = (Guest) { &f, i * OWN, random + i, cuts, &left };
        qemu_thread_create(&threads[i], "guest", run_guest, &guests[i],
                           QEMU_THREAD_JOINABLE);
    }
    for (now = 0; qatomic_read(&left); now += 10) {
        turn(&f, &random, now, cuts);
    }
    for (i = 0; i < THREADS; i++) {
        qemu_thread_join(&threads[i]);
    }
    g_assert_cmpuint(f.starts, >, 0);
    g_assert_cmpint(!!f.cuts, ==, cuts);
    fake_destroy(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/gmem/vhost-stress/plain", GINT_TO_POINTER(false),
                         test_stress);
    g_test_add_data_func("/gmem/vhost-stress/cuts", GINT_TO_POINTER(true),
                         test_stress);
    return g_test_run();
}
