/*
 * gmem: what an IOMMU has mapped of a range, in mappings
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See gmem-units.h.  Two bits per page tell where each mapping begins and ends: it goes from a
 * set bit in `starts` to the next one, or to the next page that is not mapped.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/host-utils.h"
#include "gmem-units.h"

void gmem_units_init(GmemUnits *units, unsigned long nr_pages)
{
    g_assert(is_power_of_2(units->unit));
    units->nr_pages = nr_pages;
    units->mapped = bitmap_new(nr_pages);
    units->starts = bitmap_new(nr_pages);
}

void gmem_units_destroy(GmemUnits *units)
{
    g_free(units->mapped);
    g_free(units->starts);
}

/* The first page behind @page's unit */
static unsigned long unit_end(const GmemUnits *units, unsigned long page)
{
    return QEMU_ALIGN_DOWN(units->phase + page, units->unit) + units->unit -
           units->phase;
}

/* @page is mapped; the first page of its mapping */
static unsigned long mapping_start(const GmemUnits *units, unsigned long page)
{
    return find_last_bit(units->starts, page + 1);
}

/* The first page behind it */
static unsigned long mapping_end(const GmemUnits *units, unsigned long page)
{
    unsigned long end = MIN(units->nr_pages, unit_end(units, page));

    end = find_next_bit(units->starts, end, page + 1);
    return find_next_zero_bit(units->mapped, end, page);
}

static int map(GmemUnits *units, unsigned long first, unsigned long end)
{
    int ret = units->ops->map(units->opaque, first, end - first);

    if (!ret) {
        bitmap_set(units->mapped, first, end - first);
        set_bit(first, units->starts);
    }
    return ret;
}

static int unmap(GmemUnits *units, unsigned long first, unsigned long end)
{
    int ret = units->ops->unmap(units->opaque, first, end - first);

    if (ret) {
        return ret;
    }
    bitmap_clear(units->mapped, first, end - first);
    bitmap_clear(units->starts, first, end - first);
    if (end < units->nr_pages && test_bit(end, units->mapped)) {
        set_bit(end, units->starts);    /* what is left of one that was divided */
    }
    return 0;
}

int gmem_units_give(GmemUnits *units, unsigned long first, unsigned long end)
{
    unsigned long stop;
    int ret = 0;

    for (first = find_next_zero_bit(units->mapped, end, first);
         first < end && !ret;
         first = find_next_zero_bit(units->mapped, end, stop)) {
        stop = MIN(find_next_bit(units->mapped, end, first),
                   unit_end(units, first));
        ret = map(units, first, stop);
    }
    return ret;
}

/*
 * Take [first, end) out of the one mapping [start, stop) of an IOMMU that does not divide. The
 * rest is not mapped for a moment; where it cannot be mapped again in parts, as
 * IOMMUs count their mappings, the old one comes back and this is an error.
 */
static int cut(GmemUnits *units, unsigned long start, unsigned long first,
               unsigned long end, unsigned long stop)
{
    int ret = unmap(units, start, stop);

    if (ret) {
        return ret;
    }
    if (start < first) {
        ret = map(units, start, first);
    }
    if (!ret && end < stop) {
        ret = map(units, end, stop);
        if (ret && start < first && unmap(units, start, first)) {
            units->lost += stop - end;
            return 0;
        }
    }
    if (ret && map(units, start, stop)) {
        units->lost += (stop - start) - (end - first);
        return 0;
    }
    return ret;
}

/* [first, end) is mapped, in whatever mappings */
static int take_run(GmemUnits *units, unsigned long first, unsigned long end)
{
    unsigned long start, stop;
    int ret = -EINVAL;

    if (units->divides) {
        ret = unmap(units, first, end);
    }
    if (ret != -EINVAL) {
        return ret;
    }

    start = mapping_start(units, first);
    if (start < first) {
        stop = mapping_end(units, first);
        ret = cut(units, start, first, MIN(end, stop), stop);
        if (ret || stop >= end) {
            return ret;
        }
        first = stop;
    }
    start = mapping_start(units, end - 1);
    stop = mapping_end(units, end - 1);
    if (stop > end) {
        ret = cut(units, start, start, end, stop);
        if (ret) {
            return ret;
        }
        end = start;
    }
    return first < end ? unmap(units, first, end) : 0;
}

int gmem_units_take(GmemUnits *units, unsigned long first, unsigned long end)
{
    unsigned long stop;
    int ret = 0;

    for (first = find_next_bit(units->mapped, end, first); first < end && !ret;
         first = find_next_bit(units->mapped, end, stop)) {
        stop = find_next_zero_bit(units->mapped, end, first);
        ret = take_run(units, first, stop);
    }
    return ret;
}
