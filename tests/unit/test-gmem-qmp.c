/*
 * gmem in the monitor: what there is, and what is refused
 *
 *  1. query: nothing there, a block's figures, the map in pages
 *  2. every refusal, with its words
 *  3. "info gmem": the picture
 *  4. what holders tell: one event for what a device says at once, and each device its own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "gmem-qmp-fixture.h"

#define BLOCK_SIZE (160 * MiB)
#define PAGE 4096

/* ---- 1. query ---- */

static void test_query_empty(void)
{
    g_autoptr(GmemInfo) info = qmp_query_gmem(&error_abort);
    g_autoptr(HumanReadableText) text = qmp_x_query_gmem(&error_abort);

    g_assert_null(info->blocks);
    g_assert_null(info->conversions);
    g_assert_cmpstr(text->human_readable_text, ==,
                    "This VM has no memory from guest_memfd\n");
}

static uint64_t sum(uint64List *list)
{
    uint64_t total = 0;

    for (; list; list = list->next) {
        total += list->value;
    }
    return total;
}

static void test_query_block(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    g_autoptr(GmemInfo) info = NULL;
    GmemBlockInfo *ram0;

    gmem_block_set_shared_limit(block, 2 * BLOCK_SIZE);
    fixture_convert_ok(0, 4 * MiB, GMEM_STATE_PRIVATE);
    fixture_convert_ok(0, 1 * MiB, GMEM_STATE_SHARED);
    info = qmp_query_gmem(&error_abort);
    g_assert_null(info->blocks->next);
    ram0 = info->blocks->value;
    g_assert_cmpstr(ram0->id, ==, "ram0");
    g_assert_cmpstr(ram0->qom_path, ==, "/objects/ram0");
    g_assert_cmpint(ram0->mode, ==, GMEM_MODE_SPLIT);
    g_assert_cmpint(ram0->initial, ==, GMEM_STATE_SHARED);
    g_assert_cmpuint(ram0->size, ==, BLOCK_SIZE);
    g_assert_cmpuint(ram0->q_private, ==, 3 * MiB);
    g_assert_cmpuint(ram0->shared, ==, BLOCK_SIZE - 3 * MiB);
    g_assert_cmpuint(ram0->shared_limit, ==, 2 * BLOCK_SIZE);
    g_assert_cmpuint(ram0->to_private->conversions, ==, 1);
    g_assert_cmpuint(ram0->to_private->bytes, ==, 4 * MiB);
    g_assert_cmpuint(ram0->to_shared->conversions, ==, 1);
    g_assert_cmpuint(ram0->to_shared->bytes, ==, 1 * MiB);
    g_assert_cmpuint(sum(ram0->latency), ==, 2);
    g_assert_false(ram0->broken);
    g_assert_null(ram0->last_error);
    fixture_drop(block);
}

/* Every second page private; the map is read in answers of 7 ranges */
static void test_map_paged(void)
{
    GmemBlock *block = fixture_block("ram0", 64 * PAGE);
    uint64_t offset = 0, end = 64 * PAGE, next;
    unsigned int i;

    for (i = 1; i < 64; i += 2) {
        fixture_convert_ok(i * PAGE, PAGE, GMEM_STATE_PRIVATE);
    }
    for (i = 0; offset < end; offset = next) {
        g_autoptr(GmemMapInfo) map = qmp_query_gmem_map("ram0", true, offset,
                                                    false, 0, true, 7,
                                                    &error_abort);
        GmemMapRangeList *r;

        for (r = map->ranges; r; r = r->next, i++) {
            g_assert_cmpuint(r->value->offset, ==, i * PAGE);
            g_assert_cmpuint(r->value->size, ==, PAGE);
            g_assert_cmpint(r->value->state, ==,
                            i % 2 ? GMEM_STATE_PRIVATE : GMEM_STATE_SHARED);
        }
        next = map->has_next ? map->next : end;
        g_assert_cmpuint(next, ==, MIN(offset + 7 * PAGE, end));
    }
    g_assert_cmpuint(i, ==, 64);
    fixture_drop(block);
}

