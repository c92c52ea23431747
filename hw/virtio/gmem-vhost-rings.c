/*
 * gmem: the rings of a vhost-user device, stopped and started beneath it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in hw/virtio/gmem-vhost-rings.h.  A ring that is stopped and
 * started again may have missed a kick, which is made up for always; and an
 * interrupt, which is made up for only if its used index moved: drivers count
 * interrupts that come for nothing.
 */

#include "qemu/osdep.h"
#include "hw/virtio/gmem-vhost-rings.h"
#include "hw/virtio/vhost-user.h"
#include "hw/virtio/virtio.h"
#include "qemu/memfd.h"

/*
 * The region for parked rings: where no guest has memory, with room for rings
 * of 1024
 */
#define PARK_GPA ((UINT64_C(1) << 52) - PARK_SIZE)
#define PARK_SIZE UINT64_C(0x10000)
#define PARK_AVAIL 0x8000
#define PARK_USED 0xc000

/* Of the available and the used ring alike: flags, index */
#define INDEX_AT 2

int gmem_vhost_rings_init(GmemVhostRings *r, struct vhost_dev *dev,
                          GmemVhostWire *wire)
{
    unsigned int i;

    *r = (GmemVhostRings) {
        .dev = dev, .wire = wire, .count = dev->nvqs, .park_fd = -1,
    };
    r->rings = g_new0(GmemVhostRing, r->count);
    for (i = 0; i < r->count; i++) {
        r->rings[i].call = -1;
    }
    return event_notifier_init(&r->quiet, 0);
}

/* ---- how far they are ---- */

/*
 * False: the back end has not got it (any more), and so nothing of it is under
 * way
 */
static bool read_index(const GmemVhostTable *had, uint64_t gpa, uint16_t *index)
{
    uint16_t *host = gmem_vhost_table_host(had, gpa + INDEX_AT, sizeof(*host));

    if (host) {
        *index = le16_to_cpu(qatomic_read(host));
    }
    return host;
}

/* Since the guest was told; what moves from here on is new */
static bool moved(GmemVhostRings *r, unsigned int i, const GmemVhostTable *had)
{
    GmemVhostRing *ring = &r->rings[i];
    uint16_t used;

    if (!read_index(had, r->dev->vqs[i].used_phys, &used) ||
        used == ring->told) {
        return false;
    }
    ring->told = used;
    return true;
}

/* Nothing of ring @i waits to be taken or answered; *used is how far it is */
static bool is_still(GmemVhostRings *r, unsigned int i,
                     const GmemVhostTable *had, uint16_t *used)
{
    const struct vhost_virtqueue *vq = &r->dev->vqs[i];
    uint16_t avail;

    return !r->rings[i].on || !read_index(had, vq->avail_phys, &avail) ||
           !read_index(had, vq->used_phys, used) || avail == *used;
}

bool gmem_vhost_rings_are_still(GmemVhostRings *r, const GmemVhostTable *had)
{
    unsigned int i;
    uint16_t used;

    for (i = 0; i < r->count; i++) {
        if (!is_still(r, i, had, &used)) {
            return false;
        }
    }
    return true;
}

bool gmem_vhost_rings_are_moving(GmemVhostRings *r, const GmemVhostTable *had)
{
    bool moving = true;
    unsigned int i;
    uint16_t used;

    for (i = 0; i < r->count; i++) {
        if (!is_still(r, i, had, &used)) {
            moving &= used != r->rings[i].seen;
            r->rings[i].seen = used;
        }
    }
    return moving;
}

bool gmem_vhost_rings_are_done(GmemVhostRings *r, const GmemVhostTable *had)
{
    unsigned int i;

    for (i = 0; i < r->count; i++) {
        uint16_t used;

        if (r->rings[i].on &&
            read_index(had, r->dev->vqs[i].used_phys, &used) &&
            used != r->rings[i].taken) {
            return false;
        }
    }
    return true;
}

