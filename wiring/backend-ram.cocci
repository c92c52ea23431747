// SPDX-License-Identifier: GPL-2.0-or-later
//
// Memory backends must know that a machine has private memory although its
// firmware is plain ROM: the base has one flag for both.
//
// Engines: gmem base
// Include: backends/hostmem.c system/hostmem-gmem.h
// Hook: backend_default backends/hostmem.c 1
// Include: system/vl.c system/hostmem-gmem.h
// Hook: default_accelerator system/vl.c 1

@backend_default@
position p;
expression m;
@@
host_memory_backend_init(...)
{
<...
-    machine_require_guest_memfd@p(m)
+    gmem_machine_has_private_memory(m)
...>
}

@default_accelerator@
position p;
@@
configure_accelerators@p(...)
{
+    if (!accelerators && QTAILQ_EMPTY(&qemu_accel_opts.head)) {
+        accelerators = gmem_machine_accelerators(current_machine);
+    }
...
}
