// SPDX-License-Identifier: GPL-2.0-or-later
//
// The comparison binary must take conversions of a sw-protected guest, whose
// firmware is ROM; the base takes them only where firmware is guest_memfd as well.
//
// Engines: base
// Include: target/i386/kvm/kvm.c system/hostmem-gmem.h
// Hook: hypercall target/i386/kvm/kvm.c 1

@hypercall@
position p;
expression m;
@@
kvm_handle_hc_map_gpa_range(...)
{
<...
-    machine_require_guest_memfd@p(m)
+    gmem_machine_has_private_memory(m)
...>
}
