/*
 * gmem: conversions by guest-physical address
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A guest names ranges of its physical address space; there lie
 * blocks, other RAM, ROM, MMIO and holes.  The range is walked section by
 * section, so that the work follows the memory map and not the range: a hole of
 * petabytes is one step.  What may be asked to be shared without effect is
 * skipped, what can never be private refuses the request, and what is left are
 * segments for the engine, which converts all of them or none.
 *
 * The walk is one RCU read-side section.  The flat view it sees holds a
 * reference to each region until a grace period after the view is replaced;
 * so dropping the reference that memory_region_find() took, within the section,
 * is never the last one, and no region or backend is finalized here, outside the
 * BQL.  The segments keep their blocks alive, not the regions.
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "system/address-spaces.h"
#include "system/gmem-ram.h"
#include "system/memory.h"
#include "gmem/trace.h"

#define PAGE_BYTES 4096

typedef struct GmemWalk {
    uint64_t gpa;               /* what lies below is done */
    uint64_t end;
    bool to_private;
    GArray *segments;           /* of GmemSegment, each with a reference */
} GmemWalk;

static void unref_segment(void *opaque)
{
    GmemSegment *segment = opaque;

    gmem_block_unref(segment->block);
}

/* The block whose pages of @section can change state, or NULL */
static GmemBlock *convertible(const MemoryRegionSection *section)
{
    GmemBlock *block;

    if (!memory_region_is_ram(section->mr) || !section->mr->ram_block) {
        return NULL;
    }
    block = gmem_from_ramblock(section->mr->ram_block);
    if (!block || gmem_block_mode(block) == GMEM_BLOCK_MODE_NONE) {
        return NULL;
    }
    return block;
}

static void add_segment(GmemWalk *walk, GmemBlock *block, uint64_t offset,
                        uint64_t size)
{
    GmemSegment segment = { .block = block, .offset = offset, .size = size };
    GmemSegment *prev = walk->segments->len ?
        &g_array_index(walk->segments, GmemSegment, walk->segments->len - 1) :
        NULL;

    if (prev && prev->block == block && prev->offset + prev->size == offset) {
        prev->size += size;
        return;
    }
    gmem_block_ref(block);
    g_array_append_val(walk->segments, segment);
}

/* 0, or -EINVAL when this section cannot have the state that is asked for */
static int walk_section(GmemWalk *walk, const MemoryRegionSection *section)
{
    GmemBlock *block = convertible(section);
    uint64_t offset = section->offset_within_region;
    uint64_t size = int128_get64(section->size);

    /* KVM binds no read-only view to guest_memfd; nothing there is private */
    if (!block || !QEMU_IS_ALIGNED(offset | size, PAGE_BYTES) ||
        (walk->to_private && section->readonly)) {
        return walk->to_private ? -EINVAL : 0;
    }
    add_segment(walk, block, offset, size);
    return 0;
}

/* One step: the hole or the section at walk->gpa */
static int walk_step(GmemWalk *walk)
{
    MemoryRegionSection section =
        memory_region_find(get_system_memory(), walk->gpa,
                           walk->end - walk->gpa);
    uint64_t start;
    int ret;

    if (!section.mr) {
        walk->gpa = walk->end;
        return walk->to_private ? -EINVAL : 0;
    }
    start = section.offset_within_address_space;
    if (start > walk->gpa && walk->to_private) {
        ret = -EINVAL;
    } else {
        ret = walk_section(walk, &section);
        walk->gpa = start + int128_get64(section.size);
    }
    memory_region_unref(section.mr);
    return ret;
}

/* Fill walk->segments.  0, or -EINVAL */
static int walk_range(GmemWalk *walk)
{
    int ret = 0;

    RCU_READ_LOCK_GUARD();
    while (walk->gpa < walk->end && !ret) {
        ret = walk_step(walk);
    }
    return ret;
}

