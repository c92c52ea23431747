/*
 * gmem: the block of a RAMBlock
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  RAM with guest_memfd gets a ram-block-attributes object, which is
 * what the rest of QEMU asks whether a range is there for devices.  Ours is a
 * thin one: it keeps no state, the block's state map does, and it turns each
 * listener that registers (VFIO) into a holder of the block, so that listeners
 * take part in conversions (gmem-listener.c).  It stands in for the object of
 * the same name that the base has.
 *
 * rb->gmem is written when the RAMBlock is made and when it is reclaimed, so
 * whoever has the RAMBlock can read it without a lock.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "system/gmem-kvm.h"
#include "system/gmem-listener.h"
#include "system/gmem-ram.h"
#include "system/gmem-sigbus.h"
#include "system/gmem-touch-hooks.h"
#include "system/gmem-use.h"
#include "system/hostmem-gmem.h"
#include "system/memory.h"
#include "system/ramblock.h"

static unsigned int blocks_in_use;

bool gmem_ram_in_use(void)
{
    return qatomic_read(&blocks_in_use);
}

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return rb ? rb->gmem : NULL;
}

static GmemBlock *make_block(RAMBlock *rb, GmemBlockConfig *config)
{
    config->size = rb->max_length;
    if (rb->idstr[0]) {
        config->id = rb->idstr;
    }
    rb->gmem = gmem_block_new(config);
    qatomic_inc(&blocks_in_use);
    return rb->gmem;
}

GmemBlock *gmem_register_none(RAMBlock *rb)
{
    GmemBlockConfig config = { };
    GmemBlock *block;

    gmem_ram_config(rb->mr, &config);
    g_assert(config.mode == GMEM_BLOCK_MODE_NONE);
    block = make_block(rb, &config);
    return block;
}

static void forget_block(RAMBlock *rb)
{
    gmem_uses_retire(rb->gmem);
    if (gmem_block_mode(rb->gmem) == GMEM_BLOCK_MODE_IN_PLACE) {
        gmem_sigbus_remove(rb->gmem);
    }
    gmem_block_unref(g_steal_pointer(&rb->gmem));
    qatomic_dec(&blocks_in_use);
}

/* What a block in mode in-place needs beyond the others.  False with @errp set */
static bool complete_in_place(RAMBlock *rb, Error **errp)
{
    if (!gmem_sigbus_watch(rb, errp)) {
        return false;
    }
    if (rb->fd < 0) {
        /* It was anonymous memory; where this fails it looks so still */
        rb->fd = qemu_dup(rb->guest_memfd);
    }
    return true;
}

/* The engine's block of @rb.  False with @errp set, and no block */
static bool make_convertible(RAMBlock *rb, Error **errp)
{
    GmemBlockConfig config = { };

    gmem_ram_config(rb->mr, &config);
    config.ops = gmem_kvm_provider(config.mode);
    config.opaque = gmem_kvm_block_new(rb, config.mode, errp);
    if (!config.opaque) {
        return false;
    }
    make_block(rb, &config);
    if (config.mode == GMEM_BLOCK_MODE_IN_PLACE &&
        !complete_in_place(rb, errp)) {
        gmem_block_retire(rb->gmem);
        gmem_kvm_block_detach(rb->gmem);
        forget_block(rb);
        return false;
    }
    return true;
}

RamBlockAttributes *ram_block_attributes_create(RAMBlock *rb)
{
    RamBlockAttributes *attr =
        RAM_BLOCK_ATTRIBUTES(object_new(TYPE_RAM_BLOCK_ATTRIBUTES));
    Error *err = NULL;

    attr->ram_block = rb;
    if (memory_region_set_ram_discard_manager(rb->mr,
                                              RAM_DISCARD_MANAGER(attr))) {
        object_unref(OBJECT(attr));
        return NULL;
    }
    if (!make_convertible(rb, &err)) {
        /* The caller tells the user that it failed, and nothing more */
        error_prepend(&err, "memory '%s': ", memory_region_name(rb->mr));
        error_report_err(err);
        memory_region_set_ram_discard_manager(rb->mr, NULL);
        object_unref(OBJECT(attr));
        return NULL;
    }
    gmem_touch_arm();
    return attr;
}

void ram_block_attributes_destroy(RamBlockAttributes *attr)
{
    /* gmem_ram_block_detach() has taken it off the region, which may be gone */
    object_unref(OBJECT(attr));
}

