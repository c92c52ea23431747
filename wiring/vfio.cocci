// SPDX-License-Identifier: GPL-2.0-or-later
//
// A device reaches the shared pages of the guest, and a page that stays shared has to stay
// mapped while others go private: so memory that converts is mapped by us, in mappings that the IOMMU
// can take back in part. And iommufd would map RAM by its file, which the kernel refuses for guest_memfd;
// it takes the addresses of what is shared.
//
// Engines: gmem
// Include: hw/vfio/container.c system/gmem-ram.h
// Include: hw/vfio/listener.c hw/vfio/gmem-vfio.h
// Hook: map_file hw/vfio/container.c 1
// Hook: prepare hw/vfio/listener.c 1
// Hook: section hw/vfio/listener.c 1

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

@prepare@
position p;
@@
vfio_listener_register@p(...)
{
+    gmem_vfio_prepare(bcontainer);
...
}

@section@
position p;
@@
vfio_ram_discard_register_listener@p(...)
{
+    if (gmem_vfio_covers(section)) {
+        return gmem_vfio_add(bcontainer, section, errp);
+    }
...
}
