/*
 * gmem: memory of vhost-user back ends
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in hw/virtio/gmem-vhost-user.h.  Per device there is a session
 * (what its back end has), its rings, and the sections of its memory, which are
 * holders.
 *
 * A conversion that needs something of a back end wakes the main loop, which
 * does a step of each session; or does that itself, where it runs in the main
 * thread (a reset).
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "hw/virtio/gmem-vhost-refuse.h"
#include "hw/virtio/gmem-vhost-rings.h"
#include "hw/virtio/gmem-vhost-sections.h"
#include "hw/virtio/gmem-vhost-session.h"
#include "hw/virtio/gmem-vhost-user.h"
#include "hw/virtio/gmem-virtio.h"
#include "standard-headers/linux/vhost_types.h"
#include "standard-headers/linux/virtio_config.h"
#include "system/ramblock.h"
#include "gmem/trace.h"

/* A back end that takes longer for what one step asks of it is disconnected */
#define ANSWER_MS 5000

typedef struct BackEnd {
    struct vhost_dev *dev;
    GmemVhostWire wire;
    GmemVhostRings rings;
    GmemVhostSession session;
    GmemVhostSections sections;
    QLIST_ENTRY(BackEnd) next;
} BackEnd;

/* BQL */
static QLIST_HEAD(, BackEnd) backends = QLIST_HEAD_INITIALIZER(backends);
static struct {
    const struct vhost_dev *dev;
    VirtIODevice *vdev;
    GmemVhostKind kind;
} vouched;
static QEMUTimer *timer;
/*
 * By the name of its chardev: how often, one after the other, one did not
 * answer
 */
static GHashTable *silent;

/* step_all() is about to run; atomic */
static bool scheduled;

static BackEnd *find(const struct vhost_dev *dev)
{
    BackEnd *b;

    QLIST_FOREACH(b, &backends, next) {
        if (b->dev == dev) {
            return b;
        }
    }
    return NULL;
}

static int64_t now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

static void grant_time(BackEnd *b)
{
    b->wire.deadline_ms = now_ms() + ANSWER_MS;
}

static unsigned int silences(CharFrontend *chr)
{
    return silent ? GPOINTER_TO_UINT(g_hash_table_lookup(silent,
                                                         chr->chr->label)) : 0;
}

static void set_silences(CharFrontend *chr, unsigned int count)
{
    silent = silent ?: g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                             NULL);
    if (count) {
        g_hash_table_replace(silent, g_strdup(chr->chr->label),
                             GUINT_TO_POINTER(count));
    } else {
        g_hash_table_remove(silent, chr->chr->label);
    }
}

/* ---- steps ---- */

/* Main loop, or the main thread with the BQL */
static void step_all(void *opaque)
{
    int64_t again = GMEM_VHOST_NEVER;
    BackEnd *b;

    /* whoever asks from here on wakes us again */
    qatomic_xchg(&scheduled, false);
    QLIST_FOREACH(b, &backends, next) {
        int64_t at;

        grant_time(b);
        at = gmem_vhost_session_step(&b->session, now_ms());
        again = MIN(again, at);
    }
    if (again != GMEM_VHOST_NEVER) {
        timer_mod(timer, again);
    }
}

void gmem_vhost_user_schedule(void)
{
    if (!qatomic_xchg(&scheduled, true)) {
        /* not where a device polls that is half way between two states */
        aio_bh_schedule_oneshot(iohandler_get_aio_context(), step_all, NULL);
    }
}

void gmem_vhost_user_have_step(void)
{
    if (qemu_get_current_aio_context() != qemu_get_aio_context()) {
        gmem_vhost_user_schedule();
    } else {
        /* the main thread, which nobody else can wake */
        BQL_LOCK_GUARD();
        step_all(NULL);
    }
}

/* ---- the link ---- */

static int link_lay_out(void *opaque, GmemVhostTable *table, bool empty)
{
    g_autoptr(GArray) pins = g_array_new(false, false, sizeof(GmemPin));
    BackEnd *b = opaque;
    /* one is for parked rings */
    int room = b->dev->vhost_ops->vhost_backend_memslots_limit(b->dev) - 1;

    if (b->dev->vdev) {
        gmem_vhost_rings_pins(&b->rings, b->dev->vdev, pins);
    }
    gmem_vhost_table_begin(table, MAX(room, 1), (GmemPin *)pins->data,
                           pins->len);
    gmem_vhost_sections_lay_out(&b->sections, b->dev, table, empty);
    if (!gmem_vhost_table_end(table)) {
        gmem_virtio_complain("vhost-user: the rings and what does not convert "
                             "lie in more pieces of memory than the back end "
                             "takes, which are %d", room);
        return -ENOSPC;
    }
    if (table->disorder) {
        warn_report_once("vhost-user: memory is not mapped in order, and "
                         "devices do not reach all of it");
    }
    trace_gmem_vhost_user_table(b->dev, table->pieces->len, table->lost);
    if (table->lost) {
        warn_report_once("vhost-user: memory is shared in more runs than the "
                         "%d that a back end takes: its device does not reach "
                         "the smallest of them", room);
    }
    return 0;
}

