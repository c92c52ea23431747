/*
 * virtio's rings as holders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The engine, the rings, maps, RCU and main loop are real; the kernel, the memory map and virtio's
 * own part are faked.
 *
 *  1. a page of a ring goes private: the device is stopped before, once, and QMP hears of it;
 *     the pages beside it do not concern the device
 *  2. vhost is stopped while its ring is there, and not started before the device was reset; one that
 *     could not be started needs a reset, too
 *  3. a crowd of rings in one page is stopped together
 *  4. a ring that goes away, or moves, while a conversion waits for it: nobody is stopped
 *  5. old pointers are in use until the new ones are published, and their last reader is gone
 *  6. a ring on a private page is refused, and its device stopped
 *  7. a device is not stopped while another one waits for something
 *  8. what vhost maps of a ring is not waited for; what else it maps is
 *  9. an indirect table is waited for, and refused when it is private
 * 10. errors that a guest makes are printed once in a second at most, if it has private memory
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "hw/virtio/gmem-virtio.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "system/gmem-dma.h"
#include "system/gmem-monitor.h"
#include "system/gmem-ram.h"
#include "system/gmem-touch-hooks.h"
#include "system/gmem-use.h"
#include "system/memory.h"
#include "gmem-fake.h"

#define PAGE 4096
#define PAGES 64
#define QUEUES 300

/* ---- in place of the rest of QEMU ---- */

unsigned int gmem_touch_armed;

static GmemBlock *the_block;
static uint8_t ram[PAGES * PAGE];
static MemoryRegion region;
static VirtIODevice dev;
static char queues[QUEUES];             /* their addresses are VirtQueues */
static bool has_pointers[QUEUES];
static unsigned int stops, notified, events, vhost_errors, printed;
static int last_queue;
static uint64_t last_offset;

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return rb ? the_block : NULL;
}

GmemBlock *gmem_touch_block(const MemoryRegion *mr)
{
    return gmem_from_ramblock(mr->ram_block);
}

void memory_region_unref(MemoryRegion *mr)
{
}

MemoryRegion *memory_region_from_host(void *ptr, ram_addr_t *offset)
{
    *offset = (uint8_t *)ptr - ram;
    return &region;
}

void *address_space_map(AddressSpace *as, hwaddr addr, hwaddr *plen,
                        bool is_write, MemTxAttrs attrs)
{
    return gmem_dma_map(&region, addr, plen) ? ram + addr : NULL;
}

static void make_cache(MemoryRegionCache *cache, hwaddr addr, hwaddr len)
{
    *cache = (MemoryRegionCache) {
        .ptr = ram + addr, .xlat = addr, .len = len, .mrs.mr = &region,
    };
}

int64_t address_space_cache_init(MemoryRegionCache *cache, AddressSpace *as,
                                 hwaddr addr, hwaddr len, bool is_write)
{
    make_cache(cache, addr, len);
    return len;
}

void address_space_cache_destroy(MemoryRegionCache *cache)
{
    cache->mrs.mr = NULL;
}

char *__wrap_object_get_canonical_path(const Object *obj);

char *__wrap_object_get_canonical_path(const Object *obj)
{
    return g_strdup("/dev");
}

VirtQueue *virtio_get_queue(VirtIODevice *vdev, int n)
{
    return (VirtQueue *)&queues[n];
}

uint16_t virtio_get_queue_index(VirtQueue *vq)
{
    return (char *)vq - queues;
}

void virtio_notify_config(VirtIODevice *vdev)
{
    notified++;
}

int virtio_set_status(VirtIODevice *vdev, uint8_t val)
{
    /* it learns from its ring how far it came */
    g_assert_true(has_pointers[0]);
    stops++;
    vdev->status = val;
    vdev->vhost_started = false;
    return 0;
}

void virtio_virtqueue_reset_region_cache(struct VirtQueue *vq)
{
    has_pointers[virtio_get_queue_index(vq)] = false;
    gmem_virtio_ring_clear(vq);
}

void gmem_event_queue_stopped(const char *device, int queue, const char *id,
                              uint64_t offset, uint64_t size)
{
    g_assert_cmpstr(device, ==, "/dev");
    g_assert_cmpstr(id, ==, "ram");
    events++;
    last_queue = queue;
    last_offset = offset;
}

void gmem_event_vhost_error(const char *device, int queue)
{
    vhost_errors++;
}