bool gmem_vhost_rings_fit(GmemVhostRings *r, const GmemVhostTable *table)
{
    unsigned int i;

    for (i = 0; i < r->count; i++) {
        const struct vhost_virtqueue *vq = &r->dev->vqs[i];

        if (r->rings[i].on &&
            !(gmem_vhost_table_host(table, vq->desc_phys, vq->desc_size) &&
              gmem_vhost_table_host(table, vq->avail_phys, vq->avail_size) &&
              gmem_vhost_table_host(table, vq->used_phys, vq->used_size))) {
            return false;
        }
    }
    return true;
}

static void append_pin(GArray *pins, hwaddr gpa, hwaddr size)
{
    GmemPin pin = { gpa, size };

    if (gpa && size) {
        g_array_append_val(pins, pin);
    }
}

void gmem_vhost_rings_pins(const GmemVhostRings *r, VirtIODevice *vdev,
                           GArray *pins)
{
    unsigned int i;

    for (i = 0; i < r->count; i++) {
        if (virtio_queue_get_desc_addr(vdev, i)) {
            append_pin(pins, virtio_queue_get_desc_addr(vdev, i),
                       virtio_queue_get_desc_size(vdev, i));
            append_pin(pins, virtio_queue_get_avail_addr(vdev, i),
                       virtio_queue_get_avail_size(vdev, i));
            append_pin(pins, virtio_queue_get_used_addr(vdev, i),
                       virtio_queue_get_used_size(vdev, i));
        }
    }
}

/* ---- stopping ---- */

int gmem_vhost_rings_hold(GmemVhostRings *r, const GmemVhostTable *had)
{
    int quiet = event_notifier_get_wfd(&r->quiet);
    unsigned int i;
    int ret = 0;

    r->held = true;
    for (i = 0; i < r->count && !ret; i++) {
        GmemVhostRing *ring = &r->rings[i];

        /* a ring that is not mapped has not been started */
        ring->on = r->dev->vqs[i].desc &&
                   read_index(had, r->dev->vqs[i].used_phys, &ring->told);
        ring->seen = ring->told;
        if (ring->on) {
            ret = gmem_vhost_wire_call(r->wire, i, quiet);
        }
    }
    return ret;
}

int gmem_vhost_rings_stop(GmemVhostRings *r)
{
    int quiet = event_notifier_get_wfd(&r->quiet);
    unsigned int i;
    int ret = 0;

    for (i = 0; i < r->count && !ret; i++) {
        if (r->rings[i].on) {
            ret = gmem_vhost_wire_stop(r->wire, i, quiet, &r->rings[i].taken);
        }
    }
    return ret;
}

void gmem_vhost_rings_note_started(GmemVhostRings *r)
{
    r->parked = false;
}

void gmem_vhost_rings_note_stopped(GmemVhostRings *r, VirtIODevice *vdev)
{
    unsigned int i;

    for (i = 0; i < r->count; i++) {
        r->rings[i].on = virtio_queue_get_desc_addr(vdev, i) &&
                         r->dev->vqs[i].used_phys;
        r->rings[i].taken = virtio_queue_get_last_avail_idx(vdev, i);
    }
}

/* ---- parking ---- */

static GmemVhostRegion park_region(const GmemVhostRings *r)
{
    return (GmemVhostRegion) {
        .gpa = PARK_GPA, .size = PARK_SIZE, .host = (uintptr_t)r->park,
    };
}

static void free_park(GmemVhostRings *r)
{
    if (r->park) {
        qemu_memfd_free(r->park, PARK_SIZE, r->park_fd);
    }
    r->park = NULL;
    r->parked = false;
}

static int make_park(GmemVhostRings *r)
{
    GmemVhostRegion region;

    r->park = qemu_memfd_alloc("vhost-user-park", PARK_SIZE, 0, &r->park_fd,
                               NULL);
    if (!r->park) {
        return -ENOMEM;
    }
    region = park_region(r);
    return gmem_vhost_wire_add(r->wire, &region, r->park_fd);
}

