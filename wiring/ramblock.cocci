// SPDX-License-Identifier: GPL-2.0-or-later
//
// A RAMBlock and its gmem block have one life: the engine decides how its memory and its
// guest_memfd are one or two, learns its name, lets go of the RAM before it is freed, and
// drops the block when it is reclaimed.
// What a balloon discards is freed on both sides.
// Also, two ways out of ram_block_add() with an error keep the RAM list locked,
// so that the next RAMBlock hangs QEMU; a refused backend must not do that.
//
// Engines: gmem
// Include: system/physmem.c system/gmem-ram.h
// Hook: create system/physmem.c 1
// Hook: named system/physmem.c 1
// Hook: detach system/physmem.c 1
// Hook: reclaim system/physmem.c 1
// Hook: discard system/physmem.c 1
// Hook: unlock_no_kvm system/physmem.c 1
// Hook: unlock_no_discard system/physmem.c 1

@create@
position p;
expression rb;
@@
ram_block_add(...)
{
<...
-    rb->guest_memfd = kvm_create_guest_memfd@p(...);
+    rb->guest_memfd = gmem_ram_create_guest_memfd(rb, errp);
...>
}

@named@
position p;
@@
void qemu_ram_set_idstr(...)
{
<...
pstrcat@p(new_block->idstr, sizeof(new_block->idstr), name);
+ gmem_ram_block_named(new_block);
...>
}

@detach@
position p;
@@
void qemu_ram_free@p(...)
{
+    gmem_ram_block_detach(block);
...
}

@reclaim@
position p;
@@
void reclaim_ramblock@p(...)
{
+    gmem_ram_block_reclaim(block);
...
}

@discard@
position p;
@@
ram_block_discard_range(...)
{
<...
+        ret = gmem_ram_discard_private(rb, offset, length);
trace_ram_block_discard_range@p(...);
...>
}

@unlock_no_kvm@
position p;
@@
error_setg(errp, "cannot set up private guest memory for %s: KVM required", ...);
+ qemu_mutex_unlock_ramlist();
goto@p out_free;

@unlock_no_discard@
position p;
@@
error_append_hint@p(errp, "Are you using assigned devices?\n");
+ qemu_mutex_unlock_ramlist();
