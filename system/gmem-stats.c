/*
 * gmem in query-stats: one result per block
 *
 * The table is both the schema and the way to each figure.  Results keep its
 * order, which is what "info stats vm" relies on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/stats.h"
#include "gmem-qmp.h"

typedef struct GmemStat {
    const char *name;
    StatsType type;
    bool has_unit;
    StatsUnit unit;
    int8_t base;            /* 0: not told; then the exponent is 0 too */
    int16_t exponent;
    uint64_t (*get)(GmemBlock *block, const GmemBlockStats *stats);
} GmemStat;

static uint64_t get_shared(GmemBlock *block, const GmemBlockStats *stats)
{
    return gmem_block_shared_bytes(block);
}

static uint64_t get_private(GmemBlock *block, const GmemBlockStats *stats)
{
    uint64_t size = gmem_block_size(block);

    return size - MIN(gmem_block_shared_bytes(block), size);
}

static uint64_t get_broken(GmemBlock *block, const GmemBlockStats *stats)
{
    return gmem_block_is_broken(block);
}

#define GMEM_STAT_GETTER(name, field) \
    static uint64_t get_##name(GmemBlock *block, const GmemBlockStats *stats) \
    { \
        return stats->field; \
    }

GMEM_STAT_GETTER(to_private, conversions[GMEM_PAGE_PRIVATE])
GMEM_STAT_GETTER(to_private_bytes, bytes[GMEM_PAGE_PRIVATE])
GMEM_STAT_GETTER(to_shared, conversions[GMEM_PAGE_SHARED])
GMEM_STAT_GETTER(to_shared_bytes, bytes[GMEM_PAGE_SHARED])
GMEM_STAT_GETTER(retries, retries)
GMEM_STAT_GETTER(busy, busy_ns)
GMEM_STAT_GETTER(failures, failures)
GMEM_STAT_GETTER(discard_failures, discard_failures)
GMEM_STAT_GETTER(denied, denied)

#define COUNT(kind) .type = STATS_TYPE_##kind
#define BYTES(kind) COUNT(kind), .has_unit = true, .unit = STATS_UNIT_BYTES
#define SECONDS(kind, exp) COUNT(kind), .has_unit = true, \
    .unit = STATS_UNIT_SECONDS, .base = 10, .exponent = (exp)

static const GmemStat stat_table[] = {
    { "shared", BYTES(INSTANT), .get = get_shared },
    { "private", BYTES(INSTANT), .get = get_private },
    { "broken", COUNT(INSTANT), .has_unit = true, .unit = STATS_UNIT_BOOLEAN,
      .get = get_broken },
    { "conversions-to-private", COUNT(CUMULATIVE), .get = get_to_private },
    { "bytes-to-private", BYTES(CUMULATIVE), .get = get_to_private_bytes },
    { "conversions-to-shared", COUNT(CUMULATIVE), .get = get_to_shared },
    { "bytes-to-shared", BYTES(CUMULATIVE), .get = get_to_shared_bytes },
    { "retries", COUNT(CUMULATIVE), .get = get_retries },
    { "busy-time", SECONDS(CUMULATIVE, -9), .get = get_busy },
    { "failures", COUNT(CUMULATIVE), .get = get_failures },
    { "discard-failures", COUNT(CUMULATIVE), .get = get_discard_failures },
    { "denied-accesses", COUNT(CUMULATIVE), .get = get_denied },
    /* .get is NULL: the latency histogram, the only figure that is a list */
    { "latency", SECONDS(LOG2_HISTOGRAM, -6) },
};

static uint64List *latency_list(const GmemBlockStats *stats)
{
    uint64List *list = NULL, **tail = &list;
    int i;

    for (i = 0; i < GMEM_LATENCY_BUCKETS; i++) {
        QAPI_LIST_APPEND(tail, stats->latency[i]);
    }
    return list;
}

static StatsValue *stat_value(const GmemStat *stat, GmemBlock *block,
                              const GmemBlockStats *stats)
{
    StatsValue *value = g_new0(StatsValue, 1);

    if (!stat->get) {
        value->type = QTYPE_QLIST;
        value->u.list = latency_list(stats);
    } else if (stat->has_unit && stat->unit == STATS_UNIT_BOOLEAN) {
        value->type = QTYPE_QBOOL;
        value->u.boolean = stat->get(block, stats);
    } else {
        value->type = QTYPE_QNUM;
        value->u.scalar = stat->get(block, stats);
    }
    return value;
}

typedef struct GmemStatsQuery {
    StatsResultList **result;
    strList *names;
} GmemStatsQuery;

static StatsList *block_stats(GmemBlock *block, strList *names)
{
    StatsList *list = NULL, **tail = &list;
    GmemBlockStats stats;
    int i;

    gmem_block_get_stats(block, &stats);
    for (i = 0; i < ARRAY_SIZE(stat_table); i++) {
        if (apply_str_list_filter(stat_table[i].name, names)) {
            Stats *entry = g_new0(Stats, 1);

            entry->name = g_strdup(stat_table[i].name);
            entry->value = stat_value(&stat_table[i], block, &stats);
            QAPI_LIST_APPEND(tail, entry);
        }
    }
    return list;
}

static void query_block(GmemBlock *block, void *opaque)
{
    GmemStatsQuery *query = opaque;
    StatsList *list = block_stats(block, query->names);
    g_autoptr(GmemBlockInfo) info = g_new0(GmemBlockInfo, 1);

    if (list) {
        gmem_qmp_host_info(block, info);
        add_stats_entry(query->result, STATS_PROVIDER_GMEM, info->qom_path,
                        list);
    }
}

static void query_stats(StatsResultList **result, StatsTarget target,
                        strList *names, strList *targets, Error **errp)
{
    GmemStatsQuery query = { .result = result, .names = names };

    if (target == STATS_TARGET_VM) {
        gmem_block_foreach(query_block, &query);
    }
}

static StatsSchemaValue *stat_schema(const GmemStat *stat)
{
    StatsSchemaValue *value = g_new0(StatsSchemaValue, 1);

    value->name = g_strdup(stat->name);
    value->type = stat->type;
    value->has_unit = stat->has_unit;
    value->unit = stat->unit;
    value->has_base = stat->base != 0;
    value->base = stat->base;
    value->exponent = stat->exponent;
    return value;
}

static void query_schema(StatsSchemaList **result, Error **errp)
{
    StatsSchemaValueList *list = NULL, **tail = &list;
    int i;

    for (i = 0; i < ARRAY_SIZE(stat_table); i++) {
        QAPI_LIST_APPEND(tail, stat_schema(&stat_table[i]));
    }
    add_stats_schema(result, STATS_PROVIDER_GMEM, STATS_TARGET_VM, list);
}

void gmem_stats_init(void)
{
    add_stats_callbacks(STATS_PROVIDER_GMEM, query_stats, query_schema);
}