void __wrap_error_vreport(const char *format, va_list args);

void __wrap_error_vreport(const char *format, va_list args)
{
    printed++;
}

/* ---- the fixture ---- */

typedef struct Conversion {
    QemuThread thread;
    uint64_t offset;
    uint64_t size;
    uint32_t timeout_ms;
    bool ended;
    int ret;
} Conversion;

static void setup(void)
{
    GmemBlockConfig config = {
        .id = "ram", .mode = GMEM_BLOCK_MODE_SPLIT, .size = sizeof(ram),
        .initial = GMEM_PAGE_SHARED, .ops = &gmem_fake_ops,
        .timeout_ms = 60000,
    };

    the_block = gmem_block_new(&config);
    region.ram_block = (RAMBlock *)&ram;    /* any address that is not NULL */
    memset(&dev, 0, sizeof(dev));
    OBJECT(&dev)->ref = 1;
    dev.guest_features = 1ULL << VIRTIO_F_VERSION_1;
    dev.status = VIRTIO_CONFIG_S_DRIVER_OK;
    memset(has_pointers, 0, sizeof(has_pointers));
    stops = notified = events = vhost_errors = printed = 0;
    gmem_touch_armed = 1;
}

static void clear_rings(void)
{
    unsigned int n;

    for (n = 0; n < QUEUES; n++) {
        virtio_virtqueue_reset_region_cache(virtio_get_queue(&dev, n));
    }
    drain_call_rcu();
}

static void teardown(void)
{
    clear_rings();
    gmem_uses_retire(the_block);
    gmem_block_retire(the_block);
    gmem_block_unref(g_steal_pointer(&the_block));
}

static void *convert_thread(void *opaque)
{
    Conversion *c = opaque;
    GmemSegment segment = { the_block, c->offset, c->size };
    GmemRequest request = {
        .segments = &segment, .nr_segments = 1, .to = GMEM_PAGE_PRIVATE,
        .timeout_ms = c->timeout_ms,
    };

    c->ret = gmem_convert_request(&request);
    g_free(request.stalled_holder);
    qatomic_store_release(&c->ended, true);
    qemu_notify_event();
    return NULL;
}

static void conversion_begin(Conversion *c, uint64_t offset, uint64_t size)
{
    *c = (Conversion) { .offset = offset, .size = size, .timeout_ms = 60000 };
    qemu_thread_create(&c->thread, "convert", convert_thread, c,
                       QEMU_THREAD_JOINABLE);
}

static int conversion_end(Conversion *c)
{
    while (!qatomic_load_acquire(&c->ended)) {
        main_loop_wait(false);
    }
    qemu_thread_join(&c->thread);
    return c->ret;
}

static int go_private(uint64_t offset, uint64_t size)
{
    Conversion c;

    conversion_begin(&c, offset, size);
    return conversion_end(&c);
}

/* Nothing that a main loop would do happens meanwhile */
static int go_private_briefly(uint64_t offset, uint64_t size)
{
    Conversion c = { .offset = offset, .size = size, .timeout_ms = 20 };

    convert_thread(&c);
    return c.ret;
}

static bool ring_begin(int n, uint64_t desc, uint64_t avail, uint64_t used)
{
    MemoryRegionCache caches[3];

    make_cache(&caches[0], desc, 16);
    make_cache(&caches[1], avail, 16);
    make_cache(&caches[2], used, 16);
    return gmem_virtio_ring_begin(&dev, n, &caches[0], &caches[1], &caches[2]);
}

static void ring_set(int n)
{
    has_pointers[n] = true;
    gmem_virtio_ring_set(virtio_get_queue(&dev, n));
}

static void make_ring(int n, uint64_t desc, uint64_t avail, uint64_t used)
{
    g_assert_true(ring_begin(n, desc, avail, used));
    ring_set(n);
}

static void check_stopped(int queue, uint64_t offset)
{
    g_assert_true(dev.broken);
    g_assert_true(dev.status & VIRTIO_CONFIG_S_NEEDS_RESET);
    g_assert_cmpuint(notified, ==, 1);
    g_assert_cmpuint(events, ==, 1);
    g_assert_cmpint(last_queue, ==, queue);
    g_assert_cmpuint(last_offset, ==, offset);
    g_assert_false(has_pointers[queue]);
}