int gmem_vhost_rings_park(GmemVhostRings *r)
{
    int ret = r->park ? 0 : make_park(r);
    GmemVhostAddresses at = {
        .desc = (uintptr_t)r->park,
        .avail = (uintptr_t)r->park + PARK_AVAIL,
        .used = (uintptr_t)r->park + PARK_USED,
    };
    unsigned int i;

    for (i = 0; i < r->count && !ret && !r->parked; i++) {
        /* no others have ever been started */
        if (r->dev->vqs[i].used_phys) {
            ret = gmem_vhost_wire_address(r->wire, i, &at);
        }
    }
    r->parked = true;
    return ret;
}

int gmem_vhost_rings_unpark(GmemVhostRings *r)
{
    GmemVhostRegion region = park_region(r);
    int ret = r->park ? gmem_vhost_wire_remove(r->wire, &region) : 0;

    free_park(r);
    return ret;
}

/* ---- going on ---- */

bool gmem_vhost_rings_may_resume(GmemVhostRings *r, const GmemVhostTable *had)
{
    /* such a back end does again what it has not finished */
    return !virtio_has_feature(r->dev->protocol_features,
                               VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) &&
           gmem_vhost_rings_fit(r, had);
}

static void tell(const GmemVhostRing *ring)
{
    uint64_t one = 1;

    if (ring->call >= 0) {
        /* full only if it was told, and has not listened */
        (void)!write(ring->call, &one, sizeof(one));
    }
}

void gmem_vhost_rings_let_go(GmemVhostRings *r, const GmemVhostTable *had)
{
    unsigned int i;

    r->held = false;
    for (i = 0; i < r->count; i++) {
        if (r->rings[i].on && moved(r, i, had)) {
            tell(&r->rings[i]);
        }
    }
}

int gmem_vhost_rings_unhold(GmemVhostRings *r, const GmemVhostTable *had)
{
    unsigned int i;
    int ret = 0;

    for (i = 0; i < r->count && !ret; i++) {
        if (r->rings[i].on) {
            ret = gmem_vhost_wire_call(r->wire, i, r->rings[i].call);
        }
    }
    gmem_vhost_rings_let_go(r, had);
    return ret;
}

static int start(GmemVhostRings *r, unsigned int i)
{
    const struct vhost_virtqueue *vq = &r->dev->vqs[i];
    VirtQueue *queue = virtio_get_queue(r->dev->vdev, i);
    EventNotifier *kick = virtio_queue_get_host_notifier(queue);
    GmemVhostAddresses at = {
        .desc = (uintptr_t)vq->desc,
        .used = (uintptr_t)vq->used,
        .avail = (uintptr_t)vq->avail,
    };
    int ret = gmem_vhost_wire_start(r->wire, i, vq->num, r->rings[i].taken,
                                    &at, event_notifier_get_fd(kick)) ?:
              gmem_vhost_wire_call(r->wire, i, r->rings[i].call);

    if (!ret) {
        event_notifier_set(kick);
    }
    return ret;
}

int gmem_vhost_rings_start(GmemVhostRings *r, const GmemVhostTable *had)
{
    unsigned int i;
    int ret = 0;

    r->parked = false;
    for (i = 0; i < r->count && !ret; i++) {
        if (r->rings[i].on) {
            ret = start(r, i);
        }
    }
    gmem_vhost_rings_let_go(r, had);
    return ret;
}

bool gmem_vhost_rings_set_call(GmemVhostRings *r, unsigned int ring, int fd)
{
    if (ring < r->count) {
        r->rings[ring].call = fd > 0 ? fd : -1;
    }
    return r->held;
}

void gmem_vhost_rings_destroy(GmemVhostRings *r)
{
    event_notifier_cleanup(&r->quiet);
    free_park(r);
    g_free(r->rings);
}
