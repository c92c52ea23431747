// SPDX-License-Identifier: GPL-2.0
//
// vhost reads and writes the metadata of rings as user memory, access by access. Ours stand in
// front of these accesses, and must know when a ring is made, moved and given up.
//
// Part: vhost
// Hook: ring_field drivers/vhost/vhost.h 1
// Hook: ring_made drivers/vhost/vhost.c 1
// Hook: ring_moved drivers/vhost/vhost.c 1
// Hook: ring_gone drivers/vhost/vhost.c 1
// Hook: read_descriptor drivers/vhost/vhost.c 1
// Hook: read_avail drivers/vhost/vhost.c 4
// Hook: read_used drivers/vhost/vhost.c 1
// Hook: write_elements drivers/vhost/vhost.c 1
// Hook: write_used drivers/vhost/vhost.c 3

@ring_field@
position p;
@@
struct vhost_virtqueue@p {
...
+	struct vhost_ring_map ring_map;
};

@ring_made@
position p;
@@
vhost_dev_init(...)
{
<...
+	vhost_ring_init(vq);
vhost_vq_reset@p(dev, vq);
...>
}

@ring_moved@
position p;
@@
__vhost_vq_meta_reset@p(...)
{
+	vhost_ring_moved(vq);
...
}

@ring_gone@
position p;
@@
vhost_vq_reset(...)
{
<...
+	vhost_ring_release(vq);
__vhost_vq_meta_reset@p(vq);
...>
}

@read_descriptor@
position p;
expression list es;
@@
-vhost_copy_from_user@p
+vhost_ring_copy_from_user
 (es)

@read_avail@
position p;
expression list es;
@@
-vhost_get_avail@p
+vhost_ring_get_avail
 (es)

@read_used@
position p;
expression list es;
@@
-vhost_get_used@p
+vhost_ring_get_used
 (es)

@write_elements@
position p;
expression list es;
@@
-vhost_copy_to_user@p
+vhost_ring_copy_to_user
 (es)

@write_used@
position p;
expression list es;
@@
-vhost_put_user@p
+vhost_ring_put_user
 (es)
