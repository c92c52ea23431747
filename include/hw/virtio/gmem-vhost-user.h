/*
 * gmem: memory of vhost-user back ends
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A vhost-user back end maps guest memory in its own process, by
 * the files that it is sent.  In a VM with private memory it is sent what is
 * shared only, and QEMU is a holder of that in its place: a page goes private
 * when the back end has acknowledged a table without it, or is gone; and a page
 * that became shared is in the table before the back end looks at a ring again,
 * unless a request of the device is not answered for a second.
 * How that goes on beneath a device that runs is told in
 * hw/virtio/gmem-vhost-session.h.
 *
 * It takes a back end that adds and removes single regions and acknowledges
 * each message (CONFIGURE_MEM_SLOTS, REPLY_ACK), and a kind of device all of
 * whose requests are answered, and which keeps no buffers besides: disks and
 * file systems.  Others are refused when they are made.
 *
 * A back end that dies has nothing; one that does not answer is disconnected.
 * Neither holds conversions up for longer than their timeout.  VMs without
 * private memory are left alone.
 *
 * BQL held for all of these, unless they say otherwise.
 */

#ifndef HW_VIRTIO_GMEM_VHOST_USER_H
#define HW_VIRTIO_GMEM_VHOST_USER_H

#include "hw/virtio/vhost-user.h"
#include "hw/virtio/vhost.h"
#include "system/ramblock.h"

/* Kinds of devices: other ones cannot be had with private memory */
typedef enum GmemVhostKind {
    GMEM_VHOST_OTHER,
    GMEM_VHOST_ONCE,            /* does not notice a new back end */
    GMEM_VHOST_AGAIN,           /* starts anew with a new one */
} GmemVhostKind;

/* @dev, which is about to be connected to, is @vdev's and of this kind. */
void gmem_vhost_user_vouch(const struct vhost_dev *dev, VirtIODevice *vdev,
                           GmemVhostKind kind);
/*
 * About to wait for something from a back end.  False: it is one that is being
 * connected to, and nothing came in time.  One that is stopped can be connected
 * to, again and again: it may keep the main loop for some seconds, but not each
 * time.
 */
bool gmem_vhost_user_answers(const struct vhost_dev *dev, CharFrontend *chr);
/* A back end has said what it can.  0, or -ENOTSUP and @errp is set. */
int gmem_vhost_user_connected(struct vhost_dev *dev, VhostUserState *user,
                              Error **errp);
/*
 * Of the features that a back end offers: those that can be had.  And one that
 * it need not know of: a guest must go by its own rules for DMA, and the
 * addresses that come of that are what the table says, without a virtual IOMMU.
 */
uint64_t gmem_vhost_user_features(const struct vhost_dev *dev,
                                  uint64_t features);
/* The connection of @dev, or @dev itself, goes. */
void gmem_vhost_user_forget(const struct vhost_dev *dev);

/*
 * A device that cannot be had with private memory is about to be made.  True:
 * there is such memory, or will be, and @errp is set.
 */
bool gmem_vhost_user_kind_refused(Error **errp);

/*
 * Memory is about to be plugged.  False: there are devices whose back ends
 * cannot have it, and @errp is set.
 */
bool gmem_vhost_user_check_memory(RAMBlock *rb, Error **errp);

/*
 * Tables for @dev are made here, or refused: in a VM with private memory no
 * back end gets all of it.
 */
bool gmem_vhost_user_is_ours(const struct vhost_dev *dev);
/* A table is to be sent, in the place of the base.  0 or -errno. */
int gmem_vhost_user_set_mem_table(struct vhost_dev *dev);
/*
 * dev->mem_sections may have (@changed) other sections now, whether @dev is
 * started or not.
 */
void gmem_vhost_user_remapped(const struct vhost_dev *dev, bool changed);

/* The rings of @dev run, or (@started false) are about to be stopped. */
void gmem_vhost_user_started(const struct vhost_dev *dev, bool started);
/* They have been stopped. */
void gmem_vhost_user_stopped(const struct vhost_dev *dev);
/*
 * Completions of a ring are to be told by @file.  True: that is seen to later.
 */
bool gmem_vhost_user_set_call(const struct vhost_dev *dev,
                              const struct vhost_vring_file *file);

/*
 * @vdev, whose back end is there again, may be started: it does not wait for a
 * reset.
 */
bool gmem_vhost_user_may_start(const VirtIODevice *vdev);

/* Have the main loop see to all back ends soon.  Any thread. */
void gmem_vhost_user_schedule(void);
/*
 * The same; in the main thread it is done when this returns.  Without the BQL.
 */
void gmem_vhost_user_have_step(void);

#endif
