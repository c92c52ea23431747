// SPDX-License-Identifier: GPL-2.0
/*
 * In-place conversion: memory errors in guest_memfd pages.
 *
 * memory_failure() calls us with the folio locked, to have KVM's mappings removed,
 * for which the bindings must be stable, that is, the invalidate_lock be held.
 * Everybody else takes these two locks in the other order; user faults too, since
 * conversion is in place.  A conversion that waits for the invalidate_lock, behind
 * a fault that waits for the folio, behind us, would wait for ever.  So the lock is
 * only tried here, and when that fails the mappings are removed a little later.
 * The page is marked as poisoned already, so nobody can map it any more.
 *
 * Included by guest_memfd.c.
 */

#include <linux/llist.h>
#include <linux/workqueue.h>

struct kvm_gmem_error {
	struct llist_node node;
	struct inode *inode;	/* referenced */
	pgoff_t start;
	pgoff_t end;
};

static LLIST_HEAD(kvm_gmem_errors);

static void kvm_gmem_handle_errors(struct work_struct *work)
{
	struct kvm_gmem_error *e, *next;

	llist_for_each_entry_safe(e, next, llist_del_all(&kvm_gmem_errors), node) {
		struct address_space *mapping = e->inode->i_mapping;

		filemap_invalidate_lock_shared(mapping);
		kvm_gmem_invalidate_start(e->inode, e->start, e->end);
		kvm_gmem_invalidate_end(e->inode, e->start, e->end);
		filemap_invalidate_unlock_shared(mapping);

		iput(e->inode);
		kfree(e);
	}
}

static DECLARE_WORK(kvm_gmem_error_work, kvm_gmem_handle_errors);

void kvm_gmem_flush_errors(void)
{
	flush_work(&kvm_gmem_error_work);
}

static int kvm_gmem_error_later(struct inode *inode, pgoff_t start, pgoff_t end)
{
	struct kvm_gmem_error *e;

	/* Without a reference left there is no file, and so no mapping. */
	inode = igrab(inode);
	if (!inode)
		return MF_DELAYED;

	e = kmalloc_obj(*e, GFP_NOIO);
	if (!e) {
		iput(inode);
		return MF_FAILED;
	}

	*e = (struct kvm_gmem_error) {
		.inode = inode,
		.start = start,
		.end = end,
	};
	llist_add(&e->node, &kvm_gmem_errors);
	schedule_work(&kvm_gmem_error_work);
	return MF_DELAYED;
}

int kvm_gmem_remove_error_folio(struct address_space *mapping, struct folio *folio)
{
	pgoff_t start = folio->index;
	pgoff_t end = folio_next_index(folio);

	if (!kvm_gmem_in_place)
		return kvm_gmem_error_folio(mapping, folio);
	if (!filemap_invalidate_trylock_shared(mapping))
		return kvm_gmem_error_later(mapping->host, start, end);

	kvm_gmem_invalidate_start(mapping->host, start, end);
	kvm_gmem_invalidate_end(mapping->host, start, end);
	filemap_invalidate_unlock_shared(mapping);
	return MF_DELAYED;
}
