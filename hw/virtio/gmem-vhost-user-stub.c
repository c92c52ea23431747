/*
 * gmem: no vhost-user in this build
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/virtio/gmem-vhost-user.h"

bool gmem_vhost_user_check_memory(RAMBlock *rb, Error **errp)
{
    return true;
}

bool gmem_vhost_user_kind_refused(Error **errp)
{
    return false;
}

void gmem_vhost_user_remapped(const struct vhost_dev *dev, bool changed)
{
}
