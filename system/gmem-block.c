/*
 * gmem: blocks, their registry and their accounts
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A block lives as long as somebody has a reference: the memory backend, the
 * registry, every holder, every conversion.  Retiring it takes it off the registry
 * and refuses new conversions; what runs may finish.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/memalign.h"
#include "gmem-internal.h"

#define GMEM_DEFAULT_TIMEOUT_MS 1000

/* The registry; blocks in order of creation */
static QTAILQ_HEAD(, GmemBlock) gmem_blocks =
    QTAILQ_HEAD_INITIALIZER(gmem_blocks);
static QemuMutex gmem_registry_lock;
static uint64_t gmem_last_seq;

static const GmemObserver gmem_no_observer;
static const GmemObserver *gmem_current_observer = &gmem_no_observer;

static void __attribute__((constructor)) gmem_registry_init(void)
{
    qemu_mutex_init(&gmem_registry_lock);
}

void gmem_set_observer(const GmemObserver *observer)
{
    qatomic_store_release(&gmem_current_observer,
                          observer ?: &gmem_no_observer);
}

const GmemObserver *gmem_observer(void)
{
    return qatomic_load_acquire(&gmem_current_observer);
}

static void gmem_block_register(GmemBlock *block)
{
    QEMU_LOCK_GUARD(&gmem_registry_lock);

    block->seq = ++gmem_last_seq;
    gmem_block_ref(block);
    QTAILQ_INSERT_TAIL(&gmem_blocks, block, next);
}

GmemBlock *gmem_block_new(const GmemBlockConfig *config)
{
    GmemBlock *block = g_new0(GmemBlock, 1);

    assert(config->size && QEMU_IS_ALIGNED(config->size, GMEM_PAGE_BYTES));
    assert(config->ops || config->mode == GMEM_BLOCK_MODE_NONE);
    block->refs = 1;
    block->id = g_intern_string(config->id);
    block->mode = config->mode;
    block->size = config->size;
    block->initial = config->mode == GMEM_BLOCK_MODE_NONE ? GMEM_PAGE_SHARED
                                                          : config->initial;
    block->ops = config->ops;
    block->opaque = config->opaque;
    block->timeout_ms = config->timeout_ms ?: GMEM_DEFAULT_TIMEOUT_MS;
    block->shared_limit = config->shared_limit;
    block->dma_granularity = config->dma_granularity ?: GMEM_PAGE_BYTES;
    gmem_map_init(&block->map, gmem_page(config->size), block->initial);
    block->charged_pages = gmem_map_shared_pages(&block->map);
    block->stripes = qemu_memalign(sizeof(GmemStripe),
                                   GMEM_STRIPES * sizeof(GmemStripe));
    memset(block->stripes, 0, GMEM_STRIPES * sizeof(GmemStripe));
    qemu_mutex_init(&block->commit_lock);
    qemu_mutex_init(&block->lock);
    gmem_uses_init(&block->uses);
    gmem_range_lock_init(&block->ranges);
    QTAILQ_INIT(&block->holders);
    QTAILQ_INIT(&block->replays);
    qemu_cond_init(&block->holders_idle);
    gmem_block_register(block);
    return block;
}

void gmem_block_ref(GmemBlock *block)
{
    qatomic_inc(&block->refs);
}

static void gmem_block_free(GmemBlock *block)
{
    assert(QTAILQ_EMPTY(&block->holders) && QTAILQ_EMPTY(&block->replays));
    if (block->ops && block->ops->release) {
        block->ops->release(block);
    }
    gmem_uses_destroy(&block->uses);
    gmem_range_lock_destroy(&block->ranges);
    qemu_cond_destroy(&block->holders_idle);
    qemu_mutex_destroy(&block->lock);
    qemu_mutex_destroy(&block->commit_lock);
    qemu_vfree(block->stripes);
    gmem_map_destroy(&block->map);
    g_free(block);
}

void gmem_block_unref(GmemBlock *block)
{
    if (qatomic_fetch_dec(&block->refs) == 1) {
        gmem_block_free(block);
    }
}

