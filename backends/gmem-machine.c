/*
 * What a machine with private memory asks of its RAM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Every memory backend, whatever its type, passes
 * gmem_backend_check() when it is completed; so here stands which backends such a
 * machine takes.  HostMemoryBackend.guest_memfd says whether the backend's RAMBlock
 * gets a guest_memfd beside its own memory; it is on by default on such a machine.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "hw/boards.h"
#include "system/gmem-kvm.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "system/ramblock.h"
#include "system/system.h"
#include "hostmem-gmem-internal.h"

/* Then every guest_memfd of this machine holds what is shared, too */
static bool converts_in_place(void)
{
    const GmemKvmCaps *caps = gmem_kvm_caps();

    return caps && caps->in_place;
}

void gmem_ram_config(MemoryRegion *mr, GmemBlockConfig *config)
{
    HostMemoryBackendGmem *gmem =
        (HostMemoryBackendGmem *)object_dynamic_cast(mr->owner,
                                                     TYPE_MEMORY_BACKEND_GMEM);

    config->id = memory_region_name(mr);
    config->mode = converts_in_place() ? GMEM_BLOCK_MODE_IN_PLACE
                                       : GMEM_BLOCK_MODE_SPLIT;
    config->size = memory_region_size(mr);
    config->initial = gmem_machine_initial(current_machine);
    if (gmem) {
        config->mode = gmem->mode;
        config->initial = gmem_backend_initial(gmem);
        config->timeout_ms = gmem->conversion_timeout;
        config->shared_limit = gmem->shared_limit;
        config->dma_granularity = gmem->dma_granularity;
    }
}

/* Types that become gmem by themselves; guest-memfd=off opts out */
static bool can_be_upgraded(HostMemoryBackend *backend)
{
    return object_dynamic_cast(OBJECT(backend), TYPE_MEMORY_BACKEND_RAM) ||
           object_dynamic_cast(OBJECT(backend), TYPE_MEMORY_BACKEND_MEMFD);
}

static bool check_private_machine(HostMemoryBackend *backend, Error **errp)
{
    const char *type = object_get_typename(OBJECT(backend));
    g_autofree char *id = gmem_backend_id(backend);

    if (!backend->guest_memfd || gmem_backend_is_gmem(backend) ||
        can_be_upgraded(backend)) {
        return true;
    }
    error_setg(errp, "%s '%s' cannot be RAM of a machine with %s: the guest's "
               "private pages must lie in a guest_memfd, which this kind of "
               "backend cannot have", type, id,
               gmem_machine_guest_name(current_machine));
    error_append_hint(errp, "Use memory-backend-gmem, memory-backend-memfd or "
                      "memory-backend-ram, or add guest-memfd=off for memory "
                      "that stays shared.\n");
    return false;
}

static bool check_ordinary_machine(HostMemoryBackend *backend, Error **errp)
{
    g_autofree char *id = gmem_backend_id(backend);

    if (!backend->guest_memfd || gmem_backend_is_gmem(backend)) {
        return true;
    }
    error_setg(errp, "%s '%s' cannot have guest-memfd=on: the machine has no "
               "private memory", object_get_typename(OBJECT(backend)), id);
    error_append_hint(errp, "Use memory-backend-gmem for RAM that is one "
                      "shared guest_memfd.\n");
    return false;
}

/* What a memfd or anonymous memory can be, and one guest_memfd in its place cannot */
static bool check_replaced(HostMemoryBackend *backend, Error **errp)
{
    g_autofree char *id = gmem_backend_id(backend);
    const char *what, *why;

    if (!backend->guest_memfd || !converts_in_place() ||
        !object_dynamic_cast(OBJECT(backend), TYPE_MEMORY_BACKEND_MEMFD)) {
        return true;
    }
    if (object_property_get_bool(OBJECT(backend), "hugetlb", NULL)) {
        what = "hugetlb=on";
        why = "has 4 KiB pages only";
    } else if (!backend->share) {
        what = "share=off";
        why = "can only be mapped shared";
    } else {
        return true;
    }
    error_setg(errp, "memory-backend-memfd '%s' cannot have %s: this kernel "
               "converts in place, so all of the memory is one guest_memfd, "
               "which %s", id, what, why);
    error_append_hint(errp, "Leave %s out, or add guest-memfd=off for memory "
                      "that stays shared.\n", what);
    return false;
}

/*
 * mlockall() would allocate the shared side of every page at once.  In place there are no
 * sides: each page is locked once, while it is shared.
 */
static bool check_mem_lock(HostMemoryBackend *backend, Error **errp)
{
    g_autofree char *id = gmem_backend_id(backend);

    if (!backend->guest_memfd || mlock_state != MLOCK_ON ||
        converts_in_place()) {
        return true;
    }
    error_setg(errp, "%s '%s' cannot be used with -overcommit mem-lock=on: it "
               "would allocate the shared side of every private page",
               object_get_typename(OBJECT(backend)), id);
    error_append_hint(errp, "Use mem-lock=on-fault, which locks what is "
                      "shared.\n");
    return false;
}

static void warn_policy(HostMemoryBackend *backend)
{
    g_autofree char *id = gmem_backend_id(backend);

    if (!backend->guest_memfd || backend->policy == HOST_MEM_POLICY_DEFAULT ||
        backend->prealloc || converts_in_place()) {
        return;
    }
    warn_report("%s '%s': policy=%s governs shared pages only; private pages "
                "follow it with prealloc=on, or with in-place conversion "
                "(Linux 7.4)", object_get_typename(OBJECT(backend)), id,
                HostMemPolicy_str(backend->policy));
}

bool gmem_backend_check(HostMemoryBackend *backend, Error **errp)
{
    if (!gmem_backend_check_options(backend, errp)) {
        return false;
    }
    if (!gmem_machine_has_private_memory(current_machine)) {
        return check_ordinary_machine(backend, errp);
    }
    if (!check_private_machine(backend, errp) ||
        !check_replaced(backend, errp) || !check_mem_lock(backend, errp)) {
        return false;
    }
    warn_policy(backend);
    return true;
}

static bool backend_get_guest_memfd(Object *obj, Error **errp)
{
    return MEMORY_BACKEND(obj)->guest_memfd;
}

static void backend_set_guest_memfd(Object *obj, bool value, Error **errp)
{
    HostMemoryBackend *backend = MEMORY_BACKEND(obj);
    g_autofree char *id = gmem_backend_id(backend);

    if (host_memory_backend_mr_inited(backend)) {
        error_setg(errp, "guest-memfd of %s '%s' cannot be changed once its "
                   "memory exists", object_get_typename(obj), id);
        return;
    }
    backend->guest_memfd = value;
}

void gmem_backend_class_properties(ObjectClass *oc)
{
    object_class_property_add_bool(oc, "guest-memfd", backend_get_guest_memfd,
                                   backend_set_guest_memfd);
    object_class_property_set_description(oc, "guest-memfd",
        "Keep the guest's private pages in a guest_memfd");
}
