/*
 * gmem: RamDiscardListeners as holders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A listener (VFIO has one per container and section) maps shared
 * memory for DMA.  As a holder it must let go of exactly the pages that turn
 * private, and may be offered pages that it has already: mapping one twice is
 * an error, and unmapping one that stays shared would stop DMA that is in
 * flight.  So what it has is written down (gmem-units.c), and it is called for
 * the difference only.
 *
 * The lock makes the note and the call one step, of at most 64 MiB; conversions of other ranges
 * wait meanwhile, which a call (some ioctls) is short enough for.  The range itself is
 * the caller's between two steps: begin and end of one range never overlap.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "system/gmem-listener.h"
#include "gmem-units.h"
#include "gmem/trace.h"

#define PAGE_BITS 12
#define STEP_PAGES (GMEM_STEP_BYTES >> PAGE_BITS)

typedef struct GmemListener {
    GmemHolder holder;
    RamDiscardListener *rdl;
    const GmemListenerOps *ops;
    unsigned long nr_pages, base;   /* base: where it begins in the address space */
    QemuMutex lock;             /* guards what follows, and calls to rdl */
    GmemUnits units;            /* pages of the section */
    int error;                  /* the first one of mapping */
    bool leaving;               /* gets nothing any more */
    QLIST_ENTRY(GmemListener) next;
} GmemListener;

/* BQL */
static QLIST_HEAD(, GmemListener) listeners = QLIST_HEAD_INITIALIZER(listeners);

/* The pages [*first, *end) of the section that a range of the block touches */
static bool section_pages(const GmemListener *l, uint64_t offset,
                          uint64_t size, unsigned long *first,
                          unsigned long *end)
{
    MemoryRegionSection part = *l->rdl->section;
    uint64_t start = part.offset_within_region;

    if (!memory_region_section_intersect_range(&part, offset, size)) {
        return false;
    }
    *first = (part.offset_within_region - start) >> PAGE_BITS;
    *end = *first + (int128_get64(part.size) >> PAGE_BITS);
    return *first < *end;
}

static MemoryRegionSection pages_section(const GmemListener *l,
                                         unsigned long first,
                                         unsigned long count)
{
    MemoryRegionSection part = *l->rdl->section;
    uint64_t skip = (uint64_t)first << PAGE_BITS;

    part.offset_within_region += skip;
    part.offset_within_address_space += skip;
    part.size = int128_make64((uint64_t)count << PAGE_BITS);
    return part;
}

/* How far one step goes from @page; to a border of units, which are steps or parts of them */
static unsigned long step_end(const GmemListener *l, unsigned long page,
                              unsigned long end)
{
    return MIN(end, ROUND_UP(l->base + page + 1, STEP_PAGES) - l->base);
}

/* ---- calls to the listener; lock held ---- */

static int listener_map(void *opaque, unsigned long first, unsigned long count)
{
    GmemListener *l = opaque;
    MemoryRegionSection part = pages_section(l, first, count);
    int ret = l->ops->map(l->rdl, &part);

    trace_gmem_listener_give(part.offset_within_region,
                             int128_get64(part.size), ret);
    return ret;
}

static int listener_unmap(void *opaque, unsigned long first,
                          unsigned long count)
{
    GmemListener *l = opaque;
    MemoryRegionSection part = pages_section(l, first, count);
    int ret = l->ops->unmap(l->rdl, &part);

    trace_gmem_listener_take(part.offset_within_region,
                             int128_get64(part.size), ret);
    return ret;
}

static const GmemUnitsOps units_ops = {
    .map = listener_map,
    .unmap = listener_unmap,
};

/* By the listener's own functions */
static int plain_map(RamDiscardListener *rdl, MemoryRegionSection *part)
{
    int ret = rdl->notify_populate(rdl, part);

    if (ret) {
        /* The guest may cause this without end, so it is said once */
        error_report_once("gmem: shared memory at offset 0x%" HWADDR_PRIx
                          " of '%s' cannot be mapped for DMA: %s",
                          part->offset_within_region,
                          memory_region_name(part->mr), strerror(-ret));
    }
    return ret;
}

static int plain_unmap(RamDiscardListener *rdl, MemoryRegionSection *part)
{
    rdl->notify_discard(rdl, part);
    return 0;
}

static const GmemListenerOps plain_ops = {
    .map = plain_map,
    .unmap = plain_unmap,
};

static const GmemListenerConfig plain_config = {
    .ops = &plain_ops,
    .unit = (uint64_t)GMEM_UNITS_ALL << PAGE_BITS,
    .divides = true,
};

/* ---- the holder ---- */

