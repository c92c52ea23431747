/* SPDX-License-Identifier: GPL-2.0 */
/*
 * In-place conversion: what the rest of KVM asks guest_memfd.
 *
 * With kvm.gmem_in_place_conversion=1 a guest_memfd knows of each of its pages
 * whether it is private or shared, and is the only one who knows: the VM-wide
 * attributes are out of use.  A page that is converted stays where it is.
 */
#ifndef _LINUX_KVM_GMEM_IN_PLACE_H
#define _LINUX_KVM_GMEM_IN_PLACE_H

#include <linux/kvm_types.h>
#include <uapi/linux/kvm_gmem_in_place.h>

struct folio;
struct kvm;
struct page;

#if defined(CONFIG_KVM_GUEST_MEMFD) && defined(CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES)
/* Whether the conversion is in place.  Constant from boot on. */
extern bool kvm_gmem_in_place;
#else
#define kvm_gmem_in_place false
#endif

/*
 * The attributes of one gfn; those of a gfn without guest_memfd are 0.
 * Needs kvm->srcu or kvm->slots_lock.  Does not sleep.
 */
unsigned long kvm_gmem_get_attributes(struct kvm *kvm, gfn_t gfn);

/*
 * Whether the attributes of all of [start, end) have, under mask, the value
 * attrs.  Context as above.
 */
bool kvm_gmem_range_has_attributes(struct kvm *kvm, gfn_t start, gfn_t end,
				   unsigned long mask, unsigned long attrs);

/* What KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES answers; kvm may be NULL. */
#ifdef CONFIG_KVM_GUEST_MEMFD
u64 kvm_gmem_supported_attributes(struct kvm *kvm);
#else
static inline u64 kvm_gmem_supported_attributes(struct kvm *kvm)
{
	return 0;
}
#endif

/*
 * The launch of a confidential VM takes each page from a source in user memory.
 * In place there is an alternative: the page itself, which user space has written
 * while it was shared, and no source address.
 */

/* Whether a launch command without a source address has to be refused. */
static inline bool kvm_gmem_lacks_source(u64 uaddr)
{
	return !uaddr && !kvm_gmem_in_place;
}

/* How far a launch command's source address moves with bytes that are done. */
static inline u64 kvm_gmem_source_step(u64 uaddr, u64 bytes)
{
	return uaddr ? bytes : 0;
}

#endif /* _LINUX_KVM_GMEM_IN_PLACE_H */
