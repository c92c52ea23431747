/*
 * gmem on KVM: what the kernel offers this VM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Capabilities are asked of the VM, not of the system: they differ
 * by VM type.  From them and from what kind of machine this is follows which
 * modes a block can have; every refusal here says what would work instead.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/gmem-kvm.h"
#include "system/kvm.h"
#include "system/kvm_int.h"

#include <linux/kvm.h>

/* Newer than the base's copy of the kernel headers */
#define GMEM_CAP_IN_PLACE 252   /* KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES */

#define SHARED_FLAGS (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

static uint64_t probe(unsigned int cap)
{
    int value = kvm_vm_check_extension(kvm_state, cap);

    return value > 0 ? value : 0;
}

static void probe_all(GmemKvmCaps *caps)
{
    caps->guest_memfd = probe(KVM_CAP_GUEST_MEMFD) &&
                        probe(KVM_CAP_USER_MEMORY2);
    caps->in_place = probe(GMEM_CAP_IN_PLACE) & KVM_MEMORY_ATTRIBUTE_PRIVATE;
    caps->pre_fault = probe(KVM_CAP_PRE_FAULT_MEMORY);
    caps->flags = probe(KVM_CAP_GUEST_MEMFD_FLAGS);
    caps->attributes = probe(KVM_CAP_MEMORY_ATTRIBUTES);
    caps->vm_types = probe(KVM_CAP_VM_TYPES);
}

const GmemKvmCaps *gmem_kvm_caps(void)
{
    static GmemKvmCaps caps;
    static gsize probed;

    if (!kvm_enabled() || !kvm_state) {
        return NULL;
    }
    if (g_once_init_enter(&probed)) {
        probe_all(&caps);
        g_once_init_leave(&probed, 1);
    }
    return &caps;
}

static bool none_supported(const GmemKvmCaps *caps, bool vm_private,
                           Error **errp)
{
    if (vm_private) {
        error_setg(errp, "conversion=none keeps all memory shared, but this "
                   "machine has private memory");
        error_append_hint(errp, "Use conversion=split or conversion=auto.\n");
        return false;
    }
    if ((caps->flags & SHARED_FLAGS) != SHARED_FLAGS) {
        error_setg(errp, "this kernel cannot map guest_memfd as shared memory: "
                   "it offers flags 0x%" PRIx64 " of the 0x%" PRIx64
                   " that conversion=none needs", caps->flags,
                   (uint64_t)SHARED_FLAGS);
        error_append_hint(errp, "Use Linux 6.18 or later, or "
                          "memory-backend-memfd.\n");
        return false;
    }
    return true;
}

static bool split_supported(const GmemKvmCaps *caps, bool vm_private,
                            Error **errp)
{
    if (!vm_private) {
        error_setg(errp, "conversion=split is for machines with private "
                   "memory, and this machine has none");
        error_append_hint(errp, "Use conversion=none or conversion=auto, or a "
                          "machine such as pc-q35-swp.\n");
        return false;
    }
    if (!(caps->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE)) {
        error_setg(errp, "this kernel keeps no private attribute by "
                   "guest-physical address, which conversion=split needs");
        error_append_hint(errp, caps->in_place ?
                          "Load kvm with gmem_in_place_conversion=0.\n" :
                          "Use Linux 6.8 or later with a VM type that has "
                          "private memory.\n");
        return false;
    }
    return true;
}

static bool in_place_supported(const GmemKvmCaps *caps, Error **errp)
{
    error_setg(errp, "conversion=in-place is not supported by this version "
               "(the kernel %s it)", caps->in_place ? "offers" : "lacks");
    error_append_hint(errp, "Use conversion=split or conversion=auto.\n");
    return false;
}

bool gmem_kvm_mode_supported(GmemBlockMode mode, bool vm_private, Error **errp)
{
    const GmemKvmCaps *caps = gmem_kvm_caps();

    if (!caps) {
        error_setg(errp, "guest_memfd needs the KVM accelerator");
        error_append_hint(errp, "Start with -accel kvm, or use "
                          "memory-backend-memfd.\n");
        return false;
    }
    if (!caps->guest_memfd) {
        error_setg(errp, "KVM of this kernel has no guest_memfd for this type "
                   "of VM");
        error_append_hint(errp, "Use Linux 6.18 or later, or "
                          "memory-backend-memfd.\n");
        return false;
    }
    switch (mode) {
    case GMEM_BLOCK_MODE_NONE:
        return none_supported(caps, vm_private, errp);
    case GMEM_BLOCK_MODE_SPLIT:
        return split_supported(caps, vm_private, errp);
    case GMEM_BLOCK_MODE_IN_PLACE:
        return in_place_supported(caps, errp);
    }
    g_assert_not_reached();
}

bool gmem_kvm_choose_mode(bool vm_private, GmemBlockMode *mode, Error **errp)
{
    GmemBlockMode only = vm_private ? GMEM_BLOCK_MODE_SPLIT
                                    : GMEM_BLOCK_MODE_NONE;

    if (!gmem_kvm_mode_supported(only, vm_private, errp)) {
        return false;
    }
    *mode = only;
    return true;
}

int gmem_kvm_create_shared(uint64_t size, Error **errp)
{
    struct kvm_create_guest_memfd args = {
        .size = size,
        .flags = SHARED_FLAGS,
    };
    int fd;

    if (!gmem_kvm_mode_supported(GMEM_BLOCK_MODE_NONE, false, errp)) {
        return -1;
    }
    fd = kvm_vm_ioctl(kvm_state, KVM_CREATE_GUEST_MEMFD, &args);
    if (fd < 0) {
        error_setg_errno(errp, -fd, "cannot create a guest_memfd of 0x%" PRIx64
                         " bytes", size);
        return -1;
    }
    qemu_set_cloexec(fd);
    return fd;
}
