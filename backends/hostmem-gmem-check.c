/*
 * memory-backend-gmem: what cannot be had, and why
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Each function refuses one thing.  Its message names the object,
 * what was asked and what is possible; the hint says what to do.  Options are
 * checked first, without a look at the kernel; what depends on the mode, after
 * that was chosen.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "hw/boards.h"
#include "system/gmem-ram.h"
#include "system/kvm.h"
#include "hostmem-gmem-internal.h"

static bool check_kvm(const char *id, Error **errp)
{
    if (kvm_enabled()) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' needs KVM: a guest_memfd "
               "belongs to a KVM virtual machine", id);
    error_append_hint(errp, "Use -accel kvm, or memory-backend-memfd.\n");
    return false;
}

static bool check_sharing(HostMemoryBackend *backend, const char *id,
                          Error **errp)
{
    if (!backend->share) {
        error_setg(errp, "memory-backend-gmem '%s' cannot have share=off: a "
                   "guest_memfd can only be mapped shared", id);
        error_append_hint(errp, "Leave share out, or use share=on.\n");
        return false;
    }
    if (backend->merge) {
        error_setg(errp, "memory-backend-gmem '%s' cannot have merge=on: the "
                   "kernel merges anonymous memory only", id);
        error_append_hint(errp, "Leave merge out, or use merge=off.\n");
        return false;
    }
    return true;
}

static bool check_zero(HostMemoryBackendGmem *gmem, const char *id,
                       Error **errp)
{
    if (!gmem->zero) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' cannot have %s=0: it must be at "
               "least %s", id, gmem->zero,
               g_str_equal(gmem->zero, "conversion-timeout") ? "1 ms" : "4 KiB");
    error_append_hint(errp, "Leave %s out for its default.\n", gmem->zero);
    return false;
}

static bool check_size(HostMemoryBackend *backend, const char *id,
                       Error **errp)
{
    if (QEMU_IS_ALIGNED(backend->size, GMEM_BACKEND_PAGE_SIZE)) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' cannot have size=%" PRIu64
               ": it must be a multiple of 4 KiB", id, backend->size);
    return false;
}

static bool check_page_size(HostMemoryBackendGmem *gmem, const char *id,
                            Error **errp)
{
    g_autofree char *asked = size_to_str(gmem->page_size);

    if (gmem->page_size == GMEM_BACKEND_PAGE_SIZE) {
        return true;
    }
    if (gmem->page_size == 2 * MiB || gmem->page_size == GiB) {
        error_setg(errp, "memory-backend-gmem '%s' cannot have page-size=%s: "
                   "Linux offers guest_memfd in 4 KiB pages only", id, asked);
    } else {
        error_setg(errp, "memory-backend-gmem '%s' cannot have page-size=%s: "
                   "it is not a page size of x86; 4 KiB is possible", id,
                   asked);
    }
    error_append_hint(errp, "Leave page-size out, or use page-size=4K.\n");
    return false;
}

static bool check_guest_memfd(HostMemoryBackend *backend, const char *id,
                              Error **errp)
{
    if (backend->guest_memfd ||
        !gmem_machine_has_private_memory(current_machine)) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' cannot have guest-memfd=off: "
               "it is a guest_memfd", id);
    error_append_hint(errp, "Use memory-backend-memfd,guest-memfd=off for RAM "
                      "that stays shared.\n");
    return false;
}

static bool check_hugetlbsize(HostMemoryBackendGmem *gmem, const char *id,
                              Error **errp)
{
    if (!gmem->shared_hugetlbsize || gmem->shared_hugetlb) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' has shared-hugetlbsize without "
               "shared-hugetlb=on", id);
    error_append_hint(errp, "Add shared-hugetlb=on.\n");
    return false;
}

static bool check_shared_limit(HostMemoryBackendGmem *gmem, const char *id,
                               Error **errp)
{
    if (QEMU_IS_ALIGNED(gmem->shared_limit, GMEM_BACKEND_PAGE_SIZE)) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' cannot have shared-limit=%"
               PRIu64 ": it must be a multiple of 4 KiB", id,
               gmem->shared_limit);
    return false;
}

bool gmem_backend_check_virtio_mem(HostMemoryBackend *backend, Error **errp)
{
    GmemBlock *block = gmem_from_ramblock(backend->mr.ram_block);
    g_autofree char *id = NULL;

    if (!block || gmem_block_mode(block) == GMEM_BLOCK_MODE_NONE) {
        return true;
    }
    id = gmem_backend_id(backend);
    error_setg(errp, "%s '%s' cannot belong to virtio-mem: its pages are "
               "private or shared, and only one of the two can say which of "
               "them devices may use", object_get_typename(OBJECT(backend)),
               id);
    error_append_hint(errp, "Plug it as a pc-dimm, or use "
                      "memory-backend-memfd,guest-memfd=off.\n");
    return false;
}

static bool check_dma_granularity(HostMemoryBackendGmem *gmem, const char *id,
                                  Error **errp)
{
    g_autofree char *asked = size_to_str(gmem->dma_granularity);

    if (is_power_of_2(gmem->dma_granularity) &&
        gmem->dma_granularity >= GMEM_BACKEND_PAGE_SIZE &&
        gmem->dma_granularity <= GMEM_STEP_BYTES) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' cannot have dma-granularity=%s: "
               "it must be a power of two, from 4 KiB to 64 MiB", id, asked);
    error_append_hint(errp, "Leave it out for 4 KiB, or use the size in which "
                      "the guest converts, for example 2M.\n");
    return false;
}

bool gmem_backend_check_options(HostMemoryBackend *backend, Error **errp)
{
    g_autofree char *id = NULL;
    HostMemoryBackendGmem *gmem;

    if (!gmem_backend_is_gmem(backend)) {
        return true;
    }
    gmem = MEMORY_BACKEND_GMEM(backend);
    id = gmem_backend_id(backend);
    return check_sharing(backend, id, errp) &&
           check_size(backend, id, errp) &&
           check_zero(gmem, id, errp) &&
           check_page_size(gmem, id, errp) &&
           check_hugetlbsize(gmem, id, errp) &&
           check_shared_limit(gmem, id, errp) &&
           check_dma_granularity(gmem, id, errp) &&
           check_guest_memfd(backend, id, errp) &&
           check_kvm(id, errp);
}

static bool check_none(HostMemoryBackendGmem *gmem, const char *id,
                       Error **errp)
{
    const char *what = NULL;

    if (gmem->initial == GMEM_INITIAL_STATE_PRIVATE) {
        what = "initial=private";
    } else if (gmem->shared_hugetlb) {
        what = "shared-hugetlb=on";
    } else if (gmem->shared_limit) {
        what = "shared-limit";
    } else if (gmem->dma_granularity != GMEM_BACKEND_PAGE_SIZE) {
        what = "dma-granularity";
    }
    if (!what) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' cannot have %s: on a machine "
               "without private memory all of it is one shared guest_memfd",
               id, what);
    error_append_hint(errp, "Leave %s out, or use a machine with private "
                      "memory, for example -machine q35-swp.\n", what);
    return false;
}

static bool check_in_place(HostMemoryBackendGmem *gmem, const char *id,
                           Error **errp)
{
    if (!gmem->shared_hugetlb) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' cannot have shared-hugetlb=on: "
               "with conversion=in-place shared pages lie in the guest_memfd, "
               "which has 4 KiB pages only", id);
    error_append_hint(errp, "Leave shared-hugetlb out.\n");
    return false;
}

static bool check_initial(HostMemoryBackendGmem *gmem, const char *id,
                          Error **errp)
{
    if (gmem->initial != GMEM_INITIAL_STATE_SHARED ||
        gmem_machine_initial(current_machine) == GMEM_PAGE_SHARED) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' cannot have initial=shared: "
               "the memory of a machine with %s starts private", id,
               gmem_machine_guest_name(current_machine));
    error_append_hint(errp, "Leave initial out.\n");
    return false;
}

static bool check_limit_fits(HostMemoryBackendGmem *gmem, const char *id,
                             Error **errp)
{
    uint64_t size = MEMORY_BACKEND(gmem)->size;

    if (!gmem->shared_limit || gmem->shared_limit >= size ||
        gmem_backend_initial(gmem) == GMEM_PAGE_PRIVATE) {
        return true;
    }
    error_setg(errp, "memory-backend-gmem '%s' cannot have shared-limit=%"
               PRIu64 ": all of its %" PRIu64 " bytes start shared", id,
               gmem->shared_limit, size);
    error_append_hint(errp, "Use initial=private, or a limit of at least the "
                      "size.\n");
    return false;
}

bool gmem_backend_check_mode(HostMemoryBackendGmem *gmem, Error **errp)
{
    g_autofree char *id = gmem_backend_id(MEMORY_BACKEND(gmem));

    if (gmem->mode == GMEM_BLOCK_MODE_NONE) {
        return check_none(gmem, id, errp);
    }
    if (gmem->mode == GMEM_BLOCK_MODE_IN_PLACE &&
        !check_in_place(gmem, id, errp)) {
        return false;
    }
    return check_initial(gmem, id, errp) &&
           check_limit_fits(gmem, id, errp);
}
