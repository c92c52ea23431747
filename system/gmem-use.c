/*
 * gmem: uses, the ranges of a block that QEMU itself has a pointer to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in system/gmem-use.h.  A use is put on the list and then looks at the map; a
 * conversion marks the map and then looks at the list.  Both go through the lock, so
 * one of the two sees the other.
 *
 * Devices begin and end uses far more often than pages are converted, and on many threads
 * at once.  So the list is in shards, each with a lock of its own, by the page that a use
 * begins in: a device takes one of them, a conversion all, one after the other.
 *
 * Guests decide how many maps there are and where, also on top of each other.  Nothing here
 * walks over them: equal ones are counted, and what differs is found by a hash.
 *
 * begin() waits for a moment only.  The engine, which knows of kicks and of the time that
 * is left, calls it again.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "qemu/xxhash.h"
#include "gmem-internal.h"

/* Longest wait of one call of begin(): how late a kick of the vCPU may be noticed */
#define SLICE_NS (10 * (int64_t)SCALE_MS)

typedef struct GmemUseMap {
    GmemUse use;
    uint64_t count;             /* how often these bytes are mapped */
} GmemUseMap;

static GmemUse *use_of(IntervalTreeNode *node)
{
    return node ? container_of(node, GmemUse, range) : NULL;
}

static GmemUseShard *shard_of(GmemBlock *block, uint64_t offset)
{
    return &block->uses.shards[gmem_page(offset) % GMEM_USE_SHARDS];
}

static IntervalTreeRoot *tree_of(GmemUseShard *shard, const GmemUse *use)
{
    return use->ask ? &shard->asked_for : &shard->ending;
}

static GmemUse *first(IntervalTreeRoot *tree, uint64_t offset, uint64_t size)
{
    return use_of(interval_tree_iter_first(tree, offset, offset + size - 1));
}

/* ---- the holder ---- */

static void ask_all(GmemUses *uses, uint64_t offset, uint64_t size)
{
    GmemUseShard *shard;
    GmemUse *use;

    for (shard = uses->shards; shard < uses->shards + GMEM_USE_SHARDS;
         shard++) {
        QEMU_LOCK_GUARD(&shard->lock);
        for (use = first(&shard->asked_for, offset, size); use;
             use = use_of(interval_tree_iter_next(&use->range, offset,
                                                  offset + size - 1))) {
            if (!use->asked) {
                use->asked = true;
                use->ask(use);
            }
        }
    }
}

/*
 * Until no use of the range is in @tree of @shard, but not beyond @until.  Notes in *@rest
 * whether others of the range have to be asked for.
 */
static int wait_for(GmemUses *uses, GmemUseShard *shard, IntervalTreeRoot *tree,
                    uint64_t offset, uint64_t size, int64_t until, bool *rest)
{
    GmemUse *use;

    QEMU_LOCK_GUARD(&shard->lock);
    while ((use = first(tree, offset, size))) {
        int64_t left = until - gmem_clock_ns();

        qatomic_set(&uses->holder.name, use->name);
        if (left <= 0) {
            return -EAGAIN;
        }
        qemu_cond_timedwait(&shard->ended, &shard->lock,
                            DIV_ROUND_UP(left, SCALE_MS));
    }
    *rest |= first(&shard->asked_for, offset, size) != NULL;
    return 0;
}

/*
 * A shard that was left behind stays as it was found: what begins in the range meanwhile
 * finds the marks, and ends at once.
 */
static int uses_begin(GmemHolder *holder, uint64_t offset, uint64_t size,
                      int64_t deadline_ns)
{
    GmemUses *uses = container_of(holder, GmemUses, holder);
    int64_t until = MIN(deadline_ns, gmem_clock_ns() + SLICE_NS);
    GmemUseShard *shard, *end = uses->shards + GMEM_USE_SHARDS;
    bool rest = false;
    int ret = 0;

    for (shard = uses->shards; shard < end && !ret; shard++) {
        ret = wait_for(uses, shard, &shard->ending, offset, size, until, &rest);
    }
    if (ret || !rest) {
        return ret;
    }
    ask_all(uses, offset, size);
    for (shard = uses->shards; shard < end && !ret; shard++) {
        ret = wait_for(uses, shard, &shard->asked_for, offset, size, until,
                       &rest);
    }
    return ret;
}

/* What is shared again, or private now, is for new uses to find out */
static void uses_end(GmemHolder *holder, uint64_t offset, uint64_t size,
                     GmemPageState state)
{
}

static const GmemHolderOps uses_ops = {
    .begin = uses_begin,
    .end = uses_end,
};

/* Whoever looks at the map after this is seen by conversions, or sees their marks */
static void join(GmemBlock *block)
{
    GmemUses *uses = &block->uses;

    if (qatomic_load_acquire(&uses->joined)) {
        return;
    }
    QEMU_LOCK_GUARD(&uses->lock);
    if (!uses->joined) {
        gmem_holder_add(block, &uses->holder);
        qatomic_store_release(&uses->joined, true);
    }
}

void gmem_uses_retire(GmemBlock *block)
{
    GmemUses *uses = &block->uses;

    QEMU_LOCK_GUARD(&uses->lock);
    if (uses->joined) {
        qatomic_set(&uses->joined, false);
        gmem_holder_remove(&uses->holder);
    }
}

/* ---- shards ---- */

static guint map_hash(gconstpointer key)
{
    const GmemUse *use = key;

    return qemu_xxhash4(use->range.start, use->range.last);
}

static gboolean map_equal(gconstpointer a, gconstpointer b)
{
    const GmemUse *use = a, *other = b;

    return use->range.start == other->range.start &&
           use->range.last == other->range.last;
}

