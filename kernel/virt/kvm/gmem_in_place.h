/* SPDX-License-Identifier: GPL-2.0 */
/* In-place conversion: what guest_memfd.c asks of gmem_in_place*.c. */
#ifndef __KVM_GMEM_IN_PLACE_H__
#define __KVM_GMEM_IN_PLACE_H__

#include <linux/fs.h>
#include <linux/kvm_gmem_in_place.h>
#include <linux/mm.h>
#include <linux/xarray.h>

/* The state map, one per inode; see gmem_in_place_state.c. */
void kvm_gmem_state_init(struct xarray *changed);
void kvm_gmem_state_destroy(struct xarray *changed);

/* Whether a page is private.  Any context; the caller has the inode. */
bool kvm_gmem_state_is_private(struct inode *inode, pgoff_t index);

/*
 * Gives a page that a launch command takes as its own source defined contents.
 * The folio is locked.
 */
void kvm_gmem_prepare_launch(struct folio *folio, struct page *source);

/* File and mapping operations. */
vm_fault_t kvm_gmem_fault(struct vm_fault *vmf);
long kvm_gmem_ioctl(struct file *file, unsigned int nr, unsigned long arg);

/* Memory errors: called with the folio locked; before the module goes away. */
int kvm_gmem_remove_error_folio(struct address_space *mapping, struct folio *folio);
void kvm_gmem_flush_errors(void);

#endif /* __KVM_GMEM_IN_PLACE_H__ */
