/*
 * gmem: a block as it was in the beginning
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Two things make memory new for a guest: a reset of the machine, and a
 * DIMM that was unplugged.  Either way no page may keep the state that the guest gave
 * it: whoever uses the block next expects all of it in its initial state.
 *
 * The request is made even where the figures say that nothing is to be done: they
 * follow the commit, and a conversion that is about to commit has to be waited for.
 */

#include "qemu/osdep.h"
#include "system/gmem.h"

int gmem_block_restore(GmemBlock *block, uint32_t timeout_ms)
{
    GmemSegment segment = { .block = block, .size = gmem_block_size(block) };
    GmemRequest request = {
        .segments = &segment,
        .nr_segments = 1,
        .to = gmem_block_initial(block),
        .timeout_ms = timeout_ms,
        .restore = true,
    };
    int ret;

    if (gmem_block_mode(block) == GMEM_BLOCK_MODE_NONE) {
        return 0;
    }
    ret = gmem_convert_request(&request);
    g_free(request.stalled_holder);
    return ret;
}