/* How long the request may still take: the least patient block decides */
static uint32_t time_left(GArray *segments, int64_t started_ns)
{
    int64_t passed = (qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - started_ns) /
                     SCALE_MS;
    int64_t timeout = INT64_MAX;
    guint i;

    for (i = 0; i < segments->len; i++) {
        GmemBlock *block = g_array_index(segments, GmemSegment, i).block;

        timeout = MIN(timeout, gmem_block_timeout_ms(block));
    }
    return passed < timeout ? timeout - passed : 0;
}

static int convert_segments(GArray *segments, bool to_private,
                            int64_t started_ns, bool (*kicked)(void *opaque),
                            void *opaque)
{
    uint32_t left = time_left(segments, started_ns);
    GmemRequest req = {
        .segments = (GmemSegment *)segments->data,
        .nr_segments = segments->len,
        .to = to_private ? GMEM_PAGE_PRIVATE : GMEM_PAGE_SHARED,
        .timeout_ms = MAX(left, 1),     /* 0 would be the default */
        /* when its time is over, a kick is no reason to be asked again */
        .kicked = left ? kicked : NULL,
        .opaque = opaque,
    };
    int ret = gmem_convert_request(&req);

    g_free(req.stalled_holder);
    return ret == 0 || ret == -EAGAIN || ret == -EINTR ? ret : -EINVAL;
}

/* Each block once: what was found before the part that cannot be had */
static void count_refused(GArray *segments)
{
    GmemBlock *last = NULL;

    for (guint i = 0; i < segments->len; i++) {
        GmemBlock *block = g_array_index(segments, GmemSegment, i).block;

        if (block != last) {
            gmem_block_count_refused(block);
        }
        last = block;
    }
}

int gmem_convert_since(uint64_t gpa, uint64_t size, bool to_private,
                       int64_t started_ns, bool (*kicked)(void *opaque),
                       void *opaque)
{
    g_autoptr(GArray) segments = g_array_new(false, false,
                                             sizeof(GmemSegment));
    GmemWalk walk = {
        .gpa = gpa, .to_private = to_private, .segments = segments,
    };
    int ret = -EINVAL;

    g_array_set_clear_func(segments, unref_segment);
    if (size && QEMU_IS_ALIGNED(gpa | size, PAGE_BYTES) &&
        !uadd64_overflow(gpa, size, &walk.end)) {
        ret = walk_range(&walk);
    }
    if (ret) {
        count_refused(segments);
    } else if (segments->len) {
        ret = convert_segments(segments, to_private, started_ns, kicked,
                               opaque);
    }
    trace_gmem_convert(gpa, size, to_private, segments->len, ret,
                       qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - started_ns);
    return ret;
}

int gmem_convert(uint64_t gpa, uint64_t size, bool to_private,
                 bool (*kicked)(void *opaque), void *opaque)
{
    return gmem_convert_since(gpa, size, to_private,
                              qemu_clock_get_ns(QEMU_CLOCK_REALTIME),
                              kicked, opaque);
}

/* Referenced block and offset behind one page of guest-physical memory */
static GmemBlock *block_at(uint64_t gpa, uint64_t *offset)
{
    MemoryRegionSection section;
    GmemBlock *block;

    RCU_READ_LOCK_GUARD();
    section = memory_region_find(get_system_memory(), gpa, PAGE_BYTES);
    if (!section.mr) {
        return NULL;
    }
    block = convertible(&section);
    if (block) {
        gmem_block_ref(block);
        *offset = section.offset_within_region;
    }
    memory_region_unref(section.mr);
    return block;
}

void gmem_notify_fault(uint64_t gpa)
{
    const GmemObserver *observer = gmem_observer();
    GmemBlock *block;
    uint64_t offset;

    block = block_at(QEMU_ALIGN_DOWN(gpa, PAGE_BYTES), &offset);
    if (!block) {
        return;
    }
    if (observer->stalled) {
        observer->stalled(block, offset, PAGE_BYTES, "vcpu");
    }
    gmem_block_unref(block);
}
