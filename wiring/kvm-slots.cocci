// SPDX-License-Identifier: GPL-2.0-or-later
//
// The private attribute follows the memory slots: which slot is bound to its
// guest_memfd, and what attributes a slot gets when it comes and leaves behind
// when it goes, is decided from the state map and not assumed.  And KVM takes slots with
// guest_memfd also where there is no such attribute, because it converts in place.
//
// Engines: gmem
// Include: accel/kvm/kvm-all.c system/gmem-kvm.h
// Hook: slot_bind accel/kvm/kvm-all.c 1
// Hook: slot_flags accel/kvm/kvm-all.c 1
// Hook: slot_added accel/kvm/kvm-all.c 1
// Hook: slot_removed accel/kvm/kvm-all.c 1
// Hook: slots_changed accel/kvm/kvm-all.c 1
// Hook: supported accel/kvm/kvm-all.c 1

@slot_bind@
position p;
@@
mem->guest_memfd@p = mr->ram_block->guest_memfd;
+ gmem_kvm_slot_bind(mem, section);

@slot_flags@
position p;
@@
int kvm_slot_update_flags(...)
{
mem->flags@p = kvm_mem_flags(mr);
+ mem->flags = gmem_kvm_slot_flags(mem, mem->flags);
...
}

@slot_added@
position p;
@@
- err = kvm_set_memory_attributes_private@p(start_addr, slot_size);
+ err = gmem_kvm_slot_added(mem, mr);

@slot_removed@
position p;
@@
kml->nr_slots_used@p--;
+ gmem_kvm_slot_removed(mem, mr);

@slots_changed@
position p;
@@
+ gmem_kvm_slots_changed();
if (need_inhibit) {
    accel_ioctl_inhibit_end@p();
}

@supported@
position p;
expression e;
@@
kvm_guest_memfd_supported@p = e;
+ kvm_guest_memfd_supported = gmem_kvm_private_supported();
