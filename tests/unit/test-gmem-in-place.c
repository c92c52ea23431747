/*
 * Conversion in place: the real engine and provider, a guest_memfd that is a memfd
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fake kernel keeps one bit per page of the file, checks every argument of the call as
 * a kernel does, and can refuse.  There is no call by guest-physical address at all.
 *
 *  1. the state of the file is that of the map, at the same offsets, both ways, and
 *     nothing else is asked of KVM: no attributes, nothing freed
 *  2. a busy page is waited for; one that stays is named, at its offset in the block
 *  3. every error of the call: what becomes of the request, and nothing has changed
 *  4. an interrupted call is repeated
 *  5. slots come and go without a call, keep the state, and each page is bound once
 *  6. a conversion outlives the RAM, and no file stays open; one too few is an error
 *  7. a block goes back to its initial state
 *  8. QEMU's mapping of what becomes shared is put right before the map says so; where
 *     that fails, what was private is private again and what was shared stays shared
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
#include "../../accel/kvm/gmem-uapi.h"
#include "gmem-fake.h"

#define PAGE (4 * KiB)
#define PAGES 512
#define RAM_SIZE (PAGES * PAGE)

KVMState *kvm_state;

/* ---- in place of QEMU's memory ---- */

static RAMBlock *ram;

__thread CPUState *current_cpu;

void accel_ioctl_begin(void)
{
    g_assert_not_reached();     /* no slot has to stay as it is */
}

void accel_ioctl_end(void)
{
    g_assert_not_reached();
}

bool qemu_ram_is_shared(RAMBlock *rb)
{
    g_assert_not_reached();
}

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return rb->gmem;
}

int kvm_vm_ioctl(KVMState *s, unsigned long type, ...)
{
    g_assert_not_reached();
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    g_assert_not_reached();
}

static struct {
    unsigned int calls;
    uint64_t offset, size;
    int error;
} restore;

int gmem_sigbus_restore(const void *host, size_t size)
{
    restore.calls++;
    restore.offset = (const uint8_t *)host - ram->host;
    restore.size = size;
    /* not yet: who sees the page shared must find it there */
    g_assert_false(gmem_block_range_is(ram->gmem, restore.offset, size,
                                       GMEM_PAGE_SHARED));
    return -restore.error;
}

/* ---- the kernel ---- */

static struct {
    DECLARE_BITMAP(private, PAGES);
    ino_t file;
    unsigned int calls;
    int error;                  /* answer to the next calls */
    unsigned int errors;        /* to how many */
    bool only_private;
    unsigned int busy_page;
    unsigned int busy_for;      /* calls to private that reach the page */
} kernel;

static int check_arguments(int fd, const GmemKvmAttributes *args)
{
    struct stat st;
    size_t i;

    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpuint(st.st_ino, ==, kernel.file);
    g_assert_cmpuint(args->flags, ==, 0);
    for (i = 0; i < ARRAY_SIZE(args->reserved); i++) {
        g_assert_cmpuint(args->reserved[i], ==, 0);
    }
    g_assert_cmpuint(args->attributes & ~(uint64_t)KVM_MEMORY_ATTRIBUTE_PRIVATE,
                     ==, 0);
    g_assert_true(args->size &&
                  QEMU_IS_ALIGNED(args->offset | args->size, PAGE));
    g_assert_cmpuint(args->offset + args->size, <=, RAM_SIZE);
    return args->attributes != 0;
}

static int set_attributes(int fd, GmemKvmAttributes *args)
{
    bool to_private = check_arguments(fd, args);
    unsigned int first = args->offset / PAGE, pages = args->size / PAGE;

    kernel.calls++;
    if (kernel.errors && (to_private || !kernel.only_private)) {
        kernel.errors--;
        args->error_offset = args->offset;
        return kernel.error;
    }
    if (to_private && kernel.busy_for && kernel.busy_page >= first &&
        kernel.busy_page < first + pages) {
        kernel.busy_for -= kernel.busy_for != UINT_MAX;
        args->error_offset = kernel.busy_page * PAGE;
        return EAGAIN;
    }
    if (to_private) {
        bitmap_set(kernel.private, first, pages);
    } else {
        bitmap_clear(kernel.private, first, pages);
    }
    return 0;
}

/* libc's, but for the one call */
int ioctl(int fd, unsigned long request, ...)
{
    void *argument;
    va_list ap;

    va_start(ap, request);
    argument = va_arg(ap, void *);
    va_end(ap);
    if (request == GMEM_KVM_SET_ATTRIBUTES) {
        errno = set_attributes(fd, argument);
        return errno ? -1 : 0;
    }
    return syscall(SYS_ioctl, fd, request, argument);
}

/* ---- helpers ---- */

