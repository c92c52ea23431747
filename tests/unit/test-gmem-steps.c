/*
 * Long ranges: a conversion of any length holds up nobody for longer than a step
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A block of a bit more than four steps, mixed before, and a holder of it:
 *
 *  1. no call of the provider is longer than a step, or crosses a border between two; short
 *     ranges take one call
 *  2. once ENOMEM in step N: everything is as before, after an undo in steps as well
 *  3. EAGAIN from step N on, and a kick: everything is as before
 *  4. EIO from step N on, so that undoing fails too: broken, and what is unknown is held by nobody
 *  5. busy pages in several steps: all is private in the end, and what lies before each is not
 *     asked for again
 */

#include "qemu/osdep.h"
#include "world.h"

#define STEP (GMEM_STEP_BYTES / PAGE)
#define PAGES (4 * STEP + 10)
#define STEPS 5

typedef struct Scene {
    World world;
    FakeBlock *fb;
    FakeHolder *holder;
    uint8_t *before;
    GmemPageState to;
} Scene;

static void scene_init(Scene *s, GmemPageState to)
{
    world_init(&s->world);
    s->fb = fake_block_new(&s->world, "ram", PAGES,
                           to == GMEM_PAGE_PRIVATE ? GMEM_PAGE_SHARED
                                                   : GMEM_PAGE_PRIVATE);
    s->holder = fake_holder_new(s->fb, "holder");
    s->to = to;
    /* pages that are so already, beside a border of steps and in the middle of one */
    g_assert_cmpint(convert(s->fb, 2 * STEP - 3, 3, to), ==, 0);
    g_assert_cmpint(convert(s->fb, 3 * STEP + 100, 1, to), ==, 0);
    s->before = fake_block_states(s->fb);
    s->fb->steps = 0;
    s->fb->longest = 0;
}

static void scene_destroy(Scene *s)
{
    g_assert_cmpuint(s->fb->longest, <=, STEP);
    g_free(s->before);
    fake_holder_leave(s->holder);
    fake_block_free(s->fb);
}

static int scene_run(Scene *s, unsigned int from, unsigned int to, int error)
{
    world_fail(&s->world, from, to, error);
    return convert(s->fb, 0, PAGES, s->to);
}

static void check_unchanged(Scene *s)
{
    g_autofree uint8_t *states = fake_block_states(s->fb);

    g_assert_cmpmem(states, PAGES, s->before, PAGES);
    g_assert_false(gmem_block_is_broken(s->fb->block));
    fake_block_check(s->fb);
    fake_holder_check(s->holder);
}

/* begin() of the holder for each of three runs comes before, to private */
static unsigned int calls_before(GmemPageState to)
{
    return to == GMEM_PAGE_PRIVATE ? 3 : 0;
}

static void test_length(gconstpointer data)
{
    static const struct {
        unsigned int first, pages, steps;
    } ranges[] = {
        { 0, PAGES, 5 }, { 0, STEP, 1 }, { 1, STEP - 1, 1 }, { 1, STEP, 2 },
        { STEP - 1, 2, 2 }, { STEP + 7, 2 * STEP, 3 }, { 4 * STEP, 10, 1 },
    };
    GmemPageState to = GPOINTER_TO_INT(data);

    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        Scene s;

        scene_init(&s, to);
        g_assert_cmpint(convert(s.fb, ranges[i].first, ranges[i].pages, to), ==,
                        0);
        g_assert_cmpuint(s.fb->steps, ==, ranges[i].steps);
        g_assert_true(gmem_block_range_is(s.fb->block, ranges[i].first * PAGE,
                                          ranges[i].pages * PAGE, to));
        fake_block_check(s.fb);
        fake_holder_check(s.holder);
        scene_destroy(&s);
    }
}

