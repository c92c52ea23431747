/*
 * memory-backend-gmem: making the memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Modes none and in-place: the guest_memfd itself is the RAMBlock's
 * file.  Mode split: the RAMBlock's file is a memfd for the shared pages, and
 * RAM_GUEST_MEMFD has the guest_memfd for the private ones made beside it.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/memfd.h"
#include "hw/boards.h"
#include "migration/blocker.h"
#include "system/gmem-kvm.h"
#include "system/gmem-ram.h"
#include "system/ramblock.h"
#include "hostmem-gmem-internal.h"

GmemPageState gmem_backend_initial(const HostMemoryBackendGmem *gmem)
{
    switch (gmem->initial) {
    case GMEM_INITIAL_STATE_PRIVATE:
        return GMEM_PAGE_PRIVATE;
    case GMEM_INITIAL_STATE_SHARED:
        return GMEM_PAGE_SHARED;
    default:
        return gmem_machine_initial(current_machine);
    }
}

/* What an explicit conversion= asks for */
static GmemBlockMode asked_mode(const HostMemoryBackendGmem *gmem)
{
    switch (gmem->conversion) {
    case GMEM_CONVERSION_IN_PLACE:
        return GMEM_BLOCK_MODE_IN_PLACE;
    case GMEM_CONVERSION_SPLIT:
        return GMEM_BLOCK_MODE_SPLIT;
    default:
        return GMEM_BLOCK_MODE_NONE;
    }
}

/* conversion=auto resolved; an explicit mode must be one the kernel offers */
static bool choose_mode(HostMemoryBackendGmem *gmem, Error **errp)
{
    bool vm_private = gmem_machine_has_private_memory(current_machine);
    g_autofree char *id = gmem_backend_id(MEMORY_BACKEND(gmem));
    bool ok;

    ERRP_GUARD();
    if (gmem->conversion == GMEM_CONVERSION_AUTO) {
        ok = gmem_kvm_choose_mode(vm_private, &gmem->mode, errp);
    } else {
        gmem->mode = asked_mode(gmem);
        ok = gmem_kvm_mode_supported(gmem->mode, vm_private, errp);
    }
    if (!ok) {
        error_prepend(errp, "memory-backend-gmem '%s' cannot have "
                      "conversion=%s: ", id,
                      GmemConversion_str(gmem->conversion));
    }
    return ok;
}

static int create_fd(HostMemoryBackendGmem *gmem, Error **errp)
{
    uint64_t size = MEMORY_BACKEND(gmem)->size;

    if (gmem->mode == GMEM_BLOCK_MODE_NONE) {
        return gmem_kvm_create_shared(size, errp);
    }
    if (gmem->mode == GMEM_BLOCK_MODE_IN_PLACE) {
        return gmem_kvm_create_in_place(size, gmem_backend_initial(gmem), errp);
    }
    return qemu_memfd_create(TYPE_MEMORY_BACKEND_GMEM, size,
                             gmem->shared_hugetlb, gmem->shared_hugetlbsize,
                             F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL, errp);
}

static uint32_t ram_flags(HostMemoryBackendGmem *gmem)
{
    uint32_t flags = RAM_SHARED;

    /* huge pages come and go with conversions, so none can be reserved */
    if (!MEMORY_BACKEND(gmem)->reserve || gmem->shared_hugetlb) {
        flags |= RAM_NORESERVE;
    }
    if (gmem->mode != GMEM_BLOCK_MODE_NONE) {
        flags |= RAM_GUEST_MEMFD;
    }
    return flags;
}

/* Another QEMU process has another VM, to which this memory cannot belong */
static bool block_cpr(HostMemoryBackendGmem *gmem, Error **errp)
{
    g_autofree char *id = gmem_backend_id(MEMORY_BACKEND(gmem));

    error_setg(&gmem->cpr_blocker, "memory-backend-gmem '%s' cannot be handed "
               "to another QEMU: a guest_memfd belongs to its KVM virtual "
               "machine", id);
    return !migrate_add_blocker_modes(&gmem->cpr_blocker,
                                      BIT(MIG_MODE_CPR_TRANSFER) |
                                      BIT(MIG_MODE_CPR_EXEC), errp);
}

static bool init_region(HostMemoryBackendGmem *gmem, int fd, Error **errp)
{
    HostMemoryBackend *backend = MEMORY_BACKEND(gmem);
    g_autofree char *name = host_memory_backend_get_name(backend);

    backend->aligned = true;
    return memory_region_init_ram_from_fd(&backend->mr, OBJECT(backend), name,
                                          backend->size, ram_flags(gmem), fd,
                                          0, errp);
}

static bool make_memory(HostMemoryBackendGmem *gmem, Error **errp)
{
    int fd = create_fd(gmem, errp);

    if (fd < 0) {
        return false;
    }
    if (!init_region(gmem, fd, errp)) {
        close(fd);
        return false;
    }
    return true;
}

bool gmem_backend_alloc(HostMemoryBackend *backend, Error **errp)
{
    HostMemoryBackendGmem *gmem = MEMORY_BACKEND_GMEM(backend);
    g_autofree char *id = gmem_backend_id(backend);

    ERRP_GUARD();
    if (!choose_mode(gmem, errp) || !gmem_backend_check_mode(gmem, errp)) {
        return false;
    }
    if (gmem->mode == GMEM_BLOCK_MODE_NONE && !block_cpr(gmem, errp)) {
        return false;
    }
    if (!make_memory(gmem, errp)) {
        error_prepend(errp, "memory-backend-gmem '%s': ", id);
        return false;
    }
    if (gmem->mode == GMEM_BLOCK_MODE_NONE) {
        gmem_register_none(backend->mr.ram_block);
    }
    return true;
}
