/*
 * What of guest memory a vhost-user back end may map
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *  1. neighbours become one piece where they are neighbours in QEMU's memory
 *     and in one file
 *  2. no room: the largest stay, of equal ones the lower; what is left out is
 *     counted
 *  3. pins stay, however small: all that a ring reaches into; not even room for
 *     those is an error
 *  4. looking: ranges that touch, lie in one piece, reach over two; equal
 *     tables
 *  5. pieces that are not in order are left out; the highest addresses
 *  6. at random, and very many: beside a plain sort
 */

#include "qemu/osdep.h"
#include "hw/virtio/gmem-vhost-table.h"

#define PAGE UINT64_C(4096)
#define HOST(page) (0x7f0000000000 + (page) * PAGE)

static int file_one, file_two;

typedef struct Fixture {
    GmemVhostTable t;
} Fixture;

static void setup(Fixture *x, gconstpointer opaque)
{
    gmem_vhost_table_init(&x->t);
}

static void teardown(Fixture *x, gconstpointer opaque)
{
    gmem_vhost_table_destroy(&x->t);
}

static void add(GmemVhostTable *t, uint64_t first, uint64_t count)
{
    GmemPiece piece = { first * PAGE, count * PAGE, HOST(first), &file_one };

    gmem_vhost_table_add(t, &piece);
}

/* The pieces as "first+count first+count", in pages */
static void check(const GmemVhostTable *t, const char *wanted)
{
    g_autoptr(GString) text = g_string_new("");
    unsigned int i;

    for (i = 0; i < t->pieces->len; i++) {
        const GmemPiece *p = gmem_vhost_piece(t, i);

        g_assert_cmphex(p->host, ==, HOST(p->gpa / PAGE));
        g_string_append_printf(text, "%s%u+%u", i ? " " : "",
                               (unsigned int)(p->gpa / PAGE),
                               (unsigned int)(p->size / PAGE));
    }
    g_assert_cmpstr(text->str, ==, wanted);
}

static void test_join(Fixture *x, gconstpointer opaque)
{
    GmemVhostTable *t = &x->t;
    GmemPiece other_file = { 16 * PAGE, PAGE, HOST(16), &file_two };
    GmemPiece other_place = { 17 * PAGE, PAGE, HOST(18), &file_two };

    gmem_vhost_table_begin(t, 8, NULL, 0);
    add(t, 10, 2);
    add(t, 12, 3);
    add(t, 15, 1);
    check(t, "10+6");
    gmem_vhost_table_add(t, &other_file);
    gmem_vhost_table_add(t, &other_place);
    g_assert_cmpuint(t->pieces->len, ==, 3);
    g_assert_true(gmem_vhost_table_end(t));
    g_assert_cmpuint(t->pieces->len, ==, 3);
    g_assert_cmpuint(t->lost, ==, 0);
    gmem_vhost_table_begin(t, 8, NULL, 0);
    check(t, "");
}

static void test_room(Fixture *x, gconstpointer opaque)
{
    GmemVhostTable *t = &x->t;

    gmem_vhost_table_begin(t, 3, NULL, 0);
    add(t, 10, 2);
    add(t, 20, 5);
    add(t, 30, 2);
    add(t, 40, 1);
    add(t, 50, 9);
    add(t, 60, 2);
    g_assert_true(gmem_vhost_table_end(t));
    check(t, "10+2 20+5 50+9");
    g_assert_cmpuint(t->lost, ==, 5 * PAGE);

    gmem_vhost_table_begin(t, 1, NULL, 0);
    add(t, 10, 1);
    add(t, 20, 1);
    g_assert_true(gmem_vhost_table_end(t));
    check(t, "10+1");
    g_assert_cmpuint(t->lost, ==, PAGE);
}

