// SPDX-License-Identifier: GPL-2.0-or-later
//
// iommufd would map RAM by its file, which the kernel refuses for guest_memfd; it takes
// the addresses of what is shared.
//
// Engines: gmem
// Include: hw/vfio/container.c system/gmem-ram.h
// Hook: map_file hw/vfio/container.c 1

@map_file@
position p;
expression rb;
@@
vfio_container_dma_map(...)
{
<...
-    qemu_ram_get_fd@p(rb)
+    gmem_ram_iommu_fd(rb)
...>
}
