/*
 * Messages to vhost-user back ends
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's own library for back ends reads them, in a thread, at the other end of
 * a real socket:
 *
 *  1. regions are added and removed, each where it was said to be, with the
 *     file's contents
 *  2. a ring is started, told where to start and whom to tell; stopped, it says
 *     how far it came and still has somebody to tell; and is started again
 *
 * and a back end that does as it likes:
 *
 *  3. no answer by the deadline, half an answer and the end of the connection,
 *     one to another question, one without the mark of an answer, a refusal:
 *     all of them errors
 *  4. after its end: an error at once
 *  5. without a file that could be opened: messages as usual
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "chardev/char.h"
#include "hw/virtio/gmem-vhost-wire.h"
#include "qapi/error.h"
#include "qemu/config-file.h"
#include "qemu/main-loop.h"
#include "qemu/memfd.h"
#include "qemu/module.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "qom/object.h"
#include "system/system.h"
#include "subprojects/libvhost-user/libvhost-user.h"

#define PAGE 4096u
#define REGION (16 * PAGE)
#define PLENTY_MS (60 * 1000)

typedef struct Fixture {
    char *dir, *path;
    int listener, sock;         /* the back end's */
    CharFrontend fe;
    GmemVhostWire wire;
    QemuThread thread;
    VuDev back_end;
    int memory;                 /* a file of four regions */
    uint8_t *host;              /* the same, here */
} Fixture;

static void listen_at(Fixture *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    f->dir = g_dir_make_tmp("gmem-vhost-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "socket", NULL);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    g_assert_cmpint(bind(f->listener, (struct sockaddr *)&address,
                         sizeof(address)), ==, 0);
    g_assert_cmpint(listen(f->listener, 1), ==, 0);
}

static void setup(Fixture *f, gconstpointer opaque)
{
    g_autofree char *name = NULL;
    Chardev *chr;

    listen_at(f);
    name = g_strdup_printf("unix:%s", f->path);
    chr = qemu_chr_new("back-end", name, NULL);
    g_assert_nonnull(chr);
    g_assert_true(qemu_chr_fe_init(&f->fe, chr, &error_abort));
    f->sock = accept(f->listener, NULL, NULL);
    g_assert_cmpint(f->sock, >=, 0);
    f->wire.chr = &f->fe;
    f->wire.deadline_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + PLENTY_MS;
    f->memory = qemu_memfd_create("gmem-vhost", 4 * REGION, false, 0, 0,
                                  &error_abort);
    f->host = mmap(NULL, 4 * REGION, PROT_READ | PROT_WRITE, MAP_SHARED,
                   f->memory, 0);
    g_assert_true(f->host != MAP_FAILED);
}

static void teardown(Fixture *f, gconstpointer opaque)
{
    qemu_chr_fe_deinit(&f->fe, true);
    munmap(f->host, 4 * REGION);
    close(f->memory);
    close(f->listener);
    unlink(f->path);
    rmdir(f->dir);
    g_free(f->path);
    g_free(f->dir);
}

/* ---- the library ---- */

static bool ended;              /* atomic */

static void panicked(VuDev *dev, const char *why)
{
    g_test_message("the library: %s", why);
    dev->broken = true;
}

/*
 * The end of the connection is a message to the library, for which it ends the
 * program
 */
static int ends(VuDev *dev, VhostUserMsg *message, int *do_reply)
{
    if (message->request != VHOST_USER_NONE) {
        return false;
    }
    qatomic_set(&ended, true);
    return true;
}

static void set_watch(VuDev *dev, int fd, int condition, vu_watch_cb fn,
                      void *data)
{
}

static void remove_watch(VuDev *dev, int fd)
{
}

static uint64_t no_features(VuDev *dev)
{
    return 0;
}

static const VuDevIface iface = {
    .get_features = no_features,
    .get_protocol_features = no_features,
    .process_msg = ends,
};

static void *serve(void *opaque)
{
    Fixture *f = opaque;

    while (!qatomic_read(&ended) && !f->back_end.broken &&
           vu_dispatch(&f->back_end)) {
        /* the next one */
    }
    return NULL;
}

static void setup_library(Fixture *f, gconstpointer opaque)
{
    setup(f, opaque);
    g_assert_true(vu_init(&f->back_end, 2, f->sock, panicked, NULL, set_watch,
                          remove_watch, &iface));
    qatomic_set(&ended, false);
    qemu_thread_create(&f->thread, "back-end", serve, f, QEMU_THREAD_JOINABLE);
}

