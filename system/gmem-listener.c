/*
 * gmem: RamDiscardListeners as holders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A listener (VFIO has one per container and section) maps shared
 * memory for DMA.  As a holder it must let go of exactly the pages that turn
 * private, and may be offered pages that it has already: mapping one twice is
 * an error, and unmapping one that stays shared would stop DMA that is in
 * flight.  So here is written down, page by page, what it has been given, and it is
 * called for the difference only.
 *
 * The lock makes the note and the call one step; conversions of other ranges wait
 * meanwhile, which a call (some ioctls) is short enough for.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "gmem-attributes.h"
#include "gmem/trace.h"

#define PAGE_BITS 12

typedef struct GmemListener {
    GmemHolder holder;
    RamDiscardListener *rdl;
    unsigned long nr_pages;
    QemuMutex lock;             /* guards what follows, and calls to rdl */
    unsigned long *given;       /* a bit per page of the section */
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
                                         unsigned long end)
{
    MemoryRegionSection part = *l->rdl->section;
    uint64_t skip = (uint64_t)first << PAGE_BITS;

    part.offset_within_region += skip;
    part.offset_within_address_space += skip;
    part.size = int128_make64((uint64_t)(end - first) << PAGE_BITS);
    return part;
}

/* Lock held.  Give the pages of [first, end) that the listener has not got */
static void give(GmemListener *l, unsigned long first, unsigned long end)
{
    unsigned long stop;

    for (first = find_next_zero_bit(l->given, end, first); first < end;
         first = find_next_zero_bit(l->given, end, stop)) {
        MemoryRegionSection part;
        int ret;

        stop = find_next_bit(l->given, end, first);
        part = pages_section(l, first, stop);
        ret = l->rdl->notify_populate(l->rdl, &part);
        trace_gmem_listener_give(part.offset_within_region,
                                 int128_get64(part.size), ret);
        if (!ret) {
            bitmap_set(l->given, first, stop - first);
        } else {
            /* The guest may cause this without end, so it is said once */
            error_report_once("gmem: shared memory at offset 0x%" HWADDR_PRIx
                              " of '%s' cannot be mapped for DMA: %s",
                              part.offset_within_region,
                              memory_region_name(part.mr), strerror(-ret));
        }
    }
}

/* Lock held.  Take back what the listener has of [first, end) */
static void take(GmemListener *l, unsigned long first, unsigned long end)
{
    unsigned long stop;

    for (first = find_next_bit(l->given, end, first); first < end;
         first = find_next_bit(l->given, end, stop)) {
        MemoryRegionSection part;

        stop = find_next_zero_bit(l->given, end, first);
        part = pages_section(l, first, stop);
        trace_gmem_listener_take(part.offset_within_region,
                                 int128_get64(part.size));
        l->rdl->notify_discard(l->rdl, &part);
        bitmap_clear(l->given, first, stop - first);
    }
}

static int listener_begin(GmemHolder *holder, uint64_t offset, uint64_t size,
                          int64_t deadline_ns)
{
    GmemListener *l = container_of(holder, GmemListener, holder);
    unsigned long first, end;

    if (section_pages(l, offset, size, &first, &end)) {
        QEMU_LOCK_GUARD(&l->lock);
        take(l, first, end);
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
        QEMU_LOCK_GUARD(&l->lock);
        if (!l->leaving) {
            give(l, first, end);
        }
    }
}

static const GmemHolderOps listener_ops = {
    .begin = listener_begin,
    .end = listener_end,
};

void gmem_listener_add(GmemBlock *block, RamDiscardListener *rdl,
                       const MemoryRegionSection *section)
{
    GmemListener *l = g_new0(GmemListener, 1);
    uint64_t size = int128_get64(section->size);

    rdl->section =
        memory_region_section_new_copy((MemoryRegionSection *)section);
    l->holder.ops = &listener_ops;
    l->holder.name = "vfio";
    l->rdl = rdl;
    l->nr_pages = size >> PAGE_BITS;
    l->given = bitmap_new(l->nr_pages);
    qemu_mutex_init(&l->lock);
    QLIST_INSERT_HEAD(&listeners, l, next);

    gmem_holder_add(block, &l->holder);
    gmem_holder_replay_shared(&l->holder, section->offset_within_region, size);
}

static GmemListener *find_listener(const RamDiscardListener *rdl)
{
    GmemListener *l;

    QLIST_FOREACH(l, &listeners, next) {
        if (l->rdl == rdl) {
            return l;
        }
    }
    g_assert_not_reached();
}

void gmem_listener_remove(RamDiscardListener *rdl)
{
    GmemListener *l = find_listener(rdl);

    QLIST_REMOVE(l, next);
    /* before it stops being a holder, that no page goes private under its DMA */
    WITH_QEMU_LOCK_GUARD(&l->lock) {
        l->leaving = true;
        take(l, 0, l->nr_pages);
    }
    gmem_holder_remove(&l->holder);
    memory_region_section_free_copy(rdl->section);
    rdl->section = NULL;
    qemu_mutex_destroy(&l->lock);
    g_free(l->given);
    g_free(l);
}
