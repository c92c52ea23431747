/*
 * gmem: the memory of a vhost-user back end, as holders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A section is a part of guest memory as vhost knows it.  Where its
 * memory converts, it is a holder as long as the back end may have something of
 * it: it lets go of what the session (hw/virtio/gmem-vhost-session.h) says the
 * back end has not got, and settles when the back end knows what is shared.  It
 * keeps its memory alive, also when the map has lost it, until the back end has
 * acknowledged that.
 */

#ifndef HW_VIRTIO_GMEM_VHOST_SECTIONS_H
#define HW_VIRTIO_GMEM_VHOST_SECTIONS_H

#include "hw/virtio/gmem-vhost-session.h"
#include "hw/virtio/vhost.h"
#include "system/gmem.h"

struct GmemVhostSection;

typedef struct GmemVhostSections {
    GmemVhostSession *session;
    QLIST_HEAD(, GmemVhostSection) list;
} GmemVhostSections;

/* BQL, all of these */

/*
 * Add to @table, which is begun, what of dev->mem_sections is shared; or
 * (@empty) nothing.  What is in there, and only that, is held once
 * gmem_vhost_sections_sweep() was called.
 */
void gmem_vhost_sections_lay_out(GmemVhostSections *all,
                                 const struct vhost_dev *dev,
                                 GmemVhostTable *table, bool empty);
/* The back end has what was laid out last, and nothing else. */
void gmem_vhost_sections_sweep(GmemVhostSections *all);
/* The back end has nothing. */
void gmem_vhost_sections_destroy(GmemVhostSections *all);

#endif