void gmem_uses_init(GmemUses *uses)
{
    GmemUseShard *shard;

    qemu_mutex_init(&uses->lock);
    uses->holder.ops = &uses_ops;
    uses->holder.name = "QEMU";
    for (shard = uses->shards; shard < uses->shards + GMEM_USE_SHARDS;
         shard++) {
        qemu_mutex_init(&shard->lock);
        qemu_cond_init(&shard->ended);
        shard->maps = g_hash_table_new(map_hash, map_equal);
    }
}

void gmem_uses_destroy(GmemUses *uses)
{
    GmemUseShard *shard;

    for (shard = uses->shards; shard < uses->shards + GMEM_USE_SHARDS;
         shard++) {
        assert(interval_tree_is_empty(&shard->ending) &&
               interval_tree_is_empty(&shard->asked_for));
        g_hash_table_destroy(shard->maps);
        qemu_cond_destroy(&shard->ended);
        qemu_mutex_destroy(&shard->lock);
    }
    qemu_mutex_destroy(&uses->lock);
}

/* Lock held */
static void leave(GmemUseShard *shard, GmemUse *use)
{
    interval_tree_remove(&use->range, tree_of(shard, use));
    qemu_cond_broadcast(&shard->ended);
}

/* ---- uses ---- */

bool gmem_use_begin(GmemUse *use, GmemBlock *block, uint64_t offset,
                    uint64_t size, const char *name,
                    void (*ask)(GmemUse *use))
{
    GmemUseShard *shard = shard_of(block, offset);

    *use = (GmemUse) {
        .range = { .start = offset, .last = offset + size - 1 },
        .block = block, .name = name, .ask = ask,
    };
    join(block);
    WITH_QEMU_LOCK_GUARD(&shard->lock) {
        interval_tree_insert(&use->range, tree_of(shard, use));
    }
    if (!gmem_block_range_is(block, offset, size, GMEM_PAGE_SHARED)) {
        gmem_use_end(use);
        return false;
    }
    return true;
}

void gmem_use_end(GmemUse *use)
{
    GmemUseShard *shard = shard_of(use->block, use->range.start);

    QEMU_LOCK_GUARD(&shard->lock);
    leave(shard, use);
}

bool gmem_use_is_asked_for(GmemBlock *block, uint64_t offset)
{
    GmemUses *uses = &block->uses;
    GmemUseShard *shard;

    for (shard = uses->shards; shard < uses->shards + GMEM_USE_SHARDS;
         shard++) {
        QEMU_LOCK_GUARD(&shard->lock);
        if (first(&shard->asked_for, offset, 1)) {
            return true;
        }
    }
    return false;
}

/* ---- maps ---- */

/* Lock held */
static void count_map(GmemUseShard *shard, const GmemUse *key)
{
    GmemUseMap *map = g_hash_table_lookup(shard->maps, key);

    if (!map) {
        map = g_new(GmemUseMap, 1);
        *map = (GmemUseMap) { .use = *key };
        interval_tree_insert(&map->use.range, &shard->ending);
        g_hash_table_add(shard->maps, map);
    }
    map->count++;
}

/* Lock held; @map may be NULL */
static bool uncount_map(GmemUseShard *shard, GmemUseMap *map)
{
    if (map && --map->count == 0) {
        g_hash_table_remove(shard->maps, map);
        leave(shard, &map->use);
        g_free(map);
    }
    return map;
}

static bool unmap_exactly(GmemBlock *block, const GmemUse *key)
{
    GmemUseShard *shard = shard_of(block, key->range.start);

    QEMU_LOCK_GUARD(&shard->lock);
    return uncount_map(shard, g_hash_table_lookup(shard->maps, key));
}

/* Lock held */
static GmemUseMap *map_with(GmemUseShard *shard, uint64_t offset)
{
    GmemUse *use = first(&shard->ending, offset, 1);

    /* the engine has no other uses that end by themselves; tests do */
    while (use && g_hash_table_lookup(shard->maps, use) != use) {
        use = use_of(interval_tree_iter_next(&use->range, offset, offset));
    }
    return use ? container_of(use, GmemUseMap, use) : NULL;
}

static bool unmap_around(GmemBlock *block, uint64_t offset)
{
    GmemUses *uses = &block->uses;
    GmemUseShard *shard;

    for (shard = uses->shards; shard < uses->shards + GMEM_USE_SHARDS;
         shard++) {
        QEMU_LOCK_GUARD(&shard->lock);
        if (uncount_map(shard, map_with(shard, offset))) {
            return true;
        }
    }
    return false;
}

static GmemUse map_key(GmemBlock *block, uint64_t offset, uint64_t size)
{
    return (GmemUse) {
        .range = { .start = offset, .last = offset + size - 1 },
        .block = block, .name = GMEM_USE_MAP,
    };
}

bool gmem_use_map(GmemBlock *block, uint64_t offset, uint64_t size)
{
    GmemUse key = map_key(block, offset, size);
    GmemUseShard *shard = shard_of(block, offset);

    join(block);
    WITH_QEMU_LOCK_GUARD(&shard->lock) {
        count_map(shard, &key);
    }
    if (!gmem_block_range_is(block, offset, size, GMEM_PAGE_SHARED)) {
        unmap_exactly(block, &key);
        return false;
    }
    return true;
}

bool gmem_use_unmap(GmemBlock *block, uint64_t offset, uint64_t size)
{
    GmemUse key = map_key(block, offset, size);

    return unmap_exactly(block, &key) || unmap_around(block, offset);
}
