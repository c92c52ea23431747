// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every memory backend, of whatever type, must be one that the machine can use,
// must preallocate pages on the side where the guest will find them, and must not
// bring one DIMM's private pages to the next.
//
// Engines: gmem
// Include: backends/hostmem.c system/hostmem-gmem.h
// Hook: backend_check backends/hostmem.c 1
// Hook: backend_prealloc backends/hostmem.c 2
// Hook: backend_property backends/hostmem.c 1
// Hook: backend_mapped backends/hostmem.c 1
// Include: hw/mem/pc-dimm.c system/hostmem-gmem.h
// Hook: dimm_plug hw/mem/pc-dimm.c 1

@backend_check@
position p;
identifier bc;
@@
host_memory_backend_memory_complete(...)
{
... when any
+    if (!gmem_backend_check(backend, errp)) {
+        return;
+    }
     if (!bc->alloc@p) {
         return;
     }
... when any
}

@backend_prealloc@
position p;
@@
-    qemu_prealloc_mem@p
+    gmem_prealloc_mem
     (...)

@backend_property@
position p;
@@
host_memory_backend_class_init@p(...)
{
+    gmem_backend_class_properties(oc);
...
}

@backend_mapped@
position p;
@@
void host_memory_backend_set_mapped@p(...)
{
+    gmem_backend_set_mapped(backend, mapped);
...
}

@dimm_plug@
position p;
@@
pc_dimm_realize@p(...)
{
+    if (!gmem_backend_check_plug(PC_DIMM(dev)->hostmem, errp)) {
+        return;
+    }
...
}
