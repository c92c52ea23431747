/*
 * memory-backend-gmem: guest_memfd as RAM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  The object keeps what the user asked for; the first time anything
 * is looked at is when the object is completed, because only then is known
 * what the machine and the kernel offer.  After that the properties are fixed,
 * and the read-only ones (mode, shared-size, private-size, conversions) tell what the
 * engine made of it.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/visitor.h"
#include "qemu/module.h"
#include "qom/object_interfaces.h"
#include "migration/blocker.h"
#include "system/gmem-ram.h"
#include "system/ramblock.h"
#include "hostmem-gmem-internal.h"

bool gmem_backend_is_gmem(const HostMemoryBackend *backend)
{
    return object_dynamic_cast(OBJECT(backend), TYPE_MEMORY_BACKEND_GMEM);
}

char *gmem_backend_id(const HostMemoryBackend *backend)
{
    const char *id = object_get_canonical_path_component(OBJECT(backend));

    /* machines make their default backend before it has a name */
    return g_strdup(id ? id : "default RAM");
}

/* True if the properties can still change, else false with @errp set */
static bool still_open(Object *obj, const char *name, Error **errp)
{
    HostMemoryBackend *backend = MEMORY_BACKEND(obj);
    g_autofree char *id = NULL;

    if (!host_memory_backend_mr_inited(backend)) {
        return true;
    }
    id = gmem_backend_id(backend);
    error_setg(errp, "%s of memory-backend-gmem '%s' cannot be changed once "
               "its memory exists", name, id);
    return false;
}

/* No number may be 0, but before it is completed the object has no name to say so by */
static bool note_if_zero(Object *obj, const char *name, uint64_t value)
{
    HostMemoryBackendGmem *gmem = MEMORY_BACKEND_GMEM(obj);

    if (!value) {
        gmem->zero = g_intern_string(name);
    } else if (g_strcmp0(gmem->zero, name) == 0) {
        gmem->zero = NULL;      /* set again, to something that is possible */
    }
    return !value;
}

static int gmem_get_conversion(Object *obj, Error **errp)
{
    return MEMORY_BACKEND_GMEM(obj)->conversion;
}

static void gmem_set_conversion(Object *obj, int value, Error **errp)
{
    if (still_open(obj, "conversion", errp)) {
        MEMORY_BACKEND_GMEM(obj)->conversion = value;
    }
}

static int gmem_get_initial(Object *obj, Error **errp)
{
    return MEMORY_BACKEND_GMEM(obj)->initial;
}

static void gmem_set_initial(Object *obj, int value, Error **errp)
{
    if (still_open(obj, "initial", errp)) {
        MEMORY_BACKEND_GMEM(obj)->initial = value;
    }
}

/* For all properties that are sizes; @opaque is the field's offset */
static void gmem_get_bytes(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    uint64_t *field = (void *)obj + (uintptr_t)opaque;

    visit_type_size(v, name, field, errp);
}

static void gmem_set_bytes(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    uint64_t *field = (void *)obj + (uintptr_t)opaque;
    uint64_t value;

    if (still_open(obj, name, errp) &&
        visit_type_size(v, name, &value, errp) &&
        !note_if_zero(obj, name, value)) {
        *field = value;
    }
}

static void gmem_get_timeout(Object *obj, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    visit_type_uint32(v, name, &MEMORY_BACKEND_GMEM(obj)->conversion_timeout,
                      errp);
}

static void gmem_set_timeout(Object *obj, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    uint32_t value;

    if (still_open(obj, name, errp) &&
        visit_type_uint32(v, name, &value, errp) &&
        !note_if_zero(obj, name, value)) {
        MEMORY_BACKEND_GMEM(obj)->conversion_timeout = value;
    }
}

static bool gmem_get_shared_hugetlb(Object *obj, Error **errp)
{
    return MEMORY_BACKEND_GMEM(obj)->shared_hugetlb;
}

static void gmem_set_shared_hugetlb(Object *obj, bool value, Error **errp)
{
    if (still_open(obj, "shared-hugetlb", errp)) {
        MEMORY_BACKEND_GMEM(obj)->shared_hugetlb = value;
    }
}

/* The engine's block, borrowed; NULL before the memory exists */
static GmemBlock *gmem_backend_block(Object *obj)
{
    HostMemoryBackend *backend = MEMORY_BACKEND(obj);

    if (!host_memory_backend_mr_inited(backend)) {
        return NULL;
    }
    return gmem_from_ramblock(backend->mr.ram_block);
}

static uint64_t shared_size(Object *obj)
{
    GmemBlock *block = gmem_backend_block(obj);

    return block ? gmem_block_shared_bytes(block) : 0;
}

static uint64_t private_size(Object *obj)
{
    GmemBlock *block = gmem_backend_block(obj);

    return block ? gmem_block_size(block) - gmem_block_shared_bytes(block) : 0;
}

static uint64_t conversions(Object *obj)
{
    GmemBlock *block = gmem_backend_block(obj);
    GmemBlockStats stats = { };

    if (block) {
        gmem_block_get_stats(block, &stats);
    }
    return stats.conversions[GMEM_PAGE_PRIVATE] +
           stats.conversions[GMEM_PAGE_SHARED];
}

