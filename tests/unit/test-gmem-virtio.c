/*
 * virtio's rings as holders: how a device is stopped
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * 1. a page of a ring goes private: the device is stopped before, once, and QMP hears of it;
 *    the pages beside it do not concern the device
 * 2. vhost is stopped while its ring is there, or else before the ring's pages go
 * 3. a crowd of rings in one page is stopped together
 * 4. a ring that goes away, or moves, while a conversion waits for it: nobody is stopped
 * 5. old pointers are in use until the new ones are published, and their last reader is gone
 * 6. a ring on a private page is refused, and its device stopped
 * 7. a device is not stopped while another one waits for something
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "system/gmem-use.h"
#include "gmem-virtio-fixture.h"

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
        g_assert_cmpuint(fake.stops, ==, 0);
        g_assert_true(fake.has_pointers[1]);
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
    g_assert_cmpuint(fake.notified, ==, 0);
    g_assert_cmpuint(fake.events, ==, 1);
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
    g_assert_cmpuint(fake.stops, ==, 1);
    /* from which it learns how far vhost came */
    g_assert_true(fake.stopped_with_ring);
    g_assert_cmpuint(dev.status, ==, VIRTIO_CONFIG_S_NEEDS_RESET);
    teardown();
}

/* A request to another queue has broken the device, and then the memory map changes */
static void test_vhost_of_broken(void)
{
    setup();
    dev.vhost_started = true;
    make_ring(0, 8 * PAGE, 10 * PAGE, 12 * PAGE);
    dev.broken = true;
    virtio_virtqueue_reset_region_cache(virtio_get_queue(&dev, 0));
    drain_call_rcu();
    g_assert_cmpuint(fake.stops, ==, 0);
    g_assert_cmpint(go_private_briefly(8 * PAGE, PAGE), ==, -EAGAIN);
    g_assert_cmpint(go_private(8 * PAGE, PAGE), ==, 0);
    g_assert_cmpuint(fake.stops, ==, 1);
    g_assert_false(dev.vhost_started);
    g_assert_cmpint(OBJECT(&dev)->ref, ==, 1);
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
    g_assert_cmpuint(fake.events, ==, QUEUES);
    g_assert_cmpuint(fake.notified, ==, 1);
    for (n = 0; n < QUEUES; n++) {
        g_assert_false(fake.has_pointers[n]);
    }
    teardown();
}

/* ---- 4. ---- */

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
    /* not from within a change of the memory map */
    g_assert_true(dev.broken);
    g_assert_cmpuint(fake.notified, ==, 0);
    main_loop_wait(true);
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

int main(int argc, char **argv)
{
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/virtio/stop", test_stop);
    g_test_add_func("/gmem/virtio/old-device", test_old_device);
    g_test_add_func("/gmem/virtio/vhost", test_vhost);
    g_test_add_func("/gmem/virtio/vhost-of-broken", test_vhost_of_broken);
    g_test_add_func("/gmem/virtio/crowd", test_crowd);
    g_test_add_func("/gmem/virtio/gone", test_gone);
    g_test_add_func("/gmem/virtio/moved", test_moved);
    g_test_add_func("/gmem/virtio/publish", test_publish);
    g_test_add_func("/gmem/virtio/refused", test_refused);
    g_test_add_func("/gmem/virtio/broken", test_no_pointers_when_broken);
    g_test_add_func("/gmem/virtio/nested", test_nested);
    return g_test_run();
}