static void test_pins(Fixture *x, gconstpointer opaque)
{
    /* in a small piece, into two, into none, and two into one */
    const GmemPin pins[] = {
        { 30 * PAGE + 100, 16 },
        { 41 * PAGE - 8, 16 },
        { 70 * PAGE, 4096 },
        { 30 * PAGE + 200, 16 },
    };
    GmemPiece pinned = { 60 * PAGE, PAGE, HOST(60), &file_one, true };
    GmemVhostTable *t = &x->t;
    unsigned int room;

    for (room = 6; room >= 3; room--) {
        gmem_vhost_table_begin(t, room, pins, ARRAY_SIZE(pins));
        add(t, 10, 9);
        add(t, 20, 8);
        add(t, 30, 1);
        add(t, 40, 1);
        gmem_vhost_table_add(t, &(GmemPiece) { 41 * PAGE, PAGE, HOST(41),
                                               &file_two });
        gmem_vhost_table_add(t, &pinned);
        if (room == 3) {
            g_assert_false(gmem_vhost_table_end(t));
            break;
        }
        g_assert_true(gmem_vhost_table_end(t));
        check(t, room == 6 ? "10+9 20+8 30+1 40+1 41+1 60+1" :
                 room == 5 ? "10+9 30+1 40+1 41+1 60+1" :
                             "30+1 40+1 41+1 60+1");
    }
}

static void test_look(Fixture *x, gconstpointer opaque)
{
    GmemVhostTable *t = &x->t, other;
    GmemPiece piece = { 20 * PAGE, 2 * PAGE, HOST(20), &file_one };

    gmem_vhost_table_begin(t, 8, NULL, 0);
    add(t, 10, 2);
    add(t, 20, 2);
    g_assert_true(gmem_vhost_table_end(t));

    g_assert_false(gmem_vhost_table_touches(t, 0, 10 * PAGE));
    g_assert_true(gmem_vhost_table_touches(t, 0, 10 * PAGE + 1));
    g_assert_true(gmem_vhost_table_touches(t, 12 * PAGE - 1, 1));
    g_assert_false(gmem_vhost_table_touches(t, 12 * PAGE, 8 * PAGE));
    g_assert_true(gmem_vhost_table_touches(t, 0, -PAGE));
    g_assert_false(gmem_vhost_table_touches(t, 22 * PAGE, PAGE));
    g_assert_false(gmem_vhost_table_touches(t, 10 * PAGE, 0));

    g_assert_true(gmem_vhost_table_host(t, 10 * PAGE, 2 * PAGE) ==
                  (void *)HOST(10));
    g_assert_true(gmem_vhost_table_host(t, 11 * PAGE + 7, 1) ==
                  (void *)(HOST(11) + 7));
    g_assert_null(gmem_vhost_table_host(t, 11 * PAGE, 2 * PAGE));
    g_assert_null(gmem_vhost_table_host(t, 12 * PAGE, 1));
    g_assert_null(gmem_vhost_table_host(t, 9 * PAGE, PAGE + 1));
    g_assert_null(gmem_vhost_table_host(t, 30 * PAGE, 1));
    g_assert_null(gmem_vhost_table_host(t, 10 * PAGE, 0));

    g_assert_true(gmem_vhost_table_has(t, &piece));
    piece.file = &file_two;
    g_assert_false(gmem_vhost_table_has(t, &piece));
    piece = (GmemPiece) { 20 * PAGE, PAGE, HOST(20), &file_one };
    g_assert_false(gmem_vhost_table_has(t, &piece));

    gmem_vhost_table_init(&other);
    g_assert_false(gmem_vhost_table_equal(t, &other));
    gmem_vhost_table_begin(&other, 8, NULL, 0);
    add(&other, 10, 2);
    add(&other, 20, 3);
    g_assert_false(gmem_vhost_table_equal(t, &other));
    gmem_vhost_table_begin(&other, 8, NULL, 0);
    add(&other, 10, 2);
    add(&other, 20, 2);
    g_assert_true(gmem_vhost_table_equal(t, &other));
    gmem_vhost_table_destroy(&other);
}

static void test_disorder(Fixture *x, gconstpointer opaque)
{
    gmem_vhost_table_begin(&x->t, 8, NULL, 0);
    add(&x->t, 4, 4);
    g_assert_false(x->t.disorder);
    add(&x->t, 7, 4);
    add(&x->t, 0, 2);
    add(&x->t, 20, 0);
    g_assert_true(x->t.disorder);
    add(&x->t, 10, 1);
    g_assert_true(gmem_vhost_table_end(&x->t));
    check(&x->t, "4+4 10+1");
    gmem_vhost_table_begin(&x->t, 8, NULL, 0);
    g_assert_false(x->t.disorder);
}

