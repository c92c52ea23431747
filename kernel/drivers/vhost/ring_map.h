/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vhost: ring metadata by kernel addresses.
 *
 * The descriptor table, the avail ring and the used ring of a virtqueue are user
 * memory.  To read two bytes of it, user access is opened and closed again, and
 * speculation stopped.  With vhost.map_rings=1 the pages of these three areas are
 * borrowed: looked up once, and reached by their kernel addresses until the page
 * tables are about to change there.
 *
 * Nothing is held.  A borrowed page has no reference and no pin of ours; like an
 * entry of a page table it stands under an MMU notifier, which takes it away from
 * us before anything happens to it.  So a page of a ring can be converted, moved,
 * freed, swapped, split or write-protected as if vhost did not know it.
 *
 * Nothing depends on it.  A page that is not borrowed is reached by uaccess, as
 * ever, which faults it in; a later access finds it in the page tables and borrows
 * it.  Borrowing itself never faults.  All it waits for is a change of page tables
 * that is under way.
 *
 * Locks, outer first: the virtqueue's mutex, which not all accesses hold; ours,
 * of which accesses only try the mutex; what page faults and notifiers take; the
 * folio lock; our spinlock.  The notifier takes nothing but the spinlock, which
 * is held to copy a few bytes, and waits for nothing.
 */
#ifndef _VHOST_RING_MAP_H
#define _VHOST_RING_MAP_H

#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>

struct vhost_virtqueue;

/* One of the three parts of a ring. */
struct vhost_ring_area {
	/* Registered while nr_pages is not 0. */
	struct mmu_interval_notifier notifier;
	struct vhost_ring_map *map;
	/* Where it is in user memory.  Constant while registered. */
	unsigned long start;
	size_t size;
	unsigned int nr_pages;
	/* Borrowed pages, NULL for others.  Under the spinlock. */
	struct page **pages;
	/* Whether start and size are still those of the ring.  Under the spinlock. */
	bool live;
	/* Accesses by borrowed pages since the last try to borrow; same lock. */
	unsigned int served;
	/* When to try again, in accesses that go without.  Under the mutex. */
	unsigned int penalty;
	unsigned int wait;
};

struct vhost_ring_map {
	/* Guards what areas are registered for. */
	struct mutex mutex;
	/* Guards what is borrowed; held while a borrowed page is touched. */
	spinlock_t lock;
	/* How often the ring has been moved.  Under the spinlock. */
	unsigned int moves;
	struct vhost_ring_area areas[VHOST_NUM_ADDRS];
};

/* For a virtqueue that was never used.  Neither sleeps nor fails. */
void vhost_ring_init(struct vhost_virtqueue *vq);

/*
 * The ring's addresses, size or translation may have changed.  What was borrowed
 * is not used before it has been compared with the new ones.  Does not sleep.
 */
void vhost_ring_moved(struct vhost_virtqueue *vq);

/*
 * Gives everything back.  The virtqueue has no backend any more, so that no
 * access can borrow again; the device still has its mm.  Sleeps.
 */
void vhost_ring_release(struct vhost_virtqueue *vq);

#endif /* _VHOST_RING_MAP_H */
