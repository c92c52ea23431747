/*
 * What is told about private memory in the way of a command or a transfer
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The engine and the code that looks are real; memory map, CPU, kernel and monitor are faked.
 *
 *  1. a range: private pages are found behind MMIO, holes and other RAM, from wherever the
 *     range begins, and never outside of it
 *  2. the refusal names command, block, page and guest address, and is counted
 *  3. a range of virtual addresses: page by page, in any order
 *  4. a transfer that could not be mapped: asked in the direction that it goes, for an IOMMU
 *     may allow one only
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "exec/cpu-common.h"
#include "hw/core/cpu.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "system/dma.h"
#include "system/hw_accel.h"
#include "system/memory.h"
#include "system/gmem-ram.h"
#include "system/gmem-touch-hooks.h"
#include "system/runstate.h"
#include "gmem-fake.h"

#define PAGE 4096

/* ---- in place of the rest of QEMU ---- */

enum { LOW, HIGH, NR_BLOCKS };

static GmemBlock *blocks[NR_BLOCKS];
static RAMBlock *const ram_blocks[NR_BLOCKS] = {
    (RAMBlock *)&blocks[LOW], (RAMBlock *)&blocks[HIGH],
};
static MemoryRegion low = { .ram = true }, high = { .ram = true };
static MemoryRegion other = { .ram = true }, mmio, nowhere;

AddressSpace address_space_memory;

/* What stands where, in ascending order */
typedef struct Piece {
    hwaddr start;
    hwaddr size;
    MemoryRegion *mr;
    hwaddr offset;
    bool write_only;
} Piece;

/* A machine: RAM with a window to MMIO, the hole for devices, and more RAM */
static const Piece machine[] = {
    { 0, 640 * KiB, &low },
    { 640 * KiB, 128 * KiB, &mmio },
    { 768 * KiB, 128 * KiB, &other },
    { 1 * MiB, 63 * MiB, &low, 1 * MiB },
    { 0xfe000000, 1 * MiB, &mmio },
    { 4 * GiB, 64 * MiB, &high },
};
/* What a device behind an IOMMU sees */
static const Piece device[] = {
    { 0, PAGE, &low, 16 * MiB, true },
    { PAGE, PAGE, &low, 16 * MiB },
    { 2 * PAGE, PAGE, &low, 0 },
};
static const Piece *view;
static size_t nr_pieces;

#define USE(pieces) (view = (pieces), nr_pieces = G_N_ELEMENTS(pieces))

void flatview_for_each_range(FlatView *fv, flatview_cb cb, void *opaque)
{
    for (size_t i = 0; i < nr_pieces; i++) {
        const Piece *p = &view[i];

        if (cb(int128_make64(p->start), int128_make64(p->size), p->mr,
               p->offset, opaque)) {
            break;
        }
    }
}

/* As the real one, which shortens the range for RAM only */
MemoryRegion *flatview_translate(FlatView *fv, hwaddr addr, hwaddr *xlat,
                                 hwaddr *len, bool is_write, MemTxAttrs attrs)
{
    for (size_t i = 0; i < nr_pieces; i++) {
        const Piece *p = &view[i];

        if (addr - p->start < p->size && (is_write || !p->write_only)) {
            *xlat = addr - p->start + p->offset;
            if (p->mr->ram) {
                *len = MIN(*len, p->start + p->size - addr);
            }
            return p->mr;
        }
    }
    *xlat = addr;
    return &nowhere;
}

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return rb ? blocks[rb == ram_blocks[HIGH]] : NULL;
}

VMChangeStateEntry *qemu_add_vm_change_state_handler_prio(
    VMChangeStateHandler *cb, void *opaque, int priority)
{
    return (VMChangeStateEntry *)&blocks;
}

void cpu_synchronize_state(CPUState *cpu)
{
}

/* The guest sees its pages in reverse, below 32 MiB */
hwaddr cpu_get_phys_page_attrs_debug(CPUState *cpu, vaddr addr,
                                     MemTxAttrs *attrs)
{
    return addr < 32 * MiB ? 32 * MiB - PAGE - addr : -1;
}

