/*
 * gmem and VFIO: devices reach what is shared, in mappings that fit their IOMMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A container maps the shared pages of each section of guest memory, as a holder of
 * its block (system/gmem-listener.c).  There are two kinds of containers:
 *
 *  - iommufd *divides*: where its IOMMU's mappings are made of single pages
 *    (IOMMU_OPTION_HUGE_PAGES is 0), the kernel takes any pages out of one with a single call, the
 *    UNMAP_DMA of its VFIO compatibility, and does not touch the entries of the others.
 *    So what becomes shared is mapped in one go, whatever part of it goes private later.
 *  - type1, and an iommufd that cannot do that, take back what was mapped as it was mapped.  They
 *    map in units of dma-granularity, by default pages.  type1 counts its mappings, too.
 *
 * Device memory is none of this: it is no gmem, and the base maps it.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/units.h"
#include "hw/boards.h"
#include "hw/vfio/gmem-vfio.h"
#include "system/gmem-listener.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "system/iommufd.h"
#include "system/memory.h"
#include "vfio-iommufd.h"
#include "gmem/trace.h"

#define PAGE_BYTES 4096

/* The compatibility calls have one IOAS for each iommufd: choosing and using it is one step */
static QemuMutex compat_lock;

static void __attribute__((constructor)) gmem_vfio_init(void)
{
    qemu_mutex_init(&compat_lock);
}

/* NULL: it is of another kind */
static VFIOIOMMUFDContainer *iommufd_of(VFIOContainer *bcontainer)
{
    return (VFIOIOMMUFDContainer *)object_dynamic_cast(OBJECT(bcontainer),
                                                       TYPE_VFIO_IOMMU_IOMMUFD);
}

static VFIORamDiscardListener *vrdl_of(RamDiscardListener *rdl)
{
    return container_of(rdl, VFIORamDiscardListener, listener);
}

/* ---- calls to the IOMMU ---- */

static const char *advice(int ret)
{
    switch (ret) {
    case -ENOSPC:
        return "; iommufd has no limit of mappings, a larger dma-granularity "
               "needs fewer";
    case -ENOMEM:
        return "; RLIMIT_MEMLOCK must allow for what is shared";
    default:
        return "";
    }
}

static int dma_map(RamDiscardListener *rdl, MemoryRegionSection *part)
{
    void *host = memory_region_get_ram_ptr(part->mr);
    int ret;

    ret = vfio_container_dma_map(vrdl_of(rdl)->bcontainer,
                                 part->offset_within_address_space,
                                 int128_get64(part->size),
                                 host + part->offset_within_region,
                                 part->readonly, part->mr);
    if (ret) {
        /* The guest may cause this without end, so it is said once */
        error_report_once("vfio: shared memory at offset 0x%" HWADDR_PRIx
                          " of '%s' cannot be mapped for DMA: %s%s",
                          part->offset_within_region,
                          memory_region_name(part->mr), strerror(-ret),
                          advice(ret));
    }
    return ret;
}

static int dma_unmap(RamDiscardListener *rdl, MemoryRegionSection *part)
{
    return vfio_container_dma_unmap(vrdl_of(rdl)->bcontainer,
                                    part->offset_within_address_space,
                                    int128_get64(part->size), NULL, false);
}

/* compat_lock held.  0 or -errno */
static int choose_ioas(const VFIOIOMMUFDContainer *container)
{
    struct iommu_vfio_ioas choice = {
        .size = sizeof(choice),
        .ioas_id = container->ioas_id,
        .op = IOMMU_VFIO_IOAS_SET,
    };

    return ioctl(container->be->fd, IOMMU_VFIO_IOAS, &choice) ? -errno : 0;
}

static int dma_divide(RamDiscardListener *rdl, MemoryRegionSection *part)
{
    VFIOIOMMUFDContainer *container = iommufd_of(vrdl_of(rdl)->bcontainer);
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap),
        .iova = part->offset_within_address_space,
        .size = int128_get64(part->size),
    };
    int ret;

    QEMU_LOCK_GUARD(&compat_lock);
    ret = choose_ioas(container);
    if (!ret && ioctl(container->be->fd, VFIO_IOMMU_UNMAP_DMA, &unmap)) {
        ret = -errno;
    }
    trace_gmem_vfio_divide(container->ioas_id, unmap.iova,
                           int128_get64(part->size), ret);
    return ret;
}

