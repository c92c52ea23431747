// SPDX-License-Identifier: GPL-2.0-or-later
//
// Memory that a device of QEMU has mapped is in use until it unmaps it, and a conversion
// waits for that. What is mapped for as long as a device runs is no transfer: the lists of AHCI,
// the screen of ramfb.
//
// Engines: gmem
// Include: system/physmem.c system/gmem-dma.h
// Hook: map_dma system/physmem.c 1
// Hook: unmap_dma system/physmem.c 1
// Include: hw/ide/ahci.c system/gmem-dma.h
// Hook: keep_lists hw/ide/ahci.c 1
// Include: hw/display/ramfb.c system/gmem-dma.h
// Hook: keep_screen hw/display/ramfb.c 1

@map_dma@
position p;
@@
address_space_map(...)
{
<...
+    if (!gmem_dma_map(mr, xlat, plen)) {
+        return NULL;
+    }
fuzz_dma_read_cb@p(...);
...>
}

@unmap_dma@
position p;
@@
address_space_unmap(...)
{
<...
+        gmem_dma_unmap(mr, addr1, len);
memory_region_unref@p(mr);
...>
}

@keep_lists@
position p;
@@
map_page(...)
{
<...
    *ptr = dma_memory_map@p(...);
+    gmem_dma_disown(*ptr, len);
...>
}

@keep_screen@
position p;
@@
ramfb_create_display_surface(...)
{
<...
data = cpu_physical_memory_map@p(...);
+    gmem_dma_disown(data, mapsize);
...>
}
