/*
 * gmem: one memory map for an emulated CPU, from its entering to its leaving the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  The TLB of an emulated CPU has numbers of sections of the memory map.  When
 * another CPU changes the map, this one is made to leave the guest and flush its TLB, but
 * until it does, its numbers would be looked up in the new map, where they are those of
 * other devices, or of none.  So a CPU goes on with the map that it entered with, which
 * RCU keeps for it, and what is new is looked at when it enters again.  That goes for
 * what it changes by itself, too: it has that from its next block of instructions on.
 *
 * Two cases are left as they are in the base: a locked access to a device, which is made
 * outside, and changes by QMP while all CPUs share a thread.
 */

#ifndef SYSTEM_GMEM_TCG_H
#define SYSTEM_GMEM_TCG_H

#include "hw/core/cpu.h"

struct AddressSpaceDispatch;

/*
 * @cpu enters the guest on this thread: its TLB is flushed if the map has changed since.
 * Begins an RCU read section
 */
void gmem_tcg_enter(CPUState *cpu);

/* The CPU of this thread has left the guest */
void gmem_tcg_leave(void);

/*
 * The map of address space @asidx that @cpu has, which is @now unless it is in the guest
 * on this thread.  For filling its TLB, and for what is found there
 */
struct AddressSpaceDispatch *gmem_tcg_map(const CPUState *cpu, int asidx,
                                          struct AddressSpaceDispatch *now);

#endif
