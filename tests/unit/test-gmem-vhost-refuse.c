/*
 * vhost-user devices that cannot be had with private memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Chardevs are real; the VM and its memory are faked.
 *
 *  1. a kind of device that nobody vouched for; and the same before it
 *     connects, only where there is private memory, or will be
 *  2. back ends that cannot give up regions, and devices with too many queues
 *  3. a device that does not notice a new back end, with a chardev that brings
 *     one
 *  4. memory on huge pages: only where it converts
 */

#include "qemu/osdep.h"
#include "chardev/char.h"
#include "chardev/char-fe.h"
#include "hw/boards.h"
#include "hw/virtio/gmem-vhost-refuse.h"
#include "qapi/error.h"
#include "qemu/config-file.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qom/object.h"
#include "system/gmem-ram.h"
#include "system/gmem-touch.h"
#include "system/hostmem-gmem.h"
#include "system/ramblock.h"
#include "system/system.h"

#define BIT_OF(name) (1ull << VHOST_USER_PROTOCOL_F_##name)
#define BOTH (BIT_OF(CONFIGURE_MEM_SLOTS) | BIT_OF(REPLY_ACK))

/* ---- the VM ---- */

static bool has_private_memory;
static GmemBlockMode mode;
static size_t page_size;
static bool converts;
static MemoryRegion region;
static RAMBlock memory = { .idstr = "ram0", .mr = &region };
static bool mapped = true, has_iommu;

MachineState *current_machine;
unsigned int gmem_touch_armed;

bool gmem_machine_has_private_memory(const MachineState *machine)
{
    return has_private_memory;
}

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    g_assert_true(rb == &memory);
    return converts ? (GmemBlock *)&memory : NULL;
}

GmemBlockMode gmem_block_mode(const GmemBlock *block)
{
    return mode;
}

size_t qemu_ram_pagesize(RAMBlock *rb)
{
    return page_size;
}

/* A stub comes along with the chardevs */
int __wrap_qemu_ram_foreach_block(RAMBlockIterFunc fn, void *opaque);
int __wrap_qemu_ram_foreach_block(RAMBlockIterFunc fn, void *opaque)
{
    return fn(&memory, opaque);
}

bool memory_region_is_mapped(MemoryRegion *mr)
{
    return mapped;
}

bool virtio_bus_device_iommu_enabled(VirtIODevice *vdev)
{
    return has_iommu;
}

static void setup(void)
{
    mapped = true;
    has_iommu = false;
    has_private_memory = true;
    gmem_touch_armed = 0;
    mode = GMEM_BLOCK_MODE_SPLIT;
    page_size = qemu_real_host_page_size();
    converts = true;
}

/* ---- what is tried ---- */

#define LISTENS "server=on,wait=off"

static Chardev *new_chardev(const char *id, const char *path,
                            const char *options)
{
    /* one that is connecting goes when it has ended that: its name lives on */
    static unsigned int count;
    g_autofree char *label = g_strdup_printf("%s%u", id, count++);
    g_autofree char *name = g_strdup_printf("unix:%s,%s", path, options);
    Chardev *chr = qemu_chr_new(label, name, NULL);

    g_assert_nonnull(chr);
    return chr;
}

typedef struct Try {
    GmemVhostKind kind;
    uint64_t features;
    int queues;
    const char *options;        /* of the chardev; NULL: connected for once */
} Try;

static const Try fine = { GMEM_VHOST_AGAIN, BOTH, 2, LISTENS };

