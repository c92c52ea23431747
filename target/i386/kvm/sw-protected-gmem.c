/*
 * sw-protected-guest and the engine: what a reset does to memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A reset machine expects memory as it was when it started, so every
 * block goes back to its initial state.  It is done before anything else is reset,
 * because loading ROM images again writes to RAM.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "system/reset.h"
#include "sw-protected.h"

static void reset_block(GmemBlock *block, void *opaque)
{
    int ret = gmem_block_restore(block, 0);

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
 * loop is this thread, therefore no device comes or goes.
 */
static void reset_memory(void *opaque)
{
    bql_unlock();
    gmem_block_foreach(reset_block, NULL);
    bql_lock();
}

bool sw_protected_engine_init(SwProtectedGuest *guest, Error **errp)
{
    qemu_register_reset(reset_memory, NULL);
    return true;
}
