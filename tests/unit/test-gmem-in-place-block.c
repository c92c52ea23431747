/*
 * Conversion in place: what becomes of a block beside conversions
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *  1. slots come and go without a call, keep the state, and each page is bound once
 *  2. a conversion outlives the RAM, and no file stays open; one too few is an error
 *  3. a block goes back to its initial state
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/kvm.h"
#include "system/memory.h"
#include "../../accel/kvm/gmem-slots.h"
#include "gmem-fake.h"
#include "gmem-in-place-fixture.h"

static bool slot_comes(uint64_t gpa, unsigned int first, unsigned int pages,
                       bool readonly)
{
    MemoryRegion mr = { .ram_block = ram };
    MemoryRegionSection section = { .mr = &mr, .readonly = readonly };
    KVMSlot mem = {
        .start_addr = gpa, .memory_size = pages * PAGE,
        .ram = ram->host + first * PAGE, .guest_memfd = ram->guest_memfd,
        .guest_memfd_offset = first * PAGE, .flags = KVM_MEM_GUEST_MEMFD,
    };

    gmem_kvm_slot_bind(&mem, &section);
    g_assert_cmpint(mem.guest_memfd >= 0, ==,
                    !!(mem.flags & KVM_MEM_GUEST_MEMFD));
    g_assert_cmpint(gmem_kvm_slot_added(&mem, &mr), ==, 0);
    return mem.guest_memfd >= 0;
}

static void slot_goes(uint64_t gpa)
{
    MemoryRegion mr = { .ram_block = ram };
    KVMSlot mem = { .start_addr = gpa };

    gmem_kvm_slot_removed(&mem, &mr);
}

static void test_slots(void)
{
    GmemBlock *block = set_up(GMEM_PAGE_SHARED);

    g_assert_true(slot_comes(0, 0, PAGES, false));
    g_assert_cmpint(convert(block, 0, PAGES / 2, GMEM_PAGE_PRIVATE), ==, 0);
    kernel.calls = 0;
    /* an alias, and one that overlaps by a page */
    g_assert_false(slot_comes(GiB, 8, 8, false));
    g_assert_false(slot_comes(2 * GiB, PAGES - 1, 1, false));

    /* PAM: a piece becomes a read-only view, and comes back */
    slot_goes(0);
    g_assert_true(slot_comes(0, 0, 16, false));
    g_assert_false(slot_comes(16 * PAGE, 16, 16, true));
    g_assert_true(slot_comes(32 * PAGE, 32, PAGES - 32, false));
    gmem_kvm_slots_changed();
    check_same(block);
    slot_goes(0);
    slot_goes(32 * PAGE);
    g_assert_true(slot_comes(0, 0, PAGES, false));
    gmem_kvm_slots_changed();
    check_same(block);
    g_assert_cmpuint(bitmap_count_one(kernel.private, PAGES), ==, PAGES / 2);

    slot_goes(0);
    gmem_kvm_slots_changed();
    g_assert_cmpuint(kernel.calls, ==, 0);
    tear_down(block);
}

static void test_gone(void)
{
    unsigned int before = gmem_open_files();
    GmemBlock *block = set_up(GMEM_PAGE_SHARED);

    gmem_block_ref(block);
    gmem_kvm_block_detach(block);
    munmap(ram->host, RAM_SIZE);
    close(ram->fd);
    close(ram->guest_memfd);
    ram->fd = ram->guest_memfd = -1;
    g_assert_cmpint(convert(block, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(kernel.calls, ==, 1);
    gmem_block_retire(block);
    gmem_block_unref(block);
    g_assert_cmpint(convert(block, 0, 1, GMEM_PAGE_SHARED), ==, -EINVAL);
    gmem_block_unref(block);
    g_free(ram);
    g_assert_cmpuint(gmem_open_files(), ==, before);
}

/* There is no second descriptor to be had */
static void test_no_file(void)
{
    GmemBlock *block = set_up(GMEM_PAGE_SHARED);
    int fd = ram->guest_memfd;
    Error *err = NULL;

    ram->guest_memfd = -1;
    g_assert_null(gmem_kvm_block_new(ram, GMEM_BLOCK_MODE_IN_PLACE, &err));
    g_assert_true(g_str_has_prefix(error_get_pretty(err),
                                   "cannot keep the guest_memfd open"));
    error_free(err);
    ram->guest_memfd = fd;
    tear_down(block);
}

static void test_restore(gconstpointer opaque)
{
    GmemPageState initial = GPOINTER_TO_INT(opaque);
    GmemBlock *block = set_up(initial);
    unsigned int page;

    for (page = 0; page < PAGES; page += 3) {
        g_assert_cmpint(convert(block, page, 1, !initial), ==, 0);
    }
    check_same(block);
    g_assert_cmpint(gmem_block_restore(block, 0), ==, 0);
    g_assert_cmpuint(bitmap_count_one(kernel.private, PAGES), ==,
                     initial == GMEM_PAGE_PRIVATE ? PAGES : 0);
    check_same(block);
    tear_down(block);
}

int main(int argc, char **argv)
{
    gconstpointer private = GINT_TO_POINTER(GMEM_PAGE_PRIVATE);
    gconstpointer shared = GINT_TO_POINTER(GMEM_PAGE_SHARED);

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/in-place/block/slots", test_slots);
    g_test_add_func("/gmem/in-place/block/gone", test_gone);
    g_test_add_func("/gmem/in-place/block/no-file", test_no_file);
    g_test_add_data_func("/gmem/in-place/block/restore/private", private,
                         test_restore);
    g_test_add_data_func("/gmem/in-place/block/restore/shared", shared, test_restore);
    return g_test_run();
}
