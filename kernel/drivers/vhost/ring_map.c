// SPDX-License-Identifier: GPL-2.0
/*
 * vhost: borrowing the pages of a ring.  The model is in ring_map.h.
 *
 * A page is borrowed in four steps.  The area's notifier is asked for its sequence,
 * which waits until no change of page tables is under way there; the page is taken
 * from the page tables, if it is present with the rights that we need; under the
 * spinlock the sequence is compared, and if it is the same the page is entered;
 * the reference of the second step is dropped.  A change that begins later finds
 * the page entered and takes it out, one that began earlier has changed the
 * sequence.
 *
 * Included by vhost.c, to know how it translates addresses and sizes rings.
 */

#include <linux/backing-dev.h>
#include <linux/cacheinfo.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ring_map_count.c"

/*
 * A borrowed page that served fewer accesses than this was not worth it; then
 * that many accesses at most go without, before the next try.
 */
#define VHOST_RING_WORTH	16
#define VHOST_RING_MAX_PENALTY	255

static bool vhost_map_rings __read_mostly;
module_param_named(map_rings, vhost_map_rings, bool, 0644);
MODULE_PARM_DESC(map_rings,
		 "Reach ring metadata by kernel addresses (default off)");

void vhost_ring_init(struct vhost_virtqueue *vq)
{
	struct vhost_ring_map *map = &vq->ring_map;
	int type;

	memset(map, 0, sizeof(*map));
	mutex_init(&map->mutex);
	spin_lock_init(&map->lock);
	for (type = 0; type < VHOST_NUM_ADDRS; type++)
		map->areas[type].map = map;
}

void vhost_ring_moved(struct vhost_virtqueue *vq)
{
	struct vhost_ring_map *map = &vq->ring_map;
	int type;

	spin_lock(&map->lock);
	map->moves++;
	for (type = 0; type < VHOST_NUM_ADDRS; type++)
		map->areas[type].live = false;
	spin_unlock(&map->lock);
}

/* Forgets the borrowed pages of [first, end) and says how many there were. */
static unsigned int vhost_ring_drop(struct vhost_ring_area *area,
				    unsigned int first, unsigned int end)
{
	unsigned int dropped = 0;

	lockdep_assert_held(&area->map->lock);
	for (; first < end; first++) {
		dropped += !!area->pages[first];
		area->pages[first] = NULL;
	}
	return dropped;
}

/*
 * Page tables are about to change.  May not sleep, whether or not the range says
 * so: who changes them may hold anything that a worker of ours is waiting for.
 */
static bool vhost_ring_invalidate(struct mmu_interval_notifier *notifier,
				  const struct mmu_notifier_range *range,
				  unsigned long sequence)
{
	struct vhost_ring_area *area =
		container_of(notifier, struct vhost_ring_area, notifier);
	unsigned long base = PAGE_ALIGN_DOWN(area->start);
	unsigned long first = max(range->start, base) - base;
	unsigned long last = range->end - 1 - base;
	unsigned int taken;

	spin_lock(&area->map->lock);
	mmu_interval_set_seq(notifier, sequence);
	taken = vhost_ring_drop(area, first >> PAGE_SHIFT,
				min(last >> PAGE_SHIFT, area->nr_pages - 1UL) + 1);
	spin_unlock(&area->map->lock);

	vhost_ring_count(VHOST_RING_TAKEN, taken);
	return true;
}

static const struct mmu_interval_notifier_ops vhost_ring_notifier_ops = {
	.invalidate = vhost_ring_invalidate,
};

/* The area begins to stand under its notifier; false if that cannot be. */
static bool vhost_ring_attach(struct vhost_ring_area *area, struct mm_struct *mm,
			      unsigned long start, size_t size)
{
	unsigned int nr = DIV_ROUND_UP(offset_in_page(start) + size, PAGE_SIZE);
	int r = -ENOMEM;

	/* All in place before the first notification. */
	area->start = start;
	area->size = size;
	area->nr_pages = nr;
	area->pages = kvcalloc(nr, sizeof(*area->pages), GFP_KERNEL_ACCOUNT);
	if (area->pages)
		r = mmu_interval_notifier_insert(&area->notifier, mm,
						 PAGE_ALIGN_DOWN(start),
						 (unsigned long)nr << PAGE_SHIFT,
						 &vhost_ring_notifier_ops);
	if (r) {
		kvfree(area->pages);
		area->pages = NULL;
		area->nr_pages = 0;
		vhost_ring_count(VHOST_RING_FAILED, 1);
		return false;
	}
	vhost_ring_count(VHOST_RING_ATTACHED, 1);
	return true;
}

