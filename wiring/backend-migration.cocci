// SPDX-License-Identifier: GPL-2.0-or-later
//
// What cannot work with gmem must be refused with the reason before anything is
// started: the kernel tracks no writes to it, and has no userfaultfd for it.
//
// Engines: gmem
// Include: migration/options.c system/hostmem-gmem.h
// Hook: capabilities migration/options.c 1
// Include: migration/savevm.c system/hostmem-gmem.h
// Hook: incoming migration/savevm.c 1
// Hook: snapshot_load migration/savevm.c 1
// Include: migration/dirtyrate.c system/hostmem-gmem.h
// Hook: dirty_rate migration/dirtyrate.c 1
// Include: system/dirtylimit.c system/hostmem-gmem.h
// Hook: dirty_limit system/dirtylimit.c 1
// Include: system/memory.c system/hostmem-gmem.h
// Hook: dirty_log system/memory.c 1

@capabilities@
position p;
@@
migrate_caps_check@p(...)
{
+    if (!gmem_migration_caps_check(new_caps, errp)) {
+        return false;
+    }
...
}

@incoming@
position p;
@@
qemu_loadvm_state@p(...)
{
+    if (!gmem_incoming_check(errp)) {
+        return -EINVAL;
+    }
...
}

// Before the disks go back to the snapshot and the machine is reset
@snapshot_load@
position p;
@@
load_snapshot@p(...)
{
+    if (!gmem_incoming_check(errp)) {
+        return false;
+    }
...
}

@dirty_rate@
position p;
@@
qmp_calc_dirty_rate@p(...)
{
+    if (!gmem_dirty_tracking_check(errp)) {
+        return;
+    }
...
}

@dirty_limit@
position p;
@@
qmp_set_vcpu_dirty_limit@p(...)
{
+    if (!gmem_dirty_tracking_check(errp)) {
+        return;
+    }
...
}

@dirty_log@
position p;
@@
memory_global_dirty_log_start@p(...)
{
+    if (!gmem_dirty_tracking_check(errp)) {
+        return false;
+    }
...
}
