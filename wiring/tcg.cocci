// SPDX-License-Identifier: GPL-2.0-or-later
//
// Emulation, which the lab runs on. Each CPU that restores the state of its FPU clears a flag
// of the first CPU, which changes its flags at the same time without a lock: when that one
// was just leaving a nested guest, it read its next instruction through the guest's page tables,
// and its own registers became the guest's. The flag is hardly ever set; then nothing is written.
//
// Engines: gmem
// Hook: ignne target/i386/tcg/system/fpu_helper.c 1
// Include: accel/tcg/tcg-accel-ops.c system/gmem-tcg.h
// Hook: enter_map accel/tcg/tcg-accel-ops.c 1
// Include: system/physmem.c system/gmem-tcg.h

@ignne@
position p;
@@
cpu_clear_ignne(...)
{
<...
+ if (env->hflags2 & HF2_IGNNE_MASK)
  env->hflags2@p &= ~HF2_IGNNE_MASK;
...>
}

// What one CPU changes of the memory map reaches the others when they leave the guest. Until then
// their TLBs have numbers of the old map, which the base looks up in the new one: an access of
// the lab's second CPU went to another device, or to none and ended QEMU, while the first one set up PCI.
@enter_map@
position p;
@@
tcg_cpu_exec(...)
{
<...
+ gmem_tcg_enter(cpu);
 ret = cpu_exec@p(cpu);
+ gmem_tcg_leave();
...>
}