static void test_fails_once(gconstpointer data)
{
    GmemPageState to = GPOINTER_TO_INT(data);
    Scene s;

    for (unsigned int n = 1; n <= STEPS; n++) {
        unsigned int call = calls_before(to) + n;

        scene_init(&s, to);
        g_assert_cmpint(scene_run(&s, call, call, -ENOMEM), ==, -EIO);
        check_unchanged(&s);
        g_assert_cmpint(scene_run(&s, NEVER, NEVER, 0), ==, 0);
        scene_destroy(&s);
    }
}

static void test_gives_up(gconstpointer data)
{
    GmemSegment segment = { .size = PAGES * PAGE };
    Scene s;

    for (unsigned int n = 1; n <= STEPS; n++) {
        for (int kick = 0; kick < 2; kick++) {
            GmemRequest req;

            scene_init(&s, GMEM_PAGE_PRIVATE);
            segment.block = s.fb->block;
            req = world_request(&s.world, &segment, 1, s.to);
            s.world.spare_shared = true;        /* the way back */
            s.world.kick_on_fail = kick;
            req.timeout_ms = kick ? 60000 : req.timeout_ms;
            world_fail(&s.world, calls_before(s.to) + n, NEVER, -EAGAIN);
            g_assert_cmpint(gmem_convert_request(&req), ==,
                            kick ? -EINTR : -EAGAIN);
            check_unchanged(&s);
            g_free(req.stalled_holder);
            scene_destroy(&s);
        }
    }
}

/* The end of the run of pages that change which has @page; a run is known or is not */
static unsigned int run_end(const Scene *s, unsigned int page)
{
    while (page < PAGES && s->before[page] != s->to) {
        page++;
    }
    return page;
}

static void test_breaks(gconstpointer data)
{
    GmemPageState to = GPOINTER_TO_INT(data);
    Scene s;

    for (unsigned int n = 2; n <= STEPS; n++) {
        unsigned int end, page;

        scene_init(&s, to);
        end = run_end(&s, (n - 1) * STEP - 4);
        g_assert_cmpint(scene_run(&s, calls_before(to) + n, NEVER, -EIO), ==,
                        -EIO);
        g_assert_true(gmem_block_is_broken(s.fb->block));
        for (page = 0; page < PAGES; page++) {
            bool known = gmem_block_range_is(s.fb->block, page * PAGE, PAGE,
                                             s.before[page]);

            g_assert_true(known == (page >= end || s.before[page] == to));
            g_assert_true(known || !s.holder->held[page]);
        }
        scene_destroy(&s);
    }
}

static void test_busy(void)
{
    static const unsigned int busy[] = {
        0, STEP - 1, STEP, 2 * STEP + 77, 4 * STEP + 9,
    };
    Scene s;

    scene_init(&s, GMEM_PAGE_PRIVATE);
    for (size_t i = 0; i < G_N_ELEMENTS(busy); i++) {
        s.fb->busy[busy[i]] = 5;
    }
    g_assert_cmpint(convert(s.fb, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(gmem_block_shared_bytes(s.fb->block), ==, 0);
    fake_block_check(s.fb);
    fake_holder_check(s.holder);
    /* with the step that was in vain, and alone */
    g_assert_cmpuint(s.fb->zapped[2 * STEP + 76], ==, 2);
    g_assert_cmpuint(s.fb->zapped[3 * STEP - 1], <=, 3);
    g_assert_cmpuint(s.fb->zapped[3 * STEP], ==, 1);
    scene_destroy(&s);
}

static void add(const char *name, GTestDataFunc function)
{
    g_autofree char *private = g_strdup_printf("/gmem/steps/%s/private", name);
    g_autofree char *shared = g_strdup_printf("/gmem/steps/%s/shared", name);

    g_test_add_data_func(private, GINT_TO_POINTER(GMEM_PAGE_PRIVATE), function);
    g_test_add_data_func(shared, GINT_TO_POINTER(GMEM_PAGE_SHARED), function);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("length", test_length);
    add("fails-once", test_fails_once);
    add("breaks", test_breaks);
    g_test_add_data_func("/gmem/steps/gives-up", NULL, test_gives_up);
    g_test_add_func("/gmem/steps/busy", test_busy);
    return g_test_run();
}
