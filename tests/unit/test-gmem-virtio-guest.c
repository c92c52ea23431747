/*
 * virtio's rings as holders: what a guest, its driver and vhost do
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * 1. a device that was stopped is not started before its reset, and one that could not be started
 *    needs a reset
 * 2. what vhost maps of a ring is not waited for, what else it maps is; its errors
 * 3. an indirect table is waited for, and refused when it is private
 * 4. errors that a guest makes are printed once in a second at most, if it has private memory
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "system/gmem-dma.h"
#include "gmem-virtio-fixture.h"

/* ---- 1. ---- */

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
    g_assert_cmpuint(fake.notified, ==, 1);
    g_assert_cmpuint(OBJECT(&dev)->ref, ==, 1);

    /* it was unplugged before anybody came to tell */
    dev.status = fake.notified = 0;
    gmem_virtio_start_failed(&dev);
    dev.parent_obj.realized = false;
    main_loop_wait(true);
    g_assert_cmpuint(dev.status + fake.notified, ==, 0);
    g_assert_cmpint(OBJECT(&dev)->ref, ==, 1);
    dev.parent_obj.realized = true;

    /* or reset */
    dev.status = fake.notified = 0;
    gmem_virtio_start_failed(&dev);
    dev.broken = false;
    main_loop_wait(true);
    g_assert_cmpuint(dev.status + fake.notified, ==, 0);
    g_assert_cmpuint(OBJECT(&dev)->ref, ==, 1);
    teardown();
}

/* ---- 2. ---- */

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
    g_assert_cmpuint(fake.vhost_errors, ==, 2);
    teardown();
}

/* ---- 3. ---- */

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

/* ---- 4. ---- */

static void test_report(void)
{
    int64_t seconds = get_clock() / NANOSECONDS_PER_SECOND;
    unsigned int i;

    setup();
    for (i = 0; i < 1000; i++) {
        gmem_virtio_complain("%u", i);
    }
    seconds = get_clock() / NANOSECONDS_PER_SECOND - seconds;
    g_assert_cmpuint(fake.printed, >=, 1);
    g_assert_cmpuint(fake.printed, <=, seconds + 1);

    gmem_touch_armed = 0;
    fake.printed = 0;
    for (i = 0; i < 1000; i++) {
        gmem_virtio_complain("%u", i);
    }
    g_assert_cmpuint(fake.printed, ==, 1000);
    teardown();
}

int main(int argc, char **argv)
{
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/virtio/status", test_status);
    g_test_add_func("/gmem/virtio/start-failed", test_start_failed);
    g_test_add_func("/gmem/virtio/vhost-map", test_vhost_map);
    g_test_add_func("/gmem/virtio/vhost-error", test_vhost_error);
    g_test_add_func("/gmem/virtio/table", test_table);
    g_test_add_func("/gmem/virtio/report", test_report);
    return g_test_run();
}