static void teardown_library(Fixture *f, gconstpointer opaque)
{
    g_assert_false(f->back_end.broken);
    qemu_chr_fe_disconnect(&f->fe);
    qemu_thread_join(&f->thread);
    vu_deinit(&f->back_end);
    teardown(f, opaque);
}

static GmemVhostRegion region(Fixture *f, unsigned int n)
{
    return (GmemVhostRegion) {
        .gpa = 0x100000 * (n + 1),
        .size = REGION,
        .host = (uintptr_t)f->host + n * REGION,
        .offset = n * REGION,
    };
}

static void test_regions(Fixture *f, gconstpointer opaque)
{
    unsigned int n;

    for (n = 0; n < 4; n++) {
        GmemVhostRegion r = region(f, n);

        f->host[n * REGION + 5] = 'a' + n;
        g_assert_cmpint(gmem_vhost_wire_add(&f->wire, &r, f->memory), ==, 0);
    }
    g_assert_cmpuint(f->back_end.nregions, ==, 4);
    for (n = 0; n < 4; n++) {
        uint64_t length = 1;
        char *there = vu_gpa_to_va(&f->back_end, &length, region(f, n).gpa + 5);

        g_assert_cmpint(*there, ==, 'a' + n);
        g_assert_cmphex(f->back_end.regions[n].qva, ==, region(f, n).host);
    }
    for (n = 0; n < 4; n += 2) {
        GmemVhostRegion r = region(f, n);

        g_assert_cmpint(gmem_vhost_wire_remove(&f->wire, &r), ==, 0);
    }
    g_assert_cmpuint(f->back_end.nregions, ==, 2);
    g_assert_cmphex(f->back_end.regions[0].gpa, ==, region(f, 1).gpa);
    g_assert_cmphex(f->back_end.regions[1].gpa, ==, region(f, 3).gpa);
}

static void start_ring(Fixture *f, uint16_t taken, int kick, int call)
{
    GmemVhostAddresses at = {
        .desc = (uintptr_t)f->host,
        .avail = (uintptr_t)f->host + PAGE,
        .used = (uintptr_t)f->host + 2 * PAGE,
    };
    VuVirtq *vq = &f->back_end.vq[1];

    g_assert_cmpint(gmem_vhost_wire_start(&f->wire, 1, 128, taken, &at, kick),
                    ==, 0);
    g_assert_cmpint(gmem_vhost_wire_call(&f->wire, 1, call), ==, 0);
    g_assert_cmpuint(vq->vring.num, ==, 128);
    g_assert_cmpuint(vq->last_avail_idx, ==, taken);
    g_assert_cmphex(vq->vra.desc_user_addr, ==, at.desc);
    g_assert_cmphex(vq->vra.avail_user_addr, ==, at.avail);
    g_assert_cmphex(vq->vra.used_user_addr, ==, at.used);
    g_assert_cmpint(vq->kick_fd, >=, 0);
    g_assert_cmpint(vq->call_fd >= 0, ==, call >= 0);
    g_assert_true(vq->started);
    g_assert_false(f->back_end.vq[0].started);
}

static void test_ring(Fixture *f, gconstpointer opaque)
{
    VuVirtq *vq = &f->back_end.vq[1];
    GmemVhostRegion r = region(f, 0);
    EventNotifier kick, call, quiet;
    GmemVhostAddresses at;
    uint16_t taken = 0;

    event_notifier_init(&kick, 0);
    event_notifier_init(&call, 0);
    event_notifier_init(&quiet, 0);
    g_assert_cmpint(gmem_vhost_wire_add(&f->wire, &r, f->memory), ==, 0);
    start_ring(f, 0, event_notifier_get_fd(&kick),
               event_notifier_get_wfd(&call));
    /* the library tells whoever it is given, at once */
    g_assert_true(event_notifier_test_and_clear(&call));

    vq->last_avail_idx = 0xfffe;
    g_assert_cmpint(gmem_vhost_wire_stop(&f->wire, 1,
                                         event_notifier_get_wfd(&quiet),
                                         &taken), ==, 0);
    g_assert_cmphex(taken, ==, 0xfffe);
    g_assert_false(vq->started);
    g_assert_cmpint(vq->kick_fd, ==, -1);
    /* that has been read when the next message is answered */
    g_assert_cmpint(gmem_vhost_wire_call(&f->wire, 0, -1), ==, 0);
    g_assert_cmpint(vq->call_fd, >=, 0);
    g_assert_true(event_notifier_test_and_clear(&quiet));
    g_assert_false(event_notifier_test_and_clear(&call));

    at = (GmemVhostAddresses) {
        .desc = (uintptr_t)f->host + 4 * PAGE,
        .avail = (uintptr_t)f->host + 5 * PAGE,
        .used = (uintptr_t)f->host + 6 * PAGE,
    };
    g_assert_cmpint(gmem_vhost_wire_address(&f->wire, 1, &at), ==, 0);
    g_assert_cmphex(vq->vra.used_user_addr, ==, at.used);
    start_ring(f, taken, event_notifier_get_fd(&kick), -1);
    event_notifier_cleanup(&kick);
    event_notifier_cleanup(&call);
    event_notifier_cleanup(&quiet);
}

