/*
 * Memory that a device lets go gets its initial state back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A device's last page states must not reach its successor on the same
 * memory.  Giving them back frees memory, as much as the guest has made private, and a
 * guest may eject its DIMM with the BQL held.  So a thread does that, and the block is
 * *closed* meanwhile: a vCPU that has found the memory before it went, or a
 * gmem-convert, converts nothing of it any more.  The block is opened when a device
 * uses it and it is restored.  A DIMM is refused until then; other devices cannot be
 * (they ask nobody), so their guest is refused conversions until then.
 *
 * Memory that was never used by a device is open, and is closed and looked at when
 * one comes.
 *
 * The list, and the blocks' being closed, are guarded by the BQL.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "block/aio.h"
#include "qapi/error.h"
#include "hw/virtio/gmem-vhost-user.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "hostmem-gmem-internal.h"

/* A block that a thread is giving its initial state */
typedef struct Restore {
    GmemBlock *block;           /* referenced */
    bool open;                  /* when it is done: a device uses the memory */
    int ret;
    QLIST_ENTRY(Restore) next;
} Restore;

static QLIST_HEAD(, Restore) restores = QLIST_HEAD_INITIALIZER(restores);

/* NULL where the memory does not exist yet, or has no pages to convert */
static GmemBlock *backend_block(HostMemoryBackend *backend)
{
    GmemBlock *block = backend && host_memory_backend_mr_inited(backend) ?
        gmem_from_ramblock(backend->mr.ram_block) : NULL;

    return block && gmem_block_mode(block) != GMEM_BLOCK_MODE_NONE ? block
                                                                   : NULL;
}

static Restore *find_restore(const GmemBlock *block)
{
    Restore *r;

    QLIST_FOREACH(r, &restores, next) {
        if (r->block == block) {
            return r;
        }
    }
    return NULL;
}

static void restore_ended(void *opaque)
{
    Restore *r = opaque;

    if (!r->ret && r->open) {
        gmem_block_set_closed(r->block, false);
    }
    /* Memory that was deleted meanwhile needs nothing */
    if (r->ret && !gmem_block_is_retired(r->block)) {
        warn_report_once("memory '%s' could not be given its initial state: %s",
                         gmem_block_id(r->block), strerror(-r->ret));
    }
    QLIST_REMOVE(r, next);
    gmem_block_unref(r->block);
    g_free(r);
}

/* Without the BQL, which a holder may need to let go of the memory */
static void *restore_thread(void *opaque)
{
    Restore *r = opaque;

    rcu_register_thread();
    do {
        r->ret = gmem_block_restore(r->block, 0);
    } while (r->ret == -EAGAIN);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), restore_ended, r);
    rcu_unregister_thread();
    return NULL;
}

static Restore *start_restore(GmemBlock *block)
{
    Restore *r = g_new0(Restore, 1);
    QemuThread thread;

    gmem_block_ref(block);
    r->block = block;
    QLIST_INSERT_HEAD(&restores, r, next);
    qemu_thread_create(&thread, "gmem-restore", restore_thread, r,
                       QEMU_THREAD_DETACHED);
    return r;
}

/* The thread that restores @block, started now if need be; NULL: nothing to be done */
static Restore *restore(GmemBlock *block)
{
    Restore *r = find_restore(block);

    gmem_block_set_closed(block, true);
    if (!r && !gmem_block_is_restored(block)) {
        r = start_restore(block);
    }
    return r;
}

void gmem_backend_set_mapped(HostMemoryBackend *backend, bool mapped)
{
    GmemBlock *block = backend_block(backend);
    Restore *r;

    if (!block) {
        return;
    }
    r = restore(block);
    if (r) {
        r->open = mapped;
    } else if (mapped) {
        gmem_block_set_closed(block, false);
    }
}

bool gmem_backend_check_plug(HostMemoryBackend *backend, Error **errp)
{
    GmemBlock *block = backend_block(backend);
    g_autofree char *id = NULL;
    bool broken;

    if (!block || host_memory_backend_is_mapped(backend)) {
        return true;
    }
    if (!gmem_vhost_user_check_memory(backend->mr.ram_block, errp)) {
        return false;
    }
    broken = gmem_block_is_broken(block);
    if (!broken && !restore(block)) {
        return true;
    }
    id = gmem_backend_id(backend);
    error_setg(errp, "%s '%s' cannot be plugged: its pages %s",
               object_get_typename(OBJECT(backend)), id, broken ?
               "cannot be given their initial state, because it is broken" :
               "are still being given their initial state");
    error_append_hint(errp, broken ?
                      "Delete it with object-del, and plug a new one.\n" :
                      "Try again in a moment.\n");
    return false;
}
