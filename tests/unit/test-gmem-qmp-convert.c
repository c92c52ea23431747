/*
 * gmem in the monitor: conversions and events, over the real engine
 *
 *  1. gmem-convert: all of a range, a part, busy pages, the shared-limit,
 *     a broken block, a holder that needs the main loop, one that does not let go
 *  2. without waiting: progress, cancelling, the most at once, the same range
 *     twice, a block that goes away, a reset that ends all of them, and what is
 *     left of the main loop's thread pool
 *  3. events: one for a flood, and none is lost from the count
 *  4. the end of QEMU: what runs is cancelled, and nothing begins any more
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "block/thread-pool.h"
#include "system/gmem-internal.h"
#include "gmem-qmp-fixture.h"

#define BLOCK_SIZE (160 * MiB)      /* two steps of gmem-convert and a half */
#define STEP (64 * MiB)
#define PAGE 4096

static bool stalled_told(void *opaque)
{
    return fixture_events("GMEM_CONVERSION_STALLED") == 1;
}

/* ---- 1. gmem-convert ---- */

static void test_convert_all(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    QDict *result;

    fixture_convert_ok(PAGE, BLOCK_SIZE - PAGE, GMEM_STATE_PRIVATE);
    g_assert_true(gmem_block_range_is(block, PAGE, BLOCK_SIZE - PAGE,
                                      GMEM_PAGE_PRIVATE));
    g_assert_true(gmem_block_range_is(block, 0, PAGE, GMEM_PAGE_SHARED));
    g_assert_cmpuint(fixture_events("GMEM_CONVERT_COMPLETED"), ==, 1);
    result = qdict_get_qdict(fixture_last_event("GMEM_CONVERT_COMPLETED"),
                             "result");
    g_assert_cmpint(qdict_get_int(result, "converted"), ==, BLOCK_SIZE - PAGE);
    g_assert_false(qdict_haskey(result, "error"));
    fixture_drop(block);
}

/* The second step fails for good: the first stays, and the answer tells both */
static void test_convert_part(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    ConvertArgs args = { "ram0", 0, BLOCK_SIZE };
    g_autoptr(GmemConversionInfo) info = NULL;

    fake_kernel.fail_from = 2;
    fake_kernel.fail_with = -ENOMEM;
    info = fixture_convert(&args, &error_abort);
    g_assert_cmpuint(info->converted, ==, STEP);
    g_assert_nonnull(info->error);
    g_assert_cmpuint(gmem_block_shared_bytes(block), ==, BLOCK_SIZE - STEP);
    fixture_drop(block);
}

static void test_convert_busy(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    ConvertArgs args = { "ram0", MiB, PAGE, .has_timeout = true, .timeout = 5 };
    g_autoptr(GmemConversionInfo) info = NULL;
    QDict *stalled;

    fake_kernel.fail_from = 1;
    fake_kernel.fail_with = -EAGAIN;
    info = fixture_convert(&args, &error_abort);
    g_assert_cmpuint(info->converted, ==, 0);
    g_assert_nonnull(strstr(info->error, "still busy after 5 ms"));
    g_assert_nonnull(strstr(info->error, "0x100000"));
    fixture_poll_until(stalled_told, NULL);
    stalled = fixture_last_event("GMEM_CONVERSION_STALLED");
    g_assert_cmpstr(qdict_get_str(stalled, "id"), ==, "ram0");
    g_assert_cmpint(qdict_get_int(stalled, "offset"), ==, MiB);
    g_assert_cmpint(qdict_get_int(stalled, "size"), ==, PAGE);
    fixture_drop(block);
}

/* A range that would pass the limit is refused whole, not after some steps */
static void test_convert_limit(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    ConvertArgs args = { "ram0", 0, BLOCK_SIZE, GMEM_STATE_SHARED };
    g_autoptr(GmemConversionInfo) info = NULL;

    fixture_convert_ok(0, BLOCK_SIZE, GMEM_STATE_PRIVATE);
    gmem_block_set_shared_limit(block, STEP);
    info = fixture_convert(&args, &error_abort);
    g_assert_cmpuint(info->converted, ==, 0);
    g_assert_nonnull(strstr(info->error, "shared-limit"));
    g_assert_cmpuint(gmem_block_shared_bytes(block), ==, 0);
    fixture_convert_ok(0, STEP, GMEM_STATE_SHARED);
    /* pages that are shared already do not count twice */
    fixture_convert_ok(0, STEP, GMEM_STATE_SHARED);
    fixture_drop(block);
}

