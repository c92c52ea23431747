/*
 * QEMU's own touches of guest memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The engine and the hooks' side are real; kernel, RAM and VM are faked.
 *
 *  1. without a block that converts, nothing is asked
 *  2. copies: what is shared is copied, what is private is refused, and how far it went
 *  3. a block that starts private is guarded from the VM's first start on
 *  4. pointers end where private memory begins, in any pattern
 *  5. a word is touched in a section that conversions wait for
 *  6. a page that is just being converted is refused, by every way in
 */

#include "qemu/osdep.h"
#include "system/memory.h"
#include "system/gmem-ram.h"
#include "system/gmem-touch-hooks.h"
#include "system/runstate.h"

#define PAGE 4096
#define PAGES 1024          /* two sections of a copy */
#define SIZE ((uint64_t)PAGES * PAGE)

/* ---- in place of the rest of QEMU ---- */

static GmemBlock *the_block;
static VMChangeStateHandler *on_start;
static void (*while_converting)(void);

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return rb ? the_block : NULL;
}

VMChangeStateEntry *qemu_add_vm_change_state_handler_prio(
    VMChangeStateHandler *cb, void *opaque, int priority)
{
    on_start = cb;
    return (VMChangeStateEntry *)&on_start;
}

static int fake_set_state(GmemBlock *block, uint64_t offset, uint64_t size,
                          GmemPageState to, uint64_t *busy)
{
    if (while_converting) {
        while_converting();
    }
    return 0;
}

static const GmemProviderOps fake_ops = {
    .name = "fake",
    .set_state = fake_set_state,
};

/* ---- the fixture ---- */

static uint8_t ram[SIZE], buffer[SIZE];
static MemoryRegion region, other;

static void setup(GmemPageState initial, GmemBlockMode mode)
{
    GmemBlockConfig config = {
        .id = "ram", .mode = mode, .size = SIZE, .initial = initial,
        .ops = mode == GMEM_BLOCK_MODE_NONE ? NULL : &fake_ops,
    };

    the_block = gmem_block_new(&config);
    region.ram_block = (RAMBlock *)&ram;    /* any address that is not NULL */
    memset(ram, 'r', SIZE);
    memset(buffer, 'b', SIZE);
    gmem_touch_arm();
}

static void teardown(void)
{
    gmem_touch_disarm();
    gmem_block_retire(the_block);
    gmem_block_unref(g_steal_pointer(&the_block));
}

static int convert(unsigned int first, unsigned int pages, GmemPageState to)
{
    GmemSegment segment = {
        .block = the_block, .offset = (uint64_t)first * PAGE,
        .size = (uint64_t)pages * PAGE,
    };
    GmemRequest req = {
        .segments = &segment, .nr_segments = 1, .to = to, .timeout_ms = 50,
    };
    int ret = gmem_convert_request(&req);

    g_free(req.stalled_holder);
    return ret;
}

static uint64_t denied(void)
{
    GmemBlockStats stats;

    gmem_block_get_stats(the_block, &stats);
    return stats.denied;
}

static bool read_at(uint64_t offset, uint64_t size)
{
    return gmem_touch_read(&region, offset, buffer, ram + offset, size);
}

static bool write_at(uint64_t offset, uint64_t size)
{
    return gmem_touch_write(&region, offset, ram + offset, buffer, size);
}

static bool all(const uint8_t *p, uint64_t size, uint8_t value)
{
    return !size || (*p == value && !memcmp(p, p + 1, size - 1));
}

/* ---- the tests ---- */

