/*
 * gmem in the monitor: what QEMU around the engine knows
 *
 * The engine's block and QEMU's RAMBlock are the same memory.  Here, and only
 * here, the QMP layer goes from one to the other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/notify.h"
#include "qemu/rcu.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands-gmem.h"
#include "system/address-spaces.h"
#include "system/confidential-guest-support.h"
#include "system/memory.h"
#include "system/ramblock.h"
#include "exec/ramlist.h"
#include "system/runstate.h"
#include "system/runstate-action.h"
#include "system/gmem-ram.h"
#include "gmem-qmp.h"

/* Vendors whose conversions destroy what the page held */
static const char *const destroying_guests[] = {
    "sev-snp-guest", "tdx-guest",
};

/* Of RAM cut by PAM and option ROMs there are a few; more would hide the map */
#define PRINTED_PLACES 8

/* Under RCU; with the BQL the RAMBlock stays afterwards too */
static RAMBlock *find_ram(GmemBlock *block)
{
    RAMBlock *rb;

    RAMBLOCK_FOREACH(rb) {
        if (gmem_from_ramblock(rb) == block) {
            return rb;
        }
    }
    return NULL;
}

/* False where the file system keeps no count, as guest_memfd does up to 7.3 */
static bool fd_allocated(int fd, uint64_t *bytes)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || !st.st_blocks) {
        return false;
    }
    *bytes = (uint64_t)st.st_blocks * 512;
    return true;
}

static void fill_allocated(GmemBlock *block, RAMBlock *rb, GmemBlockInfo *info)
{
    uint64_t gmem, memfd = 0;
    bool split = gmem_block_mode(block) == GMEM_BLOCK_MODE_SPLIT;
    int gmem_fd = rb->guest_memfd >= 0 ? rb->guest_memfd : qemu_ram_get_fd(rb);

    if (split) {
        /* a memfd does count, so nothing counted is nothing allocated */
        fd_allocated(qemu_ram_get_fd(rb), &memfd);
        info->has_allocated_shared = true;
        info->allocated_shared = memfd;
    }
    if (fd_allocated(gmem_fd, &gmem)) {
        info->has_allocated = true;
        info->allocated = gmem + memfd;
    }
}

void gmem_qmp_host_info(GmemBlock *block, GmemBlockInfo *info)
{
    Object *owner;
    RAMBlock *rb;

    RCU_READ_LOCK_GUARD();
    rb = find_ram(block);
    if (!rb) {
        return;
    }
    owner = memory_region_owner(rb->mr);
    /* NULL, and so absent, for what is on its way out of the tree */
    info->qom_path = object_get_canonical_path(owner ?: OBJECT(rb->mr));
    fill_allocated(block, rb, info);
}

/* A piece of guest-physical memory that shows a block without a gap */
typedef struct GmemPlace {
    RAMBlock *rb;
    uint64_t gpa;
    uint64_t offset;
    uint64_t size;
    unsigned int nr;
    GString *text;
} GmemPlace;

static void place_print(GmemPlace *place)
{
    if (place->size && ++place->nr <= PRINTED_PLACES) {
        g_string_append_printf(place->text, "%s0x%" PRIx64 "-0x%" PRIx64
                               " (offset 0x%" PRIx64 ")",
                               place->nr > 1 ? ", " : "", place->gpa,
                               place->gpa + place->size - 1, place->offset);
    }
    place->size = 0;
}

/* Neighbours are one place: PAM cuts RAM that is contiguous for the guest */
static bool place_add(Int128 start, Int128 len, const MemoryRegion *mr,
                      hwaddr offset, void *opaque)
{
    GmemPlace *place = opaque;
    uint64_t gpa = int128_getlo(start);

    if (mr->ram_block != place->rb) {
        return false;
    }
    if (place->size && gpa == place->gpa + place->size &&
        offset == place->offset + place->size) {
        place->size += int128_getlo(len);
        return false;
    }
    place_print(place);
    place->gpa = gpa;
    place->offset = offset;
    place->size = int128_getlo(len);
    return false;
}

void gmem_qmp_host_places(GmemBlock *block, GString *text)
{
    GmemPlace place = { .text = text };

    RCU_READ_LOCK_GUARD();
    place.rb = find_ram(block);
    if (!place.rb) {
        return;
    }
    flatview_for_each_range(address_space_to_flatview(&address_space_memory),
                            place_add, &place);
    place_print(&place);
    if (place.nr > PRINTED_PLACES) {
        g_string_append_printf(text, " and %u more",
                               place.nr - PRINTED_PLACES);
    }
}

bool gmem_qmp_host_may_convert(Error **errp)
{
    ConfidentialGuestSupport *cgs = current_machine ? current_machine->cgs
                                                    : NULL;
    int i;

    for (i = 0; cgs && i < ARRAY_SIZE(destroying_guests); i++) {
        if (object_dynamic_cast(OBJECT(cgs), destroying_guests[i])) {
            error_setg(errp, "The VM is a confidential guest ('%s'):"
                       " a conversion that it did not ask for would destroy"
                       " its data", destroying_guests[i]);
            return false;
        }
    }
    return true;
}

static void on_shutdown(Notifier *notifier, void *data)
{
    /* -no-shutdown: the VM only pauses, and the monitor goes on */
    if (shutdown_action != SHUTDOWN_ACTION_PAUSE) {
        /* a client that waits for one would keep the monitor from ending */
        gmem_qmp_shut_down();
    }
}

static Notifier shutdown_notifier = { .notify = on_shutdown };

static void gmem_qmp_register(void)
{
    monitor_register_hmp_info_hrt("gmem", qmp_x_query_gmem);
    qemu_register_shutdown_notifier(&shutdown_notifier);
    gmem_events_init();
    gmem_stats_init();
}

type_init(gmem_qmp_register)