static void test_convert_broken(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    ConvertArgs args = { "ram0", 0, PAGE };
    Error *err = NULL;

    gmem_block_break(block, "test");
    fixture_poll();
    g_assert_null(fixture_convert(&args, &err));
    fixture_assert_message(err, "'ram0' is broken");
    g_assert_cmpuint(fixture_events("GMEM_BROKEN"), ==, 1);
    g_assert_cmpstr(qdict_get_str(fixture_last_event("GMEM_BROKEN"), "reason"),
                    ==, "test");
    fixture_drop(block);
}

/*
 * A holder whose begin() needs the main loop, as one that takes the BQL does.
 * A command that kept the main loop from running would never get past it.
 */
typedef struct LoopHolder {
    GmemHolder parent;
    QemuSemaphore ran;
} LoopHolder;

static void loop_ran(void *opaque)
{
    qemu_sem_post(&((LoopHolder *)opaque)->ran);
}

static int loop_begin(GmemHolder *holder, uint64_t offset, uint64_t size,
                      int64_t deadline_ns)
{
    LoopHolder *loop = container_of(holder, LoopHolder, parent);

    aio_bh_schedule_oneshot(qemu_get_aio_context(), loop_ran, loop);
    return qemu_sem_timedwait(&loop->ran, 60000) ? -EAGAIN : 0;
}

static void loop_end(GmemHolder *holder, uint64_t offset, uint64_t size,
                     GmemPageState state)
{
}

static void test_convert_holder(void)
{
    static const GmemHolderOps ops = { .begin = loop_begin, .end = loop_end };
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    LoopHolder holder = { .parent = { .ops = &ops, .name = "loop" } };

    qemu_sem_init(&holder.ran, 0);
    gmem_holder_add(block, &holder.parent);
    fixture_convert_ok(0, BLOCK_SIZE, GMEM_STATE_PRIVATE);
    gmem_holder_remove(&holder.parent);
    qemu_sem_destroy(&holder.ran);
    fixture_drop(block);
}

/* Who does not let go is named, in the answer and in the event */
static int stubborn_begin(GmemHolder *holder, uint64_t offset, uint64_t size,
                          int64_t deadline_ns)
{
    return -EAGAIN;
}

static void test_convert_stubborn_holder(void)
{
    static const GmemHolderOps ops = {
        .begin = stubborn_begin, .end = loop_end,
    };
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    GmemHolder holder = { .ops = &ops, .name = "stubborn" };
    ConvertArgs args = { "ram0", 0, PAGE, .has_timeout = true, .timeout = 5 };
    g_autoptr(GmemConversionInfo) info = NULL;
    QDict *stalled;

    gmem_holder_add(block, &holder);
    info = fixture_convert(&args, &error_abort);
    g_assert_nonnull(strstr(info->error, "used by stubborn"));
    /* an earlier test's event about a block of this name may delay it */
    fixture_poll_until(stalled_told, NULL);
    stalled = fixture_last_event("GMEM_CONVERSION_STALLED");
    g_assert_cmpstr(qdict_get_str(stalled, "holder"), ==, "stubborn");
    gmem_holder_remove(&holder);
    fixture_drop(block);
}

/* ---- 2. without waiting ---- */

static bool all_ended(void *opaque)
{
    unsigned int *nr = opaque;

    return fixture_events("GMEM_CONVERT_COMPLETED") >= *nr;
}

static uint64_t start(uint64_t offset, uint64_t size, GmemState state)
{
    ConvertArgs args = { "ram0", offset, size, state, .has_timeout = true,
                         .timeout = 600000, .no_wait = true };
    g_autoptr(GmemConversionInfo) info = fixture_convert(&args, &error_abort);

    g_assert_cmpuint(info->converted, ==, 0);
    g_assert_null(info->error);
    return info->conversion;
}

static void wait_for_calls(int calls)
{
    while (qatomic_read(&fake_kernel.calls) < calls) {
        g_usleep(1000);
    }
}

static void test_progress_and_cancel(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    g_autoptr(GmemInfo) info = NULL;
    unsigned int one = 1;
    uint64_t number;
    QDict *result;

    qatomic_set(&fake_kernel.gate, true);
    number = start(0, BLOCK_SIZE, GMEM_STATE_PRIVATE);
    wait_for_calls(1);
    info = qmp_query_gmem(&error_abort);
    g_assert_cmpuint(info->conversions->value->conversion, ==, number);
    g_assert_cmpuint(info->conversions->value->size, ==, BLOCK_SIZE);
    g_assert_cmpuint(info->conversions->value->converted, ==, 0);
    qmp_gmem_convert_cancel(number, &error_abort);
    qatomic_set(&fake_kernel.gate, false);
    fixture_poll_until(all_ended, &one);
    result = qdict_get_qdict(fixture_last_event("GMEM_CONVERT_COMPLETED"),
                             "result");
    g_assert_cmpstr(qdict_get_str(result, "error"), ==, "cancelled");
    /* the step that was in the kernel was finished */
    g_assert_cmpint(qdict_get_int(result, "converted"), ==, STEP);
    g_assert_null(gmem_qmp_conversions());
    fixture_drop(block);
}