static int link_park(void *opaque)
{
    return gmem_vhost_rings_park(&((BackEnd *)opaque)->rings);
}

static int link_unpark(void *opaque)
{
    return gmem_vhost_rings_unpark(&((BackEnd *)opaque)->rings);
}

static int link_change(void *opaque, const GmemPiece *piece, bool add)
{
    MemoryRegion *mr = piece->file;
    RAMBlock *rb = mr->ram_block;
    BackEnd *b = opaque;
    GmemVhostRegion region = {
        .gpa = piece->gpa,
        .size = piece->size,
        .host = piece->host,
        .offset = piece->host - (uintptr_t)rb->host + rb->fd_offset,
    };
    int ret = add ? gmem_vhost_wire_add(&b->wire, &region,
                                        memory_region_get_fd(mr)) :
                    gmem_vhost_wire_remove(&b->wire, &region);

    trace_gmem_vhost_user_change(b->dev, add, piece->gpa, piece->size, ret);
    return ret;
}

/* What the map has lost, the back end has lost as well */
static void link_changed(void *opaque)
{
    gmem_vhost_sections_sweep(&((BackEnd *)opaque)->sections);
}

/* It is no longer a holder of anything, be it that the device stays */
static void link_gone(void *opaque)
{
    gmem_vhost_sections_destroy(&((BackEnd *)opaque)->sections);
}

static bool link_is_open(void *opaque)
{
    BackEnd *b = opaque;

    return qemu_chr_fe_backend_open(b->wire.chr);
}

static void link_cut(void *opaque)
{
    BackEnd *b = opaque;

    trace_gmem_vhost_user_cut(b->dev);
    set_silences(b->wire.chr, silences(b->wire.chr) + 1);
    gmem_virtio_complain("vhost-user: a back end does not answer, or not as "
                         "it should, and is disconnected");
    qemu_chr_fe_disconnect(b->wire.chr);
}

static int link_hold(void *opaque, const GmemVhostTable *had)
{
    return gmem_vhost_rings_hold(&((BackEnd *)opaque)->rings, had);
}

static bool link_is_still(void *opaque, const GmemVhostTable *had)
{
    return gmem_vhost_rings_are_still(&((BackEnd *)opaque)->rings, had);
}

static bool link_is_moving(void *opaque, const GmemVhostTable *had)
{
    return gmem_vhost_rings_are_moving(&((BackEnd *)opaque)->rings, had);
}

static int link_unhold(void *opaque, const GmemVhostTable *had)
{
    return gmem_vhost_rings_unhold(&((BackEnd *)opaque)->rings, had);
}

static int link_stop(void *opaque)
{
    return gmem_vhost_rings_stop(&((BackEnd *)opaque)->rings);
}

static bool link_is_done(void *opaque, const GmemVhostTable *had)
{
    return gmem_vhost_rings_are_done(&((BackEnd *)opaque)->rings, had);
}

static bool link_rings_fit(void *opaque, const GmemVhostTable *table)
{
    return gmem_vhost_rings_fit(&((BackEnd *)opaque)->rings, table);
}

static bool link_may_resume(void *opaque, const GmemVhostTable *had)
{
    return gmem_vhost_rings_may_resume(&((BackEnd *)opaque)->rings, had);
}

static int link_start(void *opaque, const GmemVhostTable *had)
{
    return gmem_vhost_rings_start(&((BackEnd *)opaque)->rings, had);
}

static void link_let_go(void *opaque, const GmemVhostTable *had)
{
    gmem_vhost_rings_let_go(&((BackEnd *)opaque)->rings, had);
}

static const GmemVhostLink vhost_user_link = {
    .is_open = link_is_open,
    .lay_out = link_lay_out,
    .park = link_park,
    .unpark = link_unpark,
    .change = link_change,
    .changed = link_changed,
    .gone = link_gone,
    .hold = link_hold,
    .is_still = link_is_still,
    .is_moving = link_is_moving,
    .unhold = link_unhold,
    .stop = link_stop,
    .is_done = link_is_done,
    .rings_fit = link_rings_fit,
    .may_resume = link_may_resume,
    .start = link_start,
    .let_go = link_let_go,
    .cut = link_cut,
};

/* ---- connections ---- */

void gmem_vhost_user_vouch(const struct vhost_dev *dev, VirtIODevice *vdev,
                           GmemVhostKind kind)
{
    vouched.dev = dev;
    vouched.vdev = vdev;
    vouched.kind = kind;
}

bool gmem_vhost_user_answers(const struct vhost_dev *dev, CharFrontend *chr)
{
    GmemVhostWire wire = { chr };

    if (!gmem_vhost_vm_is_private() || dev != vouched.dev || find(dev)) {
        return true;
    }
    wire.deadline_ms = now_ms() + (ANSWER_MS >> MIN(2 * silences(chr), 6));
    if (gmem_vhost_wire_wait(&wire)) {
        return true;
    }
    set_silences(chr, silences(chr) + 1);
    gmem_virtio_complain("vhost-user: a back end that was connected to says "
                         "nothing");
    return false;
}