int ram_block_attributes_state_change(RamBlockAttributes *attr,
                                      uint64_t offset, uint64_t size,
                                      bool to_discard)
{
    /*
     * Here to be linked only: the one caller is the rest of kvm_convert_memory(),
     * behind the hook that returns.  A conversion begins with the engine.
     */
    g_assert_not_reached();
}

void gmem_ram_block_named(RAMBlock *rb)
{
    if (rb->gmem) {
        gmem_block_set_id(rb->gmem, rb->idstr);
    }
}

void gmem_ram_block_detach(RAMBlock *rb)
{
    if (!rb || !rb->gmem) {
        return;
    }
    gmem_block_retire(rb->gmem);
    if (rb->attributes) {
        gmem_kvm_block_detach(rb->gmem);
        memory_region_set_ram_discard_manager(rb->mr, NULL);
    }
}

void gmem_ram_block_reclaim(RAMBlock *rb)
{
    if (rb->gmem) {
        if (gmem_block_mode(rb->gmem) != GMEM_BLOCK_MODE_NONE) {
            gmem_touch_disarm();
        }
        forget_block(rb);
    }
}

/* ---- the object ---- */

static GmemBlock *rdm_block(const RamDiscardManager *rdm)
{
    return RAM_BLOCK_ATTRIBUTES(rdm)->ram_block->gmem;
}

static uint64_t rdm_min_granularity(const RamDiscardManager *rdm,
                                    const MemoryRegion *mr)
{
    return qemu_real_host_page_size();
}

static bool rdm_is_populated(const RamDiscardManager *rdm,
                             const MemoryRegionSection *section)
{
    return gmem_block_range_is(rdm_block(rdm), section->offset_within_region,
                               int128_get64(section->size), GMEM_PAGE_SHARED);
}

/* Calls @fn for every run of @section that has @state */
static int rdm_replay(const RamDiscardManager *rdm,
                      const MemoryRegionSection *section, GmemPageState state,
                      ReplayRamDiscardState fn, void *opaque)
{
    GmemBlock *block = rdm_block(rdm);
    uint64_t offset = section->offset_within_region;
    uint64_t end = offset + int128_get64(section->size);
    uint64_t next;
    int ret = 0;

    for (; offset < end && !ret; offset = next) {
        MemoryRegionSection part = *section;
        GmemPageState found;

        next = gmem_block_run(block, offset, end, &found);
        if (found == state &&
            memory_region_section_intersect_range(&part, offset,
                                                  next - offset)) {
            ret = fn(&part, opaque);
        }
    }
    return ret;
}

static int rdm_replay_populated(const RamDiscardManager *rdm,
                                MemoryRegionSection *section,
                                ReplayRamDiscardState fn, void *opaque)
{
    return rdm_replay(rdm, section, GMEM_PAGE_SHARED, fn, opaque);
}

static int rdm_replay_discarded(const RamDiscardManager *rdm,
                                MemoryRegionSection *section,
                                ReplayRamDiscardState fn, void *opaque)
{
    return rdm_replay(rdm, section, GMEM_PAGE_PRIVATE, fn, opaque);
}

static void rdm_register_listener(RamDiscardManager *rdm,
                                  RamDiscardListener *rdl,
                                  MemoryRegionSection *section)
{
    gmem_listener_add(rdm_block(rdm), rdl, section, NULL);
}

static void rdm_unregister_listener(RamDiscardManager *rdm,
                                    RamDiscardListener *rdl)
{
    gmem_listener_remove(rdl);
}

static void gmem_attributes_class_init(ObjectClass *klass, const void *data)
{
    RamDiscardManagerClass *rdmc = RAM_DISCARD_MANAGER_CLASS(klass);

    rdmc->get_min_granularity = rdm_min_granularity;
    rdmc->is_populated = rdm_is_populated;
    rdmc->replay_populated = rdm_replay_populated;
    rdmc->replay_discarded = rdm_replay_discarded;
    rdmc->register_listener = rdm_register_listener;
    rdmc->unregister_listener = rdm_unregister_listener;
}

static const TypeInfo gmem_attributes_info = {
    .name = TYPE_RAM_BLOCK_ATTRIBUTES,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(RamBlockAttributes),
    .class_init = gmem_attributes_class_init,
    .interfaces = (const InterfaceInfo[]) {
        { TYPE_RAM_DISCARD_MANAGER },
        { }
    },
};

static void gmem_attributes_register_types(void)
{
    type_register_static(&gmem_attributes_info);
}

type_init(gmem_attributes_register_types)
