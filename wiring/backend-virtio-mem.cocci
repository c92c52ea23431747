// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtio-mem tells devices which pages they may use, and so does memory that converts: it
// cannot be had by virtio-mem.
//
// Engines: gmem
// Include: hw/virtio/virtio-mem.c system/hostmem-gmem.h
// Hook: virtio_mem hw/virtio/virtio-mem.c 1

@virtio_mem@
position p;
@@
virtio_mem_device_realize(...)
{
<...
+    if (!gmem_backend_check_virtio_mem(vmem->memdev, errp)) {
+        return;
+    }
rb = vmem->memdev->mr.ram_block@p;
...>
}