static void dma_lost(RamDiscardListener *rdl, const MemoryRegionSection *part,
                     uint64_t bytes)
{
    error_report_once("vfio: %" PRIu64 " bytes of shared memory near offset 0x%"
                      HWADDR_PRIx " of '%s' could not be mapped for DMA again",
                      bytes, part->offset_within_region,
                      memory_region_name(part->mr));
}

static const GmemListenerOps unit_ops = {
    .map = dma_map,
    .unmap = dma_unmap,
    .lost = dma_lost,
};

static const GmemListenerOps divided_ops = {
    .map = dma_map,
    .unmap = dma_divide,
    .lost = dma_lost,
};

/* ---- what a container can ---- */

static int huge_pages(const VFIOIOMMUFDContainer *container, uint16_t op,
                      uint64_t *value)
{
    struct iommu_option option = {
        .size = sizeof(option),
        .option_id = IOMMU_OPTION_HUGE_PAGES,
        .op = op,
        .object_id = container->ioas_id,
        .val64 = *value,
    };
    int ret = ioctl(container->be->fd, IOMMU_OPTION, &option) ? -errno : 0;

    *value = option.val64;
    return ret;
}

void gmem_vfio_prepare(VFIOContainer *bcontainer)
{
    VFIOIOMMUFDContainer *container = iommufd_of(bcontainer);
    uint64_t value = 0;
    int ret;

    if (container && gmem_machine_has_private_memory(current_machine)) {
        ret = huge_pages(container, IOMMU_OPTION_OP_SET, &value);
        trace_gmem_vfio_prepare(container->ioas_id, ret);
    }
}

/* Mediated devices have no IOMMU that could divide: their drivers are told of whole mappings */
static bool divides(VFIOContainer *bcontainer)
{
    VFIOIOMMUFDContainer *container = iommufd_of(bcontainer);
    uint64_t value = 1;

    if (!container || QLIST_EMPTY(&container->hwpt_list) ||
        huge_pages(container, IOMMU_OPTION_OP_GET, &value) || value) {
        return false;
    }
    QEMU_LOCK_GUARD(&compat_lock);
    return !choose_ioas(container);
}

/* ---- sections ---- */

static GmemBlock *block_of(const MemoryRegion *mr)
{
    return gmem_from_ramblock(mr->ram_block);
}

bool gmem_vfio_covers(const MemoryRegionSection *section)
{
    GmemBlock *block = block_of(section->mr);

    return block && gmem_block_mode(block) != GMEM_BLOCK_MODE_NONE;
}

static void set_too_many(Error **errp, const MemoryRegion *mr,
                         const char *needs, uint64_t count, uint64_t unit,
                         unsigned int limit)
{
    g_autofree char *size = size_to_str(unit);

    error_setg(errp, "memory '%s' %s %" PRIu64 " DMA mappings of %s, and VFIO "
               "type1 has %u of them", memory_region_name(mr), needs, count,
               size, limit);
    error_append_hint(errp, "Use iommufd, which has no such limit (-object "
                      "iommufd,id=iommufd0, and iommufd=iommufd0 for the "
                      "device). Or use a memory-backend-gmem with a larger "
                      "dma-granularity, with initial=private, or with a "
                      "shared-limit.\n");
}

/* How many mappings the section of @vrdl may come to need */
static uint64_t most_mappings(const VFIORamDiscardListener *vrdl)
{
    GmemBlock *block = block_of(vrdl->mr);
    uint64_t limit = block ? gmem_block_shared_limit(block) : 0;

    return DIV_ROUND_UP(limit ? MIN(limit, vrdl->size) : vrdl->size,
                        vrdl->granularity);
}

/*
 * A container in use hears of sections again whenever the memory map changes, which the guest
 * decides (PAM): then each thing is said once of each region, whose number the host decides.
 * BQL held.
 */
