// SPDX-License-Identifier: GPL-2.0-or-later
//
// In a VM with private memory a vhost-user back end is sent what is shared of the guest's memory, by
// our own messages, wherever the base sends it all. For that we hear of its connection, of changes of the
// memory map, and when its rings start and stop; and completions are told by the file that the base names
// when they are told at all. Devices that can be had are vouched for, the others are refused; cards and
// crypto devices, whose back ends may be there before the memory, and for which the base would wait again and again, before they
// connect. Packed rings are
// not offered, and ACCESS_PLATFORM is. A disk that waits for its reset is not started when its back end comes back. What is printed of a
// back end that is gone is limited, because a guest can cause it as often as it likes.
//
// Engines: gmem
// Include: hw/virtio/vhost-user.c hw/virtio/gmem-vhost-user.h
// Include: hw/virtio/vhost-user.c hw/virtio/gmem-virtio.h
// Hook: table hw/virtio/vhost-user.c 1
// Hook: connected hw/virtio/vhost-user.c 1
// Hook: offered hw/virtio/vhost-user.c 1
// Hook: gone hw/virtio/vhost-user.c 1
// Hook: rings_run hw/virtio/vhost-user.c 1
// Hook: rings_stopped hw/virtio/vhost-user.c 1
// Hook: completions hw/virtio/vhost-user.c 1
// Hook: no_header hw/virtio/vhost-user.c 2
// Hook: no_answer hw/virtio/vhost-user.c 1
// Hook: not_written hw/virtio/vhost-user.c 2
// Include: hw/virtio/vhost.c hw/virtio/gmem-vhost-user.h
// Hook: remapped hw/virtio/vhost.c 1
// Include: net/vhost-user.c hw/virtio/gmem-vhost-user.h
// Hook: no_net net/vhost-user.c 1
// Include: net/passt.c hw/virtio/gmem-vhost-user.h
// Hook: no_passt net/passt.c 1
// Include: backends/cryptodev-vhost-user.c hw/virtio/gmem-vhost-user.h
// Hook: no_crypto backends/cryptodev-vhost-user.c 1
// Include: hw/block/vhost-user-blk.c hw/virtio/gmem-vhost-user.h
// Hook: vouch_blk hw/block/vhost-user-blk.c 1
// Hook: blk_restart hw/block/vhost-user-blk.c 1
// Hook: blk_not_started hw/block/vhost-user-blk.c 2
// Hook: blk_not_connected hw/block/vhost-user-blk.c 1
// Include: hw/block/vhost-user-blk.c hw/virtio/gmem-virtio.h
// Include: hw/virtio/vhost-user-fs.c hw/virtio/gmem-vhost-user.h
// Include: hw/virtio/vhost-user-fs.c hw/virtio/gmem-virtio.h
// Hook: vouch_fs hw/virtio/vhost-user-fs.c 1
// Hook: fs_not_started hw/virtio/vhost-user-fs.c 1

@table@
position p;
@@
vhost_user_set_mem_table@p(...)
{
+    if (gmem_vhost_user_is_ours(dev)) {
+        return gmem_vhost_user_set_mem_table(dev);
+    }
...
}

@connected@
position p;
@@
vhost_user_backend_init(...)
{
<...
+    if (gmem_vhost_user_connected(dev, vus, errp) < 0) {
+        return -ENOTSUP;
+    }
u->postcopy_notifier.notify@p = vhost_user_postcopy_notifier;
...>
}

@offered@
position p;
@@
vhost_user_get_features(...)
{
<...
+    *features = gmem_vhost_user_features(dev, *features);
return 0@p;
...>
}

@gone@
position p;
@@
vhost_user_backend_cleanup@p(...)
{
+    gmem_vhost_user_forget(dev);
...
}

@rings_run@
position p;
@@
vhost_user_dev_start@p(...)
{
+    gmem_vhost_user_started(dev, started);
...
}

@rings_stopped@
position p;
@@
vhost_user_reset_status@p(...)
{
+    gmem_vhost_user_stopped(dev);
...
}

@completions@
position p;
@@
vhost_user_set_vring_call@p(...)
{
+    if (gmem_vhost_user_set_call(dev, file)) {
+        return 0;
+    }
...
}

@no_header@
position p;
@@
vhost_user_read_header(...)
{
<...
-    error_report@p
+    gmem_virtio_complain
     (...);
...>
}

@no_answer@
expression e;
position p;
@@
vhost_user_read_header(...)
{
<...
+    if (!gmem_vhost_user_answers(dev, chr)) {
+        return -ETIMEDOUT;
+    }
e = qemu_chr_fe_read_all@p(chr, ...);
...>
}

@not_written@
position p;
@@
vhost_user_write(...)
{
<...
-    error_report@p
+    gmem_virtio_complain
     (...);
...>
}

@remapped@
position p;
@@
vhost_commit(...)
{
<...
trace_vhost_commit@p(...);
+    gmem_vhost_user_remapped(dev, changed);
...>
}

@no_net@
position p;
@@
net_init_vhost_user@p(...)
{
+    if (gmem_vhost_user_kind_refused(errp)) {
+        return -1;
+    }
...
}

// Before there is a client: the end of one whose program was not started sends a signal to all of us
@no_passt@
position p;
@@
net_init_passt@p(...)
{
+    if (netdev->u.passt.vhost_user && gmem_vhost_user_kind_refused(errp)) {
+        return -1;
+    }
...
}

@no_crypto@
position p;
@@
cryptodev_vhost_user_init@p(...)
{
+    if (gmem_vhost_user_kind_refused(errp)) {
+        return;
+    }
...
}

@vouch_blk@
position p;
@@
vhost_user_blk_connect(...)
{
<...
+    gmem_vhost_user_vouch(&s->dev, vdev, GMEM_VHOST_AGAIN);
ret = vhost_dev_init@p(&s->dev, ...);
...>
}

@blk_restart@
position p;
@@
vhost_user_blk_connect(...)
{
<...
-    virtio_device_started@p(vdev, vdev->status)
+    (virtio_device_started(vdev, vdev->status) && gmem_vhost_user_may_start(vdev))
...>
}

@blk_not_started@
expression e;
position p;
@@
ret = vhost_user_blk_start(vdev, &e);
if (ret < 0) {
-    error_reportf_err@p
+    gmem_virtio_complain_err
     (...);
...
}

@blk_not_connected@
position p;
@@
vhost_user_blk_event(...)
{
<...
-    error_report_err@p(local_err);
+    gmem_virtio_complain_err(local_err, "");
...>
}

@vouch_fs@
position p;
@@
vuf_device_realize(...)
{
<...
+    gmem_vhost_user_vouch(&fs->vhost_dev, vdev, GMEM_VHOST_ONCE);
ret = vhost_dev_init@p(&fs->vhost_dev, ...);
...>
}

@fs_not_started@
position p;
@@
vuf_start(...)
{
<...
ret = vhost_dev_start(...);
if (ret < 0) {
-    error_report@p
+    gmem_virtio_complain
     (...);
...
}
...>
}
