// SPDX-License-Identifier: GPL-2.0-or-later
//
// QEMU must not touch a page that is private or converting: it would see zeros, and
// on a split block it would allocate again what the conversion has freed. Devices get
// a failed bus access, monitor commands say which page it was.
//
// Engines: gmem
// Include: system/physmem.c system/gmem-touch-hooks.h
// Hook: write_ram system/physmem.c 1
// Hook: write_rom system/physmem.c 1
// Hook: read_ram system/physmem.c 1
// Hook: map_ram system/physmem.c 1
// Hook: cache_ram system/physmem.c 1
// Include: system/dma-helpers.c system/gmem-touch-hooks.h
// Hook: retry_dma system/dma-helpers.c 1
// Include: system/cpus.c system/gmem-touch-hooks.h
// Hook: save_virtual system/cpus.c 1
// Hook: save_physical system/cpus.c 1
// Include: monitor/hmp-cmds-target.c system/gmem-touch-hooks.h
// Hook: dump_words monitor/hmp-cmds-target.c 2

@write_ram@
position p;
@@
flatview_write_continue_step(...)
{
<...
-    memmove@p(ram_ptr, buf, *l);
+    if (!gmem_touch_write(mr, mr_addr, ram_ptr, buf, *l)) {
+        return MEMTX_ACCESS_ERROR;
+    }
...>
}

@write_rom@
position p;
@@
address_space_write_rom(...)
{
<...
-    memcpy@p(ram_ptr, buf, l);
+    if (!gmem_touch_write(mr, addr1, ram_ptr, buf, l)) {
+        return MEMTX_ACCESS_ERROR;
+    }
...>
}

@read_ram@
position p;
@@
flatview_read_continue_step(...)
{
<...
-    memcpy@p(buf, ram_ptr, *l);
+    if (!gmem_touch_read(mr, mr_addr, buf, ram_ptr, *l)) {
+        return MEMTX_ACCESS_ERROR;
+    }
...>
}

@map_ram@
position p;
@@
address_space_map(...)
{
<...
mr = flatview_translate@p(...);
+ if (!gmem_touch_map(mr, xlat, plen, &len, &l)) {
+     return NULL;
+ }
...>
}

@cache_ram@
position p;
@@
address_space_cache_init(...)
{
<...
l = flatview_extend_translation@p(...);
+ l = gmem_touch_cache(mr, cache->xlat, l);
...>
}

@retry_dma@
position p;
@@
reschedule_dma(...)
{
<...
-    dma_blk_cb@p(dbs, 0);
+    dma_blk_cb(dbs, gmem_touch_dma_result(dbs->sg, dbs->sg_cur_index,
+                          dbs->sg_cur_byte, dbs->dir == DMA_DIRECTION_FROM_DEVICE));
...>
}

@save_virtual@
position p;
@@
qmp_memsave(...)
{
<...
+    if (!gmem_touch_check_virtual(cpu, addr, size, "memsave", errp)) {
+        return;
+    }
f = fopen@p(...);
...>
}

@save_physical@
position p;
@@
qmp_pmemsave(...)
{
<...
+    if (!gmem_touch_check_physical(addr, size, "pmemsave", errp)) {
+        return;
+    }
f = fopen@p(...);
...>
}

@dump_words@
position p;
@@
monitor_printf@p(mon, " Cannot access memory\n");
+ gmem_touch_explain(mon, cs, addr, l, is_physical);
