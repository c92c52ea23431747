/*
 * Two ways to keep the state of pages: ours, and the base's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A program is linked with one of them: impl-gmem.c is the engine with a provider
 * that does nothing, impl-base.c drives the base's ram-block-attributes.c, compiled
 * from its own tree.  Everything starts private.
 */

#ifndef TESTS_GMEM_BASE_IMPL_H
#define TESTS_GMEM_BASE_IMPL_H

typedef struct Ram Ram;
typedef struct Listener Listener;

/* Pages went private (or became shared); may be NULL */
typedef void (*ListenerFn)(void *opaque, bool to_private);

extern const char impl_name[];

Ram *impl_ram_new(uint64_t size);
void impl_ram_free(Ram *ram);
int impl_convert(Ram *ram, uint64_t offset, uint64_t size, bool to_private);
bool impl_is_shared(Ram *ram, uint64_t offset, uint64_t size);
/* Whatever of the map has nothing to do with the 2 MiB at @offset: a fault */
void impl_fence(Ram *ram, uint64_t offset);
/* Bytes of the map that have memory behind them */
size_t impl_map_bytes(Ram *ram);

Listener *impl_listen(Ram *ram, ListenerFn fn, void *opaque);
/* After this the listener's memory is gone */
void impl_unlisten(Ram *ram, Listener *listener);

/* ---- helpers.c ---- */

/* Of the mapping, make all but the host pages with [from, from + size) a fault */
void map_fence(void *map, size_t bytes, void *from, size_t size);
size_t map_resident(void *map, size_t bytes);

#endif
