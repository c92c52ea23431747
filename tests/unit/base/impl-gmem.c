/*
 * The engine, with a kernel that agrees to everything
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "gmem-internal.h"
#include "impl.h"

const char impl_name[] = "gmem";

struct Ram {
    GmemBlock *block;
};

struct Listener {
    GmemHolder holder;
    ListenerFn fn;
    void *opaque;
};

static int agree(GmemBlock *block, uint64_t offset, uint64_t size,
                 GmemPageState to, uint64_t *busy)
{
    return 0;
}

static const GmemProviderOps ops = { .name = "agree", .set_state = agree };

Ram *impl_ram_new(uint64_t size)
{
    Ram *ram = g_new0(Ram, 1);

    ram->block = gmem_block_new(&(GmemBlockConfig) {
        .id = "ram",
        .mode = GMEM_BLOCK_MODE_IN_PLACE,
        .size = size,
        .initial = GMEM_PAGE_PRIVATE,
        .timeout_ms = 60000,
        .ops = &ops,
    });
    return ram;
}

void impl_ram_free(Ram *ram)
{
    gmem_block_retire(ram->block);
    gmem_block_unref(ram->block);
    g_free(ram);
}

int impl_convert(Ram *ram, uint64_t offset, uint64_t size, bool to_private)
{
    GmemSegment segment = { ram->block, offset, size };
    GmemRequest req = {
        .segments = &segment,
        .nr_segments = 1,
        .to = to_private ? GMEM_PAGE_PRIVATE : GMEM_PAGE_SHARED,
    };

    return gmem_convert_request(&req);
}

bool impl_is_shared(Ram *ram, uint64_t offset, uint64_t size)
{
    return gmem_block_range_is(ram->block, offset, size, GMEM_PAGE_SHARED);
}

void impl_fence(Ram *ram, uint64_t offset)
{
    GmemMap *map = &ram->block->map;
    size_t word = BIT_WORD(offset / GMEM_PAGE_BYTES);

    map_fence(map->changed, map->bytes / 2, &map->changed[word], 64);
    map_fence(map->converting, map->bytes / 2, &map->converting[word], 64);
}

size_t impl_map_bytes(Ram *ram)
{
    return map_resident(ram->block->map.changed, ram->block->map.bytes);
}

static int listener_begin(GmemHolder *holder, uint64_t offset, uint64_t size,
                          int64_t deadline_ns)
{
    Listener *listener = container_of(holder, Listener, holder);

    if (listener->fn) {
        listener->fn(listener->opaque, true);
    }
    return 0;
}

static void listener_end(GmemHolder *holder, uint64_t offset, uint64_t size,
                         GmemPageState state)
{
    Listener *listener = container_of(holder, Listener, holder);

    if (listener->fn && state == GMEM_PAGE_SHARED) {
        listener->fn(listener->opaque, false);
    }
}

static const GmemHolderOps listener_ops = {
    .begin = listener_begin,
    .end = listener_end,
};

Listener *impl_listen(Ram *ram, ListenerFn fn, void *opaque)
{
    Listener *listener = g_new0(Listener, 1);

    listener->fn = fn;
    listener->opaque = opaque;
    listener->holder.ops = &listener_ops;
    listener->holder.name = "listener";
    gmem_holder_add(ram->block, &listener->holder);
    return listener;
}

void impl_unlisten(Ram *ram, Listener *listener)
{
    gmem_holder_remove(&listener->holder);
    g_free(listener);
}