static void vhost_ring_detach(struct vhost_ring_area *area)
{
	unsigned int returned;

	if (!area->nr_pages)
		return;

	spin_lock(&area->map->lock);
	area->live = false;
	returned = vhost_ring_drop(area, 0, area->nr_pages);
	spin_unlock(&area->map->lock);

	/* From here on nobody looks at the pages but a notification under way. */
	mmu_interval_notifier_remove(&area->notifier);
	kvfree(area->pages);
	area->pages = NULL;
	area->nr_pages = 0;
	area->penalty = 0;
	area->wait = 0;
	vhost_ring_count(VHOST_RING_RETURNED, returned);
	vhost_ring_count(VHOST_RING_DETACHED, 1);
}

static bool vhost_ring_is_attached(const struct vhost_ring_map *map)
{
	int type;

	for (type = 0; type < VHOST_NUM_ADDRS; type++) {
		if (map->areas[type].nr_pages)
			return true;
	}
	return false;
}

void vhost_ring_release(struct vhost_virtqueue *vq)
{
	struct vhost_ring_map *map = &vq->ring_map;
	int type;

	/* vdpa may come with the mmap_lock held, and never has anything. */
	if (!vhost_ring_is_attached(map))
		return;

	mutex_lock(&map->mutex);
	for (type = 0; type < VHOST_NUM_ADDRS; type++)
		vhost_ring_detach(&map->areas[type]);
	mutex_unlock(&map->mutex);
}

/* What the ring's own address is: of the user, or of the IOTLB if there is one. */
static u64 vhost_ring_base(const struct vhost_virtqueue *vq, int type)
{
	switch (type) {
	case VHOST_ADDR_DESC:
		return (uintptr_t)vq->desc;
	case VHOST_ADDR_AVAIL:
		return (uintptr_t)vq->avail;
	default:
		return (uintptr_t)vq->used;
	}
}

static size_t vhost_ring_size(struct vhost_virtqueue *vq, int type)
{
	switch (type) {
	case VHOST_ADDR_DESC:
		return vhost_get_desc_size(vq, vq->num);
	case VHOST_ADDR_AVAIL:
		return vhost_get_avail_size(vq, vq->num);
	default:
		return vhost_get_used_size(vq, vq->num);
	}
}

/*
 * Where the area is in user memory now; false where kernel addresses would not do.
 * User space gave the numbers, and nobody may have checked them yet.
 */
static bool vhost_ring_locate(struct vhost_virtqueue *vq, int type,
			      unsigned long *start, size_t *size)
{
	u64 base = vhost_ring_base(vq, type);
	void __user *at = (void __user *)(uintptr_t)base;

	if (!vhost_vq_get_backend(vq) || cpu_dcache_is_aliasing())
		return false;

	*size = vhost_ring_size(vq, type);
	if (vq->iotlb)
		at = vhost_vq_meta_fetch(vq, base, *size, type);
	*start = untagged_addr((unsigned long)at);

	/* An index must not lie on two pages. */
	return *start && IS_ALIGNED(*start, sizeof(__virtio16)) &&
	       access_ok((void __user *)*start, *size);
}

/* Makes the area stand where the ring is; true if it does. */
static bool vhost_ring_follow(struct vhost_virtqueue *vq, int type)
{
	struct vhost_ring_map *map = &vq->ring_map;
	struct vhost_ring_area *area = &map->areas[type];
	unsigned long start;
	unsigned int moves;
	size_t size;

	/* Whoever moves the ring counts after it. */
	spin_lock(&map->lock);
	moves = map->moves;
	spin_unlock(&map->lock);

	if (!vhost_ring_locate(vq, type, &start, &size))
		return false;
	if (area->start != start || area->size != size)
		vhost_ring_detach(area);
	if (!area->nr_pages && !vhost_ring_attach(area, vq->dev->mm, start, size))
		return false;

	spin_lock(&map->lock);
	area->live = moves == map->moves;
	spin_unlock(&map->lock);
	return area->live;
}