static void test_disarmed(void)
{
    hwaddr plen = 7, len = SIZE, here = SIZE;
    GmemAccess touch = { };

    setup(GMEM_PAGE_SHARED, GMEM_BLOCK_MODE_SPLIT);
    g_assert_cmpint(convert(0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    gmem_touch_disarm();
    g_assert_true(read_at(0, SIZE));
    g_assert_true(write_at(0, SIZE));
    g_assert_true(gmem_touch_map(&region, 0, &plen, &len, &here));
    g_assert_cmpuint(len, ==, SIZE);
    g_assert_true(gmem_touch_enter(&touch, &region, 0, 4));
    g_assert_null(touch.block);
    g_assert_cmpuint(denied(), ==, 0);
    gmem_touch_arm();
    teardown();
}

static void test_copy(void)
{
    setup(GMEM_PAGE_SHARED, GMEM_BLOCK_MODE_SPLIT);
    g_assert_cmpint(convert(PAGES - 1, 1, GMEM_PAGE_PRIVATE), ==, 0);

    g_assert_true(read_at(0, SIZE - PAGE));
    g_assert_true(all(buffer, SIZE - PAGE, 'r'));
    g_assert_cmpuint(denied(), ==, 0);

    /* The first of the two sections is copied, the other zeros */
    g_assert_false(read_at(0, SIZE - PAGE + 1));
    g_assert_true(all(buffer, SIZE / 2, 'r'));
    g_assert_true(all(buffer + SIZE / 2, SIZE / 2 - PAGE + 1, 0));
    g_assert_cmpuint(denied(), ==, 1);

    memset(buffer, 'b', SIZE);
    g_assert_false(write_at(SIZE - PAGE - 1, 2));
    g_assert_false(write_at(SIZE - 1, 1));
    g_assert_true(all(ram + SIZE - PAGE - 1, PAGE + 1, 'r'));
    g_assert_true(write_at(SIZE - PAGE - 1, 1));
    g_assert_true(all(ram + SIZE - PAGE, PAGE, 'r'));
    g_assert_cmpuint(ram[SIZE - PAGE - 1], ==, 'b');

    g_assert_cmpint(convert(PAGES - 1, 1, GMEM_PAGE_SHARED), ==, 0);
    g_assert_true(write_at(0, SIZE));
    g_assert_true(all(ram, SIZE, 'b'));
    teardown();

    setup(GMEM_PAGE_SHARED, GMEM_BLOCK_MODE_NONE);
    g_assert_true(write_at(0, SIZE));
    g_assert_true(gmem_touch_write(&other, 0, ram, buffer, SIZE));
    teardown();
}

/* In place nobody may touch what is private, before the VM runs either: a SIGBUS */
static void check_launch_in_place(void)
{
    setup(GMEM_PAGE_PRIVATE, GMEM_BLOCK_MODE_IN_PLACE);
    g_assert_false(write_at(0, PAGE));
    g_assert_true(all(ram, SIZE, 'r'));
    g_assert_cmpint(convert(0, 1, GMEM_PAGE_SHARED), ==, 0);
    g_assert_true(write_at(0, PAGE));
    teardown();
}

/* Runs last: the VM cannot be unstarted */
static void test_launch(void)
{
    check_launch_in_place();
    setup(GMEM_PAGE_PRIVATE, GMEM_BLOCK_MODE_SPLIT);
    g_assert_true(write_at(0, SIZE));
    on_start(NULL, false, RUN_STATE_PAUSED);
    g_assert_true(write_at(0, PAGE));
    on_start(NULL, true, RUN_STATE_RUNNING);
    g_assert_false(write_at(0, PAGE));
    g_assert_cmpint(convert(0, 1, GMEM_PAGE_SHARED), ==, 0);
    g_assert_true(write_at(0, PAGE));
    teardown();
}

static void test_pointers(void)
{
    hwaddr plen = SIZE, len = SIZE, here = 3 * PAGE;

    setup(GMEM_PAGE_SHARED, GMEM_BLOCK_MODE_SPLIT);
    for (unsigned int i = 2; i < PAGES; i += 2) {
        g_assert_cmpint(convert(i, 1, GMEM_PAGE_PRIVATE), ==, 0);
    }
    g_assert_true(gmem_touch_map(&region, 16, &plen, &len, &here));
    g_assert_cmpuint(len, ==, 2 * PAGE - 16);
    g_assert_cmpuint(here, ==, 2 * PAGE - 16);
    g_assert_cmpuint(gmem_touch_cache(&region, 3 * PAGE, PAGE), ==, PAGE);
    g_assert_cmpuint(denied(), ==, 0);
    /* a part of a ring is as good as none */
    g_assert_cmpuint(gmem_touch_cache(&region, 3 * PAGE, PAGE + 1), ==, PAGE);
    g_assert_cmpuint(denied(), ==, 1);

    plen = len = here = 1;
    g_assert_false(gmem_touch_map(&region, 3 * PAGE - 1, &plen, &len, &here));
    g_assert_cmpuint(plen, ==, 0);
    g_assert_cmpuint(gmem_touch_cache(&region, 2 * PAGE, 8), ==, 0);
    g_assert_cmpuint(denied(), ==, 3);

    g_assert_cmpuint(gmem_touch_cache(&other, 2 * PAGE, 8), ==, 8);
    g_assert_cmpuint(gmem_touch_first_denied(the_block, 0, PAGE), ==, PAGE);
    g_assert_cmpuint(gmem_touch_first_denied(the_block, PAGE, SIZE), ==,
                     2 * PAGE);
    g_assert_cmpuint(gmem_touch_first_denied(the_block, 2 * PAGE + 5, SIZE), ==,
                     2 * PAGE + 5);
    teardown();
}

static void test_word(void)
{
    GmemAccess touch = { };

    setup(GMEM_PAGE_SHARED, GMEM_BLOCK_MODE_SPLIT);
    g_assert_true(gmem_touch_enter(&touch, &region, PAGE - 2, 4));
    g_assert_cmpint(convert(1, 1, GMEM_PAGE_PRIVATE), ==, -EAGAIN);
    gmem_touch_leave(&touch);
    g_assert_cmpint(convert(1, 1, GMEM_PAGE_PRIVATE), ==, 0);

    touch = (GmemAccess) { };
    g_assert_false(gmem_touch_enter(&touch, &region, PAGE - 2, 4));
    gmem_touch_leave(&touch);
    g_assert_cmpint(convert(0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    teardown();
}

/* Page 5 of 4 to 6 is converting */
static void touch_converting(void)
{
    GmemAccess touch = { };

    g_assert_false(write_at(5 * PAGE, 1));
    g_assert_false(read_at(4 * PAGE, 3 * PAGE));
    g_assert_true(write_at(4 * PAGE, PAGE));
    g_assert_false(gmem_touch_enter(&touch, &region, 5 * PAGE, 8));
    g_assert_cmpuint(gmem_touch_cache(&region, 5 * PAGE, 1), ==, 0);
    g_assert_cmpuint(gmem_touch_cache(&region, 4 * PAGE, 3 * PAGE), ==, PAGE);
    g_assert_cmpuint(gmem_touch_first_denied(the_block, 0, SIZE), ==, 5 * PAGE);
    while_converting = NULL;
}

static void test_converting(void)
{
    setup(GMEM_PAGE_SHARED, GMEM_BLOCK_MODE_SPLIT);
    while_converting = touch_converting;
    g_assert_cmpint(convert(5, 1, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_null(while_converting);
    teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/touch/disarmed", test_disarmed);
    g_test_add_func("/gmem/touch/copy", test_copy);
    g_test_add_func("/gmem/touch/pointers", test_pointers);
    g_test_add_func("/gmem/touch/word", test_word);
    g_test_add_func("/gmem/touch/converting", test_converting);
    g_test_add_func("/gmem/touch/launch", test_launch);
    return g_test_run();
}