static GmemBlock *set_up(GmemPageState initial)
{
    GmemBlockConfig config = {
        .id = "ram", .mode = GMEM_BLOCK_MODE_IN_PLACE, .size = RAM_SIZE,
        .initial = initial,
        .ops = gmem_kvm_provider(GMEM_BLOCK_MODE_IN_PLACE),
    };
    struct stat st;

    memset(&kernel, 0, sizeof(kernel));
    memset(&restore, 0, sizeof(restore));
    ram = g_new0(RAMBlock, 1);
    ram->fd = qemu_memfd_create("gmem", RAM_SIZE, false, 0, 0, &error_abort);
    ram->guest_memfd = qemu_dup(ram->fd);
    ram->page_size = PAGE;
    ram->host = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                     ram->fd, 0);
    g_assert(ram->host != MAP_FAILED);
    g_assert_cmpint(fstat(ram->fd, &st), ==, 0);
    kernel.file = st.st_ino;
    if (initial == GMEM_PAGE_PRIVATE) {
        bitmap_set(kernel.private, 0, PAGES);
    }
    config.opaque = gmem_kvm_block_new(ram, GMEM_BLOCK_MODE_IN_PLACE,
                                       &error_abort);
    ram->gmem = gmem_block_new(&config);
    return ram->gmem;
}

static void free_ram(GmemBlock *block)
{
    gmem_block_retire(block);
    gmem_kvm_block_detach(block);
    munmap(ram->host, RAM_SIZE);
    close(ram->fd);
    close(ram->guest_memfd);
}

static void tear_down(GmemBlock *block)
{
    free_ram(block);
    gmem_block_unref(block);
    g_free(ram);
}

static GmemRequest request(GmemSegment *segment, GmemPageState to)
{
    return (GmemRequest) { .segments = segment, .nr_segments = 1, .to = to,
                           .timeout_ms = 60000 };
}

static int convert(GmemBlock *block, unsigned int first, unsigned int pages,
                   GmemPageState to)
{
    GmemSegment segment = { block, first * PAGE, pages * PAGE };
    GmemRequest req = request(&segment, to);
    int ret = gmem_convert_request(&req);

    g_free(req.stalled_holder);
    return ret;
}

static void check_same(GmemBlock *block)
{
    unsigned int page;

    g_assert_false(gmem_block_is_broken(block));
    for (page = 0; page < PAGES; page++) {
        g_assert_true(gmem_block_range_is(block, page * PAGE, PAGE,
                                          test_bit(page, kernel.private) ?
                                          GMEM_PAGE_PRIVATE :
                                          GMEM_PAGE_SHARED));
    }
}

/* ---- tests ---- */

static void test_convert(gconstpointer opaque)
{
    GmemPageState initial = GPOINTER_TO_INT(opaque);
    GmemBlock *block = set_up(initial);

    check_same(block);
    memset(ram->host, 0x5a, RAM_SIZE);
    g_assert_cmpint(convert(block, 100, 200, !initial), ==, 0);
    g_assert_cmpuint(kernel.calls, ==, 1);
    g_assert_cmpuint(bitmap_count_one(kernel.private, PAGES), ==,
                     initial == GMEM_PAGE_PRIVATE ? PAGES - 200 : 200);
    check_same(block);
    g_assert_cmpint(convert(block, 0, PAGES, !initial), ==, 0);
    check_same(block);
    g_assert_cmpint(convert(block, 1, 1, initial), ==, 0);
    g_assert_cmpint(convert(block, 1, 1, initial), ==, 0);
    g_assert_cmpuint(kernel.calls, ==, 3);
    check_same(block);
    /* what a page holds is the kernel's: we freed and wrote nothing */
    g_assert_cmpuint(ram->host[150 * PAGE], ==, 0x5a);
    tear_down(block);
}

static void test_busy(void)
{
    GmemBlock *block = set_up(GMEM_PAGE_SHARED);
    GmemSegment segment = { block, 10 * PAGE, 400 * PAGE };
    GmemRequest req = request(&segment, GMEM_PAGE_PRIVATE);

    kernel.busy_page = 77;
    kernel.busy_for = 5;
    g_assert_cmpint(gmem_convert_request(&req), ==, 0);
    g_assert_cmpuint(bitmap_count_one(kernel.private, PAGES), ==, 400);
    check_same(block);
    tear_down(block);

    block = set_up(GMEM_PAGE_SHARED);
    segment.block = block;
    kernel.busy_page = 77;
    kernel.busy_for = UINT_MAX;
    req.timeout_ms = 20;
    g_assert_cmpint(gmem_convert_request(&req), ==, -EAGAIN);
    g_assert_true(req.stalled_block == block);
    g_assert_cmpuint(req.stalled_offset, ==, 77 * PAGE);
    g_assert_null(req.stalled_holder);
    g_assert_true(bitmap_empty(kernel.private, PAGES));
    check_same(block);
    tear_down(block);
}