void gmem_block_retire(GmemBlock *block)
{
    bool was_there;

    WITH_QEMU_LOCK_GUARD(&gmem_registry_lock) {
        was_there = !qatomic_xchg(&block->retired, true);
        if (was_there) {
            QTAILQ_REMOVE(&gmem_blocks, block, next);
        }
    }
    if (was_there) {
        gmem_block_unref(block);
    }
}

bool gmem_block_is_retired(const GmemBlock *block)
{
    return qatomic_read(&block->retired);
}

void gmem_block_set_closed(GmemBlock *block, bool closed)
{
    qatomic_set(&block->closed, closed);
}

bool gmem_block_is_closed(const GmemBlock *block)
{
    return qatomic_read(&block->closed);
}

/* Who queues for a range after it was closed gives up when it is granted */
bool gmem_block_is_restored(GmemBlock *block)
{
    uint64_t shared = block->initial == GMEM_PAGE_SHARED ? block->size : 0;

    QEMU_LOCK_GUARD(&block->lock);
    return qatomic_read(&block->closed) &&
           gmem_range_lock_is_idle(&block->ranges) &&
           gmem_block_shared_bytes(block) == shared;
}

const char *gmem_block_id(const GmemBlock *block)
{
    return qatomic_read(&block->id);
}

void gmem_block_set_id(GmemBlock *block, const char *id)
{
    qatomic_set(&block->id, g_intern_string(id));
}

GmemBlockMode gmem_block_mode(const GmemBlock *block)
{
    return block->mode;
}

uint64_t gmem_block_size(const GmemBlock *block)
{
    return block->size;
}

GmemPageState gmem_block_initial(const GmemBlock *block)
{
    return block->initial;
}

void *gmem_block_opaque(const GmemBlock *block)
{
    return block->opaque;
}

bool gmem_block_is_broken(const GmemBlock *block)
{
    return qatomic_read(&block->broken);
}

void gmem_block_break(GmemBlock *block, const char *why)
{
    const GmemObserver *observer = gmem_observer();

    if (!qatomic_xchg(&block->broken, true) && observer->broken) {
        observer->broken(block, why);
    }
}

uint64_t gmem_block_shared_bytes(const GmemBlock *block)
{
    return (uint64_t)gmem_map_shared_pages(&block->map) << GMEM_PAGE_BITS;
}

uint64_t gmem_block_shared_limit(const GmemBlock *block)
{
    GmemBlock *b = (GmemBlock *)block;

    QEMU_LOCK_GUARD(&b->lock);
    return b->shared_limit;
}

uint64_t gmem_block_dma_granularity(const GmemBlock *block)
{
    return block->dma_granularity;
}

void gmem_block_set_shared_limit(GmemBlock *block, uint64_t bytes)
{
    QEMU_LOCK_GUARD(&block->lock);
    block->shared_limit = bytes;
}

bool gmem_block_charge(GmemBlock *block, unsigned long pages, bool take)
{
    uint64_t limit, sum;

    QEMU_LOCK_GUARD(&block->lock);
    limit = block->shared_limit >> GMEM_PAGE_BITS;
    sum = block->charged_pages + pages;
    if (pages && block->shared_limit && sum > limit) {
        return false;
    }
    if (take) {
        block->charged_pages = sum;
    }
    return true;
}

void gmem_block_uncharge(GmemBlock *block, unsigned long pages)
{
    QEMU_LOCK_GUARD(&block->lock);
    assert(block->charged_pages >= pages);
    block->charged_pages -= pages;
}

uint32_t gmem_block_timeout_ms(const GmemBlock *block)
{
    return qatomic_read(&block->timeout_ms);
}

void gmem_block_set_timeout_ms(GmemBlock *block, uint32_t ms)
{
    qatomic_set(&block->timeout_ms, ms ?: GMEM_DEFAULT_TIMEOUT_MS);
}

void gmem_block_count_refused(GmemBlock *block)
{
    QEMU_LOCK_GUARD(&block->lock);
    block->stats.failures++;
    block->stats.last_error = EINVAL;
}

void gmem_block_get_stats(GmemBlock *block, GmemBlockStats *stats)
{
    QEMU_LOCK_GUARD(&block->lock);
    *stats = block->stats;
}

