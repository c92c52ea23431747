/*
 * sw-protected-guest and the engine: what it needs, and what a reset does to memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A reset machine expects memory as it was when it started, so every
 * block goes back to its initial state.  What becomes shared does so before anything else
 * is reset, because loading ROM images again writes to RAM.  What becomes private does so
 * afterwards: devices have let go of it by then, and while this thread waits nothing else would
 * make them.  A guest that wakes from sleep
 * (ACPI S3) takes the way of a reset, too, but slept so that it keeps its memory.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "hw/resettable.h"
#include "system/gmem-kvm.h"
#include "system/gmem-monitor.h"
#include "system/reset.h"
#include "sw-protected.h"

#define TYPE_SW_PROTECTED_RESET "sw-protected-reset"
OBJECT_DECLARE_SIMPLE_TYPE(SwProtectedReset, SW_PROTECTED_RESET)

/* A plain reset handler is not told whether the guest wakes up */
struct SwProtectedReset {
    Object parent;
    ResettableState state;
};

OBJECT_DEFINE_SIMPLE_TYPE_WITH_INTERFACES(SwProtectedReset, sw_protected_reset,
                                          SW_PROTECTED_RESET, OBJECT,
                                          { TYPE_RESETTABLE_INTERFACE }, { })

static void reset_block(GmemBlock *block, void *opaque)
{
    const GmemPageState *initial = opaque;
    int ret;

    /* Memory that no device uses, or not yet: it is given its initial state as it is */
    if (gmem_block_initial(block) != *initial || gmem_block_is_closed(block)) {
        return;
    }
    ret = gmem_block_restore(block, 0);
    if (ret) {
        /* once: a guest resets as often as it likes */
        warn_report_once("reset: memory '%s' could not be made %s again: %s",
                         gmem_block_id(block),
                         gmem_block_initial(block) == GMEM_PAGE_SHARED ?
                         "shared" : "private", strerror(-ret));
    }
}

/*
 * The vCPUs stand still, but a gmem-convert of the monitor may hold a range, and
 * may need the BQL to let go of it.  So the BQL is dropped meanwhile; the main
 * loop is this thread, therefore no device comes or goes, and no gmem-convert
 * begins.  Those that run end first: going on, they would convert the memory of
 * the machine that has been reset.
 */
static void reset_memory(GmemPageState initial, ResetType type)
{
    if (type == RESET_TYPE_WAKEUP) {
        return;
    }
    gmem_qmp_cancel_all();
    bql_unlock();
    gmem_qmp_wait_all();
    gmem_block_foreach(reset_block, &initial);
    bql_lock();
}

static void reset_shared(Object *obj, ResetType type)
{
    reset_memory(GMEM_PAGE_SHARED, type);
}

static void reset_private(Object *obj, ResetType type)
{
    reset_memory(GMEM_PAGE_PRIVATE, type);
}

static ResettableState *sw_protected_reset_get_state(Object *obj)
{
    return &SW_PROTECTED_RESET(obj)->state;
}

static void sw_protected_reset_class_init(ObjectClass *oc, const void *data)
{
    RESETTABLE_CLASS(oc)->get_state = sw_protected_reset_get_state;
    RESETTABLE_CLASS(oc)->phases.hold = reset_shared;
    RESETTABLE_CLASS(oc)->phases.exit = reset_private;
}

static void sw_protected_reset_init(Object *obj)
{
}

static void sw_protected_reset_finalize(Object *obj)
{
}

bool sw_protected_engine_check(Error **errp)
{
    GmemBlockMode mode;

    ERRP_GUARD();
    if (!gmem_kvm_choose_mode(true, &mode, errp)) {
        error_prepend(errp, "sw-protected-guest: ");
        return false;
    }
    return true;
}

bool sw_protected_engine_init(SwProtectedGuest *guest, Error **errp)
{
    /* as long as QEMU runs: the guest object cannot be deleted either */
    qemu_register_resettable(object_new(TYPE_SW_PROTECTED_RESET));
    return true;
}