int cpu_asidx_from_attrs(CPUState *cpu, MemTxAttrs attrs)
{
    return 0;
}

AddressSpace *cpu_get_address_space(CPUState *cpu, int asidx)
{
    return &address_space_memory;
}

static GString *told;

int monitor_printf(Monitor *mon, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_string_append_vprintf(told, fmt, ap);
    va_end(ap);
    return 0;
}

/* ---- the fixture ---- */

static void convert(int which, uint64_t offset, uint64_t size,
                    GmemPageState to)
{
    GmemSegment segment = { blocks[which], offset, size };
    GmemRequest req = { .segments = &segment, .nr_segments = 1, .to = to };

    g_assert_cmpint(gmem_convert_request(&req), ==, 0);
}

static void setup(void)
{
    static const char *const names[] = { "low", "high" };

    for (int i = 0; i < NR_BLOCKS; i++) {
        GmemBlockConfig config = {
            .id = names[i], .mode = GMEM_BLOCK_MODE_SPLIT, .size = 64 * MiB,
            .initial = GMEM_PAGE_SHARED, .ops = &gmem_fake_ops,
        };

        blocks[i] = gmem_block_new(&config);
    }
    low.ram_block = ram_blocks[LOW];
    high.ram_block = ram_blocks[HIGH];
    told = g_string_new(NULL);
    gmem_touch_arm();
    USE(machine);
}

static void teardown(void)
{
    gmem_touch_disarm();
    for (int i = 0; i < NR_BLOCKS; i++) {
        gmem_block_retire(blocks[i]);
        gmem_block_unref(g_steal_pointer(&blocks[i]));
    }
    g_string_free(g_steal_pointer(&told), true);
}

static uint64_t denied(int which)
{
    GmemBlockStats stats;

    gmem_block_get_stats(blocks[which], &stats);
    return stats.denied;
}

/* The refusal of a range, or NULL.  Caller frees */
static char *physical(hwaddr addr, uint64_t size)
{
    Error *err = NULL;
    bool good = gmem_touch_check_physical(addr, size, "test", &err);
    char *text = err ? g_strdup(error_get_pretty(err)) : NULL;

    g_assert_true(good == !err);
    error_free(err);
    return text;
}

/* ---- the tests ---- */

static const struct {
    hwaddr addr;
    uint64_t size;
    hwaddr found;               /* 0: nothing */
} ranges[] = {
    { 0, 64 * MiB, 16 * MiB },
    { 0, 16 * MiB + 1, 16 * MiB },
    { 0, 16 * MiB, 0 },
    { 16 * MiB + PAGE, 47 * MiB, 0 },
    { 16 * MiB + PAGE - 1, 1, 16 * MiB + PAGE - 1 },
    { 640 * KiB, 32 * MiB, 16 * MiB },          /* begins in MMIO */
    { 896 * KiB, 32 * MiB, 16 * MiB },          /* begins in a hole */
    { 700 * KiB, 150 * KiB, 0 },
    { 20 * MiB, 4 * GiB, 4 * GiB + 2 * PAGE },  /* over all there is */
    { 0xfe080000, 4 * GiB, 4 * GiB + 2 * PAGE },
    { 128 * MiB, 1 * GiB, 0 },
    { 4 * GiB, UINT64_MAX, 4 * GiB + 2 * PAGE },
    { UINT64_MAX - 1, UINT64_MAX, 0 },
    { 16 * MiB, 0, 0 },
};

static void test_physical(void)
{
    setup();
    convert(LOW, 16 * MiB, PAGE, GMEM_PAGE_PRIVATE);
    convert(HIGH, 2 * PAGE, PAGE, GMEM_PAGE_PRIVATE);
    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        g_autofree char *text = physical(ranges[i].addr, ranges[i].size);
        g_autofree char *wanted = g_strdup_printf("address 0x%" HWADDR_PRIx
                                                  ":", ranges[i].found);

        if (ranges[i].found ? !text || !strstr(text, wanted) : !!text) {
            g_test_message("range %zu: wanted %s, answer: %s", i, wanted,
                           text ?: "fine");
            g_test_fail();
        }
    }
    teardown();
}