static void test_highest(Fixture *x, gconstpointer opaque)
{
    GmemPiece top = { -2 * PAGE, 2 * PAGE, 0x1000, &file_one };
    GmemVhostTable *t = &x->t;

    gmem_vhost_table_begin(t, 1, NULL, 0);
    gmem_vhost_table_add(t, &top);
    g_assert_true(gmem_vhost_table_end(t));
    g_assert_true(gmem_vhost_table_touches(t, -1, 1));
    g_assert_false(gmem_vhost_table_touches(t, 0, -2 * PAGE));
    g_assert_true(gmem_vhost_table_host(t, -PAGE, PAGE) == (void *)0x2000);
    g_assert_null(gmem_vhost_table_host(t, -PAGE, PAGE + 1));
}

/* ---- at random ---- */

typedef struct Run {
    uint64_t first, count;
    bool pinned, stays;
} Run;

/* Those that stay come first; of equal ones the lower */
static int by_rank(const void *a, const void *b)
{
    const Run *x = *(Run *const *)a, *y = *(Run *const *)b;

    if (x->pinned != y->pinned) {
        return x->pinned ? -1 : 1;
    }
    return x->count != y->count ? (x->count > y->count ? -1 : 1) :
           x->first < y->first ? -1 : 1;
}

static void fill(GmemVhostTable *t, Run *runs, GmemPin *pins, unsigned int n,
                 unsigned int nr_pins, unsigned int room)
{
    uint64_t page = 0;
    unsigned int i;

    for (i = 0; i < n; i++) {
        page += 1 + g_test_rand_int_range(1, 5);
        runs[i] = (Run) { page, g_test_rand_int_range(1, 9) };
        page += runs[i].count;
    }
    for (i = 0; i < nr_pins; i++) {
        Run *run = &runs[g_test_rand_int_range(0, n)];

        run->pinned = true;
        pins[i] = (GmemPin) { run->first * PAGE + 8, 16 };
    }
    gmem_vhost_table_begin(t, room, pins, nr_pins);
    for (i = 0; i < n; i++) {
        add(t, runs[i].first, runs[i].count);
        g_assert_cmpuint(t->pieces->len, <=, 2 * room + 2 * nr_pins + 66);
    }
}

static void compare(const GmemVhostTable *t, Run *runs, unsigned int n,
                    unsigned int room)
{
    g_autofree Run **ranked = g_new(Run *, n);
    uint64_t lost = 0;
    unsigned int i, at = 0;

    for (i = 0; i < n; i++) {
        ranked[i] = &runs[i];
    }
    qsort(ranked, n, sizeof(*ranked), by_rank);
    for (i = 0; i < n; i++) {
        ranked[i]->stays = i < room;
    }
    for (i = 0; i < n; i++) {
        if (runs[i].stays) {
            g_assert_cmpuint(at, <, t->pieces->len);
            g_assert_cmphex(gmem_vhost_piece(t, at++)->gpa, ==,
                            runs[i].first * PAGE);
        } else {
            lost += runs[i].count * PAGE;
        }
    }
    g_assert_cmpuint(at, ==, t->pieces->len);
    g_assert_cmpuint(lost, ==, t->lost);
}

static void test_random(Fixture *x, gconstpointer opaque)
{
    unsigned int most = GPOINTER_TO_INT(opaque), i;
    g_autofree Run *runs = g_new(Run, most);
    GmemPin pins[8];

    for (i = 0; i < 200000 / most; i++) {
        unsigned int n = g_test_rand_int_range(1, most + 1);
        unsigned int nr_pins = g_test_rand_int_range(0, ARRAY_SIZE(pins) + 1);
        unsigned int room = g_test_rand_int_range(8, 40);

        fill(&x->t, runs, pins, n, nr_pins, room);
        g_assert_true(gmem_vhost_table_end(&x->t));
        compare(&x->t, runs, n, room);
    }
}

#define ADD(name, data, fn) \
    g_test_add("/gmem/vhost-table/" name, Fixture, GINT_TO_POINTER(data), \
               setup, fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("join", 0, test_join);
    ADD("room", 0, test_room);
    ADD("pins", 0, test_pins);
    ADD("look", 0, test_look);
    ADD("disorder", 0, test_disorder);
    ADD("highest", 0, test_highest);
    ADD("random/few", 60, test_random);
    ADD("random/many", 20000, test_random);
    return g_test_run();
}
