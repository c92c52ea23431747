/*
 * Memory that devices use, let go, and use again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The engine, the thread and the main loop are real; the backend and the kernel, which can be
 * held up, are faked.
 *
 *  1. unplug does not wait for the memory to be freed; until then a DIMM is refused, and after
 *     it the memory is as it was in the beginning
 *  2. nothing of closed memory is converted: no request that comes, and none that was queued
 *  3. a device that asks nobody has its guest wait for conversions, however often it comes and goes
 *  4. memory that was converted before its first device is restored, too; fresh one is taken at once
 *  5. a page that is busy is tried again
 *  6. memory that is deleted meanwhile, or is broken, or not to be plugged
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "block/aio.h"
#include "qom/object.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "gmem-internal.h"
#include "hostmem-gmem-internal.h"

#define PAGE 4096
#define SIZE (64 * PAGE)

/* ---- in place of the rest of QEMU ---- */

static GmemBlock *the_block;
static HostMemoryBackend backend;

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return the_block;
}

bool host_memory_backend_mr_inited(HostMemoryBackend *b)
{
    return true;
}

bool host_memory_backend_is_mapped(HostMemoryBackend *b)
{
    return b->is_mapped;
}

char *gmem_backend_id(const HostMemoryBackend *b)
{
    return g_strdup("m");
}

/* A back end that cannot have the memory */
static bool refused;

bool gmem_vhost_user_check_memory(RAMBlock *rb, Error **errp)
{
    if (refused) {
        error_setg(errp, "not beside this device");
    }
    return !refused;
}

static QemuEvent freeing;       /* some discard has begun */
static bool hold_free, hold_commit;
static unsigned int busy;       /* this often */
static bool released;

static int fake_set_state(GmemBlock *block, uint64_t offset, uint64_t size,
                          GmemPageState to, uint64_t *at)
{
    while (qatomic_read(&hold_commit)) {
        g_usleep(100);
    }
    if (qatomic_read(&busy)) {
        qatomic_dec(&busy);
        *at = offset;
        return -EAGAIN;
    }
    return 0;
}

static int fake_discard(GmemBlock *block, uint64_t offset, uint64_t size,
                        GmemPageState state)
{
    qemu_event_set(&freeing);
    while (qatomic_read(&hold_free)) {
        g_usleep(100);
    }
    return 0;
}

static void fake_release(GmemBlock *block)
{
    qatomic_set(&released, true);
}

static const GmemProviderOps fake_ops = {
    .name = "fake", .set_state = fake_set_state, .discard = fake_discard,
    .release = fake_release,
};

/* ---- the fixture ---- */

static void setup(GmemPageState initial)
{
    GmemBlockConfig config = {
        .id = "m", .mode = GMEM_BLOCK_MODE_SPLIT, .size = SIZE,
        .initial = initial, .ops = &fake_ops, .timeout_ms = 1,
    };

    the_block = gmem_block_new(&config);
    backend.is_mapped = false;
    released = false;
    qemu_event_init(&freeing, false);
}

static void drop(void)
{
    gmem_block_retire(the_block);
    gmem_block_unref(g_steal_pointer(&the_block));
}

static void teardown(void)
{
    drop();
    g_assert_true(released);
    qemu_event_destroy(&freeing);
}

static void use(bool mapped)
{
    gmem_backend_set_mapped(&backend, mapped);
    backend.is_mapped = mapped;
}