static void check_untouched(void)
{
    g_assert_false(dev.broken);
    g_assert_cmpuint(stops + notified + events, ==, 0);
    g_assert_cmpuint(dev.status, ==, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* ---- 1. ---- */

static void test_stop(void)
{
    unsigned int part;

    for (part = 0; part < 3; part++) {
        uint64_t offset = (8 + 2 * part) * PAGE;

        setup();
        make_ring(0, 8 * PAGE, 10 * PAGE, 12 * PAGE);
        make_ring(1, 20 * PAGE, 20 * PAGE, 20 * PAGE);
        g_assert_cmpint(go_private(offset - PAGE, PAGE), ==, 0);
        g_assert_cmpint(go_private(offset + PAGE, PAGE), ==, 0);
        check_untouched();
        g_assert_cmpint(go_private(offset, PAGE), ==, 0);
        check_stopped(0, offset);
        /* vhost does not run: the rest of its state is the driver's */
        g_assert_cmpuint(stops, ==, 0);
        g_assert_true(has_pointers[1]);
        teardown();
    }
}

static void test_old_device(void)
{
    setup();
    dev.guest_features = 0;
    make_ring(0, 8 * PAGE, 8 * PAGE + 16, 8 * PAGE + 32);
    g_assert_cmpint(go_private(8 * PAGE, PAGE), ==, 0);
    g_assert_true(dev.broken);
    g_assert_cmpuint(dev.status, ==, VIRTIO_CONFIG_S_DRIVER_OK);
    g_assert_cmpuint(notified, ==, 0);
    g_assert_cmpuint(events, ==, 1);
    teardown();
}

/* ---- 2. ---- */

static void test_vhost(void)
{
    setup();
    dev.vhost_started = true;
    make_ring(0, 8 * PAGE, 10 * PAGE, 12 * PAGE);
    g_assert_cmpint(go_private(10 * PAGE, PAGE), ==, 0);
    check_stopped(0, 10 * PAGE);
    g_assert_cmpuint(stops, ==, 1);
    g_assert_cmpuint(dev.status, ==, VIRTIO_CONFIG_S_NEEDS_RESET);
    teardown();
}

static void test_status(void)
{
    const uint8_t started = VIRTIO_CONFIG_S_ACKNOWLEDGE |
                            VIRTIO_CONFIG_S_DRIVER |
                            VIRTIO_CONFIG_S_FEATURES_OK |
                            VIRTIO_CONFIG_S_DRIVER_OK;
    uint8_t status;

    setup();
    g_assert_cmpuint(gmem_virtio_status(&dev, started), ==, started);
    dev.broken = true;
    status = gmem_virtio_status(&dev, started);
    g_assert_cmpuint(status, ==, (started & ~VIRTIO_CONFIG_S_DRIVER_OK) |
                                 VIRTIO_CONFIG_S_NEEDS_RESET);
    /* never a reset by accident, which 0 would be; and never without a driver */
    status = gmem_virtio_status(&dev, VIRTIO_CONFIG_S_DRIVER_OK);
    g_assert_cmpuint(status, ==, VIRTIO_CONFIG_S_DRIVER |
                                 VIRTIO_CONFIG_S_NEEDS_RESET);
    g_assert_cmpuint(gmem_virtio_status(&dev, 0), ==, 0);
    g_assert_cmpuint(gmem_virtio_status(&dev, 3), ==, 3);
    gmem_touch_armed = 0;
    g_assert_cmpuint(gmem_virtio_status(&dev, started), ==, started);
    teardown();
}

static void test_start_failed(void)
{
    setup();
    gmem_virtio_start_failed(&dev);
    g_assert_true(dev.broken);
    g_assert_cmpuint(dev.status, ==, VIRTIO_CONFIG_S_DRIVER_OK);
    g_assert_cmpuint(OBJECT(&dev)->ref, ==, 2);
    main_loop_wait(true);
    g_assert_true(dev.status & VIRTIO_CONFIG_S_NEEDS_RESET);
    g_assert_cmpuint(notified, ==, 1);
    g_assert_cmpuint(OBJECT(&dev)->ref, ==, 1);

    /* it was reset before anybody came to tell */
    dev.status = notified = 0;
    gmem_virtio_start_failed(&dev);
    dev.broken = false;
    main_loop_wait(true);
    g_assert_cmpuint(dev.status + notified, ==, 0);
    g_assert_cmpuint(OBJECT(&dev)->ref, ==, 1);
    teardown();
}

/* ---- 3. ---- */

static void test_crowd(void)
{
    unsigned int n;

    setup();
    for (n = 0; n < QUEUES; n++) {
        make_ring(n, 8 * PAGE + 8 * n, 8 * PAGE + 8 * n + 4, 12 * PAGE);
    }
    g_assert_cmpint(go_private(8 * PAGE, PAGE), ==, 0);
    g_assert_cmpuint(events, ==, QUEUES);
    g_assert_cmpuint(notified, ==, 1);
    for (n = 0; n < QUEUES; n++) {
        g_assert_false(has_pointers[n]);
    }
    teardown();
}

/* ---- 4. ---- */

/* Until a conversion has marked the page */
static void wait_for_mark(uint64_t offset)
{
    while (gmem_block_range_is(the_block, offset, PAGE, GMEM_PAGE_SHARED)) {
        g_usleep(100);
    }
}

static void test_gone(void)
{
    Conversion c;

    setup();
    make_ring(0, 8 * PAGE, 10 * PAGE, 12 * PAGE);
    conversion_begin(&c, 8 * PAGE, PAGE);
    wait_for_mark(8 * PAGE);
    /* a reset of the device, or its unplug; the main loop was busy with that */
    virtio_virtqueue_reset_region_cache(virtio_get_queue(&dev, 0));
    g_assert_cmpint(conversion_end(&c), ==, 0);
    check_untouched();
    teardown();
}

static void test_moved(void)
{
    Conversion c;

    setup();
    make_ring(0, 8 * PAGE, 10 * PAGE, 12 * PAGE);
    conversion_begin(&c, 8 * PAGE, PAGE);
    wait_for_mark(8 * PAGE);
    make_ring(0, 20 * PAGE, 22 * PAGE, 24 * PAGE);
    g_assert_cmpint(conversion_end(&c), ==, 0);
    check_untouched();
    g_assert_cmpint(go_private(22 * PAGE, PAGE), ==, 0);
    check_stopped(0, 22 * PAGE);
    teardown();
}

/* ---- 5. ---- */

static void test_publish(void)
{
    setup();
    make_ring(0, 8 * PAGE, 10 * PAGE, 12 * PAGE);
    g_assert_true(ring_begin(0, 20 * PAGE, 22 * PAGE, 24 * PAGE));
    drain_call_rcu();
    g_assert_true(gmem_use_is_asked_for(the_block, 8 * PAGE));
    g_assert_true(gmem_use_is_asked_for(the_block, 20 * PAGE));
    WITH_RCU_READ_LOCK_GUARD() {
        ring_set(0);
        /* who reads the old pointers now may do so until it ends */
        g_assert_cmpint(go_private_briefly(8 * PAGE, PAGE), ==, -EAGAIN);
        g_assert_true(gmem_use_is_asked_for(the_block, 8 * PAGE));
    }
    drain_call_rcu();
    g_assert_false(gmem_use_is_asked_for(the_block, 8 * PAGE));
    g_assert_true(gmem_use_is_asked_for(the_block, 20 * PAGE));
    main_loop_wait(true);
    check_untouched();
    teardown();
}

/* ---- 6. ---- */

static void test_refused(void)
{
    setup();
    g_assert_cmpint(go_private(10 * PAGE, PAGE), ==, 0);
    g_assert_false(ring_begin(0, 8 * PAGE, 10 * PAGE, 12 * PAGE));
    check_stopped(0, 10 * PAGE);
    /* nothing of it is left, and the next one works */
    g_assert_false(gmem_use_is_asked_for(the_block, 8 * PAGE));
    make_ring(0, 20 * PAGE, 22 * PAGE, 24 * PAGE);
    g_assert_true(gmem_use_is_asked_for(the_block, 20 * PAGE));
    teardown();
}

static void test_no_pointers_when_broken(void)
{
    setup();
    g_assert_cmpuint(gmem_virtio_ring_desc(&dev, PAGE), ==, PAGE);
    dev.broken = true;
    g_assert_cmpuint(gmem_virtio_ring_desc(&dev, PAGE), ==, 0);
    gmem_touch_armed = 0;
    g_assert_cmpuint(gmem_virtio_ring_desc(&dev, PAGE), ==, PAGE);
    teardown();
}

/* ---- 7. ---- */

static void test_nested(void)
{
    Conversion c;
    int i;

    setup();
    make_ring(0, 8 * PAGE, 10 * PAGE, 12 * PAGE);
    conversion_begin(&c, 8 * PAGE, PAGE);
    wait_for_mark(8 * PAGE);
    for (i = 0; i < 50; i++) {
        aio_poll(qemu_get_aio_context(), false);
        g_usleep(1000);
    }
    check_untouched();
    g_assert_cmpint(conversion_end(&c), ==, 0);
    check_stopped(0, 8 * PAGE);
    teardown();
}

/* ---- 8. ---- */

static void *map(uint64_t offset)
{
    hwaddr size = 16;

    return gmem_virtio_map_ring(NULL, offset, &size, false,
                                MEMTXATTRS_UNSPECIFIED);
}

static void test_vhost_map(void)
{
    setup();
    make_ring(0, 8 * PAGE, 10 * PAGE, 12 * PAGE);
    g_assert_nonnull(map(10 * PAGE));
    g_assert_nonnull(map(30 * PAGE));
    g_assert_cmpint(go_private(10 * PAGE, PAGE), ==, 0);
    g_assert_cmpint(go_private_briefly(30 * PAGE, PAGE), ==, -EAGAIN);
    g_assert_null(map(10 * PAGE));
    gmem_dma_unmap(&region, 30 * PAGE, 16);
    g_assert_cmpint(go_private(30 * PAGE, PAGE), ==, 0);
    teardown();
}

static void test_vhost_error(void)
{
    setup();
    g_assert_true(gmem_virtio_vhost_error(&dev, 1));
    gmem_touch_armed = 0;
    g_assert_false(gmem_virtio_vhost_error(&dev, 1));
    g_assert_cmpuint(vhost_errors, ==, 2);
    teardown();
}

/* ---- 9. ---- */

static void test_table(void)
{
    MemoryRegionCache cache;

    setup();
    g_assert_cmpint(gmem_virtio_table_map(&cache, NULL, 8 * PAGE + 16, 64,
                                          false), ==, 64);
    g_assert_cmpint(go_private_briefly(8 * PAGE, PAGE), ==, -EAGAIN);
    gmem_virtio_table_unmap(&cache);
    g_assert_cmpint(go_private(8 * PAGE, PAGE), ==, 0);
    g_assert_cmpint(gmem_virtio_table_map(&cache, NULL, 8 * PAGE + 16, 64,
                                          false), ==, 0);
    /* as the base does after an error */
    gmem_virtio_table_unmap(&cache);
    check_untouched();
    teardown();
}

/* ---- 10. ---- */

static void G_GNUC_PRINTF(1, 2) report(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    gmem_virtio_report(format, args);
    va_end(args);
}

static void test_report(void)
{
    int64_t seconds = get_clock() / NANOSECONDS_PER_SECOND;
    unsigned int i;

    setup();
    for (i = 0; i < 1000; i++) {
        report("%u", i);
    }
    seconds = get_clock() / NANOSECONDS_PER_SECOND - seconds;
    g_assert_cmpuint(printed, >=, 1);
    g_assert_cmpuint(printed, <=, seconds + 1);

    gmem_touch_armed = 0;
    printed = 0;
    for (i = 0; i < 1000; i++) {
        report("%u", i);
    }
    g_assert_cmpuint(printed, ==, 1000);
    teardown();
}

int main(int argc, char **argv)
{
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/virtio/stop", test_stop);
    g_test_add_func("/gmem/virtio/old-device", test_old_device);
    g_test_add_func("/gmem/virtio/vhost", test_vhost);
    g_test_add_func("/gmem/virtio/status", test_status);
    g_test_add_func("/gmem/virtio/start-failed", test_start_failed);
    g_test_add_func("/gmem/virtio/crowd", test_crowd);
    g_test_add_func("/gmem/virtio/gone", test_gone);
    g_test_add_func("/gmem/virtio/moved", test_moved);
    g_test_add_func("/gmem/virtio/publish", test_publish);
    g_test_add_func("/gmem/virtio/refused", test_refused);
    g_test_add_func("/gmem/virtio/broken", test_no_pointers_when_broken);
    g_test_add_func("/gmem/virtio/nested", test_nested);
    g_test_add_func("/gmem/virtio/vhost-map", test_vhost_map);
    g_test_add_func("/gmem/virtio/vhost-error", test_vhost_error);
    g_test_add_func("/gmem/virtio/table", test_table);
    g_test_add_func("/gmem/virtio/report", test_report);
    return g_test_run();
}