static void test_map_part(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    g_autoptr(GmemMapInfo) map = NULL;

    fixture_convert_ok(MiB, MiB, GMEM_STATE_PRIVATE);
    map = qmp_query_gmem_map("ram0", true, MiB + PAGE, true, PAGE, false, 0,
                             &error_abort);
    g_assert_cmpuint(map->ranges->value->offset, ==, MiB + PAGE);
    g_assert_cmpuint(map->ranges->value->size, ==, PAGE);
    g_assert_cmpint(map->ranges->value->state, ==, GMEM_STATE_PRIVATE);
    g_assert_null(map->ranges->next);
    g_assert_false(map->has_next);
    fixture_drop(block);
}

/* Every second page private: counted by word, at odd borders, and to the end only */
static void test_count(void)
{
    static const struct {
        uint64_t first, pages, private;
    } table[] = {
        { 0, 200, 100 }, { 0, 1, 0 }, { 1, 1, 1 }, { 1, 63, 32 }, { 3, 130, 65 },
        { 64, 64, 32 }, { 199, 1, 1 }, { 199, 5, 1 }, { 200, 1, 0 }, { 7, 0, 0 },
        { 0, UINT64_MAX / PAGE, 100 }, { 5, UINT64_MAX / PAGE, 98 },
    };
    GmemBlock *block = fixture_block("ram0", 200 * PAGE);
    unsigned int i;

    for (i = 1; i < 200; i += 2) {
        fixture_convert_ok(i * PAGE, PAGE, GMEM_STATE_PRIVATE);
    }
    for (i = 0; i < ARRAY_SIZE(table); i++) {
        uint64_t offset = table[i].first * PAGE, size = table[i].pages * PAGE;
        uint64_t inside = MIN(table[i].pages, 200 - table[i].first);

        g_assert_cmpuint(gmem_block_count(block, offset, size,
                                          GMEM_PAGE_PRIVATE),
                         ==, table[i].private * PAGE);
        g_assert_cmpuint(gmem_block_count(block, offset, size,
                                          GMEM_PAGE_SHARED),
                         ==, (inside - table[i].private) * PAGE);
    }
    fixture_drop(block);
}

/* ---- 2. refusals ---- */

static const struct {
    ConvertArgs args;
    const char *message;
} refused[] = {
    { { "nope", 0, PAGE }, "No gmem block is called 'nope'; there are 'none0',"
                           " 'ram0'" },
    { { "ram0", 0, 0 }, "the size of the range is 0" },
    { { "ram0", 1, PAGE }, "offset 0x1 is not a multiple of 4096" },
    { { "ram0", 0, PAGE + 512 }, "size 0x1200 is not a multiple of 4096" },
    { { "ram0", BLOCK_SIZE, PAGE }, "reaches beyond the block's size" },
    { { "ram0", PAGE, BLOCK_SIZE }, "reaches beyond the block's size" },
    { { "ram0", UINT64_MAX - PAGE + 1, 2 * PAGE }, "reaches beyond" },
    { { "ram0", PAGE, UINT64_MAX - PAGE + 1 }, "reaches beyond" },
    { { "ram0", 0, PAGE, .has_timeout = true }, "a timeout of 1 to 3600000 ms" },
    { { "ram0", 0, PAGE, .has_timeout = true, .timeout = 3600001 },
      "a timeout of 1 to 3600000 ms, not 3600001" },
    { { "none0", 0, PAGE }, "is in mode none" },
    { { "none0", 0, PAGE, GMEM_STATE_SHARED }, "is in mode none" },
};

