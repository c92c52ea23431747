// SPDX-License-Identifier: GPL-2.0-or-later
//
// Emulation, which the lab runs on. Each CPU that restores the state of its FPU clears a flag
// of the first CPU, which changes its flags at the same time without a lock: when that one
// was just leaving a nested guest, it read its next instruction through the guest's page tables,
// and its own registers became the guest's. The flag is hardly ever set; then nothing is written.
//
// Engines: gmem
// Hook: ignne target/i386/tcg/system/fpu_helper.c 1

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
