/*
 * The guest_memfd of a RAMBlock: beside its memory, or in its place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The code that makes it is real, and so are mappings and files; a guest_memfd is a memfd.
 *
 *  1. mode split: one is made beside the memory, and closed on exec
 *  2. mode in-place, whatever the memory was: it is mapped at the same address, and the
 *     RAM's file number, where it had one, is the guest_memfd's now; files of old are closed
 *  3. memory-backend-gmem has made it already: only a second descriptor is needed
 *  4. memory that cannot be replaced is refused with the reason; that, and a kernel that
 *     refuses, leave everything as it was and give back what the caller had claimed
 *  5. which file an IOMMU may have
 *  6. what a device discards is freed on the private side too, where that is another one
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qapi/error.h"
#include "qemu/memfd.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qom/object.h"
#include "system/gmem-kvm.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "system/kvm.h"
#include "system/memory.h"
#include "system/ramblock.h"
#include "gmem-fake.h"

#define SIZE (64 * KiB)

/* ---- in place of machine, memory and KVM ---- */

static struct {
    GmemBlockMode mode;
    GmemPageState initial;
    bool refuse;
    int claims;                 /* what ram_block_add() has taken */
    GmemPageState made;
    unsigned int splits, in_places;
    uint64_t discarded;         /* offset and size, added */
} fake;

int ram_block_discard_guest_memfd_range(RAMBlock *rb, uint64_t offset,
                                        size_t length)
{
    fake.discarded += offset + length;
    return -ENOSPC;
}

void gmem_ram_config(MemoryRegion *mr, GmemBlockConfig *config)
{
    config->mode = fake.mode;
    config->initial = fake.initial;
}

/* All that is asked of an owner is its type */
static const TypeInfo backend_type = {
    .name = TYPE_MEMORY_BACKEND_GMEM,
    .parent = TYPE_OBJECT,
};

const char *memory_region_name(const MemoryRegion *mr)
{
    return "m0";
}

static int make_file(Error **errp)
{
    if (fake.refuse) {
        error_setg(errp, "the kernel has no memory");
        return -1;
    }
    return qemu_memfd_create("gmem", SIZE, false, 0, 0, errp);
}

int kvm_create_guest_memfd(uint64_t size, uint64_t flags, Error **errp)
{
    int fd;

    g_assert_cmpuint(size, ==, SIZE);
    g_assert_cmpuint(flags, ==, 0);
    fake.splits++;
    fd = make_file(errp);
    if (fd >= 0) {
        /* as the kernel makes it */
        g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    }
    return fd;
}

int gmem_kvm_create_in_place(uint64_t size, GmemPageState initial,
                             Error **errp)
{
    g_assert_cmpuint(size, ==, SIZE);
    fake.in_places++;
    fake.made = initial;
    return make_file(errp);
}

int ram_block_coordinated_discard_require(bool state)
{
    fake.claims += state ? 1 : -1;
    return 0;
}

int qemu_ram_get_fd(RAMBlock *rb)
{
    return rb->fd;
}

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return rb->gmem;
}

/* ---- helpers ---- */

static RAMBlock *ram;

static void set_up(GmemBlockMode mode, bool with_file)
{
    fake.mode = mode;
    fake.initial = GMEM_PAGE_SHARED;
    fake.claims = 1;
    fake.refuse = false;
    fake.splits = fake.in_places = 0;
    ram = g_new0(RAMBlock, 1);
    ram->mr = g_new0(MemoryRegion, 1);
    ram->max_length = SIZE;
    ram->page_size = qemu_real_host_page_size();
    ram->guest_memfd = -1;
    ram->fd = with_file ? qemu_memfd_create("ram", SIZE, false, 0, 0,
                                            &error_abort) : -1;
    ram->host = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, with_file ?
                     MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, ram->fd, 0);
    g_assert(ram->host != MAP_FAILED);
}

static void tear_down(void)
{
    munmap(ram->host, SIZE);
    if (ram->fd >= 0) {
        close(ram->fd);
    }
    if (ram->guest_memfd >= 0) {
        close(ram->guest_memfd);
    }
    object_unref(ram->mr->owner);
    g_free(ram->mr);
    g_free(ram);
}

static ino_t file_of(int fd)
{
    struct stat st;

    g_assert_cmpint(fstat(fd, &st), ==, 0);
    return st.st_ino;
}