GmemBlock *gmem_block_find(const char *id)
{
    GmemBlock *block;

    QEMU_LOCK_GUARD(&gmem_registry_lock);
    QTAILQ_FOREACH(block, &gmem_blocks, next) {
        if (!g_strcmp0(gmem_block_id(block), id)) {
            gmem_block_ref(block);
            return block;
        }
    }
    return NULL;
}

void gmem_block_foreach(void (*fn)(GmemBlock *block, void *opaque),
                        void *opaque)
{
    g_autoptr(GPtrArray) blocks =
        g_ptr_array_new_with_free_func((GDestroyNotify)gmem_block_unref);
    GmemBlock *block;
    guint i;

    /* @fn may do anything, so it runs on a copy of the list */
    WITH_QEMU_LOCK_GUARD(&gmem_registry_lock) {
        QTAILQ_FOREACH(block, &gmem_blocks, next) {
            gmem_block_ref(block);
            g_ptr_array_add(blocks, block);
        }
    }
    for (i = 0; i < blocks->len; i++) {
        fn(g_ptr_array_index(blocks, i), opaque);
    }
}

void gmem_block_commit_lock(GmemBlock *block)
{
    qemu_mutex_lock(&block->commit_lock);
}

void gmem_block_commit_unlock(GmemBlock *block)
{
    qemu_mutex_unlock(&block->commit_lock);
}

uint64_t gmem_block_run(GmemBlock *block, uint64_t offset, uint64_t limit,
                        GmemPageState *state)
{
    unsigned long end;

    limit = MIN(limit, block->size);
    assert(offset < limit);
    end = gmem_map_run(&block->map, gmem_page(offset),
                       DIV_ROUND_UP(limit, GMEM_PAGE_BYTES), state);
    return MIN((uint64_t)end << GMEM_PAGE_BITS, limit);
}

bool gmem_block_next_usable(GmemBlock *block, uint64_t offset, uint64_t limit,
                            uint64_t *start, uint64_t *size)
{
    GmemPageRun run;

    limit = MIN(limit, block->size);
    if (offset >= limit ||
        !gmem_map_next_usable(&block->map, gmem_page(offset), gmem_page(limit),
                              &run)) {
        return false;
    }
    *start = (uint64_t)run.start << GMEM_PAGE_BITS;
    *size = (uint64_t)(run.end - run.start) << GMEM_PAGE_BITS;
    return true;
}

uint64_t gmem_block_count(GmemBlock *block, uint64_t offset, uint64_t size,
                          GmemPageState state)
{
    uint64_t end = offset + MIN(size, block->size - MIN(offset, block->size));

    return (uint64_t)gmem_map_count(&block->map, gmem_page(offset),
                                    gmem_page(end), state) << GMEM_PAGE_BITS;
}

/* The range lies in the block and its end does not overflow */
static bool gmem_block_contains(const GmemBlock *block, uint64_t offset,
                                uint64_t size)
{
    return offset <= block->size && size <= block->size - offset;
}

bool gmem_block_range_is(GmemBlock *block, uint64_t offset, uint64_t size,
                         GmemPageState state)
{
    return gmem_block_contains(block, offset, size) &&
           gmem_map_range_is(&block->map, gmem_page(offset),
                             DIV_ROUND_UP(offset + size, GMEM_PAGE_BYTES),
                             state);
}

int gmem_block_replay_private(GmemBlock *block, uint64_t offset, uint64_t size,
                              int (*fn)(void *opaque, uint64_t offset,
                                        uint64_t size), void *opaque)
{
    uint64_t end = offset + size;
    int ret = 0;

    assert(gmem_block_contains(block, offset, size));
    gmem_block_commit_lock(block);
    while (offset < end && !ret) {
        GmemPageState state;
        uint64_t next = gmem_block_run(block, offset, end, &state);

        if (state == GMEM_PAGE_PRIVATE) {
            ret = fn(opaque, offset, next - offset);
        }
        offset = next;
    }
    gmem_block_commit_unlock(block);
    return ret;
}