/* NULL, or why not; caller frees */
static char *plug(void)
{
    Error *err = NULL;
    char *text = NULL;

    if (gmem_backend_check_plug(&backend, &err)) {
        g_assert_null(err);
        use(true);
    } else {
        text = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    return text;
}

static void plug_when_restored(void)
{
    char *why;

    while ((why = plug())) {
        g_assert_cmpstr(why, ==, "container 'm' cannot be plugged: its pages "
                        "are still being given their initial state");
        g_free(why);
        aio_poll(qemu_get_aio_context(), true);
    }
}

static int convert(uint64_t offset, GmemPageState to)
{
    GmemSegment segment = { the_block, offset, PAGE };
    GmemRequest req = {
        .segments = &segment, .nr_segments = 1, .to = to, .timeout_ms = 60000,
    };
    int ret = gmem_convert_request(&req);

    g_free(req.stalled_holder);
    return ret;
}

static bool is_initial(void)
{
    return gmem_block_range_is(the_block, 0, SIZE,
                               gmem_block_initial(the_block));
}

/* ---- the tests ---- */

static void test_unplug(gconstpointer data)
{
    GmemPageState initial = GPOINTER_TO_INT(data);
    g_autofree char *why = NULL;

    setup(initial);
    g_assert_null(plug());
    g_assert_cmpint(convert(PAGE, !initial), ==, 0);
    qemu_event_reset(&freeing);

    qatomic_set(&hold_free, true);
    use(false);
    qemu_event_wait(&freeing);
    why = plug();
    g_assert_nonnull(why);
    qatomic_set(&hold_free, false);

    plug_when_restored();
    g_assert_true(is_initial());
    g_assert_cmpint(convert(PAGE, !initial), ==, 0);
    teardown();
}

static int queued_result;

static void *convert_thread(void *opaque)
{
    int *result = opaque;

    *result = convert(0, GMEM_PAGE_PRIVATE);
    return NULL;
}

static void wait_for_claims(uint64_t nr)
{
    while (true) {
        QEMU_LOCK_GUARD(&the_block->lock);

        if (the_block->ranges.next_ticket >= nr) {
            break;
        }
        g_usleep(100);
    }
}

static void test_closed(void)
{
    QemuThread first, second;
    uint64_t claims;
    int result = 1;

    setup(GMEM_PAGE_SHARED);
    g_assert_null(plug());
    claims = the_block->ranges.next_ticket;
    /* one is converting, and one queues behind it, when the memory goes */
    qatomic_set(&hold_commit, true);
    qemu_thread_create(&first, "first", convert_thread, &result,
                       QEMU_THREAD_JOINABLE);
    wait_for_claims(claims + 1);
    qemu_thread_create(&second, "second", convert_thread, &queued_result,
                       QEMU_THREAD_JOINABLE);
    wait_for_claims(claims + 2);
    use(false);
    g_assert_cmpint(convert(8 * PAGE, GMEM_PAGE_PRIVATE), ==, -EINVAL);
    g_assert_cmpint(convert(8 * PAGE, GMEM_PAGE_SHARED), ==, -EINVAL);
    qatomic_set(&hold_commit, false);
    qemu_thread_join(&first);
    qemu_thread_join(&second);
    g_assert_cmpint(result, ==, 0);
    g_assert_cmpint(queued_result, ==, -EINVAL);

    plug_when_restored();
    g_assert_true(is_initial());
    teardown();
}

static void test_asks_nobody(void)
{
    setup(GMEM_PAGE_SHARED);
    use(true);
    g_assert_cmpint(convert(0, GMEM_PAGE_PRIVATE), ==, 0);
    qatomic_set(&hold_free, true);
    for (int i = 0; i < 3; i++) {
        use(false);
        use(true);
        g_assert_cmpint(convert(8 * PAGE, GMEM_PAGE_PRIVATE), ==, -EINVAL);
    }
    qatomic_set(&hold_free, false);
    while (gmem_block_is_closed(the_block)) {
        aio_poll(qemu_get_aio_context(), true);
    }
    g_assert_true(is_initial());
    g_assert_cmpint(convert(8 * PAGE, GMEM_PAGE_PRIVATE), ==, 0);

    /* gone at the end: stays closed */
    qatomic_set(&hold_free, true);
    use(false);
    use(true);
    use(false);
    qatomic_set(&hold_free, false);
    while (!gmem_block_is_restored(the_block)) {
        g_usleep(100);
    }
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* the thread's end */
    }
    g_assert_true(gmem_block_is_closed(the_block));
    plug_when_restored();
    teardown();
}

static void test_first_use(void)
{
    g_autofree char *why = NULL;

    setup(GMEM_PAGE_SHARED);
    g_assert_cmpint(convert(0, GMEM_PAGE_PRIVATE), ==, 0);
    why = plug();
    g_assert_nonnull(why);
    plug_when_restored();
    g_assert_true(is_initial());
    teardown();
}

static void test_busy(void)
{
    setup(GMEM_PAGE_PRIVATE);
    g_assert_null(plug());
    g_assert_cmpint(convert(0, GMEM_PAGE_SHARED), ==, 0);
    /* beyond the block's patience of a millisecond, with back-offs of 20 us to 5 ms */
    qatomic_set(&busy, 100);
    use(false);
    plug_when_restored();
    g_assert_true(is_initial());
    teardown();
}

/* It stays as it is, and is taken as soon as it may be */
static void test_refused(void)
{
    g_autofree char *why = NULL;

    setup(GMEM_PAGE_SHARED);
    refused = true;
    why = plug();
    g_assert_cmpstr(why, ==, "not beside this device");
    refused = false;
    g_assert_null(plug());
    use(false);
    teardown();
}

static void test_deleted(void)
{
    setup(GMEM_PAGE_SHARED);
    g_assert_null(plug());
    g_assert_cmpint(convert(0, GMEM_PAGE_PRIVATE), ==, 0);
    qemu_event_reset(&freeing);
    qatomic_set(&hold_free, true);
    use(false);
    qemu_event_wait(&freeing);
    drop();
    g_assert_false(qatomic_read(&released));
    qatomic_set(&hold_free, false);
    while (!qatomic_read(&released)) {
        aio_poll(qemu_get_aio_context(), true);
    }
    qemu_event_destroy(&freeing);
}

static void test_broken(void)
{
    g_autofree char *why = NULL;

    setup(GMEM_PAGE_SHARED);
    gmem_block_break(the_block, "test");
    why = plug();
    g_assert_cmpstr(why, ==, "container 'm' cannot be plugged: its pages cannot "
                    "be given their initial state, because it is broken");
    teardown();
}

int main(int argc, char **argv)
{
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    OBJECT(&backend)->class = object_class_by_name(TYPE_CONTAINER);
    g_test_add_data_func("/gmem/unplug/shared",
                         GINT_TO_POINTER(GMEM_PAGE_SHARED), test_unplug);
    g_test_add_data_func("/gmem/unplug/private",
                         GINT_TO_POINTER(GMEM_PAGE_PRIVATE), test_unplug);
    g_test_add_func("/gmem/unplug/closed", test_closed);
    g_test_add_func("/gmem/unplug/asks-nobody", test_asks_nobody);
    g_test_add_func("/gmem/unplug/first-use", test_first_use);
    g_test_add_func("/gmem/unplug/busy", test_busy);
    g_test_add_func("/gmem/unplug/refused", test_refused);
    g_test_add_func("/gmem/unplug/deleted", test_deleted);
    g_test_add_func("/gmem/unplug/broken", test_broken);
    return g_test_run();
}
