// SPDX-License-Identifier: GPL-2.0
//
// The launch commands of SEV-SNP and TDX demand a source address. In place there is none: the
// page itself has been written while it was shared.
//
// Part: in-place
// Hook: snp_no_source arch/x86/kvm/svm/sev.c 1
// Hook: snp_source_step arch/x86/kvm/svm/sev.c 1
// Hook: snp_no_copy_back arch/x86/kvm/svm/sev.c 1
// Hook: tdx_no_source arch/x86/kvm/vmx/tdx.c 1
// Hook: tdx_source_step arch/x86/kvm/vmx/tdx.c 1
// Hook: tdx_page_is_source arch/x86/kvm/vmx/tdx.c 1

@snp_no_source@
position p;
@@
snp_launch_update(...)
{
<...
-!params.uaddr@p
+kvm_gmem_lacks_source(params.uaddr)
...>
}

@snp_source_step@
position p;
expression e;
@@
snp_launch_update(...)
{
<...
-params.uaddr@p += e
+params.uaddr += kvm_gmem_source_step(params.uaddr, e)
...>
}

@snp_no_copy_back@
position p;
expression e;
@@
sev_gmem_post_populate(...)
{
<...
-e->fw_error@p == SEV_RET_INVALID_PARAM
+e->fw_error == SEV_RET_INVALID_PARAM && src_page
...>
}

@tdx_no_source@
position p;
@@
tdx_vcpu_init_mem_region(...)
{
<...
-!region.source_addr@p
+kvm_gmem_lacks_source(region.source_addr)
...>
}

@tdx_source_step@
position p;
expression e;
@@
tdx_vcpu_init_mem_region(...)
{
<...
-region.source_addr@p += e
+region.source_addr += kvm_gmem_source_step(region.source_addr, e)
...>
}

@tdx_page_is_source@
position p;
expression e;
@@
tdx_gmem_post_populate(...)
{
<...
-e->page_add_src@p = src_page;
+	e->page_add_src = src_page ?: pfn_to_page(pfn);
...>
}
