// SPDX-License-Identifier: GPL-2.0
/*
 * In-place conversion: which pages of a guest_memfd are private.
 *
 * A file begins with all pages in one state, the one that its flags say.  The map
 * has one bit per page, set while the page is in the other state.  Bits lie in
 * chunks of 4096 pages, in an xarray: no entry is a chunk without a set bit, a
 * value entry one with all of them set, anything else a pointer to its bits.  So
 * an untouched file costs nothing, a file converted as a whole a word per 16 MiB,
 * and no pattern that a guest may choose more than a bit per page, which the
 * VM's memory cgroup pays.  (A word per 16 MiB is much for a file of exbibytes, which
 * takes no more than a number to create.  So the map is limited to as many chunks
 * as the host has pages, that is, to files 4096 times as large as its memory.  And
 * what clears bits goes from chunk to chunk that is there, not by the file's size.)
 *
 * Writers hold the mapping's invalidate_lock exclusively.  They first prepare the
 * map, which allocates and may fail but changes no page, and then change it,
 * which cannot fail.  Readers take no lock: bits live as long as the inode.  What
 * keeps a page's state from changing under a reader is said where it matters: the
 * invalidate_lock held shared, the folio's lock, or KVM's invalidation sequence.
 *
 * Included by guest_memfd.c, to know struct gmem_inode.
 */

#define KVM_GMEM_CHUNK_PAGES	4096UL
#define KVM_GMEM_ALL_CHANGED	xa_mk_value(1)

/* The part of a range that lies in one chunk: its bits [first, end). */
struct kvm_gmem_part {
	unsigned long chunk;
	unsigned int first;
	unsigned int end;
};

static struct kvm_gmem_part kvm_gmem_part(unsigned long chunk, pgoff_t start,
					  pgoff_t end)
{
	pgoff_t base = chunk * KVM_GMEM_CHUNK_PAGES;

	return (struct kvm_gmem_part) {
		.chunk = chunk,
		.first = max(start, base) - base,
		.end = min(end - base, KVM_GMEM_CHUNK_PAGES),
	};
}

static bool kvm_gmem_part_is_whole(const struct kvm_gmem_part *part)
{
	return part->end - part->first == KVM_GMEM_CHUNK_PAGES;
}

/* For each chunk that [start, end) touches, and that may have set bits. */
#define kvm_gmem_for_each_chunk(changed, chunk, entry, start, end)	\
	xa_for_each_range(changed, chunk, entry,			\
			  (start) / KVM_GMEM_CHUNK_PAGES,		\
			  ((end) - 1) / KVM_GMEM_CHUNK_PAGES)

void kvm_gmem_state_init(struct xarray *changed)
{
	xa_init_flags(changed, XA_FLAGS_ACCOUNT);
}

void kvm_gmem_state_destroy(struct xarray *changed)
{
	unsigned long chunk;
	void *entry;

	xa_for_each(changed, chunk, entry) {
		if (!xa_is_value(entry))
			bitmap_free(entry);
		cond_resched();
	}
	xa_destroy(changed);
}

static bool kvm_gmem_starts_private(struct inode *inode)
{
	return !(GMEM_I(inode)->flags & GUEST_MEMFD_FLAG_INIT_SHARED);
}

bool kvm_gmem_state_is_private(struct inode *inode, pgoff_t index)
{
	void *entry = xa_load(&GMEM_I(inode)->changed,
			      index / KVM_GMEM_CHUNK_PAGES);
	bool changed;

	if (!entry || xa_is_value(entry))
		changed = entry;
	else
		changed = test_bit(index % KVM_GMEM_CHUNK_PAGES, entry);

	return changed != kvm_gmem_starts_private(inode);
}

static bool kvm_gmem_none_changed(struct xarray *changed, pgoff_t start,
				  pgoff_t end)
{
	unsigned long chunk;
	void *entry;

	kvm_gmem_for_each_chunk(changed, chunk, entry, start, end) {
		struct kvm_gmem_part part = kvm_gmem_part(chunk, start, end);

		if (xa_is_value(entry) ||
		    find_next_bit(entry, part.end, part.first) < part.end)
			return false;
		cond_resched();
	}
	return true;
}

static bool kvm_gmem_all_changed(struct xarray *changed, pgoff_t start,
				 pgoff_t end)
{
	unsigned long chunk;

	for (chunk = start / KVM_GMEM_CHUNK_PAGES;
	     chunk <= (end - 1) / KVM_GMEM_CHUNK_PAGES; chunk++) {
		struct kvm_gmem_part part = kvm_gmem_part(chunk, start, end);
		void *entry = xa_load(changed, chunk);

		if (!entry)
			return false;
		if (!xa_is_value(entry) &&
		    find_next_zero_bit(entry, part.end, part.first) < part.end)
			return false;
		cond_resched();
	}
	return true;
}

/* Whether all of [start, end) is in that state.  May sleep. */
static bool kvm_gmem_state_is(struct inode *inode, pgoff_t start, pgoff_t end,
			      bool private)
{
	struct xarray *changed = &GMEM_I(inode)->changed;

	if (private != kvm_gmem_starts_private(inode))
		return kvm_gmem_all_changed(changed, start, end);

	return kvm_gmem_none_changed(changed, start, end);
}

