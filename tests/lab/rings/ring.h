/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vhost-net device and the driver of its two rings, in one process.
 *
 * Both queues of the device have the same packet socket as back end, bound to
 * the loopback device and to a protocol of its own: what the driver sends comes
 * back to it. So every packet makes vhost read and write all parts of both
 * rings. Packets carry numbers, and the driver looks whether each comes back
 * once, in order and as it was sent.
 *
 * A ring consists of three areas, each on pages of its own with a page that
 * nobody uses behind it. vhost gets at rings by address alone, so they can be
 * in any memory, see place.h. Buffers are in other memory, where nothing
 * happens.
 */
#ifndef RINGS_RING_H
#define RINGS_RING_H

#include "tap.h"
#include "uapi.h"
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>

enum { RX, TX, QUEUES };
enum area { DESC, AVAIL, USED, AREAS };

/* Packets that may be on their way at a time */
#define BATCH 64u

#define FEATURE(bit) (1ull << (bit))
#define FEATURE_EVENT_IDX       FEATURE(29)
#define FEATURE_VERSION_1       FEATURE(32)
#define FEATURE_ACCESS_PLATFORM FEATURE(33)

struct ring {
    unsigned index, size;           /* queue; entries */
    unsigned char *area[AREAS];
    volatile struct vring_desc *desc;
    volatile struct vring_avail *avail;
    volatile struct vring_used *used;
    uint16_t next, seen;            /* our index in avail, in used */
    int kick, call, error;          /* eventfds */
};

struct device {
    int fd, socket;
    unsigned protocol;              /* of its packets */
    u64 features;
    unsigned char *buffers;
    struct ring ring[QUEUES];
    u32 sent, received;             /* packets */
    long iova_offset;               /* IOTLB: iova = address + this */
};

/* Bytes of one area, and of all areas of a device with rings of that size */
size_t area_bytes(enum area area, unsigned entries);
size_t rings_bytes(unsigned entries);

/*
 * Open a device whose rings lie at that address, and prepare everything but
 * the back end. Skips where there is no vhost-net.
 */
void device_open(struct device *d, unsigned entries, u64 features, void *at);

/* Give the device its back end, or take it away; an errno. */
int device_start(struct device *d);
void device_stop(struct device *d);

/* Stop it, and begin again with empty rings. */
void device_restart(struct device *d);

/* End it, and the memory of its buffers. */
void device_close(struct device *d);

/* Tell the device where a ring is; an errno. */
int ring_tell(struct device *d, const struct ring *r);

/* Compute where the areas of both rings are, from there on. */
void rings_lay(struct device *d, void *at);

/* Of a stopped device: begin with empty rings where they are now. */
void rings_reset(struct device *d);

/*
 * Send count packets (at most BATCH) and see them come back. False when the
 * device has signalled an error of a ring; what is wrong otherwise fails.
 */
bool exchange(struct device *d, unsigned count);

/* The same, which must succeed, several times. */
void exchange_surely(struct device *d, unsigned rounds);

/* Make packets available to the device, and do not tell it. */
void send_unseen(struct device *d, unsigned count);

/* Have the device look at a ring. Touches nothing of the ring. */
void ring_kick(struct ring *r);

/* Wait until the device signals an error of a ring; fails if it does not. */
void device_wait_error(struct device *d);

/* An ioctl; an errno, 0 when it succeeded. */
int vhost_ioctl(struct device *d, unsigned long request, void *argument);

#endif
