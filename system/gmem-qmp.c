/*
 * gmem in the monitor: what there is
 *
 * query-gmem and query-gmem-map read the engine's figures and state maps.  They
 * take no lock that a conversion holds while it waits, so that a monitor can
 * watch a conversion that is stuck.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-gmem.h"
#include "gmem-qmp.h"

/* What one call of query-gmem-map returns unless told otherwise, and at most */
#define MAP_DEFAULT_RANGES 1024
#define MAP_MAX_RANGES 65536

/* An error lists so many ids, which is more than machines have by hand */
#define LISTED_IDS 16

QEMU_BUILD_BUG_ON((int)GMEM_MODE_NONE != (int)GMEM_BLOCK_MODE_NONE);
QEMU_BUILD_BUG_ON((int)GMEM_MODE_SPLIT != (int)GMEM_BLOCK_MODE_SPLIT);
QEMU_BUILD_BUG_ON((int)GMEM_MODE_IN_PLACE != (int)GMEM_BLOCK_MODE_IN_PLACE);

typedef struct IdList {
    GString *text;
    unsigned int count;
} IdList;

static void list_id(GmemBlock *block, void *opaque)
{
    IdList *ids = opaque;

    if (++ids->count <= LISTED_IDS) {
        g_string_append_printf(ids->text, "%s'%s'", ids->count > 1 ? ", " : "",
                               gmem_block_id(block));
    }
}

static void set_unknown_id(const char *id, Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);
    IdList ids = { .text = text };

    gmem_block_foreach(list_id, &ids);
    if (!ids.count) {
        error_setg(errp, "No gmem block is called '%s': this VM has no memory"
                   " from guest_memfd", id);
        return;
    }
    if (ids.count > LISTED_IDS) {
        g_string_append_printf(text, " and %u more", ids.count - LISTED_IDS);
    }
    error_setg(errp, "No gmem block is called '%s'; there %s %s", id,
               ids.count > 1 ? "are" : "is", text->str);
}

GmemBlock *gmem_qmp_find(const char *id, Error **errp)
{
    GmemBlock *block = gmem_block_find(id);

    if (!block) {
        set_unknown_id(id, errp);
    }
    return block;
}

static bool check_aligned(GmemBlock *block, const char *name, uint64_t value,
                          Error **errp)
{
    if (value % GMEM_QMP_PAGE) {
        error_setg(errp, "gmem block '%s': %s 0x%" PRIx64
                   " is not a multiple of %d",
                   gmem_block_id(block), name, value, GMEM_QMP_PAGE);
        return false;
    }
    return true;
}

bool gmem_qmp_check_range(GmemBlock *block, uint64_t offset, uint64_t size,
                          Error **errp)
{
    uint64_t end = gmem_block_size(block);

    if (!size) {
        error_setg(errp, "gmem block '%s': the size of the range is 0",
                   gmem_block_id(block));
        return false;
    }
    if (!check_aligned(block, "offset", offset, errp) ||
        !check_aligned(block, "size", size, errp)) {
        return false;
    }
    if (offset >= end || size > end - offset) {
        error_setg(errp, "gmem block '%s': the range of 0x%" PRIx64
                   " bytes at 0x%" PRIx64 " reaches beyond the block's size"
                   " of 0x%" PRIx64, gmem_block_id(block), size, offset, end);
        return false;
    }
    return true;
}

GmemState gmem_qmp_state(GmemPageState state)
{
    return state == GMEM_PAGE_SHARED ? GMEM_STATE_SHARED : GMEM_STATE_PRIVATE;
}

static GmemDirectionInfo *direction_info(const GmemBlockStats *stats,
                                         GmemPageState to)
{
    GmemDirectionInfo *info = g_new0(GmemDirectionInfo, 1);

    info->conversions = stats->conversions[to];
    info->bytes = stats->bytes[to];
    return info;
}

