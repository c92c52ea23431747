/*
 * gmem: vhost-user devices that cannot be had with private memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in hw/virtio/gmem-vhost-refuse.h.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "chardev/char-socket.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/virtio/gmem-vhost-refuse.h"
#include "hw/virtio/gmem-vhost-user.h"
#include "hw/virtio/virtio-bus.h"
#include "hw/virtio/virtio.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "system/ramblock.h"

/*
 * The protocol has eight bits for the number of a ring that a file comes with
 */
#define MOST_RINGS 256

bool gmem_vhost_vm_is_private(void)
{
    return qatomic_read(&gmem_touch_armed) ||
           gmem_machine_has_private_memory(current_machine);
}

/* ---- devices ---- */

static bool refuse_kind(Error **errp)
{
    error_setg(errp, "vhost-user: a device of this kind keeps buffers, or "
               "pointers to them, from which a page that goes private cannot "
               "be taken");
    error_append_hint(errp, "In a VM with private memory there are "
                      "vhost-user-blk and vhost-user-fs.\n");
    return false;
}

bool gmem_vhost_user_kind_refused(Error **errp)
{
    return gmem_vhost_vm_is_private() && !refuse_kind(errp);
}

static bool gives_up_regions(const struct vhost_dev *dev, Error **errp)
{
    if (virtio_has_feature(dev->protocol_features,
                           VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) &&
        virtio_has_feature(dev->protocol_features,
                           VHOST_USER_PROTOCOL_F_REPLY_ACK)) {
        return true;
    }
    error_setg(errp, "vhost-user: the back end cannot give up single regions "
               "of memory with acknowledgement, which a VM with private memory "
               "needs");
    error_append_hint(errp, "Its protocol features must have "
                      "CONFIGURE_MEM_SLOTS and REPLY_ACK, as those of "
                      "virtiofsd and qemu-storage-daemon have.\n");
    return false;
}

static bool has_few_rings(const struct vhost_dev *dev, Error **errp)
{
    if (dev->nvqs <= MOST_RINGS) {
        return true;
    }
    error_setg(errp, "vhost-user: %d queues are more than the %d that can be "
               "had in a VM with private memory", dev->nvqs, MOST_RINGS);
    return false;
}

/* Nobody would tell a back end that comes anew what the first one was told */
static bool stays_away(const CharFrontend *chr, Error **errp)
{
    Object *socket = object_dynamic_cast(OBJECT(chr->chr),
                                         TYPE_CHARDEV_SOCKET);
    const SocketChardev *s = socket ? SOCKET_CHARDEV(socket) : NULL;

    if (!s || (!s->reconnect_time_ms && !s->is_listen)) {
        return true;
    }
    error_setg(errp, "vhost-user: with private memory, chardev '%s' cannot "
               "have %s here: a device of this kind does not notice that its "
               "back end is a new one", chr->chr->label,
               s->is_listen ? "server=on" : "reconnect-ms");
    error_append_hint(errp, "Leave it out.  vhost-user-blk has it.\n");
    return false;
}

bool gmem_vhost_addresses_are_guests(VirtIODevice *vdev, Error **errp)
{
    if (!virtio_host_has_feature(vdev, VIRTIO_F_IOMMU_PLATFORM) ||
        !virtio_bus_device_iommu_enabled(vdev)) {
        return true;
    }
    error_setg(errp, "vhost-user: a device behind a virtual IOMMU cannot be "
               "had in a VM with private memory");
    error_append_hint(errp, "Leave the IOMMU out, or put the device on a bus "
                      "that bypasses it.\n");
    return false;
}

/* ---- memory ---- */

bool gmem_vhost_takes(RAMBlock *rb)
{
    GmemBlock *block = gmem_from_ramblock(rb);

    return !block || gmem_block_mode(block) == GMEM_BLOCK_MODE_NONE ||
           qemu_ram_pagesize(rb) <= qemu_real_host_page_size();
}

bool gmem_vhost_check_memory(RAMBlock *rb, Error **errp)
{
    if (gmem_vhost_takes(rb)) {
        return true;
    }
    error_setg(errp, "vhost-user: a back end cannot give up single pages of "
               "memory '%s', whose shared side lies on huge pages",
               rb->idstr);
    error_append_hint(errp, "With vhost-user devices, leave shared-hugetlb and "
                      "hugetlb out.\n");
    return false;
}

/* What no device has is no memory of the guest's, and may go again */
static int check_block(RAMBlock *rb, void *errp)
{
    return rb->mr && memory_region_is_mapped(rb->mr) &&
           !gmem_vhost_check_memory(rb, errp);
}

bool gmem_vhost_can_be_had(const struct vhost_dev *dev, const CharFrontend *chr,
                           GmemVhostKind kind, Error **errp)
{
    if (kind == GMEM_VHOST_OTHER) {
        return refuse_kind(errp);
    }
    return gives_up_regions(dev, errp) && has_few_rings(dev, errp) &&
           (kind != GMEM_VHOST_ONCE || stays_away(chr, errp)) &&
           !qemu_ram_foreach_block(check_block, errp);
}
