// SPDX-License-Identifier: GPL-2.0-or-later
//
// A touch of a private page of in-place memory raises SIGBUS, and must not end QEMU.
// The handler asks us first; and since the kernel kills a process that blocks the signal of a
// failed touch, no thread begins its life with SIGBUS blocked.
//
// Engines: gmem
// Include: system/cpus.c system/gmem-sigbus.h
// Hook: handle_sigbus system/cpus.c 1
// Hook: thread_mask util/qemu-thread-posix.c 1

@handle_sigbus@
position p;
@@
sigbus_handler@p(...)
{
+    if (gmem_sigbus(siginfo)) {
+        return;
+    }
...
}

@thread_mask@
position p;
@@
sigdelset@p(&set, SIGILL);
+ sigdelset(&set, SIGBUS);