/*
 * A page that is written by its kernel address leaves no mark in the page tables,
 * so it must be marked before.  Nothing makes it clean behind our back: whoever
 * does has unmapped or write-protected it, and so taken it from us.
 *
 * A file with write-back of its own is marked already.  Its pages are writable in
 * the page tables only after the file system was told, and stay dirty as long as
 * they are; to mark one without asking the file system would be wrong.
 *
 * Whoever has the folio locked may keep it for as long as its disk takes: not with our
 * mutex held.  False: not now.
 */
static bool vhost_ring_mark_dirty(struct folio *folio)
{
	struct address_space *mapping;

	if (!folio_trylock(folio))
		return false;
	mapping = folio->mapping;
	if (folio_test_anon(folio) || (mapping && !mapping_can_writeback(mapping)))
		folio_mark_dirty(folio);
	folio_unlock(folio);
	return true;
}

static bool vhost_ring_borrow_page(struct vhost_ring_area *area,
				   unsigned int index, bool write)
{
	unsigned long at = PAGE_ALIGN_DOWN(area->start) +
			   ((unsigned long)index << PAGE_SHIFT);
	unsigned long sequence = mmu_interval_read_begin(&area->notifier);
	struct page *page;
	bool valid;

	if (get_user_pages_fast_only(at, 1, write ? FOLL_WRITE : 0, &page) != 1)
		return false;
	valid = !write || vhost_ring_mark_dirty(page_folio(page));

	spin_lock(&area->map->lock);
	valid = valid && !mmu_interval_read_retry(&area->notifier, sequence);
	if (valid)
		area->pages[index] = page;
	spin_unlock(&area->map->lock);

	put_page(page);
	vhost_ring_count(VHOST_RING_BORROWED, valid);
	return valid;
}

/* Borrows what is missing of [offset, offset + size). */
static bool vhost_ring_borrow_range(struct vhost_ring_area *area, size_t offset,
				    size_t size, bool write)
{
	size_t first = offset_in_page(area->start) + offset;
	unsigned int index = first >> PAGE_SHIFT;

	if (offset > area->size || size > area->size - offset)
		return false;
	for (; index <= (first + size - 1) >> PAGE_SHIFT; index++) {
		if (!READ_ONCE(area->pages[index]) &&
		    !vhost_ring_borrow_page(area, index, write))
			return false;
	}
	return true;
}

/* Whether to try; a page that is taken from us all the time is left alone. */
static bool vhost_ring_is_time(struct vhost_ring_area *area)
{
	unsigned int served;

	if (area->wait) {
		area->wait--;
		return false;
	}

	spin_lock(&area->map->lock);
	served = area->served;
	area->served = 0;
	spin_unlock(&area->map->lock);

	area->penalty = served >= VHOST_RING_WORTH ? 0 :
			min(2 * area->penalty + 1, VHOST_RING_MAX_PENALTY);
	area->wait = area->penalty;
	return true;
}

/*
 * An access to [offset, offset + size) of an area has found no pages.  Gets them
 * if that is possible now.  Sleeps, as uaccess would.
 */
static noinline bool vhost_ring_borrow(struct vhost_virtqueue *vq, int type,
				       size_t offset, size_t size)
{
	struct vhost_ring_map *map = &vq->ring_map;
	struct vhost_ring_area *area = &map->areas[type];
	bool borrowed;

	/* Page tables are looked up in those of the caller. */
	if (current->mm != vq->dev->mm || !mutex_trylock(&map->mutex))
		return false;

	borrowed = vhost_ring_is_time(area) && vhost_ring_follow(vq, type) &&
		   vhost_ring_borrow_range(area, offset, size,
					   type == VHOST_ADDR_USED);
	mutex_unlock(&map->mutex);
	return borrowed;
}

#include "ring_map_access.c"
