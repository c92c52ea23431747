/*
 * Fixture of the tests of virtio's rings
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "system/gmem-dma.h"
#include "system/gmem-monitor.h"
#include "system/gmem-ram.h"
#include "system/gmem-touch-hooks.h"
#include "system/gmem-use.h"
#include "system/memory.h"
#include "gmem-fake.h"
#include "gmem-virtio-fixture.h"

/* ---- in place of the rest of QEMU ---- */

unsigned int gmem_touch_armed;

GmemBlock *the_block;
MemoryRegion region;
VirtIODevice dev;
FakeVirtio fake;

static uint8_t ram[PAGES * PAGE];
static char queues[QUEUES];             /* their addresses are VirtQueues */

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
    /* as virtio would */
    if (vdev->broken) {
        return;
    }
    g_assert_true(vdev->parent_obj.realized);
    fake.notified++;
}

int virtio_set_status(VirtIODevice *vdev, uint8_t val)
{
    fake.stops++;
    fake.stopped_with_ring = fake.has_pointers[0];
    vdev->status = val;
    vdev->vhost_started = false;
    return 0;
}

void virtio_virtqueue_reset_region_cache(struct VirtQueue *vq)
{
    fake.has_pointers[virtio_get_queue_index(vq)] = false;
    gmem_virtio_ring_clear(vq);
}

void gmem_event_queue_stopped(const char *device, int queue, const char *id,
                              uint64_t offset, uint64_t size)
{
    g_assert_cmpstr(device, ==, "/dev");
    g_assert_cmpstr(id, ==, "ram");
    fake.events++;
    fake.last_queue = queue;
    fake.last_offset = offset;
}

void gmem_event_vhost_error(const char *device, int queue)
{
    fake.vhost_errors++;
}

void __wrap_error_vreport(const char *format, va_list args);

void __wrap_error_vreport(const char *format, va_list args)
{
    fake.printed++;
}

/* ---- the fixture ---- */

void setup(void)
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
    dev.parent_obj.realized = true;
    dev.guest_features = 1ULL << VIRTIO_F_VERSION_1;
    dev.status = VIRTIO_CONFIG_S_DRIVER_OK;
    memset(&fake, 0, sizeof(fake));
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

void teardown(void)
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

void conversion_begin(Conversion *c, uint64_t offset, uint64_t size)
{
    *c = (Conversion) { .offset = offset, .size = size, .timeout_ms = 60000 };
    qemu_thread_create(&c->thread, "convert", convert_thread, c,
                       QEMU_THREAD_JOINABLE);
}

int conversion_end(Conversion *c)
{
    while (!qatomic_load_acquire(&c->ended)) {
        main_loop_wait(false);
    }
    qemu_thread_join(&c->thread);
    return c->ret;
}

int go_private(uint64_t offset, uint64_t size)
{
    Conversion c;

    conversion_begin(&c, offset, size);
    return conversion_end(&c);
}

/* Nothing that a main loop would do happens meanwhile */
int go_private_briefly(uint64_t offset, uint64_t size)
{
    Conversion c = { .offset = offset, .size = size, .timeout_ms = 20 };

    convert_thread(&c);
    return c.ret;
}

bool ring_begin(int n, uint64_t desc, uint64_t avail, uint64_t used)
{
    MemoryRegionCache caches[3];

    make_cache(&caches[0], desc, 16);
    make_cache(&caches[1], avail, 16);
    make_cache(&caches[2], used, 16);
    return gmem_virtio_ring_begin(&dev, n, &caches[0], &caches[1], &caches[2]);
}

void ring_set(int n)
{
    fake.has_pointers[n] = true;
    gmem_virtio_ring_set(virtio_get_queue(&dev, n));
}

void make_ring(int n, uint64_t desc, uint64_t avail, uint64_t used)
{
    g_assert_true(ring_begin(n, desc, avail, used));
    ring_set(n);
}

void check_stopped(int queue, uint64_t offset)
{
    g_assert_true(dev.broken);
    g_assert_true(dev.status & VIRTIO_CONFIG_S_NEEDS_RESET);
    g_assert_cmpuint(fake.notified, ==, 1);
    g_assert_cmpuint(fake.events, ==, 1);
    g_assert_cmpint(fake.last_queue, ==, queue);
    g_assert_cmpuint(fake.last_offset, ==, offset);
    g_assert_false(fake.has_pointers[queue]);
}

void check_untouched(void)
{
    g_assert_false(dev.broken);
    g_assert_cmpuint(fake.stops + fake.notified + fake.events, ==, 0);
    g_assert_cmpuint(dev.status, ==, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Until a conversion has marked the page */
void wait_for_mark(uint64_t offset)
{
    while (gmem_block_range_is(the_block, offset, PAGE, GMEM_PAGE_SHARED)) {
        g_usleep(100);
    }
}