static void test_refusal(void)
{
    g_autofree char *text = NULL;

    setup();
    convert(HIGH, 2 * PAGE, PAGE, GMEM_PAGE_PRIVATE);
    text = physical(0, 8 * GiB);
    g_assert_cmpstr(text, ==, "test cannot read guest address 0x100002000: the "
                    "page at offset 0x2000 of gmem block 'high' is private, "
                    "and only the guest reaches it");
    g_assert_cmpuint(denied(HIGH), ==, 1);
    g_assert_cmpuint(denied(LOW), ==, 0);

    gmem_touch_explain(NULL, NULL, 4 * GiB, 16 * KiB, true);
    g_assert_nonnull(strstr(told->str, "xp cannot read guest address "
                            "0x100002000"));
    g_string_truncate(told, 0);
    gmem_touch_explain(NULL, NULL, 4 * GiB, 8 * KiB, true);
    g_assert_cmpstr(told->str, ==, "");
    teardown();
}

static bool virtual(vaddr addr, uint64_t size)
{
    Error *err = NULL;
    bool good = gmem_touch_check_virtual(NULL, addr, size, "test", &err);

    g_assert_true(good == !err);
    error_free(err);
    return good;
}

static void test_virtual(void)
{
    const vaddr at = 32 * MiB - PAGE - 16 * MiB;        /* of the private page */

    setup();
    convert(LOW, 16 * MiB, PAGE, GMEM_PAGE_PRIVATE);
    g_assert_false(virtual(0, 32 * MiB));
    g_assert_false(virtual(at + PAGE - 1, PAGE));
    g_assert_true(virtual(0, at));
    g_assert_true(virtual(at + PAGE, 32 * MiB));
    teardown();
}

static int transfer(int index, uint64_t byte, bool is_write)
{
    ScatterGatherEntry entries[] = {
        { 0, PAGE }, { PAGE, PAGE }, { 2 * PAGE, PAGE }, { 5 * PAGE, PAGE },
    };
    QEMUSGList sg = {
        .sg = entries, .nsg = G_N_ELEMENTS(entries),
        .as = &address_space_memory,
    };

    return gmem_touch_dma_result(&sg, index, byte, is_write);
}

static void test_transfer(void)
{
    setup();
    USE(device);
    g_assert_cmpint(transfer(0, 0, true), ==, 0);
    convert(LOW, 16 * MiB, PAGE, GMEM_PAGE_PRIVATE);
    g_assert_cmpint(transfer(0, 16, true), ==, -EFAULT);
    g_assert_cmpint(transfer(0, 16, false), ==, 0);
    g_assert_cmpint(transfer(1, 0, true), ==, -EFAULT);
    g_assert_cmpint(transfer(1, PAGE - 1, false), ==, -EFAULT);
    g_assert_cmpint(transfer(2, 0, true), ==, 0);
    g_assert_cmpint(transfer(3, 0, true), ==, 0);       /* nothing is there */
    g_assert_cmpint(transfer(4, 0, true), ==, 0);       /* the list has ended */
    gmem_touch_disarm();
    g_assert_cmpint(transfer(1, 0, true), ==, 0);
    gmem_touch_arm();
    convert(LOW, 16 * MiB, PAGE, GMEM_PAGE_SHARED);
    g_assert_cmpint(transfer(1, 0, true), ==, 0);
    teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/touch/physical", test_physical);
    g_test_add_func("/gmem/touch/refusal", test_refusal);
    g_test_add_func("/gmem/touch/virtual", test_virtual);
    g_test_add_func("/gmem/touch/transfer", test_transfer);
    return g_test_run();
}
