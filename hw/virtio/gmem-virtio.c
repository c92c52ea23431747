/*
 * gmem: virtio's rings as holders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in hw/virtio/gmem-virtio.h.  Readers of a ring are in RCU read-side sections,
 * so its uses end in a callback of RCU, which has the BQL, after its pointers were
 * dropped: because the guest has reset the queue, because the memory map has changed and
 * there are new ones, or because a conversion asked.
 *
 * The table of rings belongs to the BQL.  A conversion has not got that; it leaves a note in
 * the ring and wakes the main loop.
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "exec/cpu-common.h"
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
#include "gmem/trace.h"

/* Descriptors, available ring, used ring */
#define PARTS 3

static const char name[] = "virtio-ring";

typedef struct GmemRing GmemRing;

typedef struct GmemRingPart {
    GmemUse use;
    GmemRing *ring;
} GmemRingPart;

struct GmemRing {
    struct rcu_head rcu;
    VirtIODevice *vdev;
    VirtQueue *vq;
    GmemRingPart parts[PARTS];
    unsigned int nr_parts;      /* whose use has begun */
    GmemUse *wanted;            /* by a conversion; atomic */
};

/* VirtQueue * -> GmemRing *: those whose pointers new readers get */
static GHashTable *rings;

/* Its pointers are about to be published */
static GmemRing *begun;

/* stop_wanted() is about to look at all rings; atomic */
static bool stop_scheduled;

/* ---- stopping ---- */

static void stop_device(VirtIODevice *vdev)
{
    if (virtio_vdev_has_feature(vdev, VIRTIO_F_VERSION_1) &&
        !(vdev->status & VIRTIO_CONFIG_S_NEEDS_RESET)) {
        vdev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        virtio_notify_config(vdev);
    }
    if (vdev->vhost_started) {
        /* The ring is there still, from which QEMU learns how far vhost came */
        virtio_set_status(vdev, vdev->status & ~VIRTIO_CONFIG_S_DRIVER_OK);
    }
    vdev->broken = true;
}

static void stop_broken(void *opaque)
{
    VirtIODevice *vdev = opaque;

    /* unless it was reset, or unplugged, meanwhile */
    if (vdev->broken && qdev_is_realized(&vdev->parent_obj)) {
        /* a broken device tells its driver nothing */
        vdev->broken = false;
        stop_device(vdev);
    }
    object_unref(OBJECT(vdev));
}

/* From the middle of a change of its state, or of the memory map, which vhost listens to */
static void stop_later(VirtIODevice *vdev)
{
    vdev->broken = true;
    object_ref(OBJECT(vdev));
    aio_bh_schedule_oneshot(iohandler_get_aio_context(), stop_broken, vdev);
}

static void report(VirtIODevice *vdev, VirtQueue *vq, const GmemUse *use)
{
    g_autofree char *path = object_get_canonical_path(OBJECT(vdev));
    const char *id = gmem_block_id(use->block);
    int queue = virtio_get_queue_index(vq);

    trace_gmem_virtio_stop(path, queue, id, use->range.start);
    gmem_event_queue_stopped(path, queue, id, use->range.start,
                             use->range.last - use->range.start + 1);
}

static void stop_ring(GmemRing *ring)
{
    VirtQueue *vq = ring->vq;

    stop_device(ring->vdev);
    report(ring->vdev, vq, ring->wanted);
    virtio_virtqueue_reset_region_cache(vq);
}

static void collect_wanted(gpointer vq, gpointer value, gpointer opaque)
{
    GmemRing *ring = value;

    if (qatomic_read(&ring->wanted)) {
        g_ptr_array_add(opaque, vq);
    }
}

/* Main loop.  A ring may go while another one is stopped */
static void stop_wanted(void *opaque)
{
    g_autoptr(GPtrArray) wanted = g_ptr_array_new();
    unsigned int i;

    /* whoever leaves a note from here on wakes us again */
    qatomic_xchg(&stop_scheduled, false);
    if (rings) {
        g_hash_table_foreach(rings, collect_wanted, wanted);
    }
    for (i = 0; i < wanted->len; i++) {
        GmemRing *ring = g_hash_table_lookup(rings, wanted->pdata[i]);

        if (ring && qatomic_read(&ring->wanted)) {
            stop_ring(ring);
        }
    }
}

/*
 * A conversion's thread, with a lock of uses.  Not in the context that devices poll
 * while they wait for something with a device half way between two states.
 */
static void ask(GmemUse *use)
{
    GmemRingPart *part = container_of(use, GmemRingPart, use);

    qatomic_set(&part->ring->wanted, use);
    if (!qatomic_xchg(&stop_scheduled, true)) {
        aio_bh_schedule_oneshot(iohandler_get_aio_context(), stop_wanted,
                                NULL);
    }
}

/* ---- rings ---- */

static bool begin_part(GmemRing *ring, const MemoryRegionCache *cache)
{
    GmemRingPart *part = &ring->parts[ring->nr_parts];
    GmemBlock *block = cache->ptr ? gmem_touch_block(cache->mrs.mr) : NULL;

    if (!block) {
        return true;
    }
    part->ring = ring;
    if (!gmem_use_begin(&part->use, block, cache->xlat, cache->len, name,
                        ask)) {
        return false;
    }
    ring->nr_parts++;
    return true;
}