static BackEnd *new_backend(struct vhost_dev *dev, CharFrontend *chr)
{
    BackEnd *b = g_new0(BackEnd, 1);

    b->dev = dev;
    b->wire.chr = chr;
    b->sections.session = &b->session;
    gmem_vhost_session_init(&b->session, &vhost_user_link, b);
    QLIST_INSERT_HEAD(&backends, b, next);
    timer = timer ?: timer_new_ms(QEMU_CLOCK_REALTIME, step_all, NULL);
    return b;
}

int gmem_vhost_user_connected(struct vhost_dev *dev, VhostUserState *user,
                              Error **errp)
{
    GmemVhostKind kind = vouched.dev == dev ? vouched.kind : GMEM_VHOST_OTHER;
    BackEnd *b;
    int ret;

    if (!gmem_vhost_vm_is_private()) {
        return 0;
    }
    /* another device may come to lie there */
    vouched.dev = NULL;
    if (!gmem_vhost_can_be_had(dev, user->chr, kind, errp) ||
        !gmem_vhost_addresses_are_guests(vouched.vdev, errp)) {
        return -ENOTSUP;
    }
    set_silences(user->chr, 0);
    b = new_backend(dev, user->chr);
    ret = gmem_vhost_rings_init(&b->rings, dev, &b->wire);
    if (ret) {
        error_setg_errno(errp, -ret, "vhost-user: no event notifier");
    }
    return ret;
}

void gmem_vhost_user_forget(const struct vhost_dev *dev)
{
    BackEnd *b = find(dev);

    if (vouched.dev == dev) {
        vouched.dev = NULL;
    }
    if (!b) {
        return;
    }
    grant_time(b);
    gmem_vhost_session_end(&b->session);
    QLIST_REMOVE(b, next);
    gmem_vhost_sections_destroy(&b->sections);
    gmem_vhost_session_destroy(&b->session);
    gmem_vhost_rings_destroy(&b->rings);
    g_free(b);
}

uint64_t gmem_vhost_user_features(const struct vhost_dev *dev,
                                  uint64_t features)
{
    if (gmem_vhost_vm_is_private()) {
        /* It does not tell how many of its requests are under way */
        features &= ~(1ULL << VIRTIO_F_RING_PACKED);
    }
    if (find(dev)) {
        /* The base does not tell it, unless there is a virtual IOMMU */
        features |= 1ULL << VIRTIO_F_IOMMU_PLATFORM;
    }
    return features;
}

/* ---- what the base does ---- */

bool gmem_vhost_user_is_ours(const struct vhost_dev *dev)
{
    return find(dev) || gmem_vhost_vm_is_private();
}

bool gmem_vhost_user_check_memory(RAMBlock *rb, Error **errp)
{
    return QLIST_EMPTY(&backends) || gmem_vhost_check_memory(rb, errp);
}

int gmem_vhost_user_set_mem_table(struct vhost_dev *dev)
{
    BackEnd *b = find(dev);

    if (!b) {
        /* connected to before there was private memory */
        gmem_virtio_complain("vhost-user: a device that was made before the "
                             "VM had private memory is not started");
        return -ENOTSUP;
    }
    if (!gmem_vhost_session_is_off(&b->session)) {
        /*
         * the map has changed under running rings: gmem_vhost_user_remapped()
         */
        return 0;
    }
    if (vhost_dev_has_iommu(dev)) {
        gmem_virtio_complain("vhost-user: a device behind a virtual IOMMU is "
                             "not started in a VM with private memory");
        return -ENOTSUP;
    }
    grant_time(b);
    return gmem_vhost_session_send(&b->session);
}

void gmem_vhost_user_remapped(const struct vhost_dev *dev, bool changed)
{
    BackEnd *b = changed ? find(dev) : NULL;

    if (b) {
        gmem_vhost_session_remap(&b->session);
        gmem_vhost_user_schedule();
    }
}

void gmem_vhost_user_started(const struct vhost_dev *dev, bool started)
{
    BackEnd *b = find(dev);

    if (b && started) {
        gmem_vhost_rings_note_started(&b->rings);
        gmem_vhost_session_started(&b->session);
        gmem_vhost_user_schedule();
    } else if (b) {
        gmem_vhost_session_stopping(&b->session);
    }
}

void gmem_vhost_user_stopped(const struct vhost_dev *dev)
{
    BackEnd *b = find(dev);

    if (b && dev->vdev) {
        gmem_vhost_session_tell_rest(&b->session);
        gmem_vhost_rings_note_stopped(&b->rings, dev->vdev);
        gmem_vhost_session_stopped(&b->session, now_ms());
    }
}

bool gmem_vhost_user_set_call(const struct vhost_dev *dev,
                              const struct vhost_vring_file *file)
{
    BackEnd *b = find(dev);

    /*
     * one that is gone is told nothing, for which a guest need not be told off
     */
    return b && (gmem_vhost_rings_set_call(&b->rings, file->index, file->fd) ||
                 !link_is_open(b));
}

bool gmem_vhost_user_may_start(const VirtIODevice *vdev)
{
    return !qatomic_read(&gmem_touch_armed) || !vdev->broken;
}