static void test_convert_refused(void)
{
    GmemBlock *none = fixture_block_none("none0", BLOCK_SIZE);
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    unsigned int i;

    for (i = 0; i < ARRAY_SIZE(refused); i++) {
        Error *err = NULL;

        g_assert_null(fixture_convert(&refused[i].args, &err));
        fixture_assert_message(err, refused[i].message);
    }
    g_assert_cmpint(fake_kernel.calls, ==, 0);
    g_assert_cmpuint(fixture_events("GMEM_CONVERT_COMPLETED"), ==, 0);
    fixture_drop(none);
    fixture_drop(block);
}

static void test_convert_confidential(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    ConvertArgs args = { "ram0", 0, PAGE };
    Error *err = NULL;

    fake_destroying_guest = true;
    g_assert_null(fixture_convert(&args, &err));
    fixture_assert_message(err, "confidential guest");
    g_assert_cmpint(fake_kernel.calls, ==, 0);
    fixture_drop(block);
}

static void test_unknown_without_blocks(void)
{
    ConvertArgs args = { "ram0", 0, PAGE };
    Error *err = NULL;

    g_assert_null(fixture_convert(&args, &err));
    fixture_assert_message(err, "this VM has no memory from guest_memfd");
}

static void map_refused(uint64_t offset, bool has_size, uint64_t size,
                        uint32_t limit, const char *message)
{
    Error *err = NULL;

    g_assert_null(qmp_query_gmem_map("ram0", true, offset, has_size, size,
                                     true, limit, &err));
    fixture_assert_message(err, message);
}

static void test_map_refused(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);

    map_refused(1, false, 0, 1, "offset 0x1 is not a multiple of 4096");
    map_refused(0, true, 1, 1, "size 0x1 is not a multiple of 4096");
    map_refused(0, true, 0, 1, "the size of the range is 0");
    map_refused(BLOCK_SIZE, false, 0, 1, "reaches beyond the block's size");
    map_refused(UINT64_MAX - PAGE + 1, false, 0, 1, "reaches beyond");
    map_refused(PAGE, true, BLOCK_SIZE, 1, "reaches beyond");
    map_refused(0, false, 0, 0, "1 to 65536 ranges, not 0");
    map_refused(0, false, 0, 65537, "1 to 65536 ranges, not 65537");
    fixture_drop(block);
}

static void test_cancel_refused(void)
{
    Error *err = NULL;

    qmp_gmem_convert_cancel(12345, &err);
    fixture_assert_message(err, "No conversion 12345 is running");
}

/* ---- 3. the picture ---- */

static void test_picture(void)
{
    /* 256 cells of 64 KiB: 4 rows of 64 */
    GmemBlock *block = fixture_block("ram0", 16 * MiB);
    g_autoptr(HumanReadableText) text = NULL;

    fixture_convert_ok(4 * MiB, 4 * MiB, GMEM_STATE_PRIVATE);
    fixture_convert_ok(8 * MiB, PAGE, GMEM_STATE_PRIVATE);
    text = qmp_x_query_gmem(&error_abort);
    g_assert_nonnull(strstr(text->human_readable_text,
        "each character is 64 KiB\n"
        "  0x000000000000 ................................"
        "................................\n"
        "  0x000000400000 ################################"
        "################################\n"
        "  0x000000800000 +..............................."
        "................................\n"
        "  0x000000c00000 ................................"
        "................................\n"));
    g_assert_nonnull(strstr(text->human_readable_text,
        "ram0: mode split, 16 MiB of which 12 MiB shared and 4 MiB private"
        " (25.0 %)\n"
        "  to private: 2 (4 MiB), to shared: 0 (0 B), failed: 0,"
        " denied accesses: 0\n"));
    fixture_drop(block);
}

