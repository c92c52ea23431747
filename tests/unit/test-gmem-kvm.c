/*
 * The KVM provider: the real engine and provider, a KVM that is an array of bits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The RAM is real, on a memfd whose "huge pages" are 16 pages, so that what was freed
 * reads as zeros.
 *
 *  1. a huge page is freed when all of it is private for good, and not sooner:
 *     a page that may still turn back to shared keeps what it holds
 *  2. nothing is freed of RAM that has gone; RAM that goes waits only for what is
 *     being freed in that moment
 *  3. slots that come and go: KVM's bits are those of the state map where there is
 *     a slot, and shared elsewhere, whatever moved or was converted meanwhile
 *  4. moving the border between two slots costs what moves, not what is private
 */

#include "qemu/osdep.h"
#include <sys/syscall.h>
#include "qapi/error.h"
#include "qemu/bitmap.h"
#include "qemu/memfd.h"
#include "qemu/units.h"
#include "system/accel-blocker.h"
#include "system/gmem-ram.h"
#include "system/gmem-sigbus.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/memory.h"
#include "system/ramblock.h"
#include "../../accel/kvm/gmem-slots.h"

#include <linux/kvm.h>

#define PAGE (4 * KiB)
#define UNIT (16 * PAGE)
#define RAM_SIZE (2560 * UNIT)
#define FILL 0x5a
#define FILLED (64 * UNIT)

KVMState *kvm_state;

/* ---- in place of QEMU's memory ---- */

static RAMBlock *ram;

__thread CPUState *current_cpu;

void accel_ioctl_begin(void)
{
}

void accel_ioctl_end(void)
{
}

bool qemu_ram_is_shared(RAMBlock *rb)
{
    return true;
}

/* Only what lies in one guest_memfd can be touched while it is private */
int gmem_sigbus_restore(const void *host, size_t size)
{
    g_assert_not_reached();
}

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return rb->gmem;
}

/* KVM's attributes: one bit per page of the first GiB */
static DECLARE_BITMAP(private_bits, GiB / PAGE);
static unsigned int ioctls;

int kvm_vm_ioctl(KVMState *s, unsigned long type, ...)
{
    struct kvm_memory_attributes *args;
    va_list ap;

    g_assert_cmpuint(type, ==, KVM_SET_MEMORY_ATTRIBUTES);
    va_start(ap, type);
    args = va_arg(ap, struct kvm_memory_attributes *);
    va_end(ap);
    g_assert_cmpuint(args->size, >, 0);
    g_assert_cmpuint(args->address + args->size, <=, GiB);
    if (args->attributes) {
        bitmap_set(private_bits, args->address / PAGE, args->size / PAGE);
    } else {
        bitmap_clear(private_bits, args->address / PAGE, args->size / PAGE);
    }
    ioctls++;
    return 0;
}

static void (*in_fallocate)(void);
static unsigned int fallocates;

/* libc's, with a look at what happens */
int fallocate(int fd, int mode, off_t offset, off_t size)
{
    fallocates++;
    if (in_fallocate) {
        in_fallocate();
    }
    return syscall(SYS_fallocate, fd, mode, offset, size);
}

/* ---- helpers ---- */

static GmemBlock *set_up(void)
{
    GmemBlockConfig config = {
        .id = "ram", .mode = GMEM_BLOCK_MODE_SPLIT, .size = RAM_SIZE,
        .initial = GMEM_PAGE_SHARED,
        .ops = gmem_kvm_provider(GMEM_BLOCK_MODE_SPLIT),
    };

    ram = g_new0(RAMBlock, 1);
    ram->fd = qemu_memfd_create("ram", RAM_SIZE, false, 0, 0, &error_abort);
    ram->guest_memfd = qemu_memfd_create("gmem", RAM_SIZE, false, 0, 0,
                                         &error_abort);
    ram->page_size = UNIT;
    ram->host = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                     ram->fd, 0);
    g_assert(ram->host != MAP_FAILED);
    memset(ram->host, FILL, FILLED);
    config.opaque = gmem_kvm_block_new(ram, GMEM_BLOCK_MODE_SPLIT, &error_abort);
    ram->gmem = gmem_block_new(&config);
    return ram->gmem;
}