static void warn(const VFIOContainer *bcontainer, const char *what,
                 const MemoryRegion *mr, Error *err)
{
    static GHashTable *said;

    if (!said) {
        said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    if (g_hash_table_add(said, g_strdup_printf("%s %s", what, memory_region_name(mr))) ||
        !bcontainer->initialized) {
        warn_report_err(err);
    } else {
        error_free(err);
    }
}

/* The guest is free to share more than fits: say so once, when the container passes its limit */
static void warn_of_limit(const VFIOContainer *bcontainer,
                          const VFIORamDiscardListener *added)
{
    const VFIORamDiscardListener *vrdl;
    Error *err = NULL;
    uint64_t most = 0;

    QLIST_FOREACH(vrdl, &bcontainer->vrdl_list, next) {
        most += most_mappings(vrdl);
    }
    if (most > bcontainer->dma_max_mappings &&
        most - most_mappings(added) <= bcontainer->dma_max_mappings) {
        set_too_many(&err, added->mr, "and what is shared with devices "
                     "besides may come to need", most, added->granularity,
                     bcontainer->dma_max_mappings);
        warn(bcontainer, "limit", added->mr, err);
    }
}

/* Can what is shared now be mapped?  False with @errp set */
static bool check_section(const VFIOContainer *bcontainer,
                          const VFIORamDiscardListener *vrdl,
                          const MemoryRegionSection *section, Error **errp)
{
    uint64_t shared = gmem_block_count(block_of(section->mr),
                                       section->offset_within_region,
                                       int128_get64(section->size),
                                       GMEM_PAGE_SHARED);
    uint64_t needs = DIV_ROUND_UP(shared, vrdl->granularity);

    if (bcontainer->pgsizes && 1ULL << ctz64(bcontainer->pgsizes) > PAGE_BYTES) {
        error_setg(errp, "memory '%s' converts in pages of 4 KiB, and the IOMMU "
                   "maps nothing smaller than %llu KiB",
                   memory_region_name(section->mr),
                   (1ULL << ctz64(bcontainer->pgsizes)) / KiB);
        return false;
    }
    if (bcontainer->dma_max_mappings && needs > bcontainer->dma_max_mappings) {
        set_too_many(errp, section->mr, "is shared, which takes", needs,
                     vrdl->granularity, bcontainer->dma_max_mappings);
        return false;
    }
    return true;
}

static VFIORamDiscardListener *new_vrdl(VFIOContainer *bcontainer,
                                        const MemoryRegionSection *section,
                                        uint64_t unit)
{
    VFIORamDiscardListener *vrdl = g_new0(VFIORamDiscardListener, 1);

    vrdl->bcontainer = bcontainer;
    vrdl->mr = section->mr;
    vrdl->offset_within_address_space = section->offset_within_address_space;
    vrdl->size = int128_get64(section->size);
    vrdl->granularity = unit;
    ram_discard_listener_init(&vrdl->listener, NULL, NULL, true);
    QLIST_INSERT_HEAD(&bcontainer->vrdl_list, vrdl, next);
    return vrdl;
}

bool gmem_vfio_add(VFIOContainer *bcontainer, MemoryRegionSection *section,
                   Error **errp)
{
    GmemBlock *block = block_of(section->mr);
    GmemListenerConfig config = {
        .ops = &unit_ops,
        .unit = gmem_block_dma_granularity(block),
    };
    VFIORamDiscardListener *vrdl;
    Error *err = NULL;
    int ret;

    if (divides(bcontainer)) {
        config.ops = &divided_ops;
        config.unit = GMEM_STEP_BYTES;
        config.divides = true;
    }
    vrdl = new_vrdl(bcontainer, section, config.unit);
    if (check_section(bcontainer, vrdl, section, &err)) {
        if (bcontainer->dma_max_mappings) {
            warn_of_limit(bcontainer, vrdl);
        }
    } else if (!bcontainer->initialized) {
        error_propagate(errp, err);
        return false;
    } else {
        warn(bcontainer, "fit", section->mr, err);
    }

    ret = gmem_listener_add(block, &vrdl->listener, section, &config);
    if (ret && !bcontainer->initialized) {
        error_setg_errno(errp, -ret, "memory '%s' is shared and cannot be mapped "
                         "for DMA", memory_region_name(section->mr));
        return false;
    }
    return true;
}
