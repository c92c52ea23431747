/*
 * gmem: the rings of a vhost-user device, stopped and started beneath it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  The device stays started all the while, and its driver sees
 * nothing: only the back end is told to stop and to go on.  What is under way
 * is learnt from the used index, which lies in the guest's memory and is read
 * where the back end has it (`had`, which is shared for sure).  A guest that
 * writes nonsense there keeps its own device waiting, or has requests of its
 * own fail.
 *
 * There are back ends that look for all rings whenever a region is added, and
 * give up where one is in none. So before regions are removed, the rings are
 * *parked*: they are said to lie in a small region of QEMU's own, which stays.
 *
 * All rings are taken for rings of requests that get answered; devices that
 * keep buffers are refused (hw/virtio/gmem-vhost-user.h).
 */

#ifndef HW_VIRTIO_GMEM_VHOST_RINGS_H
#define HW_VIRTIO_GMEM_VHOST_RINGS_H

#include "hw/virtio/gmem-vhost-table.h"
#include "hw/virtio/gmem-vhost-wire.h"
#include "hw/virtio/vhost.h"
#include "qemu/event_notifier.h"

typedef struct GmemVhostRing {
    bool on;                    /* ran when it was held, or stopped by others */
    int call;                   /* the file to tell completions by, or -1 */
    uint16_t told;              /* used index up to which they were */
    uint16_t seen;              /* used index at the last look for moves */
    uint16_t taken;             /* available index, where it was stopped */
} GmemVhostRing;

typedef struct GmemVhostRings {
    struct vhost_dev *dev;
    GmemVhostWire *wire;
    EventNotifier quiet;        /* told of what nobody is to hear of */
    bool held;
    int park_fd;
    void *park;                 /* NULL: there is none yet */
    bool parked;                /* since they were started last */
    unsigned int count;
    GmemVhostRing *rings;
} GmemVhostRings;

/* 0 or -errno.  BQL, as all of these */
int gmem_vhost_rings_init(GmemVhostRings *r, struct vhost_dev *dev,
                          GmemVhostWire *wire);
void gmem_vhost_rings_destroy(GmemVhostRings *r);

/* What GmemVhostLink promises of them */
int gmem_vhost_rings_hold(GmemVhostRings *r, const GmemVhostTable *had);
bool gmem_vhost_rings_are_still(GmemVhostRings *r, const GmemVhostTable *had);
bool gmem_vhost_rings_are_moving(GmemVhostRings *r, const GmemVhostTable *had);
int gmem_vhost_rings_unhold(GmemVhostRings *r, const GmemVhostTable *had);
int gmem_vhost_rings_stop(GmemVhostRings *r);
bool gmem_vhost_rings_are_done(GmemVhostRings *r, const GmemVhostTable *had);
int gmem_vhost_rings_park(GmemVhostRings *r);
int gmem_vhost_rings_unpark(GmemVhostRings *r);
bool gmem_vhost_rings_fit(GmemVhostRings *r, const GmemVhostTable *table);
bool gmem_vhost_rings_may_resume(GmemVhostRings *r, const GmemVhostTable *had);
int gmem_vhost_rings_start(GmemVhostRings *r, const GmemVhostTable *had);
void gmem_vhost_rings_let_go(GmemVhostRings *r, const GmemVhostTable *had);

/* Others have started them. */
void gmem_vhost_rings_note_started(GmemVhostRings *r);
/* Others have stopped them: note how far they came. */
void gmem_vhost_rings_note_stopped(GmemVhostRings *r, VirtIODevice *vdev);
/* Completions of @ring are to be told by @fd.  True: not yet, it is noted. */
bool gmem_vhost_rings_set_call(GmemVhostRings *r, unsigned int ring, int fd);
/* Appends the parts of the rings that @vdev has been given, as GmemPin. */
void gmem_vhost_rings_pins(const GmemVhostRings *r, VirtIODevice *vdev,
                           GArray *pins);

#endif
