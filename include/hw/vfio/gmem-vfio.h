/*
 * gmem and VFIO: devices reach what is shared, in mappings that fit their IOMMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The hooks of hw/vfio/listener.c.  BQL held.
 */

#ifndef HW_VFIO_GMEM_VFIO_H
#define HW_VFIO_GMEM_VFIO_H

#include "hw/vfio/vfio-container.h"

/* @bcontainer has its devices, and is about to hear of memory: nothing is mapped yet */
void gmem_vfio_prepare(VFIOContainer *bcontainer);
/* Is @section memory that the guest converts? */
bool gmem_vfio_covers(const MemoryRegionSection *section);
/*
 * Map what of such a @section is shared, from now until it is unregistered, which it has to
 * be also after this has failed.  False with @errp set where that cannot be; of a container that is
 * in use already that is only reported, because nobody could refuse any more.
 */
bool gmem_vfio_add(VFIOContainer *bcontainer, MemoryRegionSection *section,
                   Error **errp);

#endif