static void check_error(int error, GmemPageState to)
{
    GmemBlock *block = set_up(!to);
    GmemBlockStats stats;

    kernel.error = error;
    kernel.errors = 1;
    g_assert_cmpint(convert(block, 3, 5, to), ==, -EIO);
    g_assert_cmpuint(kernel.calls, ==, 1);
    gmem_block_get_stats(block, &stats);
    g_assert_cmpuint(stats.failures, ==, 1);
    g_assert_cmpint(stats.last_error, ==,
                    error == ENOTRECOVERABLE ? EIO : error);
    check_same(block);
    g_assert_cmpint(convert(block, 3, 5, to), ==, 0);
    check_same(block);
    tear_down(block);
}

static void test_errors(void)
{
    static const int errors[] = {
        ENOMEM, ENOTTY, EINVAL, EFAULT, EBADF, EHWPOISON, ENOTRECOVERABLE,
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(errors); i++) {
        check_error(errors[i], GMEM_PAGE_PRIVATE);
        check_error(errors[i], GMEM_PAGE_SHARED);
    }
}

static void test_interrupted(void)
{
    GmemBlock *block = set_up(GMEM_PAGE_SHARED);

    kernel.error = EINTR;
    kernel.errors = 3;
    g_assert_cmpint(convert(block, 0, PAGES, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(kernel.calls, ==, 4);
    check_same(block);
    kernel.errors = 2;
    g_assert_cmpint(convert(block, 0, PAGES, GMEM_PAGE_SHARED), ==, 0);
    check_same(block);
    tear_down(block);
}

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

/* Pages 10 to 29 but 15 are private and shall be shared */
static GmemBlock *set_up_mixed(void)
{
    GmemBlock *block = set_up(GMEM_PAGE_SHARED);

    g_assert_cmpint(convert(block, 10, 20, GMEM_PAGE_PRIVATE), ==, 0);
    g_assert_cmpuint(restore.calls, ==, 0);
    g_assert_cmpint(convert(block, 15, 1, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(restore.calls, ==, 1);
    g_assert_cmpuint(restore.offset, ==, 15 * PAGE);
    g_assert_cmpuint(restore.size, ==, PAGE);
    return block;
}

static void test_mapping(void)
{
    GmemBlock *block = set_up_mixed();

    g_assert_cmpint(convert(block, 0, 25, GMEM_PAGE_SHARED), ==, 0);
    g_assert_cmpuint(restore.offset, ==, 10 * PAGE);
    g_assert_cmpuint(restore.size, ==, 15 * PAGE);
    check_same(block);
    tear_down(block);

    block = set_up_mixed();
    restore.error = ENOMEM;
    kernel.calls = 0;
    g_assert_cmpint(convert(block, 0, 25, GMEM_PAGE_SHARED), ==, -EIO);
    /* to shared, and both private runs back */
    g_assert_cmpuint(kernel.calls, ==, 3);
    g_assert_cmpuint(bitmap_count_one(kernel.private, PAGES), ==, 19);
    check_same(block);
    restore.error = 0;
    g_assert_cmpint(convert(block, 0, PAGES, GMEM_PAGE_SHARED), ==, 0);
    check_same(block);
    tear_down(block);
}

/* Nobody knows what the kernel has: the block is broken, and nothing of it exposed */
static void test_mapping_lost(void)
{
    GmemBlock *block = set_up_mixed();

    restore.error = ENOMEM;
    kernel.error = ENOMEM;
    kernel.errors = UINT_MAX;
    kernel.only_private = true;
    g_assert_cmpint(convert(block, 12, 2, GMEM_PAGE_SHARED), ==, -EIO);
    g_assert_true(gmem_block_is_broken(block));
    g_assert_false(gmem_block_range_is(block, 12 * PAGE, PAGE,
                                       GMEM_PAGE_SHARED));
    g_assert_false(gmem_block_range_is(block, 12 * PAGE, PAGE,
                                       GMEM_PAGE_PRIVATE));
    tear_down(block);
}

int main(int argc, char **argv)
{
    gconstpointer private = GINT_TO_POINTER(GMEM_PAGE_PRIVATE);
    gconstpointer shared = GINT_TO_POINTER(GMEM_PAGE_SHARED);

    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/gmem/in-place/convert/private", private,
                         test_convert);
    g_test_add_data_func("/gmem/in-place/convert/shared", shared, test_convert);
    g_test_add_func("/gmem/in-place/busy", test_busy);
    g_test_add_func("/gmem/in-place/errors", test_errors);
    g_test_add_func("/gmem/in-place/interrupted", test_interrupted);
    g_test_add_func("/gmem/in-place/slots", test_slots);
    g_test_add_func("/gmem/in-place/gone", test_gone);
    g_test_add_func("/gmem/in-place/no-file", test_no_file);
    g_test_add_data_func("/gmem/in-place/restore/private", private,
                         test_restore);
    g_test_add_data_func("/gmem/in-place/restore/shared", shared, test_restore);
    g_test_add_func("/gmem/in-place/mapping", test_mapping);
    g_test_add_func("/gmem/in-place/mapping-lost", test_mapping_lost);
    return g_test_run();
}