static void test_most_at_once(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    ConvertArgs args = { "ram0", 0, PAGE, .no_wait = true };
    unsigned int i, nr = GMEM_QMP_MAX_JOBS;
    Error *err = NULL;

    qatomic_set(&fake_kernel.gate, true);
    for (i = 0; i < nr; i++) {
        start(i * MiB, MiB, GMEM_STATE_PRIVATE);
    }
    g_assert_null(fixture_convert(&args, &err));
    fixture_assert_message(err, "8 conversions are running, which is the most");
    qatomic_set(&fake_kernel.gate, false);
    fixture_poll_until(all_ended, &nr);
    g_assert_cmpuint(gmem_block_shared_bytes(block), ==, BLOCK_SIZE - nr * MiB);
    fixture_drop(block);
}

/* Two clients want the same: both succeed, and the pages change once */
static void test_same_range(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    g_autoptr(GmemInfo) info = NULL;
    unsigned int two = 2;

    start(0, BLOCK_SIZE, GMEM_STATE_PRIVATE);
    start(0, BLOCK_SIZE, GMEM_STATE_PRIVATE);
    fixture_poll_until(all_ended, &two);
    info = qmp_query_gmem(&error_abort);
    g_assert_cmpuint(info->blocks->value->q_private, ==, BLOCK_SIZE);
    g_assert_cmpuint(info->blocks->value->to_private->bytes, ==, BLOCK_SIZE);
    fixture_drop(block);
}

static void test_block_goes_away(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    unsigned int one = 1;
    QDict *result;

    qatomic_set(&fake_kernel.gate, true);
    start(0, BLOCK_SIZE, GMEM_STATE_PRIVATE);
    wait_for_calls(1);
    gmem_block_retire(block);
    qatomic_set(&fake_kernel.gate, false);
    fixture_poll_until(all_ended, &one);
    result = qdict_get_qdict(fixture_last_event("GMEM_CONVERT_COMPLETED"),
                             "result");
    g_assert_cmpint(qdict_get_int(result, "converted"), ==, STEP);
    g_assert_nonnull(strstr(qdict_get_str(result, "error"),
                            "takes no conversions any more"));
    fixture_drop(block);
}

static void *open_gate(void *opaque)
{
    /* long enough for one that does not wait to be seen */
    g_usleep(50000);
    qatomic_set(&fake_kernel.gate, false);
    return NULL;
}

/* What a reset does: after it has waited, no step is made, and none is running */
static void test_wait_all(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    unsigned int two = 2;
    QemuThread thread;

    qatomic_set(&fake_kernel.gate, true);
    start(0, BLOCK_SIZE, GMEM_STATE_PRIVATE);
    wait_for_calls(1);
    start(0, BLOCK_SIZE, GMEM_STATE_PRIVATE);
    qemu_thread_create(&thread, "gate", open_gate, NULL, QEMU_THREAD_JOINABLE);
    gmem_qmp_cancel_all();
    gmem_qmp_wait_all();
    g_assert_false(qatomic_read(&fake_kernel.gate));
    g_assert_cmpint(qatomic_read(&fake_kernel.calls), ==, 1);
    g_assert_true(gmem_block_range_is(block, 0, STEP, GMEM_PAGE_PRIVATE));
    qemu_thread_join(&thread);
    fixture_poll_until(all_ended, &two);
    g_assert_cmpint(qatomic_read(&fake_kernel.calls), ==, 1);
    gmem_qmp_wait_all();
    fixture_drop(block);
}

#define POOL 2

static int pool_work(void *opaque)
{
    return 0;
}

static void pool_done(void *opaque, int ret)
{
    *(bool *)opaque = true;
}

static bool is_done(void *opaque)
{
    return *(bool *)opaque;
}

/* Block I/O goes on with a small pool (thread-pool-max) and stuck conversions */
static void test_pool_is_free(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    unsigned int i, nr = POOL;
    bool done = false;

    aio_context_set_thread_pool_params(qemu_get_aio_context(), 0, POOL,
                                       &error_abort);
    qatomic_set(&fake_kernel.gate, true);
    for (i = 0; i < nr; i++) {
        start(i * MiB, MiB, GMEM_STATE_PRIVATE);
    }
    wait_for_calls(1);
    thread_pool_submit_aio(pool_work, NULL, pool_done, &done);
    fixture_poll_until(is_done, &done);
    qatomic_set(&fake_kernel.gate, false);
    fixture_poll_until(all_ended, &nr);
    fixture_drop(block);
}

/* ---- 3. events ---- */

#define FLOOD 1000

