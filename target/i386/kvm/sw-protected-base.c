/*
 * sw-protected-guest in the comparison binary: RAM starts shared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  The base makes every new slot with guest_memfd private.  An
 * SNP or TDX guest expects that; this one runs its firmware from shared memory.
 * So a listener that comes after KVM's own converts what KVM has just mapped.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "system/address-spaces.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "sw-protected.h"

typedef struct NewSection {
    hwaddr start;
    uint64_t size;
} NewSection;

static GArray *new_sections;

static void section_added(MemoryListener *listener,
                          MemoryRegionSection *section)
{
    NewSection new = {
        .start = section->offset_within_address_space,
        .size = int128_get64(section->size),
    };

    if (memory_region_has_guest_memfd(section->mr)) {
        g_array_append_val(new_sections, new);
    }
}

/* KVM adds its slots in its own commit, which has run by now */
static void sections_committed(MemoryListener *listener)
{
    for (guint i = 0; i < new_sections->len; i++) {
        NewSection *new = &g_array_index(new_sections, NewSection, i);
        int ret = kvm_convert_memory(new->start, new->size, false);

        if (ret) {
            error_report("memory at 0x%" HWADDR_PRIx " could not be made "
                         "shared: %s", new->start, strerror(-ret));
            exit(1);
        }
    }
    g_array_set_size(new_sections, 0);
}

static MemoryListener share_listener = {
    .name = "sw-protected",
    .priority = MEMORY_LISTENER_PRIORITY_ACCEL + 1,
    .region_add = section_added,
    .commit = sections_committed,
};

bool sw_protected_engine_check(Error **errp)
{
    int attributes = kvm_vm_check_extension(kvm_state,
                                            KVM_CAP_MEMORY_ATTRIBUTES);

    if (attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE &&
        kvm_vm_check_extension(kvm_state, KVM_CAP_GUEST_MEMFD)) {
        return true;
    }
    error_setg(errp, "sw-protected-guest: this kernel's KVM cannot keep "
               "private pages beside shared ones (no memory attributes)");
    error_append_hint(errp, "Where KVM converts in place, load it with "
                      "gmem_in_place_conversion=0.\n");
    return false;
}

bool sw_protected_engine_init(SwProtectedGuest *guest, Error **errp)
{
    /* the base gives KVM one slot both read-only and with guest_memfd */
    kvm_readonly_mem_allowed = false;
    new_sections = g_array_new(false, false, sizeof(NewSection));
    memory_listener_register(&share_listener, &address_space_memory);
    return true;
}
