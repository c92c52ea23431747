// SPDX-License-Identifier: GPL-2.0
/*
 * In-place conversion of guest_memfd pages between private and shared.
 *
 * The state of a page belongs to the inode, see gmem_in_place_state.c, and changes
 * by one ioctl on the file.  A private page is reached by its guest alone: mapping
 * it into user space ends in SIGBUS.  A shared page is like any page of a shared
 * mapping.  Nothing is copied and nothing is freed when a page is converted.
 *
 * Before a page becomes private the host must have let go of it: it is unmapped
 * everywhere, and then nobody but the page cache may hold a reference.  KVM's own
 * mappings hold none.  The invalidate_lock, held exclusively from the unmapping to
 * the change of state, keeps user space from mapping the page again, because
 * kvm_gmem_fault() takes it shared.  KVM maps without that lock; what it is about
 * to map is thrown away by the invalidation that brackets the change of state.
 *
 * Order of locks, outer first: mmap_lock or slots_lock, invalidate_lock, folio
 * lock, mmu_lock.  memory_failure() has the folio lock when it needs the middle one
 * and then only tries that, see gmem_in_place_error.c.
 *
 * Included by guest_memfd.c, to know struct gmem_inode and its bindings.
 */

#include <linux/delay.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/swap.h>
#include <linux/uaccess.h>

#include "gmem_in_place_error.c"
#include "gmem_in_place_state.c"

#ifdef CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES
bool kvm_gmem_in_place __ro_after_init;
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_gmem_in_place);
module_param_named(gmem_in_place_conversion, kvm_gmem_in_place, bool, 0444);
MODULE_PARM_DESC(gmem_in_place_conversion,
		 "Convert guest_memfd pages in place (default off)");
#endif

/*
 * How often, and how many microseconds apart, a folio is looked at again that has
 * references which may be gone in a moment: those of faults and of KVM.
 */
#define KVM_GMEM_IDLE_TRIES	20
#define KVM_GMEM_IDLE_PAUSE	50

/* One ioctl on its way. */
struct kvm_gmem_conversion {
	struct inode *inode;
	pgoff_t start;
	pgoff_t end;
	bool to_private;
	/* Set between kvm_gmem_begin_change() and kvm_gmem_end_change(). */
	bool invalidating;
	enum lru_cache_drained drained;
	/* With an error: the page that is at fault. */
	pgoff_t failed;
};

u64 kvm_gmem_supported_attributes(struct kvm *kvm)
{
	if (!kvm_gmem_in_place || (kvm && !kvm_arch_has_private_mem(kvm)))
		return 0;

	return KVM_MEMORY_ATTRIBUTE_PRIVATE;
}

unsigned long kvm_gmem_get_attributes(struct kvm *kvm, gfn_t gfn)
{
	struct kvm_memory_slot *slot;

	if (!kvm_arch_has_private_mem(kvm))
		return 0;

	slot = gfn_to_memslot(kvm, gfn);
	if (!kvm_slot_has_gmem(slot))
		return 0;

	CLASS(gmem_get_file, file)(slot);
	if (!file || !kvm_gmem_state_is_private(file_inode(file),
						kvm_gmem_get_index(slot, gfn)))
		return 0;

	return KVM_MEMORY_ATTRIBUTE_PRIVATE;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_gmem_get_attributes);

bool kvm_gmem_range_has_attributes(struct kvm *kvm, gfn_t start, gfn_t end,
				   unsigned long mask, unsigned long attrs)
{
	gfn_t gfn;

	mask &= kvm_gmem_supported_attributes(kvm);
	if (attrs & ~mask)
		return false;

	/* Asked for single pages, by the launch of a confidential VM. */
	for (gfn = start; gfn < end; gfn++) {
		if ((kvm_gmem_get_attributes(kvm, gfn) & mask) != attrs)
			return false;
	}
	return true;
}

void kvm_gmem_prepare_launch(struct folio *folio, struct page *source)
{
	if (!kvm_gmem_in_place || source || folio_test_uptodate(folio))
		return;

	clear_highpage(folio_page(folio, 0));
	folio_mark_uptodate(folio);
}

/*
 * Holding the lock keeps the state of the page as it is until the folio has been
 * locked and referenced; a conversion that comes then finds it in use.
 */
vm_fault_t kvm_gmem_fault(struct vm_fault *vmf)
{
	struct address_space *mapping = vmf->vma->vm_file->f_mapping;
	vm_fault_t ret;

	if (!kvm_gmem_in_place)
		return kvm_gmem_fault_user_mapping(vmf);

	filemap_invalidate_lock_shared(mapping);
	ret = kvm_gmem_fault_user_mapping(vmf);
	filemap_invalidate_unlock_shared(mapping);

	return ret;
}