/* For all read-only numbers; @opaque computes them */
static void gmem_get_number(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    uint64_t (*number)(Object *obj) = opaque;
    uint64_t value = number(obj);

    visit_type_uint64(v, name, &value, errp);
}

static char *gmem_get_mode(Object *obj, Error **errp)
{
    static const char *const names[] = {
        [GMEM_BLOCK_MODE_NONE] = "none",
        [GMEM_BLOCK_MODE_SPLIT] = "split",
        [GMEM_BLOCK_MODE_IN_PLACE] = "in-place",
    };

    if (!gmem_backend_block(obj)) {
        return g_strdup("unknown");
    }
    return g_strdup(names[MEMORY_BACKEND_GMEM(obj)->mode]);
}

static void gmem_backend_instance_init(Object *obj)
{
    HostMemoryBackendGmem *gmem = MEMORY_BACKEND_GMEM(obj);
    HostMemoryBackend *backend = MEMORY_BACKEND(obj);

    gmem->page_size = GMEM_BACKEND_PAGE_SIZE;
    gmem->conversion_timeout = GMEM_BACKEND_TIMEOUT_MS;
    gmem->dma_granularity = GMEM_BACKEND_PAGE_SIZE;
    backend->share = true;
    backend->merge = false;
}

static void gmem_backend_instance_finalize(Object *obj)
{
    migrate_del_blocker(&MEMORY_BACKEND_GMEM(obj)->cpr_blocker);
}

static void add_bytes(ObjectClass *oc, const char *name, size_t offset,
                      const char *description)
{
    object_class_property_add(oc, name, "size", gmem_get_bytes, gmem_set_bytes,
                              NULL, (void *)offset);
    object_class_property_set_description(oc, name, description);
}

static void add_number(ObjectClass *oc, const char *name,
                       uint64_t (*number)(Object *obj),
                       const char *description)
{
    object_class_property_add(oc, name, "uint64", gmem_get_number, NULL, NULL,
                              number);
    object_class_property_set_description(oc, name, description);
}

static void add_conversion_properties(ObjectClass *oc)
{
    object_class_property_add_enum(oc, "conversion", "GmemConversion",
                                   &GmemConversion_lookup, gmem_get_conversion,
                                   gmem_set_conversion);
    object_class_property_set_description(oc, "conversion",
        "How pages change between private and shared");
    object_class_property_add_enum(oc, "initial", "GmemInitialState",
                                   &GmemInitialState_lookup, gmem_get_initial,
                                   gmem_set_initial);
    object_class_property_set_description(oc, "initial",
        "The state that pages start in");
    object_class_property_add(oc, "conversion-timeout", "uint32",
                              gmem_get_timeout, gmem_set_timeout, NULL, NULL);
    object_class_property_set_description(oc, "conversion-timeout",
        "How many ms a conversion may wait for busy pages");
}

static void add_memory_properties(ObjectClass *oc)
{
    add_bytes(oc, "page-size", offsetof(HostMemoryBackendGmem, page_size),
              "The size of the pages that memory is allocated in");
    add_bytes(oc, "shared-limit",
              offsetof(HostMemoryBackendGmem, shared_limit),
              "The most bytes that may be shared at once");
    add_bytes(oc, "dma-granularity",
              offsetof(HostMemoryBackendGmem, dma_granularity),
              "The most that an IOMMU which cannot divide mappings maps in one");
    add_bytes(oc, "shared-hugetlbsize",
              offsetof(HostMemoryBackendGmem, shared_hugetlbsize),
              "The size of the huge pages of shared-hugetlb");
    object_class_property_add_bool(oc, "shared-hugetlb",
                                   gmem_get_shared_hugetlb,
                                   gmem_set_shared_hugetlb);
    object_class_property_set_description(oc, "shared-hugetlb",
        "Keep shared pages on huge pages (conversion split)");
}

static void add_status_properties(ObjectClass *oc)
{
    object_class_property_add_str(oc, "mode", gmem_get_mode, NULL);
    object_class_property_set_description(oc, "mode",
        "What conversion came to: none, split or in-place");
    add_number(oc, "shared-size", shared_size, "Bytes that are shared now");
    add_number(oc, "private-size", private_size, "Bytes that are private now");
    add_number(oc, "conversions", conversions, "Conversions so far");
}

static void gmem_backend_class_init(ObjectClass *oc, const void *data)
{
    MEMORY_BACKEND_CLASS(oc)->alloc = gmem_backend_alloc;
    add_conversion_properties(oc);
    add_memory_properties(oc);
    add_status_properties(oc);
}

static const TypeInfo gmem_backend_types[] = {
    {
        .name = TYPE_MEMORY_BACKEND_GMEM,
        .parent = TYPE_MEMORY_BACKEND,
        .instance_size = sizeof(HostMemoryBackendGmem),
        .instance_init = gmem_backend_instance_init,
        .instance_finalize = gmem_backend_instance_finalize,
        .class_init = gmem_backend_class_init,
    },
};

DEFINE_TYPES(gmem_backend_types)
