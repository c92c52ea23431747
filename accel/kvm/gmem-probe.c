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
#include <sys/ioctl.h>
#include "qapi/error.h"
#include "hw/boards.h"
#include "system/gmem-kvm.h"
#include "system/hostmem-gmem.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "gmem-uapi.h"

#define SHARED_FLAGS (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

static uint64_t probe(unsigned int cap)
{
    int value = kvm_vm_check_extension(kvm_state, cap);

    return value > 0 ? value : 0;
}

static int create(uint64_t size, uint64_t flags)
{
    struct kvm_create_guest_memfd args = { .size = size, .flags = flags };
    int fd = kvm_vm_ioctl(kvm_state, KVM_CREATE_GUEST_MEMFD, &args);

    if (fd >= 0) {
        /* The kernel makes it without; a child process must not keep the memory */
        qemu_set_cloexec(fd);
    }
    return fd;
}

/* Does a guest_memfd of this VM know the call?  It says EINVAL to an empty range then */
static bool probe_by_call(void)
{
    GmemKvmAttributes nothing = { };
    int fd = create(qemu_real_host_page_size(), 0);
    bool known;

    if (fd < 0) {
        return false;
    }
    known = ioctl(fd, GMEM_KVM_SET_ATTRIBUTES, &nothing) && errno == EINVAL;
    close(fd);
    return known;
}

/*
 * A kernel that gives the capability another number is still found out, but only for a VM
 * whose memory can be private: any other hears EINVAL whatever it asks.
 */
static bool probe_in_place(const GmemKvmCaps *caps)
{
    if (probe(GMEM_KVM_CAP_IN_PLACE) & KVM_MEMORY_ATTRIBUTE_PRIVATE) {
        return caps->guest_memfd;
    }
    return caps->guest_memfd &&
           !(caps->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE) &&
           gmem_machine_has_private_memory(current_machine) && probe_by_call();
}

static void probe_all(GmemKvmCaps *caps)
{
    caps->guest_memfd = probe(KVM_CAP_GUEST_MEMFD) &&
                        probe(KVM_CAP_USER_MEMORY2);
    caps->pre_fault = probe(KVM_CAP_PRE_FAULT_MEMORY);
    caps->flags = probe(KVM_CAP_GUEST_MEMFD_FLAGS);
    caps->attributes = probe(KVM_CAP_MEMORY_ATTRIBUTES);
    caps->vm_types = probe(KVM_CAP_VM_TYPES);
    caps->in_place = probe_in_place(caps);
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

bool gmem_kvm_private_supported(void)
{
    const GmemKvmCaps *caps = gmem_kvm_caps();

    return caps && caps->guest_memfd &&
           (caps->in_place || caps->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE);
}

static bool none_supported(const GmemKvmCaps *caps, bool vm_private,
                           Error **errp)
{
    if (vm_private) {
        error_setg(errp, "conversion=none keeps all memory shared, but this "
                   "machine has private memory");
        error_append_hint(errp, "Use conversion=auto.\n");
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

/* Both ways of converting need something to convert */
static bool vm_is_private(const char *mode, bool vm_private, Error **errp)
{
    if (vm_private) {
        return true;
    }
    error_setg(errp, "conversion=%s is for machines with private memory, and "
               "this machine has none", mode);
    error_append_hint(errp, "Use conversion=none or conversion=auto, or a "
                      "machine such as pc-q35-swp.\n");
    return false;
}

static bool split_supported(const GmemKvmCaps *caps, bool vm_private,
                            Error **errp)
{
    if (!vm_is_private("split", vm_private, errp)) {
        return false;
    }
    if (caps->in_place) {
        error_setg(errp, "this kernel converts in place, where a guest_memfd "
                   "holds shared pages too, and conversion=split cannot work");
        error_append_hint(errp, "Use conversion=auto, or load kvm with "
                          "kvm.gmem_in_place_conversion=0 if it has that "
                          "parameter.\n");
        return false;
    }
    if (!(caps->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE)) {
        error_setg(errp, "this kernel's KVM has neither memory attributes nor "
                   "in-place conversion, one of which private memory needs");
        error_append_hint(errp, "Use Linux 6.8 or later with a VM type that "
                          "has private memory.\n");
        return false;
    }
    return true;
}

static bool in_place_supported(const GmemKvmCaps *caps, bool vm_private,
                               Error **errp)
{
    if (!vm_is_private("in-place", vm_private, errp)) {
        return false;
    }
    if (!caps->in_place) {
        error_setg(errp, "this kernel does not convert in place: it lacks "
                   "KVM_SET_MEMORY_ATTRIBUTES2 on guest_memfd, or that is "
                   "switched off");
        error_append_hint(errp, "Use Linux 7.4 or later, with "
                          "kvm.gmem_in_place_conversion=1 if kvm has that "
                          "parameter, or conversion=auto.\n");
        return false;
    }
    if (gmem_machine_is_launched(current_machine)) {
        error_setg(errp, "this version cannot launch %s where pages change "
                   "their state in place",
                   gmem_machine_guest_name(current_machine));
        error_append_hint(errp, "Load kvm with kvm.gmem_in_place_conversion=0 "
                          "if it has that parameter.\n");
        return false;
    }
    if ((caps->flags & SHARED_FLAGS) != SHARED_FLAGS) {
        error_setg(errp, "this kernel converts in place, but cannot map what "
                   "is shared: it offers flags 0x%" PRIx64 " of the 0x%" PRIx64
                   " that conversion=in-place needs", caps->flags,
                   (uint64_t)SHARED_FLAGS);
        return false;
    }
    return true;
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
        return in_place_supported(caps, vm_private, errp);
    }
    g_assert_not_reached();
}

bool gmem_kvm_choose_mode(bool vm_private, GmemBlockMode *mode, Error **errp)
{
    const GmemKvmCaps *caps = gmem_kvm_caps();

    if (!vm_private) {
        *mode = GMEM_BLOCK_MODE_NONE;
    } else if (caps && caps->in_place) {
        *mode = GMEM_BLOCK_MODE_IN_PLACE;
    } else {
        *mode = GMEM_BLOCK_MODE_SPLIT;
    }
    return gmem_kvm_mode_supported(*mode, vm_private, errp);
}

/* A new guest_memfd that may be mapped; the caller has checked its mode */
static int create_mapped(uint64_t size, GmemPageState initial, Error **errp)
{
    int fd = create(size, initial == GMEM_PAGE_SHARED ?
                    SHARED_FLAGS : GUEST_MEMFD_FLAG_MMAP);

    if (fd < 0) {
        error_setg_errno(errp, -fd, "cannot create a guest_memfd of 0x%" PRIx64
                         " bytes", size);
        return -1;
    }
    return fd;
}

int gmem_kvm_create_shared(uint64_t size, Error **errp)
{
    if (!gmem_kvm_mode_supported(GMEM_BLOCK_MODE_NONE, false, errp)) {
        return -1;
    }
    return create_mapped(size, GMEM_PAGE_SHARED, errp);
}

int gmem_kvm_create_in_place(uint64_t size, GmemPageState initial,
                             Error **errp)
{
    if (!gmem_kvm_mode_supported(GMEM_BLOCK_MODE_IN_PLACE, true, errp)) {
        return -1;
    }
    return create_mapped(size, initial, errp);
}
