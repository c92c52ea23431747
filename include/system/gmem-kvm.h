/*
 * gmem on KVM: what the kernel offers, the provider, and the hooks of kvm-all.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A convertible RAMBlock has a GmemKvmBlock: the engine's block on
 * one side, the list of memory slots that are *bound* to its guest_memfd right
 * now on the other.  A slot is bound when KVM takes its private pages from the
 * guest_memfd; every other slot of the same RAM (a read-only view, a second
 * alias) is bound by host address only and never has the private attribute.
 * In mode split KVM keeps attributes by guest-physical address and never forgets
 * them, so they follow the slots: written from the state map when a slot comes,
 * taken back when it goes.  In mode in-place the guest_memfd itself keeps the state.
 */

#ifndef SYSTEM_GMEM_KVM_H
#define SYSTEM_GMEM_KVM_H

#include "system/gmem.h"

struct kvm_run;
typedef struct KVMSlot KVMSlot;
typedef struct RAMBlock RAMBlock;

/* ---- what the kernel offers this VM (accel/kvm/gmem-probe.c) ---- */

typedef struct GmemKvmCaps {
    bool guest_memfd;       /* guest_memfd and slots that carry one */
    bool in_place;          /* pages change state inside one guest_memfd */
    bool pre_fault;         /* KVM_PRE_FAULT_MEMORY */
    uint64_t flags;         /* GUEST_MEMFD_FLAG_* that a new guest_memfd may have */
    uint64_t attributes;    /* KVM_MEMORY_ATTRIBUTE_* by guest-physical address */
    uint32_t vm_types;      /* bit n: KVM offers VMs of type n */
} GmemKvmCaps;

/* Probed once, after the accelerator is up; NULL when the machine has no KVM */
const GmemKvmCaps *gmem_kvm_caps(void);

/*
 * Can a block of @mode work in this VM?  @vm_private says whether the machine
 * has private memory.  False sets @errp: why, and what to do instead.  The
 * message does not name the object; its owner prepends that.
 */
bool gmem_kvm_mode_supported(GmemBlockMode mode, bool vm_private,
                             Error **errp);
/* What conversion=auto means here; false sets @errp, when nothing works */
bool gmem_kvm_choose_mode(bool vm_private, GmemBlockMode *mode, Error **errp);
/* Can this VM's memory be private, in whatever mode?  Any thread, any time */
bool gmem_kvm_private_supported(void);
/*
 * A new all-shared guest_memfd of @size bytes that may be mapped, for mode
 * none.  Returns the file descriptor (close-on-exec), or -1 and sets @errp.
 */
int gmem_kvm_create_shared(uint64_t size, Error **errp);
/* Likewise for mode in-place, all of it @initial: what is private may not be touched */
int gmem_kvm_create_in_place(uint64_t size, GmemPageState initial,
                             Error **errp);

/* ---- the providers (accel/kvm/gmem-slots.c, gmem-discard.c; gmem-in-place.c) ---- */

/* That of mode split or in-place */
const GmemProviderOps *gmem_kvm_provider(GmemBlockMode mode);
/*
 * The provider's side of @rb, which has its guest_memfd; hand it to gmem_block_new() as
 * opaque.  NULL and @errp where QEMU may open no more files.
 */
void *gmem_kvm_block_new(RAMBlock *rb, GmemBlockMode mode, Error **errp);
/*
 * @rb is about to go: after this, nothing of it is touched, whatever
 * conversion still runs.  BQL held; waits for at most 64 MiB to be freed by each
 * conversion that is freeing some.
 */
void gmem_kvm_block_detach(GmemBlock *block);

/* ---- hooks of the memory slots; BQL and KVM's slots lock held ---- */

/*
 * A slot is being filled in: decide whether it is bound.  @mem has its flags,
 * its address and the RAMBlock's guest_memfd; the last and the flags are
 * changed when the slot shall be bound by host address only.
 */
void gmem_kvm_slot_bind(KVMSlot *mem, const MemoryRegionSection *section);
/* The flags that a live slot may really take, out of the @flags of its region */
int gmem_kvm_slot_flags(const KVMSlot *mem, int flags);
/* The kernel has the slot: give it its attributes.  Always 0 */
int gmem_kvm_slot_added(const KVMSlot *mem, MemoryRegion *mr);
/*
 * The kernel has dropped the slot.  Its attributes stay, and follow the state map,
 * until gmem_kvm_slots_changed(), for the slots that take over a part of it.
 */
void gmem_kvm_slot_removed(const KVMSlot *mem, MemoryRegion *mr);
/*
 * The change of the memory map is complete; to be called before the vCPUs run again
 * if they were kept from it.  Clears what slots left behind that did not come back.
 */
void gmem_kvm_slots_changed(void);

/* ---- hooks of the exits; on the vCPU's thread, BQL not held ---- */

/*
 * Take over an exit that concerns page states.  Returns false for all others;
 * else stores in @ret what the run loop has to do (0: run on, EXCP_*: leave).
 */
bool gmem_kvm_handle_exit(CPUState *cpu, struct kvm_run *run, int *ret);
/*
 * Before KVM_RUN: take up the conversion that a kick interrupted.  True when
 * it was interrupted again: leave the run loop with @ret, not entering the guest.
 */
bool gmem_kvm_pre_run(CPUState *cpu, int *ret);
/* What KVM_RUN answered, made bearable for a run loop that knows EFAULT only */
int gmem_kvm_run_result(struct kvm_run *run, int run_ret);
/*
 * The vCPU is reset, gets an INIT that QEMU has to carry out, or goes (BQL held):
 * complete what it still waits for, before its new registers are written, or before
 * KVM keeps it for the next vCPU of that number.  Nothing happens on other threads.
 */
void gmem_kvm_vcpu_reset(CPUState *cpu);
/* The body of kvm_convert_memory(): any thread, with or without the BQL */
int gmem_kvm_convert_memory(uint64_t gpa, uint64_t size, bool to_private);

#endif