static void check(const Try *t, const char *error)
{
    struct vhost_dev dev = {
        .protocol_features = t->features, .nvqs = t->queues,
    };
    g_autofree char *dir = g_dir_make_tmp("gmem-refuse-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "socket", NULL);
    Chardev *server = t->options ? NULL : new_chardev("server", path, LISTENS);
    Chardev *chr = new_chardev("backend", path, t->options ?: "server=off");
    CharFrontend fe = {};
    Error *err = NULL;
    bool had;

    qemu_chr_fe_init(&fe, chr, &error_abort);
    had = gmem_vhost_can_be_had(&dev, &fe, t->kind, &err);
    g_assert_cmpint(had, ==, !error);
    g_assert_cmpint(!err, ==, had);
    if (err) {
        g_assert_nonnull(strstr(error_get_pretty(err), error));
        error_free(err);
    }
    qemu_chr_fe_deinit(&fe, true);
    if (server) {
        object_unparent(OBJECT(server));
    }
    unlink(path);
    rmdir(dir);
}

/* ---- tests ---- */

static void test_kind(void)
{
    Try t = fine;
    Error *err = NULL;

    setup();
    check(&t, NULL);
    t.kind = GMEM_VHOST_OTHER;
    check(&t, "a device of this kind keeps buffers");

    g_assert_true(gmem_vhost_user_kind_refused(&err));
    g_assert_nonnull(strstr(error_get_pretty(err), "of this kind keeps"));
    error_free(err);
    has_private_memory = false;
    g_assert_false(gmem_vhost_user_kind_refused(&error_abort));
    gmem_touch_armed = 1;
    g_assert_true(gmem_vhost_user_kind_refused(NULL));
}

static void test_back_end(void)
{
    static const char *const error = "cannot give up single regions of memory";
    Try t = fine;

    setup();
    t.features = BIT_OF(CONFIGURE_MEM_SLOTS);
    check(&t, error);
    t.features = ~BIT_OF(CONFIGURE_MEM_SLOTS);
    check(&t, error);
    t.features = BOTH;
    t.queues = 256;
    check(&t, NULL);
    t.queues = 257;
    check(&t, "257 queues are more than the 256 that can be had");
}

static void test_once(void)
{
    Try t = fine;

    setup();
    t.kind = GMEM_VHOST_ONCE;
    check(&t, "' cannot have server=on here");
    t.options = "reconnect-ms=1000";
    check(&t, "' cannot have reconnect-ms here");
    t.kind = GMEM_VHOST_AGAIN;
    check(&t, NULL);
    t.kind = GMEM_VHOST_ONCE;
    t.options = NULL;
    check(&t, NULL);
}

static void test_huge(void)
{
    static const char *const error = "a back end cannot give up single pages "
        "of memory 'ram0', whose shared side lies on huge pages";
    Error *err = NULL;

    setup();
    page_size = 2 * 1024 * 1024;
    check(&fine, error);
    g_assert_false(gmem_vhost_check_memory(&memory, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), error));
    error_free(err);
    /* that no device has */
    mapped = false;
    check(&fine, NULL);
    mapped = true;
    mode = GMEM_BLOCK_MODE_NONE;
    check(&fine, NULL);
    mode = GMEM_BLOCK_MODE_SPLIT;
    converts = false;
    check(&fine, NULL);
    g_assert_true(gmem_vhost_check_memory(&memory, &error_abort));
}

static void test_iommu(void)
{
    VirtIODevice vdev = {};
    Error *err = NULL;

    setup();
    has_iommu = true;
    g_assert_true(gmem_vhost_addresses_are_guests(&vdev, &error_abort));
    vdev.host_features = 1ULL << VIRTIO_F_IOMMU_PLATFORM;
    g_assert_false(gmem_vhost_addresses_are_guests(&vdev, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "behind a virtual IOMMU"));
    error_free(err);
    has_iommu = false;
    g_assert_true(gmem_vhost_addresses_are_guests(&vdev, &error_abort));
}

int main(int argc, char **argv)
{
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    qemu_add_opts(&qemu_chardev_opts);
    g_test_add_func("/gmem/vhost-refuse/kind", test_kind);
    g_test_add_func("/gmem/vhost-refuse/back-end", test_back_end);
    g_test_add_func("/gmem/vhost-refuse/once", test_once);
    g_test_add_func("/gmem/vhost-refuse/huge", test_huge);
    g_test_add_func("/gmem/vhost-refuse/iommu", test_iommu);
    return g_test_run();
}
