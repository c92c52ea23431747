// SPDX-License-Identifier: GPL-2.0-or-later
//
// The rings that vhost maps are mapped for as long as it runs: a conversion need not wait for
// that, it stops the device. And what vhost tells of errors is for QMP to hear; for the log only
// where a guest cannot cause it for ever. A ring that goes private while vhost starts ends the start,
// not QEMU; and that it did not start, as with rings that the kernel refuses, is said now and then only
// (what is said elsewhere, and of a ring that could not be mapped: vhost.json). A queue whose
// rings are not mapped is not stopped: the base unmaps them twice, or without a device, when a guest
// switches a queue on again that is refused.
//
// Engines: gmem
// Include: hw/virtio/vhost.c hw/virtio/gmem-virtio.h
// Hook: vhost_map hw/virtio/vhost.c 1
// Hook: vhost_error hw/virtio/vhost.c 1
// Hook: not_mapped hw/virtio/vhost.c 1
// Hook: unmapped hw/virtio/vhost.c 1
// Include: hw/scsi/vhost-scsi.c hw/virtio/gmem-virtio.h
// Hook: start_failed hw/scsi/vhost-scsi.c 1
// Include: hw/net/virtio-net.c hw/virtio/gmem-virtio.h
// Hook: net_not_started hw/net/virtio-net.c 1
// Hook: queue_not_restarted hw/net/virtio-net.c 1
// Include: hw/net/vhost_net.c hw/virtio/gmem-virtio.h

@vhost_map@
position p;
@@
vhost_memory_map(...)
{
<...
-        address_space_map@p
+        gmem_virtio_map_ring
         (...)
...>
}

@vhost_error@
position p;
@@
vhost_virtqueue_error_notifier(...)
{
<...
if (event_notifier_test_and_clear@p(n) && dev->vdev) {
+        if (gmem_virtio_vhost_error(dev->vdev, dev->vq_index + index)) {
+            return;
+        }
...
}
...>
}

@start_failed@
position p;
@@
vhost_scsi_set_status(...)
{
<...
-            exit@p(1);
+            gmem_virtio_start_failed(vdev);
...>
}

@net_not_started@
expression r;
position p;
@@
virtio_net_vhost_status(...)
{
<...
r = vhost_net_start(...);
if (r < 0) {
-            error_report@p
+            gmem_virtio_complain
             (...);
...
}
...>
}

@queue_not_restarted@
expression r;
position p;
@@
virtio_net_queue_enable(...)
{
<...
r = vhost_net_virtqueue_restart(...);
if (r < 0) {
-            error_report@p
+            gmem_virtio_complain
             (...);
...
}
...>
}

@not_mapped@
position p;
@@
do_vhost_virtqueue_stop(...)
{
<...
+    if (!vq->desc) {
+        return 0;
+    }
if (virtio_queue_get_desc_addr@p(vdev, idx) == 0) {
...
}
...>
}

@unmapped@
position p;
@@
do_vhost_virtqueue_stop(...)
{
<...
vhost_memory_unmap@p(dev, vq->desc, ...);
+    vq->desc = NULL;
...>
}