/*
 * From here on no vCPU takes a reference to a page of the range, and no vCPU that
 * already has one will map the page.  Only mappings of the old kind are removed:
 * to remove a private page that stays private may destroy its contents.
 */
static void kvm_gmem_begin_change(struct kvm_gmem_conversion *c)
{
	struct gmem_file *f;

	if (c->invalidating)
		return;

	kvm_gmem_for_each_file(f, c->inode)
		__kvm_gmem_invalidate_start(f, c->start, c->end, c->to_private ?
					    KVM_FILTER_SHARED : KVM_FILTER_PRIVATE);
	c->invalidating = true;
}

static void kvm_gmem_end_change(struct kvm_gmem_conversion *c)
{
	if (c->invalidating)
		kvm_gmem_invalidate_end(c->inode, c->start, c->end);
	c->invalidating = false;
}

/* The caller has one reference, the page cache has one per page. */
static bool kvm_gmem_folio_is_idle(struct folio *folio)
{
	return !folio_maybe_dma_pinned(folio) && !folio_mapped(folio) &&
	       folio_ref_count(folio) == folio_nr_pages(folio) + 1;
}

/*
 * A fault that got the folio before the invalidate_lock was taken maps it while it
 * holds the folio's lock.  With that lock, whatever is mapped now can be unmapped
 * for good.  If it was mlocked, it is now in an LRU cache once more.
 */
static void kvm_gmem_unmap_folio(struct kvm_gmem_conversion *c,
				 struct folio *folio)
{
	if (!folio_mapped(folio) || !folio_trylock(folio))
		return;

	unmap_mapping_pages(folio->mapping, folio->index, folio_nr_pages(folio),
			    true);
	c->drained = LRU_CACHE_NOT_DRAINED;
	folio_unlock(folio);
}

/* A reference that is meant to last, or the one that a memory error left. */
static bool kvm_gmem_folio_is_held(struct folio *folio)
{
	return folio_maybe_dma_pinned(folio) || folio_test_hwpoison(folio);
}

static bool kvm_gmem_wait_idle(struct kvm_gmem_conversion *c, struct folio *folio)
{
	int tries;

	for (tries = 0; tries < KVM_GMEM_IDLE_TRIES; tries++) {
		if (kvm_gmem_folio_is_idle(folio))
			return true;
		if (kvm_gmem_folio_is_held(folio) || fatal_signal_pending(current))
			return false;

		kvm_gmem_begin_change(c);
		kvm_gmem_unmap_folio(c, folio);
		lru_cache_drain_for_folio(folio, 1, &c->drained);
		if (tries)
			usleep_range(KVM_GMEM_IDLE_PAUSE, 2 * KVM_GMEM_IDLE_PAUSE);
	}
	return kvm_gmem_folio_is_idle(folio);
}

/* 0, or -EAGAIN and the first page that is in use. */
static int kvm_gmem_test_batch(struct kvm_gmem_conversion *c,
			       struct folio_batch *batch)
{
	unsigned int i;

	for (i = 0; i < folio_batch_count(batch); i++) {
		struct folio *folio = batch->folios[i];

		if (kvm_gmem_wait_idle(c, folio))
			continue;

		c->failed = max(folio->index, c->start);
		return -EAGAIN;
	}
	return 0;
}

#ifdef CONFIG_HAVE_KVM_ARCH_GMEM_RECLAIM
/*
 * kvm_gmem_get_pfn() makes a page private for the hardware under the folio's lock,
 * if it finds it private.  Whoever had the lock before us may have done so; whoever
 * gets it after us finds the page shared.
 */
static int kvm_gmem_reclaim_batch(struct kvm_gmem_conversion *c,
				  struct folio_batch *batch)
{
	unsigned int i;

	for (i = 0; i < folio_batch_count(batch); i++) {
		struct folio *folio = batch->folios[i];
		pgoff_t first = max(folio->index, c->start);
		pgoff_t end = min(folio_next_index(folio), c->end);

		folio_lock(folio);
		kvm_arch_gmem_reclaim(folio_file_pfn(folio, first), end - first);
		folio_unlock(folio);
	}
	return 0;
}
#endif

/* Calls fn for the folios there are in the range, until it returns an error. */
static int kvm_gmem_walk(struct kvm_gmem_conversion *c,
			 int (*fn)(struct kvm_gmem_conversion *c,
				   struct folio_batch *batch), bool killable)
{
	struct address_space *mapping = c->inode->i_mapping;
	struct folio_batch batch;
	pgoff_t next = c->start;
	int r = 0;

