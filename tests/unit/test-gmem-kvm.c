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
 */

#include "qemu/osdep.h"
#include <sys/syscall.h>
#include "qapi/error.h"
#include "qemu/memfd.h"
#include "qemu/units.h"
#include "system/accel-blocker.h"
#include "system/gmem-ram.h"
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

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return rb->gmem;
}

int kvm_vm_ioctl(KVMState *s, unsigned long type, ...)
{
    g_assert_cmpuint(type, ==, KVM_SET_MEMORY_ATTRIBUTES);
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
        .initial = GMEM_PAGE_SHARED, .ops = gmem_kvm_provider(),
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
    config.opaque = gmem_kvm_block_new(ram);
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/kvm/huge", test_huge);
    g_test_add_func("/gmem/kvm/huge-undone", test_huge_undone);
    g_test_add_func("/gmem/kvm/gone", test_gone);
    g_test_add_func("/gmem/kvm/going", test_going);
    return g_test_run();
}