/* A callback of RCU: no reader is left */
static void free_ring(GmemRing *ring)
{
    unsigned int i;

    for (i = 0; i < ring->nr_parts; i++) {
        gmem_use_end(&ring->parts[i].use);
    }
    g_free(ring);
}

/* QEMU has dropped the ring of a broken device, which vhost goes on with */
static void stop_and_free(void *opaque)
{
    GmemRing *ring = opaque;

    stop_broken(ring->vdev);
    call_rcu(ring, free_ring, rcu);
}

/* Nobody has got its pointers yet, nor will */
static void refuse(GmemRing *ring)
{
    stop_later(ring->vdev);
    /* this part could not begin */
    report(ring->vdev, ring->vq, &ring->parts[ring->nr_parts].use);
    free_ring(ring);
}

bool gmem_virtio_ring_begin_guarded(VirtIODevice *vdev, int n,
                                    const MemoryRegionCache *desc,
                                    const MemoryRegionCache *avail,
                                    const MemoryRegionCache *used)
{
    GmemRing *ring = g_new0(GmemRing, 1);

    ring->vdev = vdev;
    ring->vq = virtio_get_queue(vdev, n);
    if (!begin_part(ring, desc) || !begin_part(ring, avail) ||
        !begin_part(ring, used)) {
        refuse(ring);
        return false;
    }
    assert(!begun);
    begun = ring;
    return true;
}

void gmem_virtio_ring_set(VirtQueue *vq)
{
    GmemRing *ring = g_steal_pointer(&begun);

    gmem_virtio_ring_clear(vq);
    if (ring) {
        rings = rings ?: g_hash_table_new(NULL, NULL);
        g_hash_table_insert(rings, vq, ring);
    }
}

void gmem_virtio_ring_clear(VirtQueue *vq)
{
    GmemRing *ring = rings ? g_hash_table_lookup(rings, vq) : NULL;

    if (!ring) {
        return;
    }
    g_hash_table_remove(rings, vq);
    if (ring->vdev->broken && ring->vdev->vhost_started) {
        object_ref(OBJECT(ring->vdev));
        aio_bh_schedule_oneshot(iohandler_get_aio_context(), stop_and_free,
                                ring);
    } else {
        call_rcu(ring, free_ring, rcu);
    }
}

void *gmem_virtio_map_ring(AddressSpace *as, hwaddr addr, hwaddr *plen,
                           bool is_write, MemTxAttrs attrs)
{
    void *host = address_space_map(as, addr, plen, is_write, attrs);
    GmemBlock *block;
    ram_addr_t offset;
    MemoryRegion *mr;

    if (host && qatomic_read(&gmem_touch_armed)) {
        mr = memory_region_from_host(host, &offset);
        block = mr ? gmem_from_ramblock(mr->ram_block) : NULL;
        if (block && gmem_use_is_asked_for(block, offset)) {
            gmem_dma_unmap(mr, offset, *plen);
        }
    }
    return host;
}

/* ---- starting ---- */

uint8_t gmem_virtio_status_guarded(const VirtIODevice *vdev, uint8_t status)
{
    if (!vdev->broken || !(status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        return status;
    }
    /* 0 would be a reset, and some devices insist on having a driver */
    return (status & ~VIRTIO_CONFIG_S_DRIVER_OK) | VIRTIO_CONFIG_S_DRIVER |
           VIRTIO_CONFIG_S_NEEDS_RESET;
}

void gmem_virtio_start_failed(VirtIODevice *vdev)
{
    if (!qatomic_read(&gmem_touch_armed)) {
        exit(1);
    }
    stop_later(vdev);
}

/* ---- indirect tables ---- */

int64_t gmem_virtio_table_map(MemoryRegionCache *cache, AddressSpace *as,
                              hwaddr addr, hwaddr len, bool is_write)
{
    int64_t size = address_space_cache_init(cache, as, addr, len, is_write);

    if (unlikely(qatomic_read(&gmem_touch_armed)) && cache->ptr &&
        !gmem_dma_begin(cache->mrs.mr, cache->xlat, cache->len)) {
        address_space_cache_destroy(cache);
        return 0;
    }
    return size;
}

void gmem_virtio_table_unmap(MemoryRegionCache *cache)
{
    if (cache->mrs.mr && cache->ptr) {
        gmem_dma_unmap(cache->mrs.mr, cache->xlat, cache->len);
    }
    address_space_cache_destroy(cache);
}

/* ---- what the guest does wrong ---- */

/* Not more than once in a second, where a guest can cause it for ever */
static bool may_say(void)
{
    static unsigned int last_second;
    unsigned int last = qatomic_read(&last_second);
    unsigned int now = get_clock() / NANOSECONDS_PER_SECOND;

    return !qatomic_read(&gmem_touch_armed) ||
           (now != last && qatomic_cmpxchg(&last_second, last, now) == last);
}

void gmem_virtio_report(const char *format, va_list args)
{
    if (may_say()) {
        error_vreport(format, args);
    }
}

void gmem_virtio_complain(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    gmem_virtio_report(format, args);
    va_end(args);
}

void gmem_virtio_complain_err(Error *err, const char *what)
{
    if (may_say()) {
        error_reportf_err(err, "%s", what);
    } else {
        error_free(err);
    }
}

bool gmem_virtio_vhost_error(VirtIODevice *vdev, int n)
{
    g_autofree char *path = object_get_canonical_path(OBJECT(vdev));

    gmem_event_vhost_error(path, n);
    return qatomic_read(&gmem_touch_armed);
}
