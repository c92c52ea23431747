// SPDX-License-Identifier: GPL-2.0
//
// KVM asks the VM-wide attributes what is private, and offers to set them. In place it has to
// ask guest_memfd, and to offer nothing that would not be heard.
//
// Part: in-place
// Hook: attributes_of_page include/linux/kvm_host.h 1
// Hook: no_vm_attributes virt/kvm/kvm_main.c 1
// Hook: attributes_of_range virt/kvm/kvm_main.c 1
// Hook: refuse_vm_attributes virt/kvm/kvm_main.c 1
// Hook: capability virt/kvm/kvm_main.c 1
// Hook: init_shared arch/x86/kvm/x86.c 1
// Hook: no_mixed_huge_pages arch/x86/kvm/mmu/mmu.c 1

@attributes_of_page@
position p;
@@
kvm_get_memory_attributes@p(...)
{
+	if (kvm_gmem_in_place)
+		return kvm_gmem_get_attributes(kvm, gfn);
...
}

@no_vm_attributes@
position p;
@@
kvm_supported_mem_attributes@p(...)
{
+	if (kvm_gmem_in_place)
+		return 0;
...
}

@attributes_of_range@
position p;
@@
kvm_range_has_memory_attributes@p(...)
{
+	if (kvm_gmem_in_place)
+		return kvm_gmem_range_has_attributes(kvm, start, end, mask, attrs);
...
}

@refuse_vm_attributes@
position p;
@@
kvm_vm_ioctl_set_mem_attributes@p(...)
{
+	if (kvm_gmem_in_place)
+		return -ENOTTY;
...
}

@capability@
position p;
@@
kvm_vm_ioctl_check_extension_generic@p(...)
{
+	if (arg == KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES)
+		return kvm_gmem_supported_attributes(kvm);
...
}

@init_shared@
position p;
@@
kvm_arch_supports_gmem_init_shared@p(...)
{
+	if (kvm_gmem_in_place)
+		return true;
...
}

@no_mixed_huge_pages@
position p;
@@
kvm_mmu_init_memslot_memory_attributes@p(...)
{
+	if (kvm_gmem_in_place)
+		return;
...
}
