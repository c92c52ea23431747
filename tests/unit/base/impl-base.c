/*
 * The base's ram-block-attributes, driven as its KVM code drives it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * That file is compiled from the base's tree.  Here is as much of the object model
 * and of the memory API as it calls: one type, regions that only have a size.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qom/object.h"
#include "system/memory.h"
#include "system/ramblock.h"
#include <sys/mman.h>
#include "impl.h"

const char impl_name[] = "base";

struct Ram {
    RAMBlock rb;
    MemoryRegion mr;
    RamBlockAttributes *attributes;
    size_t map_bytes;
};

struct Listener {
    RamDiscardListener rdl;
    RamDiscardManager *manager;
    ListenerFn fn;
    void *opaque;
};

/* ---- what the base's file calls ---- */

static const TypeInfo *the_type;

void register_module_init(void (*fn)(void), module_init_type type)
{
    fn();
}

Type type_register_static(const TypeInfo *info)
{
    the_type = info;
    return NULL;
}

Object *object_new(const char *name)
{
    Object *obj = g_malloc0(the_type->instance_size);

    g_assert_cmpstr(name, ==, the_type->name);
    the_type->instance_init(obj);
    return obj;
}

void object_unref(void *obj)
{
    g_free(obj);
}

Object *object_dynamic_cast_assert(Object *obj, const char *type,
                                   const char *file, int line,
                                   const char *func)
{
    return obj;
}

ObjectClass *object_class_dynamic_cast_assert(ObjectClass *klass,
                                              const char *type,
                                              const char *file, int line,
                                              const char *func)
{
    return klass;
}

void error_report(const char *fmt, ...)
{
    g_error("the base reported an error: %s", fmt);
}

uint64_t memory_region_size(MemoryRegion *mr)
{
    return int128_get64(mr->size);
}

int memory_region_set_ram_discard_manager(MemoryRegion *mr,
                                          RamDiscardManager *manager)
{
    mr->rdm = manager;
    return 0;
}

MemoryRegionSection *memory_region_section_new_copy(MemoryRegionSection *s)
{
    return g_memdup2(s, sizeof(*s));
}

void memory_region_section_free_copy(MemoryRegionSection *s)
{
    g_free(s);
}

/* ---- the implementation under test ---- */

/* Its class hooks, which the real object model would have filled in */
static RamDiscardManagerClass *manager_class(void)
{
    static RamDiscardManagerClass klass;

    if (!klass.register_listener) {
        the_type->class_init((ObjectClass *)&klass, NULL);
    }
    return &klass;
}

Ram *impl_ram_new(uint64_t size)
{
    Ram *ram = g_new0(Ram, 1);

    ram->mr.size = int128_make64(size);
    ram->rb.mr = &ram->mr;
    ram->attributes = ram_block_attributes_create(&ram->rb);
    ram->map_bytes = BITS_TO_LONGS(ram->attributes->bitmap_size) *
                     sizeof(unsigned long);
    return ram;
}

void impl_ram_free(Ram *ram)
{
    ram_block_attributes_destroy(ram->attributes);
    g_free(ram);
}

int impl_convert(Ram *ram, uint64_t offset, uint64_t size, bool to_private)
{
    return ram_block_attributes_state_change(ram->attributes, offset, size,
                                             to_private);
}

bool impl_is_shared(Ram *ram, uint64_t offset, uint64_t size)
{
    MemoryRegionSection section = {
        .mr = &ram->mr,
        .offset_within_region = offset,
        .size = int128_make64(size),
    };

    return manager_class()->is_populated(ram->mr.rdm, &section);
}

/* The process ends inside the fence, so the map that this replaces may leak */
void impl_fence(Ram *ram, uint64_t offset)
{
    size_t word = BIT_WORD(offset / qemu_real_host_page_size());
    unsigned long *map = mmap(NULL, ram->map_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                              -1, 0);

    g_assert(map != MAP_FAILED);
    ram->attributes->bitmap = map;
    map_fence(map, ram->map_bytes, &map[word], 64);
}

size_t impl_map_bytes(Ram *ram)
{
    return map_resident(ram->attributes->bitmap, ram->map_bytes);
}

static int listener_populate(RamDiscardListener *rdl,
                             MemoryRegionSection *section)
{
    Listener *listener = container_of(rdl, Listener, rdl);

    if (listener->fn) {
        listener->fn(listener->opaque, false);
    }
    return 0;
}

static void listener_discard(RamDiscardListener *rdl,
                             MemoryRegionSection *section)
{
    Listener *listener = container_of(rdl, Listener, rdl);

    if (listener->fn) {
        listener->fn(listener->opaque, true);
    }
}

Listener *impl_listen(Ram *ram, ListenerFn fn, void *opaque)
{
    Listener *listener = g_new0(Listener, 1);
    MemoryRegionSection section = { .mr = &ram->mr, .size = ram->mr.size };

    listener->fn = fn;
    listener->opaque = opaque;
    ram_discard_listener_init(&listener->rdl, listener_populate,
                              listener_discard, true);
    manager_class()->register_listener(ram->mr.rdm, &listener->rdl, &section);
    return listener;
}

void impl_unlisten(Ram *ram, Listener *listener)
{
    listener->fn = NULL;
    manager_class()->unregister_listener(ram->mr.rdm, &listener->rdl);
    g_free(listener);
}