static void check_cloexec(int fd)
{
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
}

/* What is written to the RAM is in the file */
static bool shows(int fd)
{
    uint8_t byte = 0;

    ram->host[SIZE - 1]++;
    g_assert_cmpint(pread(fd, &byte, 1, SIZE - 1), ==, 1);
    return byte == ram->host[SIZE - 1];
}

/* ---- tests ---- */

static void test_split(void)
{
    set_up(GMEM_BLOCK_MODE_SPLIT, true);
    ram->guest_memfd = gmem_ram_create_guest_memfd(ram, &error_abort);
    g_assert_cmpuint(fake.splits, ==, 1);
    g_assert_cmpuint(file_of(ram->fd), !=, file_of(ram->guest_memfd));
    g_assert_true(shows(ram->fd));
    g_assert_false(shows(ram->guest_memfd));
    check_cloexec(ram->guest_memfd);
    g_assert_cmpint(fake.claims, ==, 1);
    tear_down();
}

static void check_replaced(bool with_file)
{
    unsigned int before = gmem_open_files();
    int number, old = -1;
    uint8_t *host;

    set_up(GMEM_BLOCK_MODE_IN_PLACE, with_file);
    number = ram->fd;
    host = ram->host;
    if (with_file) {
        old = qemu_dup(ram->fd);
    }
    fake.initial = GMEM_PAGE_PRIVATE;
    ram->guest_memfd = gmem_ram_create_guest_memfd(ram, &error_abort);
    g_assert_cmpuint(fake.in_places, ==, 1);
    g_assert_cmpint(fake.made, ==, GMEM_PAGE_PRIVATE);
    g_assert_true(ram->host == host);
    g_assert_true(ram->flags & RAM_SHARED);
    g_assert_cmpint(ram->fd, ==, number);
    g_assert_true(shows(ram->guest_memfd));
    check_cloexec(ram->guest_memfd);
    if (with_file) {
        g_assert_cmpuint(file_of(ram->fd), ==, file_of(ram->guest_memfd));
        check_cloexec(ram->fd);
        g_assert_false(shows(old));
        close(old);
    }
    g_assert_cmpint(fake.claims, ==, 1);
    tear_down();
    g_assert_cmpuint(gmem_open_files(), ==, before);
}

static void test_in_place(void)
{
    check_replaced(false);
    check_replaced(true);
}

static void test_backend(void)
{
    set_up(GMEM_BLOCK_MODE_IN_PLACE, true);
    ram->mr->owner = object_new(TYPE_MEMORY_BACKEND_GMEM);
    ram->guest_memfd = gmem_ram_create_guest_memfd(ram, &error_abort);
    g_assert_cmpuint(fake.in_places + fake.splits, ==, 0);
    g_assert_cmpint(ram->fd, !=, ram->guest_memfd);
    g_assert_cmpuint(file_of(ram->fd), ==, file_of(ram->guest_memfd));
    g_assert_true(shows(ram->guest_memfd));
    check_cloexec(ram->guest_memfd);
    tear_down();
}

/* Nothing has happened, but for the message */
static void check_refused(const char *want)
{
    unsigned int before = gmem_open_files();
    uint32_t flags = ram->flags;
    int number = ram->fd;
    Error *err = NULL;

    g_assert_cmpint(gmem_ram_create_guest_memfd(ram, &err), ==, -1);
    g_assert_nonnull(err);
    g_assert_true(g_str_has_prefix(error_get_pretty(err), want));
    error_free(err);
    g_assert_cmpint(fake.claims, ==, 0);
    g_assert_cmpint(ram->fd, ==, number);
    g_assert_cmpuint(ram->flags, ==, flags);
    if (number >= 0) {
        g_assert_true(shows(number));
    }
    g_assert_cmpuint(gmem_open_files(), ==, before);
    tear_down();
}

