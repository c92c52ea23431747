/*
 * gmem: vhost-user devices that cannot be had with private memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  In a VM with private memory there are vhost-user devices all of
 * whose requests are answered, with back ends that give up single regions, and
 * memory that can be given up page by page.  All others are refused when they
 * are made: devices, and memory beside them.
 *
 * BQL held for all of these.
 */

#ifndef HW_VIRTIO_GMEM_VHOST_REFUSE_H
#define HW_VIRTIO_GMEM_VHOST_REFUSE_H

#include "chardev/char-fe.h"
#include "hw/virtio/gmem-vhost-user.h"
#include "system/ramblock.h"

/*
 * There is private memory, or will be: backends may be connected to before it.
 */
bool gmem_vhost_vm_is_private(void);

/*
 * Can @dev, whose back end has said what it can, be had?  False: @errp is set.
 */
bool gmem_vhost_can_be_had(const struct vhost_dev *dev, const CharFrontend *chr,
                           GmemVhostKind kind, Error **errp);

/*
 * Does @vdev go by the guest's own addresses, whatever its driver is told?
 * False: @errp is set.
 */
bool gmem_vhost_addresses_are_guests(VirtIODevice *vdev, Error **errp);

/* Can a back end have @rb?  False: @errp is set; the first one only asks. */
bool gmem_vhost_takes(RAMBlock *rb);
bool gmem_vhost_check_memory(RAMBlock *rb, Error **errp);

#endif
