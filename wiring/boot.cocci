// SPDX-License-Identifier: GPL-2.0-or-later
//
// A sw-protected guest has ordinary firmware, which finds command line and initramfs by the header
// of the kernel. Only where firmware measures the kernel, as it does for guests that are
// encrypted, must the header stay as it is in the file.
//
// Engines: gmem
// Include: hw/i386/x86-common.c system/hostmem-gmem.h
// Hook: header hw/i386/x86-common.c 1

@header@
position p;
expression m;
@@
x86_load_linux(...)
{
<...
- !m->cgs@p && protocol > 0
+ !gmem_machine_measures_kernel(m) && protocol > 0
...>
}