/* Lock held */
static void note_lost(GmemListener *l, unsigned long first, unsigned long end)
{
    MemoryRegionSection part = pages_section(l, first, end - first);

    if (l->units.lost && l->ops->lost) {
        l->ops->lost(l->rdl, &part, (uint64_t)l->units.lost << PAGE_BITS);
    }
    l->units.lost = 0;
}

/* Give the pages of [first, end) that the listener has not got */
static void give(GmemListener *l, unsigned long first, unsigned long end)
{
    unsigned long stop;
    int ret = 0;

    for (; first < end && !ret; first = stop) {
        stop = step_end(l, first, end);
        QEMU_LOCK_GUARD(&l->lock);
        if (l->leaving) {
            return;
        }
        ret = gmem_units_give(&l->units, first, stop);
        if (ret && !l->error) {
            l->error = ret;
        }
    }
}

/* Take back what it has of them.  After an error it has all of it still */
static int take(GmemListener *l, unsigned long first, unsigned long end)
{
    unsigned long from = first, stop;
    int ret = 0;

    for (; from < end && !ret; from = stop) {
        stop = step_end(l, from, end);
        QEMU_LOCK_GUARD(&l->lock);
        ret = gmem_units_take(&l->units, from, stop);
        note_lost(l, from, stop);
    }
    if (ret) {
        give(l, first, from);
    }
    return ret;
}

static int listener_begin(GmemHolder *holder, uint64_t offset, uint64_t size,
                          int64_t deadline_ns)
{
    GmemListener *l = container_of(holder, GmemListener, holder);
    unsigned long first, end;

    if (section_pages(l, offset, size, &first, &end) &&
        take(l, first, end)) {
        return -EAGAIN;
    }
    return 0;
}

static void listener_end(GmemHolder *holder, uint64_t offset, uint64_t size,
                         GmemPageState state)
{
    GmemListener *l = container_of(holder, GmemListener, holder);
    unsigned long first, end;

    if (state == GMEM_PAGE_SHARED &&
        section_pages(l, offset, size, &first, &end)) {
        give(l, first, end);
    }
}

static const GmemHolderOps listener_ops = {
    .begin = listener_begin,
    .end = listener_end,
};

int gmem_listener_add(GmemBlock *block, RamDiscardListener *rdl,
                      const MemoryRegionSection *section,
                      const GmemListenerConfig *config)
{
    GmemListener *l = g_new0(GmemListener, 1);
    uint64_t size = int128_get64(section->size);

    config = config ? config : &plain_config;
    rdl->section =
        memory_region_section_new_copy((MemoryRegionSection *)section);
    l->holder.ops = &listener_ops;
    l->holder.name = "vfio";
    l->rdl = rdl;
    l->ops = config->ops;
    l->nr_pages = size >> PAGE_BITS;
    l->units.ops = &units_ops;
    l->units.opaque = l;
    l->units.unit = config->unit >> PAGE_BITS;
    l->base = section->offset_within_address_space >> PAGE_BITS;
    l->units.phase = l->base & (l->units.unit - 1);
    l->units.divides = config->divides;
    gmem_units_init(&l->units, l->nr_pages);
    qemu_mutex_init(&l->lock);
    QLIST_INSERT_HEAD(&listeners, l, next);

    gmem_holder_add(block, &l->holder);
    gmem_holder_replay_shared(&l->holder, section->offset_within_region, size);
    QEMU_LOCK_GUARD(&l->lock);
    return l->error;
}

static GmemListener *find_listener(const RamDiscardListener *rdl)
{
    GmemListener *l;

    QLIST_FOREACH(l, &listeners, next) {
        if (l->rdl == rdl) {
            return l;
        }
    }
    return NULL;
}

/* Take back all that can be, whatever goes wrong: the listener does not come back */
static void leave(GmemListener *l)
{
    unsigned long first, stop;
    int ret;

    WITH_QEMU_LOCK_GUARD(&l->lock) {
        l->leaving = true;
    }
    for (first = 0; first < l->nr_pages; first = stop) {
        stop = step_end(l, first, l->nr_pages);
        QEMU_LOCK_GUARD(&l->lock);
        ret = gmem_units_take(&l->units, first, stop);
        l->units.lost = 0;
        if (ret) {
            error_report_once("gmem: memory of '%s' stays mapped for DMA: %s",
                              memory_region_name(l->rdl->section->mr),
                              strerror(-ret));
        }
    }
}

void gmem_listener_remove(RamDiscardListener *rdl)
{
    GmemListener *l = find_listener(rdl);

    if (!l) {
        return;
    }
    QLIST_REMOVE(l, next);
    /* before it stops being a holder, that no page goes private under its DMA */
    leave(l);
    gmem_holder_remove(&l->holder);
    memory_region_section_free_copy(rdl->section);
    rdl->section = NULL;
    qemu_mutex_destroy(&l->lock);
    gmem_units_destroy(&l->units);
    g_free(l);
}
