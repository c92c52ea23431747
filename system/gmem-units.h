/*
 * gmem: what an IOMMU has mapped of a range, in mappings (system/ only)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Shared pages are mapped for DMA in *mappings*: one call to the IOMMU, which
 * most IOMMUs can take back as a whole only.  A page that stays shared has to stay mapped, for its
 * DMA may be in flight.  So a mapping never crosses a border of *units*: a power of two of
 * pages that are expected to convert together, the smallest unit being one page.  An
 * IOMMU that *divides* takes any pages out of a mapping and leaves the rest of it alone; there units
 * only bound the time of a call.  One that does not has to be without the rest for a moment,
 * when less than a unit goes private.
 *
 * Knows pages and numbers only: callers lock, report, and give it the calls to make.
 */

#ifndef SYSTEM_GMEM_UNITS_H
#define SYSTEM_GMEM_UNITS_H

/*
 * @map: [first, first + count) becomes one mapping.
 * @unmap: takes pages back: whole mappings, where it divides also parts of them.
 *     -EINVAL where it divides as a rule, and cannot here: nothing has changed.
 * Both return 0, or -errno and have changed nothing.
 */
typedef struct GmemUnitsOps {
    int (*map)(void *opaque, unsigned long first, unsigned long count);
    int (*unmap)(void *opaque, unsigned long first, unsigned long count);
} GmemUnitsOps;

/*
 * @unit: pages, a power of two; GMEM_UNITS_ALL: no borders.
 * @phase: page 0 lies so many pages behind a border.
 * @lost: pages that stay shared and could not be mapped again; the caller takes note and
 *     sets it to 0.
 */
typedef struct GmemUnits {
    const GmemUnitsOps *ops;
    void *opaque;
    unsigned long unit, phase;
    bool divides;
    unsigned long lost;
    /* own */
    unsigned long nr_pages;
    unsigned long *mapped;      /* a bit per page */
    unsigned long *starts;      /* the first page of each mapping */
} GmemUnits;

#define GMEM_UNITS_ALL (1UL << 50)

/* @units has its public fields; the own ones are made here */
void gmem_units_init(GmemUnits *units, unsigned long nr_pages);
void gmem_units_destroy(GmemUnits *units);
/*
 * Map the pages of [first, end) that are not.  0, or the first error of the IOMMU: what was
 * mapped until then stays so.
 */
int gmem_units_give(GmemUnits *units, unsigned long first, unsigned long end);
/*
 * Unmap the pages of [first, end).  After an error some of them may be mapped and some not; who
 * wants all back gives them.  Pages outside of [first, end) are as before, but for @lost.
 */
int gmem_units_take(GmemUnits *units, unsigned long first, unsigned long end);

#endif