/* ---- one that does as it likes ---- */

/* The right answer to the removal of a region */
static const uint32_t right[] = { 38, 5, 8, 0, 0 };
#define ANSWER ((ssize_t)sizeof(right))

/* What comes as one */
typedef struct Answer {
    const char *name;
    uint32_t words[5];          /* request, flags, size, number */
    unsigned int bytes;
    bool ends;                  /* the connection, afterwards */
    int result;
} Answer;

static const Answer answers[] = {
    { "right", { 38, 5, 8, 0, 0 }, 20, false, 0 },
    { "none", { 0 }, 0, false, -ETIMEDOUT },
    { "half", { 38, 5, 8, 0, 0 }, 13, true, -EIO },
    { "end", { 0 }, 0, true, -EIO },
    { "other", { 37, 5, 8, 0, 0 }, 20, false, -EPROTO },
    { "no-mark", { 38, 1, 8, 0, 0 }, 20, false, -EPROTO },
    { "size", { 38, 5, 12, 0, 0 }, 20, false, -EPROTO },
    { "refusal", { 38, 5, 8, 1, 0 }, 20, false, -EIO },
    { "high-refusal", { 38, 5, 8, 0, 1 }, 20, false, -EIO },
};

static void test_answer(Fixture *f, gconstpointer opaque)
{
    const Answer *answer = opaque;
    GmemVhostRegion r = region(f, 0);

    /* it lies there before it is asked for, which comes to the same */
    g_assert_cmpint(write(f->sock, answer->words, answer->bytes), ==,
                    answer->bytes);
    if (answer->ends) {
        g_assert_cmpint(shutdown(f->sock, SHUT_WR), ==, 0);
    }
    if (answer->result == -ETIMEDOUT) {
        f->wire.deadline_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + 50;
    }
    g_assert_cmpint(gmem_vhost_wire_remove(&f->wire, &r), ==, answer->result);
    close(f->sock);
}

/* QEMU has no file left to open: that ends no message, and not QEMU */
static void test_no_files(Fixture *f, gconstpointer opaque)
{
    GmemVhostRegion r = region(f, 0);
    struct rlimit had, none;
    int i;

    for (i = 0; i < 4; i++) {
        g_assert_cmpint(write(f->sock, right, ANSWER), ==, ANSWER);
    }
    g_assert_cmpint(gmem_vhost_wire_remove(&f->wire, &r), ==, 0);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &had), ==, 0);
    none = (struct rlimit) { 3, had.rlim_max };
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
    g_assert_cmpint(dup(0), ==, -1);
    for (i = 1; i < 4; i++) {
        g_assert_cmpint(gmem_vhost_wire_remove(&f->wire, &r), ==, 0);
    }
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &had), ==, 0);
    close(f->sock);
}

static void test_gone(Fixture *f, gconstpointer opaque)
{
    GmemVhostRegion r = region(f, 0);

    close(f->sock);
    qemu_chr_fe_disconnect(&f->fe);
    g_assert_cmpint(gmem_vhost_wire_remove(&f->wire, &r), ==, -EIO);
    g_assert_cmpint(gmem_vhost_wire_add(&f->wire, &r, f->memory), ==, -EIO);
}

int main(int argc, char **argv)
{
    unsigned int i;

    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    qemu_add_opts(&qemu_chardev_opts);
    g_test_add("/gmem/vhost-wire/regions", Fixture, NULL, setup_library,
               test_regions, teardown_library);
    g_test_add("/gmem/vhost-wire/ring", Fixture, NULL, setup_library,
               test_ring, teardown_library);
    for (i = 0; i < ARRAY_SIZE(answers); i++) {
        g_autofree char *path = g_strdup_printf("/gmem/vhost-wire/answer/%s",
                                                answers[i].name);

        g_test_add(path, Fixture, &answers[i], setup, test_answer, teardown);
    }
    g_test_add("/gmem/vhost-wire/no-files", Fixture, NULL, setup,
               test_no_files, teardown);
    g_test_add("/gmem/vhost-wire/gone", Fixture, NULL, setup, test_gone,
               teardown);
    return g_test_run();
}
