// SPDX-License-Identifier: GPL-2.0
/*
 * vhost: access to a ring by borrowed pages.  The model is in ring_map.h.
 *
 * These stand in the place of vhost.c's own accesses and call them where a page is
 * not borrowed.  An access that was done in part is then done again as a whole,
 * which nobody can tell: what it writes is published later, by an index, and an
 * index is never done in part.
 *
 * Included by vhost.c.
 */

#include <linux/nospec.h>

/* The borrowed page at a byte of the area's pages, or NULL. */
static struct page *vhost_ring_page(struct vhost_ring_area *area, size_t where)
{
	size_t index = where >> PAGE_SHIFT;

	/* The guest chooses descriptors, and so the index. */
	if (index >= area->nr_pages)
		return NULL;
	return area->pages[array_index_nospec(index, area->nr_pages)];
}

static bool vhost_ring_copy(struct vhost_ring_area *area, size_t where,
			    void *data, size_t size, bool write)
{
	while (size) {
		struct page *page = vhost_ring_page(area, where);
		size_t at = offset_in_page(where);
		size_t length = min(size, PAGE_SIZE - at);

		if (!page)
			return false;
		if (write)
			memcpy_to_page(page, at, data, length);
		else
			memcpy_from_page(data, page, at, length);
		where += length;
		data += length;
		size -= length;
	}
	return true;
}

/* An index, an event or flags: one load or store, for the guest looks on. */
static bool vhost_ring_copy16(struct vhost_ring_area *area, size_t where,
			      __virtio16 *value, bool write)
{
	struct page *page = vhost_ring_page(area, where);
	__virtio16 *there;

	if (!page)
		return false;

	there = kmap_local_page(page) + offset_in_page(where);
	if (write)
		WRITE_ONCE(*there, *value);
	else
		*value = READ_ONCE(*there);
	kunmap_local(there);
	return true;
}

/* Does it if all of [offset, offset + size) is borrowed. */
static __always_inline bool vhost_ring_try(struct vhost_ring_area *area,
					   size_t offset, void *data, size_t size,
					   bool write)
{
	bool done = false;

	spin_lock(&area->map->lock);
	if (area->live && offset <= area->size && size <= area->size - offset) {
		size_t where = offset_in_page(area->start) + offset;

		done = size == sizeof(__virtio16) ?
		       vhost_ring_copy16(area, where, data, write) :
		       vhost_ring_copy(area, where, data, size, write);
	}
	area->served += done;
	spin_unlock(&area->map->lock);
	return done;
}

static __always_inline bool vhost_ring_access(struct vhost_virtqueue *vq, int type,
					      const void __user *at, void *data,
					      size_t size, bool write)
{
	struct vhost_ring_area *area = &vq->ring_map.areas[type];
	size_t offset = (uintptr_t)at - vhost_ring_base(vq, type);
	bool done;

	if (!READ_ONCE(vhost_map_rings))
		return false;

	done = vhost_ring_try(area, offset, data, size, write) ||
	       (vhost_ring_borrow(vq, type, offset, size) &&
		vhost_ring_try(area, offset, data, size, write));
	vhost_ring_count(done ? VHOST_RING_MAPPED : VHOST_RING_PLAIN, 1);
	return done;
}

static bool vhost_ring_get16(struct vhost_virtqueue *vq, int type,
			     const __virtio16 __user *from, __virtio16 *value)
{
	return vhost_ring_access(vq, type, from, value, sizeof(*value), false);
}

/* Only the used ring is written. */
static bool vhost_ring_put16(struct vhost_virtqueue *vq, __virtio16 value,
			     const __virtio16 __user *to)
{
	return vhost_ring_access(vq, VHOST_ADDR_USED, to, &value, sizeof(value),
				 true);
}

#define vhost_ring_get_avail(vq, x, from)				\
	(vhost_ring_get16(vq, VHOST_ADDR_AVAIL, from, &(x)) ?		\
	 0 : vhost_get_avail(vq, x, from))

#define vhost_ring_get_used(vq, x, from)				\
	(vhost_ring_get16(vq, VHOST_ADDR_USED, from, &(x)) ?		\
	 0 : vhost_get_used(vq, x, from))

#define vhost_ring_put_user(vq, x, to)					\
	(vhost_ring_put16(vq, x, to) ? 0 : vhost_put_user(vq, x, to))

/* Descriptors. */
static int vhost_ring_copy_from_user(struct vhost_virtqueue *vq, void *to,
				     void __user *from, unsigned int size)
{
	if (vhost_ring_access(vq, VHOST_ADDR_DESC, from, to, size, false))
		return 0;
	return vhost_copy_from_user(vq, to, from, size);
}

/* Elements of the used ring. */
static int vhost_ring_copy_to_user(struct vhost_virtqueue *vq, void __user *to,
				   const void *from, unsigned int size)
{
	if (vhost_ring_access(vq, VHOST_ADDR_USED, to, (void *)from, size, true))
		return 0;
	return vhost_copy_to_user(vq, to, from, size);
}