/* Gives the chunk bits of its own that say what its entry says. */
static int kvm_gmem_add_bits(struct xarray *changed, unsigned long chunk,
			     void *entry)
{
	unsigned long *bits;
	int r;

	bits = bitmap_alloc(KVM_GMEM_CHUNK_PAGES, GFP_KERNEL_ACCOUNT);
	if (!bits)
		return -ENOMEM;

	if (entry)
		bitmap_fill(bits, KVM_GMEM_CHUNK_PAGES);
	else
		bitmap_zero(bits, KVM_GMEM_CHUNK_PAGES);

	r = xa_err(xa_store(changed, chunk, bits, GFP_KERNEL_ACCOUNT));
	if (r)
		bitmap_free(bits);
	return r;
}

static int kvm_gmem_prepare_part(struct xarray *changed,
				 const struct kvm_gmem_part *part, bool set)
{
	void *entry = xa_load(changed, part->chunk);

	/* Bits can take any change, and what already is as wanted none. */
	if (entry && !xa_is_value(entry))
		return 0;
	if (set == !!entry)
		return 0;

	if (!kvm_gmem_part_is_whole(part))
		return kvm_gmem_add_bits(changed, part->chunk, entry);
	if (set)
		return xa_reserve(changed, part->chunk, GFP_KERNEL_ACCOUNT);
	return 0;
}

/* Between two chunks, of which there may be many. */
static int kvm_gmem_prepare_pause(void)
{
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/* Every chunk of the range needs a place, also those without a set bit. */
static int kvm_gmem_prepare_to_set(struct xarray *changed, pgoff_t start,
				   pgoff_t end)
{
	unsigned long chunk;
	int r = 0;

	if ((end - start) / KVM_GMEM_CHUNK_PAGES > totalram_pages())
		return -ENOMEM;

	for (chunk = start / KVM_GMEM_CHUNK_PAGES;
	     !r && chunk <= (end - 1) / KVM_GMEM_CHUNK_PAGES; chunk++) {
		struct kvm_gmem_part part = kvm_gmem_part(chunk, start, end);

		r = kvm_gmem_prepare_part(changed, &part, true);
		r = r ?: kvm_gmem_prepare_pause();
	}
	return r;
}

static int kvm_gmem_prepare_to_clear(struct xarray *changed, pgoff_t start,
				     pgoff_t end)
{
	unsigned long chunk;
	void *entry;
	int r;

	kvm_gmem_for_each_chunk(changed, chunk, entry, start, end) {
		struct kvm_gmem_part part = kvm_gmem_part(chunk, start, end);

		r = kvm_gmem_prepare_part(changed, &part, false);
		r = r ?: kvm_gmem_prepare_pause();
		if (r)
			return r;
	}
	return 0;
}

/*
 * Makes sure that kvm_gmem_state_set() of the same range cannot fail.  Changes no
 * page's state; what it has allocated when it fails is of use to the next one.
 */
static int kvm_gmem_state_prepare(struct inode *inode, pgoff_t start,
				  pgoff_t end, bool private)
{
	struct xarray *changed = &GMEM_I(inode)->changed;

	if (private != kvm_gmem_starts_private(inode))
		return kvm_gmem_prepare_to_set(changed, start, end);

	return kvm_gmem_prepare_to_clear(changed, start, end);
}

static void kvm_gmem_set_part(struct xarray *changed,
			      const struct kvm_gmem_part *part, bool set)
{
	unsigned int nr = part->end - part->first;
	void *entry = xa_load(changed, part->chunk);

	if (entry && !xa_is_value(entry)) {
		if (set)
			bitmap_set(entry, part->first, nr);
		else
			bitmap_clear(entry, part->first, nr);
	} else if (set != !!entry) {
		WARN_ON_ONCE(!kvm_gmem_part_is_whole(part));
		WARN_ON_ONCE(xa_err(xa_store(changed, part->chunk,
					     set ? KVM_GMEM_ALL_CHANGED : NULL,
					     GFP_NOWAIT)));
	}
}

static void kvm_gmem_set_range(struct xarray *changed, pgoff_t start, pgoff_t end)
{
	unsigned long chunk;

	for (chunk = start / KVM_GMEM_CHUNK_PAGES;
	     chunk <= (end - 1) / KVM_GMEM_CHUNK_PAGES; chunk++) {
		struct kvm_gmem_part part = kvm_gmem_part(chunk, start, end);

		kvm_gmem_set_part(changed, &part, true);
		cond_resched();
	}
}

static void kvm_gmem_clear_range(struct xarray *changed, pgoff_t start, pgoff_t end)
{
	unsigned long chunk;
	void *entry;

	kvm_gmem_for_each_chunk(changed, chunk, entry, start, end) {
		struct kvm_gmem_part part = kvm_gmem_part(chunk, start, end);

		kvm_gmem_set_part(changed, &part, false);
		cond_resched();
	}
}

/* Changes the state of [start, end), which has been prepared. */
static void kvm_gmem_state_set(struct inode *inode, pgoff_t start, pgoff_t end,
			       bool private)
{
	struct xarray *changed = &GMEM_I(inode)->changed;

	if (private != kvm_gmem_starts_private(inode))
		kvm_gmem_set_range(changed, start, end);
	else
		kvm_gmem_clear_range(changed, start, end);
}
