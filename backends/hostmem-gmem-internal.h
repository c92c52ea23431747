/*
 * memory-backend-gmem: what its files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  hostmem-gmem.c holds the object and its properties,
 * hostmem-gmem-check.c what of them cannot be had and why, hostmem-gmem-alloc.c
 * makes the memory.  A property keeps what the user asked; `mode` is what came of it,
 * known once the memory exists.
 */

#ifndef BACKENDS_HOSTMEM_GMEM_INTERNAL_H
#define BACKENDS_HOSTMEM_GMEM_INTERNAL_H

#include "qapi/qapi-types-qom.h"
#include "system/hostmem-gmem.h"

OBJECT_DECLARE_SIMPLE_TYPE(HostMemoryBackendGmem, MEMORY_BACKEND_GMEM)

#define GMEM_BACKEND_PAGE_SIZE 4096
#define GMEM_BACKEND_TIMEOUT_MS 1000

struct HostMemoryBackendGmem {
    HostMemoryBackend parent_obj;

    GmemConversion conversion;
    GmemInitialState initial;
    uint64_t page_size;
    uint32_t conversion_timeout;    /* ms */
    uint64_t shared_limit;          /* bytes, 0: none */
    uint64_t dma_granularity;       /* bytes */
    bool shared_hugetlb;
    uint64_t shared_hugetlbsize;    /* bytes, 0: the host's default */

    const char *zero;               /* a property that was set to 0, if any */

    GmemBlockMode mode;             /* valid once the memory region exists */
    Error *cpr_blocker;
};

bool gmem_backend_is_gmem(const HostMemoryBackend *backend);
/* What the user called the object; the caller frees it */
char *gmem_backend_id(const HostMemoryBackend *backend);
/* initial=auto resolved; the machine is known */
GmemPageState gmem_backend_initial(const HostMemoryBackendGmem *gmem);

/*
 * Every refusal that needs no kernel: true for other backends.  Called once,
 * before anything is allocated.
 */
bool gmem_backend_check_options(HostMemoryBackend *backend, Error **errp);
/* The refusals that depend on the mode that was chosen */
bool gmem_backend_check_mode(HostMemoryBackendGmem *gmem, Error **errp);

/* HostMemoryBackendClass.alloc */
bool gmem_backend_alloc(HostMemoryBackend *backend, Error **errp);

#endif
