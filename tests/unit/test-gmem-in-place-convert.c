/*
 * Conversion in place: what is asked of the kernel, and what becomes of the request
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *  1. the state of the file is that of the map, at the same offsets, both ways, and
 *     nothing else is asked of KVM: no attributes, nothing freed
 *  2. a busy page is waited for; one that stays is named, at its offset in the block
 *  3. every error of the call: what becomes of the request, and nothing has changed
 *  4. an interrupted call is repeated
 *  5. QEMU's mapping of what becomes shared is put right before the map says so; where
 *     that fails, what was private is private again and what was shared stays shared
 */

#include "qemu/osdep.h"
#include "gmem-in-place-fixture.h"

static void test_convert(gconstpointer opaque)
{
    GmemPageState initial = GPOINTER_TO_INT(opaque);
    GmemBlock *block = set_up(initial);

    check_same(block);
    memset(ram->host, 0x5a, RAM_SIZE);
    g_assert_cmpint(convert(block, 100, 200, !initial), ==, 0);
    g_assert_cmpuint(kernel.calls, ==, 1);
    g_assert_cmpuint(bitmap_count_one(kernel.private, PAGES), ==,
                     initial == GMEM_PAGE_PRIVATE ? PAGES - 200 : 200);
    check_same(block);
    g_assert_cmpint(convert(block, 0, PAGES, !initial), ==, 0);
    check_same(block);
    g_assert_cmpint(convert(block, 1, 1, initial), ==, 0);
    g_assert_cmpint(convert(block, 1, 1, initial), ==, 0);
    g_assert_cmpuint(kernel.calls, ==, 3);
    check_same(block);
    /* what a page holds is the kernel's: we freed and wrote nothing */
    g_assert_cmpuint(ram->host[150 * PAGE], ==, 0x5a);
    tear_down(block);
}

static void test_busy(void)
{
    GmemBlock *block = set_up(GMEM_PAGE_SHARED);
    GmemSegment segment = { block, 10 * PAGE, 400 * PAGE };
    GmemRequest req = request(&segment, GMEM_PAGE_PRIVATE);

    kernel.busy_page = 77;
    kernel.busy_for = 5;
    g_assert_cmpint(gmem_convert_request(&req), ==, 0);
    g_assert_cmpuint(bitmap_count_one(kernel.private, PAGES), ==, 400);
    check_same(block);
    tear_down(block);

    block = set_up(GMEM_PAGE_SHARED);
    segment.block = block;
    kernel.busy_page = 77;
    kernel.busy_for = UINT_MAX;
    req.timeout_ms = 20;
    g_assert_cmpint(gmem_convert_request(&req), ==, -EAGAIN);
    g_assert_true(req.stalled_block == block);
    g_assert_cmpuint(req.stalled_offset, ==, 77 * PAGE);
    g_assert_null(req.stalled_holder);
    g_assert_true(bitmap_empty(kernel.private, PAGES));
    check_same(block);
    tear_down(block);
}

static void check_error(int error, GmemPageState to)
{
    GmemBlock *block = set_up(!to);
    GmemBlockStats stats;

    kernel.error = error;
    kernel.errors = 1;
    g_assert_cmpint(convert(block, 3, 5, to), ==, -EIO);
    g_assert_cmpuint(kernel.calls, ==, 1);
    gmem_block_get_stats(block, &stats);
    g_assert_cmpuint(stats.failures, ==, 1);
    g_assert_cmpint(stats.last_error, ==,
                    error == ENOTRECOVERABLE ? EIO : error);
    check_same(block);
    g_assert_cmpint(convert(block, 3, 5, to), ==, 0);
    check_same(block);
    tear_down(block);
}

static void test_errors(void)
{
    static const int errors[] = {
        ENOMEM, ENOTTY, EINVAL, EFAULT, EBADF, EHWPOISON, ENOTRECOVERABLE,
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(errors); i++) {
        check_error(errors[i], GMEM_PAGE_PRIVATE);
        check_error(errors[i], GMEM_PAGE_SHARED);
    }
}

static void test_interrupted(void)
{
    GmemBlock *block = set_up(GMEM_PAGE_SHARED);

    kernel.error = EINTR;
    kernel.errors = 3;
    g_assert_cmpint(convert(block, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(kernel.calls, ==, 4);
    check_same(block);
    kernel.errors = 2;
    g_assert_cmpint(convert(block, 0, PAGES, GMEM_PAGE_SHARED), ==, 0);
    check_same(block);
    tear_down(block);
}

/* Pages 10 to 29 but 15 are private and shall be shared */
static GmemBlock *set_up_mixed(void)
{
    GmemBlock *block = set_up(GMEM_PAGE_SHARED);

    g_assert_cmpint(convert(block, 10, 20, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(restore.calls, ==, 0);
    g_assert_cmpint(convert(block, 15, 1, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(restore.calls, ==, 1);
    g_assert_cmpuint(restore.offset, ==, 15 * PAGE);
    g_assert_cmpuint(restore.size, ==, PAGE);
    return block;
}

static void test_mapping(void)
{
    GmemBlock *block = set_up_mixed();

    g_assert_cmpint(convert(block, 0, 25, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(restore.offset, ==, 10 * PAGE);
    g_assert_cmpuint(restore.size, ==, 15 * PAGE);
    check_same(block);
    tear_down(block);

    block = set_up_mixed();
    restore.error = ENOMEM;
    kernel.calls = 0;
    g_assert_cmpint(convert(block, 0, 25, GMEM_PAGE_SHARED), ==, -EIO);
    /* to shared, and both private runs back */
    g_assert_cmpuint(kernel.calls, ==, 3);
    g_assert_cmpuint(bitmap_count_one(kernel.private, PAGES), ==, 19);
    check_same(block);
    restore.error = 0;
    g_assert_cmpint(convert(block, 0, PAGES, GMEM_PAGE_SHARED), ==, 0);
    check_same(block);
    tear_down(block);
}

/* Nobody knows what the kernel has: the block is broken, and nothing of it exposed */
static void test_mapping_lost(void)
{
    GmemBlock *block = set_up_mixed();

    restore.error = ENOMEM;
    kernel.error = ENOMEM;
    kernel.errors = UINT_MAX;
    kernel.only_private = true;
    g_assert_cmpint(convert(block, 12, 2, GMEM_PAGE_SHARED), ==, -EIO);
    g_assert_true(gmem_block_is_broken(block));
    g_assert_false(gmem_block_range_is(block, 12 * PAGE, PAGE,
                                       GMEM_PAGE_SHARED));
    g_assert_false(gmem_block_range_is(block, 12 * PAGE, PAGE,
                                       GMEM_PAGE_PRIVATE));
    tear_down(block);
}

int main(int argc, char **argv)
{
    gconstpointer private = GINT_TO_POINTER(GMEM_PAGE_PRIVATE);
    gconstpointer shared = GINT_TO_POINTER(GMEM_PAGE_SHARED);

    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/gmem/in-place/convert/from-private", private,
                         test_convert);
    g_test_add_data_func("/gmem/in-place/convert/from-shared", shared, test_convert);
    g_test_add_func("/gmem/in-place/convert/busy", test_busy);
    g_test_add_func("/gmem/in-place/convert/errors", test_errors);
    g_test_add_func("/gmem/in-place/convert/interrupted", test_interrupted);
    g_test_add_func("/gmem/in-place/convert/mapping", test_mapping);
    g_test_add_func("/gmem/in-place/convert/mapping-lost", test_mapping_lost);
    return g_test_run();
}