static bool flood_reported(void *opaque)
{
    return fixture_event_sum("GMEM_ACCESS_DENIED") == 3 * FLOOD;
}

static void flood(GmemBlock *block)
{
    GmemAccess access;
    int i;

    for (i = 0; i < FLOOD; i++) {
        g_assert_false(gmem_access_begin(&access, block, i * PAGE, PAGE,
                                         "test"));
    }
}

static void test_event_flood(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    QDict *denied;

    fixture_convert_ok(0, BLOCK_SIZE, GMEM_STATE_PRIVATE);
    flood(block);
    fixture_poll();
    g_assert_cmpuint(fixture_events("GMEM_ACCESS_DENIED"), ==, 1);
    denied = fixture_last_event("GMEM_ACCESS_DENIED");
    g_assert_cmpint(qdict_get_int(denied, "count"), ==, FLOOD);
    g_assert_cmpint(qdict_get_int(denied, "offset"), ==, (FLOOD - 1) * PAGE);
    g_assert_cmpstr(qdict_get_str(denied, "who"), ==, "test");
    flood(block);
    gmem_access_deny(block, 3 * PAGE, 1, "late", FLOOD);
    fixture_poll_until(flood_reported, NULL);
    g_assert_cmpuint(fixture_events("GMEM_ACCESS_DENIED"), ==, 2);
    fixture_drop(block);
}

/* One block's flood does not hide another's event */
static void test_event_per_block(void)
{
    GmemBlock *a = fixture_block("flooded", BLOCK_SIZE);
    GmemBlock *b = fixture_block("quiet", BLOCK_SIZE);
    ConvertArgs args = { "flooded", 0, BLOCK_SIZE };
    GmemAccess access;

    qapi_free_GmemConversionInfo(fixture_convert(&args, &error_abort));
    args.id = "quiet";
    qapi_free_GmemConversionInfo(fixture_convert(&args, &error_abort));
    flood(a);
    fixture_poll();
    g_assert_false(gmem_access_begin(&access, b, 0, PAGE, "test"));
    fixture_poll();
    g_assert_cmpuint(fixture_events("GMEM_ACCESS_DENIED"), ==, 2);
    g_assert_cmpstr(qdict_get_str(fixture_last_event("GMEM_ACCESS_DENIED"),
                                  "id"), ==, "quiet");
    fixture_drop(a);
    fixture_drop(b);
}

/* ---- 4. the end; nothing can be converted after it ---- */

static void test_shut_down(void)
{
    GmemBlock *block = fixture_block("ram0", BLOCK_SIZE);
    ConvertArgs args = { "ram0", 0, PAGE };
    unsigned int one = 1;
    Error *err = NULL;
    QDict *result;

    qatomic_set(&fake_kernel.gate, true);
    start(0, BLOCK_SIZE, GMEM_STATE_PRIVATE);
    wait_for_calls(1);
    gmem_qmp_shut_down();
    g_assert_null(fixture_convert(&args, &err));
    fixture_assert_message(err, "QEMU is ending and begins no conversion");
    qatomic_set(&fake_kernel.gate, false);
    fixture_poll_until(all_ended, &one);
    result = qdict_get_qdict(fixture_last_event("GMEM_CONVERT_COMPLETED"),
                             "result");
    g_assert_cmpstr(qdict_get_str(result, "error"), ==, "cancelled");
    fixture_drop(block);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_init();
    g_test_add_func("/gmem-qmp/convert/all", test_convert_all);
    g_test_add_func("/gmem-qmp/convert/part", test_convert_part);
    g_test_add_func("/gmem-qmp/convert/busy", test_convert_busy);
    g_test_add_func("/gmem-qmp/convert/limit", test_convert_limit);
    g_test_add_func("/gmem-qmp/convert/broken", test_convert_broken);
    g_test_add_func("/gmem-qmp/convert/holder", test_convert_holder);
    g_test_add_func("/gmem-qmp/convert/stubborn", test_convert_stubborn_holder);
    g_test_add_func("/gmem-qmp/job/cancel", test_progress_and_cancel);
    g_test_add_func("/gmem-qmp/job/most", test_most_at_once);
    g_test_add_func("/gmem-qmp/job/same-range", test_same_range);
    g_test_add_func("/gmem-qmp/job/block-gone", test_block_goes_away);
    g_test_add_func("/gmem-qmp/job/wait-all", test_wait_all);
    g_test_add_func("/gmem-qmp/job/pool-is-free", test_pool_is_free);
    g_test_add_func("/gmem-qmp/event/flood", test_event_flood);
    g_test_add_func("/gmem-qmp/event/per-block", test_event_per_block);
    g_test_add_func("/gmem-qmp/end/shut-down", test_shut_down);
    return g_test_run();
}
