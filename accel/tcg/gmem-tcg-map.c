/*
 * gmem: the memory map that an emulated CPU has while it is in the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CPU has a thread, or shares one with all others; so a thread knows whose maps it has.
 * A shared thread forgets them at each turn: what CPUs have queued is done before a turn,
 * and no other CPU changes maps during one.
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "exec/cputlb.h"
#include "system/memory.h"
#include "system/memory-internal.h"
#include "system/gmem-tcg.h"

/* x86 has two, for what is and is not system management mode; no target has more than this */
#define SPACES 4

static __thread struct {
    const CPUState *cpu;
    AddressSpaceDispatch *maps[SPACES];
    bool inside;
} mine;

void gmem_tcg_enter(CPUState *cpu)
{
    bool known = mine.cpu == cpu, changed = false;
    int i;

    rcu_read_lock();
    for (i = 0; i < MIN(cpu->num_ases, SPACES); i++) {
        AddressSpace *as = cpu_get_address_space(cpu, i);
        AddressSpaceDispatch *now = as ? address_space_to_dispatch(as) : NULL;

        changed |= known && mine.maps[i] != now;
        mine.maps[i] = now;
    }
    mine.cpu = cpu;
    mine.inside = true;
    if (changed) {
        tlb_flush(cpu);
    }
}

void gmem_tcg_leave(void)
{
    mine.inside = false;
    rcu_read_unlock();
}

AddressSpaceDispatch *gmem_tcg_map(const CPUState *cpu, int asidx,
                                   AddressSpaceDispatch *now)
{
    bool has = mine.inside && mine.cpu == cpu && asidx < SPACES && mine.maps[asidx];

    return has ? mine.maps[asidx] : now;
}