static void tear_down(GmemBlock *block)
{
    gmem_block_retire(block);
    gmem_kvm_block_detach(block);
    gmem_block_unref(block);
    munmap(ram->host, RAM_SIZE);
    close(ram->fd);
    close(ram->guest_memfd);
    g_free(ram);
}

static int convert(GmemBlock *block, uint64_t offset, uint64_t size,
                   GmemPageState to)
{
    GmemSegment segment = { .block = block, .offset = offset, .size = size };
    GmemRequest req = { .segments = &segment, .nr_segments = 1, .to = to };

    return gmem_convert_request(&req);
}

/* The first and the last byte of the range are @value */
static void check_bytes(uint64_t offset, uint64_t size, uint8_t value)
{
    g_assert_cmpuint(ram->host[offset], ==, value);
    g_assert_cmpuint(ram->host[offset + size - 1], ==, value);
}

static uint64_t allocated(void)
{
    struct stat st;

    g_assert_cmpint(fstat(ram->fd, &st), ==, 0);
    return st.st_blocks * 512;
}

/* ---- tests ---- */

static void test_huge(void)
{
    GmemBlock *block = set_up();

    g_assert_cmpint(convert(block, PAGE, UNIT - PAGE, GMEM_PAGE_PRIVATE), ==, 0);
    check_bytes(0, PAGE, FILL);
    check_bytes(PAGE, UNIT - PAGE, 0);
    g_assert_cmpint(convert(block, 0, PAGE, GMEM_PAGE_PRIVATE), ==, 0);
    check_bytes(0, UNIT, 0);
    check_bytes(UNIT, UNIT, FILL);
    tear_down(block);
}

static GmemBlock *first;

/*
 * The second block's kernel: while it is asked, the pages of the first one are
 * private already, and will be shared again because this answers no.
 */
static int refuse(GmemBlock *block, uint64_t offset, uint64_t size,
                  GmemPageState to, uint64_t *busy)
{
    GmemPageState state;

    gmem_block_run(first, 0, PAGE, &state);
    g_assert_cmpint(state, ==, GMEM_PAGE_PRIVATE);
    /* a neighbour's conversion has just ended, and frees its side */
    g_assert_cmpint(gmem_kvm_discard(first, PAGE, UNIT - PAGE,
                                     GMEM_PAGE_PRIVATE), ==, 0);
    return -EINVAL;
}