/* Odd sizes: three pages are three characters; the last cell may be smaller */
static void test_picture_small(void)
{
    GmemBlock *block = fixture_block("ram0", 3 * PAGE);
    g_autoptr(HumanReadableText) text = NULL;

    fixture_convert_ok(2 * PAGE, PAGE, GMEM_STATE_PRIVATE);
    text = qmp_x_query_gmem(&error_abort);
    g_assert_nonnull(strstr(text->human_readable_text,
                            "  0x000000000000 ..#\n"));
    fixture_drop(block);
    block = fixture_block("ram0", 257 * PAGE);
    fixture_convert_ok(256 * PAGE, PAGE, GMEM_STATE_PRIVATE);
    qapi_free_HumanReadableText(text);
    text = qmp_x_query_gmem(&error_abort);
    g_assert_nonnull(strstr(text->human_readable_text,
                            "each character is 8 KiB\n"));
    g_assert_nonnull(strstr(text->human_readable_text,
                            "  0x000000100000 #\n"));
    fixture_drop(block);
}

/* ---- 4. holders ---- */

static bool has_stopped(void *opaque)
{
    return fixture_event_sum("GMEM_QUEUE_STOPPED") >=
           *(const unsigned int *)opaque;
}

static bool has_failed(void *opaque)
{
    return fixture_events("GMEM_VHOST_ERROR");
}

static void check_stopped(const char *device, int queue, uint64_t offset,
                          uint64_t size, uint64_t count)
{
    QDict *data = fixture_last_event("GMEM_QUEUE_STOPPED");

    g_assert_cmpstr(qdict_get_str(data, "qom-path"), ==, device);
    g_assert_cmpstr(qdict_get_str(data, "id"), ==, "ram0");
    g_assert_cmpint(qdict_get_int(data, "queue"), ==, queue);
    g_assert_cmpint(qdict_get_int(data, "offset"), ==, offset);
    g_assert_cmpint(qdict_get_int(data, "size"), ==, size);
    g_assert_cmpint(qdict_get_int(data, "count"), ==, count);
}

static void test_holders(void)
{
    GmemBlock *block = fixture_block("ram0", PAGE);
    unsigned int two = 2, three = 3;

    gmem_event_queue_stopped("/machine/a", 3, "ram0", 512, 256);
    gmem_event_queue_stopped("/machine/a", 4, "ram0", 1024, 64);
    fixture_poll_until(has_stopped, &two);
    g_assert_cmpuint(fixture_events("GMEM_QUEUE_STOPPED"), ==, 1);
    check_stopped("/machine/a", 4, 1024, 64, 2);

    gmem_event_queue_stopped("/machine/b", 0, "ram0", 0, 16);
    fixture_poll_until(has_stopped, &three);
    check_stopped("/machine/b", 0, 0, 16, 1);

    g_assert_false(has_failed(NULL));
    gmem_event_vhost_error("/machine/a", 1);
    fixture_poll_until(has_failed, NULL);
    g_assert_cmpstr(qdict_get_str(fixture_last_event("GMEM_VHOST_ERROR"),
                                  "qom-path"), ==, "/machine/a");
    g_assert_cmpint(qdict_get_int(fixture_last_event("GMEM_VHOST_ERROR"),
                                  "queue"), ==, 1);
    fixture_drop(block);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_init();
    g_test_add_func("/gmem-qmp/query/empty", test_query_empty);
    g_test_add_func("/gmem-qmp/query/block", test_query_block);
    g_test_add_func("/gmem-qmp/map/paged", test_map_paged);
    g_test_add_func("/gmem-qmp/map/part", test_map_part);
    g_test_add_func("/gmem-qmp/map/count", test_count);
    g_test_add_func("/gmem-qmp/refused/convert", test_convert_refused);
    g_test_add_func("/gmem-qmp/refused/confidential",
                    test_convert_confidential);
    g_test_add_func("/gmem-qmp/refused/no-gmem", test_unknown_without_blocks);
    g_test_add_func("/gmem-qmp/refused/map", test_map_refused);
    g_test_add_func("/gmem-qmp/refused/cancel", test_cancel_refused);
    g_test_add_func("/gmem-qmp/picture/rows", test_picture);
    g_test_add_func("/gmem-qmp/picture/small", test_picture_small);
    g_test_add_func("/gmem-qmp/holders", test_holders);
    return g_test_run();
}
