// SPDX-License-Identifier: GPL-2.0-or-later
//
// A ring of virtio is reached through pointers that are kept while its queue is enabled,
// so the ring takes part in conversions: it is told of before its pointers are published,
// and after they were dropped. A device that waits for its reset gets none, whatever
// becomes of the memory map, and is not started. Its pointers are dropped from outside too. Tables that a
// ring points to are in use while one element of it is read. And what a guest did wrong, which naming
// private memory is, is not printed as often as it likes.
//
// Engines: gmem
// Include: hw/virtio/virtio.c hw/virtio/gmem-virtio.h
// Hook: ring_desc hw/virtio/virtio.c 1
// Hook: ring_begin hw/virtio/virtio.c 1
// Hook: ring_set hw/virtio/virtio.c 1
// Hook: ring_clear hw/virtio/virtio.c 1
// Hook: set_status hw/virtio/virtio.c 1
// Hook: table_map hw/virtio/virtio.c 5
// Hook: table_unmap hw/virtio/virtio.c 7
// Hook: device_error hw/virtio/virtio.c 1

@ring_desc@
position p;
@@
virtio_init_region_cache(...)
{
<...
-    addr = vq->vring.desc@p;
+    addr = gmem_virtio_ring_desc(vdev, vq->vring.desc);
...>
}

@ring_begin@
position p;
@@
virtio_init_region_cache(...)
{
<...
+    if (!gmem_virtio_ring_begin(vdev, n, &new->desc, &new->avail, &new->used)) {
+        goto err_avail;
+    }
qatomic_rcu_set@p(&vq->vring.caches, new);
...>
}

@ring_set@
position p;
@@
virtio_init_region_cache(...)
{
<...
qatomic_rcu_set@p(&vq->vring.caches, new);
+    gmem_virtio_ring_set(vq);
...>
}

@ring_clear@
position p;
@@
virtio_virtqueue_reset_region_cache(...)
{
<...
qatomic_rcu_set@p(&vq->vring.caches, NULL);
+    gmem_virtio_ring_clear(vq);
...>
}

@set_status@
position p;
@@
virtio_set_status(...)
{
<...
+    val = gmem_virtio_status(vdev, val);
trace_virtio_set_status@p(vdev, val);
...>
}

@table_map@
symbol indirect_desc_cache;
position p;
@@
-address_space_cache_init@p
+gmem_virtio_table_map
 (&indirect_desc_cache, ...)

@table_unmap@
symbol indirect_desc_cache;
position p;
@@
-address_space_cache_destroy@p
+gmem_virtio_table_unmap
 (&indirect_desc_cache)

@device_error@
position p;
@@
virtio_error(...)
{
<...
-    error_vreport@p
+    gmem_virtio_report
     (...);
...>
}