static void test_refused(void)
{
    static const uint32_t own[] = {
        RAM_NAMED_FILE, RAM_PMEM, RAM_READONLY, RAM_PREALLOC,
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(own); i++) {
        set_up(GMEM_BLOCK_MODE_IN_PLACE, true);
        ram->flags |= own[i];
        check_refused("memory 'm0' cannot lie on a file or buffer of its own: "
                      "this kernel converts in place");
    }
    set_up(GMEM_BLOCK_MODE_IN_PLACE, true);
    ram->page_size = 2 * MiB;
    check_refused("memory 'm0' cannot lie on huge pages");
    set_up(GMEM_BLOCK_MODE_IN_PLACE, false);
    fake.refuse = true;
    check_refused("memory 'm0': the kernel has no memory");
    set_up(GMEM_BLOCK_MODE_SPLIT, true);
    fake.refuse = true;
    check_refused("memory 'm0': the kernel has no memory");
    /* which is prepended by who makes the memory, where that is not we */
    set_up(GMEM_BLOCK_MODE_SPLIT, true);
    fake.refuse = true;
    ram->mr->owner = object_new(TYPE_MEMORY_BACKEND_GMEM);
    check_refused("the kernel has no memory");
    /* the descriptor cannot be had twice: it is none */
    set_up(GMEM_BLOCK_MODE_IN_PLACE, false);
    ram->mr->owner = object_new(TYPE_MEMORY_BACKEND_GMEM);
    check_refused("cannot keep the guest_memfd of 'm0' open twice");
}

/* The address is none that can be mapped: what was made is closed again */
static void test_no_mapping(void)
{
    uint8_t *host;

    set_up(GMEM_BLOCK_MODE_IN_PLACE, false);
    host = ram->host;
    ram->host = host + 1;
    check_refused("cannot map the guest_memfd of 'm0'");
    munmap(host, SIZE);
}

static void test_iommu(void)
{
    static const struct {
        GmemBlockMode mode;
        bool has_fd;
    } table[] = {
        { GMEM_BLOCK_MODE_NONE, false },
        { GMEM_BLOCK_MODE_SPLIT, true },
        { GMEM_BLOCK_MODE_IN_PLACE, false },
    };
    static const GmemProviderOps ops = { .name = "fake" };
    size_t i;

    set_up(GMEM_BLOCK_MODE_NONE, true);
    g_assert_cmpint(gmem_ram_iommu_fd(ram), ==, ram->fd);
    for (i = 0; i < ARRAY_SIZE(table); i++) {
        GmemBlockConfig config = {
            .id = "m0", .mode = table[i].mode, .size = SIZE,
            .initial = GMEM_PAGE_SHARED, .ops = &ops,
        };

        ram->gmem = gmem_block_new(&config);
        g_assert_cmpint(gmem_ram_iommu_fd(ram), ==,
                        table[i].has_fd ? ram->fd : -1);
        gmem_block_retire(ram->gmem);
        gmem_block_unref(ram->gmem);
    }
    tear_down();
}

static void test_discard(void)
{
    static const GmemBlockMode modes[] = {
        GMEM_BLOCK_MODE_NONE, GMEM_BLOCK_MODE_IN_PLACE, GMEM_BLOCK_MODE_SPLIT,
    };
    unsigned int i;

    set_up(GMEM_BLOCK_MODE_SPLIT, true);
    g_assert_cmpint(gmem_ram_discard_private(ram, 0, SIZE), ==, 0);
    for (i = 0; i < ARRAY_SIZE(modes); i++) {
        GmemBlockConfig config = {
            .id = "m0", .mode = modes[i], .size = SIZE,
            .initial = GMEM_PAGE_SHARED,
            .ops = modes[i] == GMEM_BLOCK_MODE_NONE ? NULL : &gmem_fake_ops,
        };
        bool split = modes[i] == GMEM_BLOCK_MODE_SPLIT;

        fake.discarded = 0;
        ram->gmem = gmem_block_new(&config);
        g_assert_cmpint(gmem_ram_discard_private(ram, 4096, 8192), ==,
                        split ? -ENOSPC : 0);
        g_assert_cmpuint(fake.discarded, ==, split ? 4096 + 8192 : 0);
        gmem_block_retire(ram->gmem);
        gmem_block_unref(g_steal_pointer(&ram->gmem));
    }
    tear_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    type_register_static(&backend_type);
    g_test_add_func("/gmem/ram/split", test_split);
    g_test_add_func("/gmem/ram/in-place", test_in_place);
    g_test_add_func("/gmem/ram/backend", test_backend);
    g_test_add_func("/gmem/ram/refused", test_refused);
    g_test_add_func("/gmem/ram/no-mapping", test_no_mapping);
    g_test_add_func("/gmem/ram/iommu", test_iommu);
    g_test_add_func("/gmem/ram/discard", test_discard);
    return g_test_run();
}
