/*
 * gmem: virtio's rings as holders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  QEMU, and vhost with it, reaches a ring through pointers that are kept while
 * the queue is enabled.  Each of its three parts is a use (system/gmem-use.h) with ask():
 * a conversion of any page of it to private stops the device before the page goes.  The
 * device then needs a reset, and says so (VIRTIO_CONFIG_S_NEEDS_RESET, where the driver
 * knows that); vhost is stopped; the ring's pointers are dropped; QMP hears
 * GMEM_QUEUE_STOPPED; and once no reader is left, the conversion goes on.  A reset makes
 * all of it good.  Conversions of other pages do not concern the device.
 *
 * The work is done by the main loop.  Functions here are called with the BQL, unless they say
 * otherwise.
 */

#ifndef HW_VIRTIO_GMEM_VIRTIO_H
#define HW_VIRTIO_GMEM_VIRTIO_H

#include "hw/virtio/virtio.h"
#include "system/gmem-touch.h"

bool gmem_virtio_ring_begin_guarded(VirtIODevice *vdev, int n,
                                    const MemoryRegionCache *desc,
                                    const MemoryRegionCache *avail,
                                    const MemoryRegionCache *used);

/*
 * Queue @n is about to be reached through these, instead of what it was reached through.
 * False: a page of them goes private just now; the device has been stopped.  Else
 * gmem_virtio_ring_set() follows.
 */
static inline bool gmem_virtio_ring_begin(VirtIODevice *vdev, int n,
                                          const MemoryRegionCache *desc,
                                          const MemoryRegionCache *avail,
                                          const MemoryRegionCache *used)
{
    return likely(!qatomic_read(&gmem_touch_armed)) ||
           gmem_virtio_ring_begin_guarded(vdev, n, desc, avail, used);
}

/* New readers of @vq have the pointers that came last; those there are may have older ones */
void gmem_virtio_ring_set(VirtQueue *vq);
/* New readers of @vq have no pointers any more; those there are may have */
void gmem_virtio_ring_clear(VirtQueue *vq);

/*
 * Where the descriptors of a queue are, whose pointers are to be made: @desc, or 0, which
 * means nowhere, while the device waits for its reset.
 */
static inline hwaddr gmem_virtio_ring_desc(const VirtIODevice *vdev,
                                           hwaddr desc)
{
    return unlikely(qatomic_read(&gmem_touch_armed)) && vdev->broken ? 0 : desc;
}

uint8_t gmem_virtio_status_guarded(const VirtIODevice *vdev, uint8_t status);

/*
 * What becomes of @status that the driver sets, or that is set again when the VM goes on: a
 * device that waits for its reset is not started, and says why.
 */
static inline uint8_t gmem_virtio_status(const VirtIODevice *vdev,
                                         uint8_t status)
{
    return likely(!qatomic_read(&gmem_touch_armed)) ? status :
           gmem_virtio_status_guarded(vdev, status);
}

/*
 * @vdev could not be started, for which the base would exit.  A guest with private memory can bring
 * that about, by making a ring private in that moment: its device needs a reset.
 */
void gmem_virtio_start_failed(VirtIODevice *vdev);

/*
 * address_space_map() for vhost, which keeps the parts of a ring mapped for as long as it runs.
 * Where QEMU has that ring too, conversions need not wait for the map to end: they stop the
 * device.
 */
void *gmem_virtio_map_ring(AddressSpace *as, hwaddr addr, hwaddr *plen,
                           bool is_write, MemTxAttrs attrs);

/*
 * vhost met an error in queue @n of @vdev.  True: nothing is to be printed of it, because
 * guests with private memory can cause it as often as they like.  Main loop.
 */
bool gmem_virtio_vhost_error(VirtIODevice *vdev, int n);

/*
 * address_space_cache_init() and _destroy() for an indirect table, which is a map meanwhile.
 * Less than @len where part of it is private.  Any thread.
 */
int64_t gmem_virtio_table_map(MemoryRegionCache *cache, AddressSpace *as,
                              hwaddr addr, hwaddr len, bool is_write);
void gmem_virtio_table_unmap(MemoryRegionCache *cache);

/*
 * Print what a guest has done to its device: in a VM with private memory, where a guest can do that
 * for ever by naming it, at most once in a second.  Any thread.
 */
void gmem_virtio_report(const char *format, va_list args)
    G_GNUC_PRINTF(1, 0);
/* The same, in the place of error_report(). */
void gmem_virtio_complain(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* The same, in the place of error_reportf_err(): @what comes before @err, which is freed. */
void gmem_virtio_complain_err(Error *err, const char *what);

/* The base's: drop the pointers */
void virtio_virtqueue_reset_region_cache(struct VirtQueue *vq);

#endif