static void test_huge_undone(void)
{
    static const GmemProviderOps refusing = {
        .name = "refusing", .set_state = refuse,
    };
    GmemBlockConfig config = {
        .id = "second", .mode = GMEM_BLOCK_MODE_SPLIT, .size = PAGE,
        .initial = GMEM_PAGE_SHARED, .ops = &refusing,
    };
    GmemSegment segments[2] = { { .size = PAGE }, { .size = PAGE } };
    GmemRequest req = {
        .segments = segments, .nr_segments = 2, .to = GMEM_PAGE_PRIVATE,
    };
    GmemBlock *second;

    segments[0].block = first = set_up();
    segments[1].block = second = gmem_block_new(&config);
    g_assert_cmpint(convert(first, PAGE, UNIT - PAGE, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(gmem_convert_request(&req), ==, -EIO);
    g_assert_true(gmem_block_range_is(first, 0, PAGE, GMEM_PAGE_SHARED));
    check_bytes(0, PAGE, FILL);
    gmem_block_retire(second);
    gmem_block_unref(second);
    tear_down(first);
}

static void test_gone(void)
{
    GmemBlock *block = set_up();
    uint64_t before = allocated();

    gmem_kvm_block_detach(block);
    g_assert_cmpint(convert(block, 0, RAM_SIZE, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(allocated(), ==, before);
    check_bytes(0, FILLED, FILL);
    tear_down(block);
}

static GThread *detacher;

static gpointer detach(gpointer block)
{
    gmem_kvm_block_detach(block);
    return NULL;
}

/* Somebody begins to take the RAM away */
static void start_to_detach(void)
{
    GmemKvmBlock *kb = gmem_block_opaque(first);

    if (!detacher) {
        detacher = g_thread_new("detach", detach, first);
        while (qatomic_read(&kb->rb)) {
            g_usleep(1000);
        }
    }
}

static void test_going(void)
{
    const uint64_t rest = 64 * MiB;

    first = set_up();
    ram->page_size = qemu_real_host_page_size();
    ram->host[rest] = FILL;
    fallocates = 0;
    in_fallocate = start_to_detach;
    g_assert_cmpint(convert(first, 0, RAM_SIZE, GMEM_PAGE_PRIVATE), ==, 0);
    in_fallocate = NULL;
    g_thread_join(detacher);
    g_assert_cmpuint(fallocates, ==, 1);
    check_bytes(0, PAGE, 0);
    check_bytes(rest, 1, FILL);
    tear_down(first);
}

/* ---- slots ---- */

static void slot_comes(RAMBlock *rb, uint64_t gpa, uint64_t offset, uint64_t size)
{
    MemoryRegion mr = { .ram_block = rb };
    MemoryRegionSection section = { .mr = &mr };
    KVMSlot mem = {
        .start_addr = gpa, .memory_size = size, .ram = rb->host + offset,
        .guest_memfd = rb->guest_memfd, .guest_memfd_offset = offset,
        .flags = KVM_MEM_GUEST_MEMFD,
    };

    gmem_kvm_slot_bind(&mem, &section);
    g_assert_cmpint(mem.guest_memfd, ==, rb->guest_memfd);
    g_assert_cmpint(gmem_kvm_slot_added(&mem, &mr), ==, 0);
}

static void slot_goes(RAMBlock *rb, uint64_t gpa)
{
    MemoryRegion mr = { .ram_block = rb };
    KVMSlot mem = { .start_addr = gpa };

    gmem_kvm_slot_removed(&mem, &mr);
}

/* Do [gpa, gpa+size) show the pages of @block from @offset on, or all shared? */
static void check_bits(GmemBlock *block, uint64_t gpa, uint64_t offset,
                       uint64_t size)
{
    uint64_t i;

    for (i = 0; i < size; i += PAGE) {
        bool want = block && gmem_block_range_is(block, offset + i, PAGE,
                                                 GMEM_PAGE_PRIVATE);

        g_assert_cmpint(test_bit((gpa + i) / PAGE, private_bits), ==, want);
    }
}

static void check_no_bits(void)
{
    g_assert_true(bitmap_empty(private_bits, GiB / PAGE));
}

#define PATTERN (8 * MiB)

/* Every other page of the first 8 MiB is private: as many runs as can be */
static GmemBlock *set_up_pattern(void)
{
    GmemBlock *block = set_up();
    uint64_t offset;

    for (offset = 0; offset < PATTERN; offset += 2 * PAGE) {
        g_assert_cmpint(convert(block, offset, PAGE, GMEM_PAGE_PRIVATE), ==, 0);
    }
    return block;
}

static void test_slots(void)
{
    GmemBlock *block = set_up_pattern();

    slot_comes(ram, 256 * MiB, 0, RAM_SIZE);
    gmem_kvm_slots_changed();
    check_bits(block, 256 * MiB, 0, RAM_SIZE);
    slot_goes(ram, 256 * MiB);
    gmem_kvm_slots_changed();
    check_no_bits();

    /* elsewhere, in one change, onto pages that it leaves */
    slot_comes(ram, 256 * MiB, 0, RAM_SIZE);
    gmem_kvm_slots_changed();
    slot_goes(ram, 256 * MiB);
    slot_comes(ram, 257 * MiB, 0, RAM_SIZE);
    gmem_kvm_slots_changed();
    check_bits(NULL, 256 * MiB, 0, MiB);
    check_bits(block, 257 * MiB, 0, RAM_SIZE);

    /* far away: nothing of it comes back */
    slot_goes(ram, 257 * MiB);
    slot_comes(ram, 512 * MiB, 0, RAM_SIZE);
    gmem_kvm_slots_changed();
    check_bits(NULL, 257 * MiB, 0, RAM_SIZE);
    check_bits(block, 512 * MiB, 0, RAM_SIZE);
    slot_goes(ram, 512 * MiB);
    gmem_kvm_slots_changed();
    check_no_bits();
    tear_down(block);
}

static void test_border(void)
{
    const uint64_t old = MiB, new = 960 * KiB;
    GmemBlock *block = set_up_pattern();
    int i;

    slot_comes(ram, old, old, RAM_SIZE - old);
    gmem_kvm_slots_changed();
    ioctls = 0;
    for (i = 0; i < 10; i++) {
        slot_goes(ram, old);
        slot_comes(ram, new, new, RAM_SIZE - new);
        gmem_kvm_slots_changed();
        check_bits(block, new, new, RAM_SIZE - new);
        check_bits(NULL, 0, 0, new);

        slot_goes(ram, new);
        slot_comes(ram, old, old, RAM_SIZE - old);
        gmem_kvm_slots_changed();
        check_bits(block, old, old, RAM_SIZE - old);
        check_bits(NULL, 0, 0, old);
    }
    /* 16 pages move, 8 of them private; back is one call; nothing else */
    g_assert_cmpuint(ioctls, <=, 10 * (8 + 1));
    slot_goes(ram, old);
    gmem_kvm_slots_changed();
    check_no_bits();
    tear_down(block);
}

static void test_split(void)
{
    GmemBlock *block = set_up_pattern();

    slot_comes(ram, 0, 0, RAM_SIZE);
    gmem_kvm_slots_changed();
    ioctls = 0;
    /* a read-only view takes 16 pages out of the middle: no slot of ours there */
    slot_goes(ram, 0);
    slot_comes(ram, 0, 0, MiB);
    slot_comes(ram, MiB + UNIT, MiB + UNIT, RAM_SIZE - MiB - UNIT);
    gmem_kvm_slots_changed();
    g_assert_cmpuint(ioctls, ==, 1);
    check_bits(block, 0, 0, MiB);
    check_bits(NULL, MiB, 0, UNIT);
    check_bits(block, MiB + UNIT, MiB + UNIT, RAM_SIZE - MiB - UNIT);

    slot_goes(ram, 0);
    slot_goes(ram, MiB + UNIT);
    slot_comes(ram, 0, 0, RAM_SIZE);
    gmem_kvm_slots_changed();
    check_bits(block, 0, 0, RAM_SIZE);
    slot_goes(ram, 0);
    gmem_kvm_slots_changed();
    check_no_bits();
    tear_down(block);
}

/* A conversion comes between: what is gone follows the map, or is forgotten */
static void test_between(void)
{
    GmemBlock *block = set_up_pattern();

    slot_comes(ram, 0, 0, RAM_SIZE);
    gmem_kvm_slots_changed();
    slot_goes(ram, 0);
    g_assert_cmpint(convert(block, MiB, MiB, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(block, 0, UNIT, GMEM_PAGE_SHARED), ==, 0);
    slot_comes(ram, 0, 0, RAM_SIZE);
    g_assert_cmpint(convert(block, UNIT, UNIT, GMEM_PAGE_SHARED), ==, 0);
    gmem_kvm_slots_changed();
    check_bits(block, 0, 0, RAM_SIZE);

    slot_goes(ram, 0);
    gmem_kvm_slots_changed();
    g_assert_cmpint(convert(block, 0, MiB, GMEM_PAGE_PRIVATE), ==, 0);
    check_no_bits();
    tear_down(block);
}

/* Other memory comes to the same address, in the same change or after RAM was freed */
static void test_other_block(void)
{
    GmemBlock *old = set_up_pattern(), *new;
    RAMBlock *old_ram = ram;

    new = set_up();
    slot_comes(old_ram, 0, 0, RAM_SIZE);
    gmem_kvm_slots_changed();
    slot_goes(old_ram, 0);
    slot_comes(ram, 0, 0, RAM_SIZE);
    g_assert_cmpint(convert(old, 0, MiB, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpint(convert(new, MiB, UNIT, GMEM_PAGE_PRIVATE), ==, 0);
    gmem_kvm_slots_changed();
    check_bits(new, 0, 0, RAM_SIZE);

    slot_goes(ram, 0);
    tear_down(new);
    gmem_kvm_slots_changed();
    check_no_bits();
    ram = old_ram;
    tear_down(old);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/kvm/huge", test_huge);
    g_test_add_func("/gmem/kvm/huge-undone", test_huge_undone);
    g_test_add_func("/gmem/kvm/gone", test_gone);
    g_test_add_func("/gmem/kvm/going", test_going);
    g_test_add_func("/gmem/kvm/slots", test_slots);
    g_test_add_func("/gmem/kvm/slots/border", test_border);
    g_test_add_func("/gmem/kvm/slots/split", test_split);
    g_test_add_func("/gmem/kvm/slots/between", test_between);
    g_test_add_func("/gmem/kvm/slots/other-block", test_other_block);
    return g_test_run();
}
