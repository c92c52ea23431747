/*
 * gmem: a block as it was in the beginning
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Two things make memory new for a guest: a reset of the machine, and a
 * DIMM that was unplugged.  Either way no page may keep the state that the guest gave
 * it: whoever uses the block next expects all of it in its initial state.
 */

#include "qemu/osdep.h"
#include "system/gmem.h"

static bool is_initial(GmemBlock *block)
{
    uint64_t shared = gmem_block_shared_bytes(block);

    return shared == (gmem_block_initial(block) == GMEM_PAGE_SHARED ?
                      gmem_block_size(block) : 0);
}

int gmem_block_restore(GmemBlock *block, uint32_t timeout_ms)
{
    GmemSegment segment = { .block = block, .size = gmem_block_size(block) };
    GmemRequest request = {
        .segments = &segment,
        .nr_segments = 1,
        .to = gmem_block_initial(block),
        .timeout_ms = timeout_ms,
    };
    int ret;

    if (gmem_block_mode(block) == GMEM_BLOCK_MODE_NONE || is_initial(block)) {
        return 0;
    }
    ret = gmem_convert_request(&request);
    g_free(request.stalled_holder);
    return ret;
}
