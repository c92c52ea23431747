// SPDX-License-Identifier: GPL-2.0
//
// guest_memfd has to keep the state of its pages, to change it on request, and to keep user
// space off private pages, all of which it decides today by one flag per file.
//
// Part: in-place
// Hook: state_field virt/kvm/guest_memfd.c 1
// Hook: state_init virt/kvm/guest_memfd.c 1
// Hook: state_destroy virt/kvm/guest_memfd.c 1
// Hook: state_of_page virt/kvm/guest_memfd.c 1
// Hook: both_kinds_mapped virt/kvm/guest_memfd.c 1
// Hook: user_fault virt/kvm/guest_memfd.c 1
// Hook: file_ioctl virt/kvm/guest_memfd.c 1
// Hook: slot_gmem_only virt/kvm/guest_memfd.c 1
// Hook: launch_in_place virt/kvm/guest_memfd.c 1
// Hook: memory_error virt/kvm/guest_memfd.c 1
// Hook: last_errors virt/kvm/guest_memfd.c 1

@state_field@
position p;
@@
struct gmem_inode@p {
...
+	struct xarray changed;
};

@state_init@
position p;
struct gmem_inode *gi;
@@
kvm_gmem_alloc_inode(...)
{
...
gi->flags@p = 0;
+	kvm_gmem_state_init(&gi->changed);
...
}

@state_destroy@
position p;
@@
kvm_gmem_destroy_inode@p(...)
{
+	kvm_gmem_state_destroy(&GMEM_I(inode)->changed);
...
}

@state_of_page@
position p;
@@
kvm_gmem_is_private_mem@p(...)
{
+	if (kvm_gmem_in_place)
+		return kvm_gmem_state_is_private(inode, index);
...
}

@both_kinds_mapped@
position p;
@@
kvm_gmem_get_invalidate_filter@p(...)
{
+	if (kvm_gmem_in_place)
+		return KVM_FILTER_SHARED | KVM_FILTER_PRIVATE;
...
}

@user_fault@
position p;
@@
struct vm_operations_struct kvm_gmem_vm_ops = {
-	.fault = kvm_gmem_fault_user_mapping@p,
+	.fault = kvm_gmem_fault,
};

@file_ioctl@
position p;
@@
struct file_operations kvm_gmem_fops = {
	.mmap = kvm_gmem_mmap@p,
+	.unlocked_ioctl = kvm_gmem_ioctl,
+	.compat_ioctl = compat_ptr_ioctl,
};

@slot_gmem_only@
position p;
expression e;
@@
kvm_gmem_prepare_memory_region(...)
{
<...
slot->gmem.pgoff@p = e;
+	if (kvm_gmem_in_place)
+		slot->flags |= KVM_MEMSLOT_GMEM_ONLY;
...>
}

@launch_in_place@
position p;
@@
__kvm_gmem_populate(...)
{
<...
+	kvm_gmem_prepare_launch(folio, src_page);
folio_unlock@p(folio);
...>
}

@memory_error@
position p;
@@
struct address_space_operations kvm_gmem_aops = {
-	.error_remove_folio = kvm_gmem_error_folio@p,
+	.error_remove_folio = kvm_gmem_remove_error_folio,
};

@last_errors@
position p;
@@
kvm_gmem_exit@p(...)
{
+	kvm_gmem_flush_errors();
...
}
