/*
 * Fixture of the tests of conversion in place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/syscall.h>
#include "qapi/error.h"
#include "qemu/memfd.h"
#include "system/accel-blocker.h"
#include "system/gmem-ram.h"
#include "system/gmem-sigbus.h"
#include "system/kvm.h"
#include "../../accel/kvm/gmem-slots.h"
#include "../../accel/kvm/gmem-uapi.h"
#include "gmem-in-place-fixture.h"

KVMState *kvm_state;

FakeKernel kernel;
FakeRestore restore;
RAMBlock *ram;

/* ---- in place of QEMU's memory ---- */

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

GmemBlock *set_up(GmemPageState initial)
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

void tear_down(GmemBlock *block)
{
    free_ram(block);
    gmem_block_unref(block);
    g_free(ram);
}

GmemRequest request(GmemSegment *segment, GmemPageState to)
{
    return (GmemRequest) { .segments = segment, .nr_segments = 1, .to = to,
                           .timeout_ms = 60000 };
}

int convert(GmemBlock *block, unsigned int first, unsigned int pages,
            GmemPageState to)
{
    GmemSegment segment = { block, first * PAGE, pages * PAGE };
    GmemRequest req = request(&segment, to);
    int ret = gmem_convert_request(&req);

    g_free(req.stalled_holder);
    return ret;
}

void check_same(GmemBlock *block)
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
