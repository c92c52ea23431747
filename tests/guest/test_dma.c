/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A device's DMA, which fw_cfg does: into shared pages it works; into a private page, or
 * over the border of one, it ends with an error and the page keeps what the guest
 * wrote there; beside it all goes on. WAIT dma/private: the host may look meanwhile.
 */
#include "tests.h"

#define AREA    (2 * MiB)
#define SPOT    (64 * PAGE)     /* the private page, from the area's start */

static bool is_signature(uint64_t gpa)
{
    return *(volatile uint32_t *)gpa == 0x554d4551;     /* "QEMU" */
}

/* One transfer of the signature, with its control block in shared memory */
static void expect(const char *name, uint64_t gpa, bool error)
{
    static struct fwcfg_dma block;
    uint32_t got = fwcfg_dma(&block, gpa, 4);

    check(got == (error ? FWCFG_DMA_ERROR : 0), name,
          "gpa=0x%lx expected=0x%x got=0x%x", gpa,
          error ? FWCFG_DMA_ERROR : 0, got);
    shadow_forget(gpa & -PAGE, 1);
}

static void expect_written(const char *name, uint64_t gpa)
{
    expect(name, gpa, false);
    check(is_signature(gpa), name, "content at 0x%lx is not the signature", gpa);
}

static void expect_kept(const char *name, uint64_t gpa, uint64_t page,
                        unsigned gen)
{
    struct mismatch m = { 0, 0, 0 };

    expect(name, gpa, true);
    *shadow(page) = SHADOW_PRIVATE | gen;   /* expect() forgot it */
    check(page_check(page, false, &m), name,
          "content at 0x%lx expected=0x%lx got=0x%lx", m.gpa, m.expected, m.got);
}

/* The control block itself out of reach: nobody can report an error there */
static void private_control(uint64_t page, unsigned gen)
{
    struct mismatch m = { 0, 0, 0 };

    page_fill(page, gen);
    fwcfg_dma_start(page);
    check(page_check(page, false, &m), "dma/private-control",
          "content at 0x%lx expected=0x%lx got=0x%lx", m.gpa, m.expected, m.got);
}

void test_dma(void)
{
    struct extent a = area(AREA);
    uint64_t page = a.start + SPOT;

    if (convert_is_dry() || !fwcfg_has_dma()) {
        skip("dma", convert_is_dry() ? "the host is simulated"
                                     : "fw_cfg has no DMA");
        return;
    }
    if (!area_reset("dma/reset", a, 1)) {
        return;
    }
    expect_written("dma/shared", page);
    if (!check(convert(page, 1, true) == RET_OK, "dma/to-private",
               "gpa=0x%lx", page)) {
        return;
    }
    page_fill(page, 2);
    expect_kept("dma/private", page + 8, page, 2);
    expect_kept("dma/over-the-border", page - 2, page, 2);
    private_control(page, 3);
    mark_and_wait("dma/private");
    expect_written("dma/before", page - 4);
    expect_written("dma/behind", page + PAGE);
    check(convert(page, 1, false) == RET_OK, "dma/to-shared", "gpa=0x%lx", page);
    expect_written("dma/shared-again", page);
}