static void fill_stats(GmemBlock *block, GmemBlockInfo *info)
{
    uint64List **tail = &info->latency;
    GmemBlockStats stats;
    int i;

    gmem_block_get_stats(block, &stats);
    info->to_private = direction_info(&stats, GMEM_PAGE_PRIVATE);
    info->to_shared = direction_info(&stats, GMEM_PAGE_SHARED);
    info->retries = stats.retries;
    info->busy_ns = stats.busy_ns;
    info->failures = stats.failures;
    info->discard_failures = stats.discard_failures;
    info->denied = stats.denied;
    if (stats.last_error) {
        info->last_error = g_strdup(g_strerror(abs(stats.last_error)));
    }
    for (i = 0; i < GMEM_LATENCY_BUCKETS; i++) {
        QAPI_LIST_APPEND(tail, stats.latency[i]);
    }
}

static GmemBlockInfo *block_info(GmemBlock *block)
{
    GmemBlockInfo *info = g_new0(GmemBlockInfo, 1);

    info->id = g_strdup(gmem_block_id(block));
    info->size = gmem_block_size(block);
    info->mode = (GmemMode)gmem_block_mode(block);
    info->initial = gmem_qmp_state(gmem_block_initial(block));
    info->shared = MIN(gmem_block_shared_bytes(block), info->size);
    info->q_private = info->size - info->shared;
    info->shared_limit = gmem_block_shared_limit(block);
    info->has_shared_limit = info->shared_limit != 0;
    info->conversion_timeout = gmem_block_timeout_ms(block);
    info->broken = gmem_block_is_broken(block);
    fill_stats(block, info);
    gmem_qmp_host_info(block, info);
    return info;
}

static void append_block(GmemBlock *block, void *opaque)
{
    GmemBlockInfoList ***tail = opaque;

    QAPI_LIST_APPEND(*tail, block_info(block));
}

GmemInfo *qmp_query_gmem(Error **errp)
{
    GmemInfo *info = g_new0(GmemInfo, 1);
    GmemBlockInfoList **tail = &info->blocks;

    gmem_block_foreach(append_block, &tail);
    info->conversions = gmem_qmp_conversions();
    return info;
}

static GmemMapInfo *block_map(GmemBlock *block, uint64_t offset, uint64_t end,
                          uint32_t limit)
{
    GmemMapInfo *map = g_new0(GmemMapInfo, 1);
    GmemMapRangeList **tail = &map->ranges;

    while (offset < end && limit--) {
        GmemMapRange *range = g_new0(GmemMapRange, 1);
        GmemPageState state;

        range->offset = offset;
        offset = gmem_block_run(block, offset, end, &state);
        range->size = offset - range->offset;
        range->state = gmem_qmp_state(state);
        QAPI_LIST_APPEND(tail, range);
    }
    map->has_next = offset < end;
    map->next = map->has_next ? offset : 0;
    return map;
}

GmemMapInfo *qmp_query_gmem_map(const char *id, bool has_offset, uint64_t offset,
                            bool has_size, uint64_t size, bool has_limit,
                            uint32_t limit, Error **errp)
{
    GmemBlock *block = gmem_qmp_find(id, errp);
    GmemMapInfo *map = NULL;

    if (!block) {
        return NULL;
    }
    if (!has_offset) {
        offset = 0;
    }
    if (!has_limit) {
        limit = MAP_DEFAULT_RANGES;
    }
    if (!has_size) {
        /* an offset beyond the end is refused below, whatever the size */
        uint64_t end = gmem_block_size(block);

        size = offset < end ? end - offset : GMEM_QMP_PAGE;
        size = ROUND_UP(size, GMEM_QMP_PAGE);
    }
    if (!limit || limit > MAP_MAX_RANGES) {
        error_setg(errp, "query-gmem-map returns 1 to %d ranges, not %" PRIu32,
                   MAP_MAX_RANGES, limit);
    } else if (gmem_qmp_check_range(block, offset, size, errp)) {
        map = block_map(block, offset, offset + size, limit);
    }
    gmem_block_unref(block);
    return map;
}