	folio_batch_init(&batch);
	while (!r && filemap_get_folios(mapping, &next, c->end - 1, &batch)) {
		r = fn(c, &batch);
		folio_batch_release(&batch);
		if (killable && fatal_signal_pending(current))
			r = -EINTR;
		cond_resched();
	}
	return r;
}

/*
 * Gets the host off the range, or fails.  With even_cows the markers go too that a
 * memory error has left in page tables; there is nothing private to a process here.
 */
static int kvm_gmem_clear_out(struct kvm_gmem_conversion *c)
{
	unmap_mapping_pages(c->inode->i_mapping, c->start, c->end - c->start,
			    true);

	return kvm_gmem_walk(c, kvm_gmem_test_batch, true);
}

static void kvm_gmem_change(struct kvm_gmem_conversion *c)
{
	kvm_gmem_begin_change(c);
	kvm_gmem_state_set(c->inode, c->start, c->end, c->to_private);
#ifdef CONFIG_HAVE_KVM_ARCH_GMEM_RECLAIM
	if (!c->to_private) {
		/*
		 * A folio that the walk does not find comes into the page cache
		 * later, and then its maker must see the new state.  Pairs with
		 * the atomic operations between that and kvm_gmem_get_pfn()'s
		 * look at the state.
		 */
		smp_mb();
		kvm_gmem_walk(c, kvm_gmem_reclaim_batch, false);
	}
#endif
	kvm_gmem_end_change(c);
}

static int kvm_gmem_convert_locked(struct kvm_gmem_conversion *c)
{
	int r;

	if (kvm_gmem_state_is(c->inode, c->start, c->end, c->to_private))
		return 0;

	r = kvm_gmem_state_prepare(c->inode, c->start, c->end, c->to_private);
	if (!r && c->to_private)
		r = kvm_gmem_clear_out(c);
	if (!r)
		kvm_gmem_change(c);
	else
		kvm_gmem_end_change(c);
	return r;
}

static int kvm_gmem_convert(struct kvm_gmem_conversion *c)
{
	struct rw_semaphore *lock = &c->inode->i_mapping->invalidate_lock;
	int r;

	r = down_write_killable(lock);
	if (r)
		return r;

	r = kvm_gmem_convert_locked(c);
	up_write(lock);
	return r;
}

static bool kvm_gmem_request_is_valid(struct gmem_file *f, struct inode *inode,
				      const struct kvm_memory_attributes2 *attrs)
{
	u64 end;

	if (attrs->flags || memchr_inv(attrs->reserved, 0, sizeof(attrs->reserved)))
		return false;
	if (!kvm_arch_has_private_mem(f->kvm))
		return false;
	if (attrs->attributes & ~kvm_gmem_supported_attributes(f->kvm))
		return false;
	if (!attrs->size || check_add_overflow(attrs->offset, attrs->size, &end))
		return false;
	if (!PAGE_ALIGNED(attrs->offset) || !PAGE_ALIGNED(attrs->size))
		return false;

	return end <= i_size_read(inode);
}

static int kvm_gmem_set_attributes(struct file *file,
				   struct kvm_memory_attributes2 *attrs)
{
	struct inode *inode = file_inode(file);
	struct kvm_gmem_conversion c = {
		.inode = inode,
		.drained = LRU_CACHE_NOT_DRAINED,
	};
	int r;

	if (!kvm_gmem_request_is_valid(file->private_data, inode, attrs))
		return -EINVAL;

	c.start = attrs->offset >> PAGE_SHIFT;
	c.failed = c.start;
	c.end = (attrs->offset + attrs->size) >> PAGE_SHIFT;
	c.to_private = attrs->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE;

	r = kvm_gmem_convert(&c);
	attrs->error_offset = (u64)c.failed << PAGE_SHIFT;
	return r;
}

long kvm_gmem_ioctl(struct file *file, unsigned int nr, unsigned long arg)
{
	struct kvm_memory_attributes2 __user *argp = (void __user *)arg;
	struct kvm_memory_attributes2 attrs;
	int r;

	if (!kvm_gmem_in_place || nr != KVM_SET_MEMORY_ATTRIBUTES2)
		return -ENOTTY;
	if (copy_from_user(&attrs, argp, sizeof(attrs)))
		return -EFAULT;

	r = kvm_gmem_set_attributes(file, &attrs);
	if ((r == -EAGAIN || r == -ENOMEM) &&
	    put_user(attrs.error_offset, &argp->error_offset))
		return -EFAULT;
	return r;
}
