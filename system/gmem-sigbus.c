/*
 * gmem: sinks for touches of private pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in system/gmem-sigbus.h.  The handler and everybody else work on one small
 * table under one lock, which works in a signal handler: a word and a futex.  A thread that has the
 * lock touches no guest memory, so the handler never waits for its own thread.
 *
 * A conversion must not miss a sink that a handler is about to put.  The handler says that it
 * is there (`busy`) and then asks the kernel about the page; the conversion has the
 * kernel change the page and then looks at `busy`.  One of the two always sees the other: either
 * the kernel tells the handler that the page is shared, or the conversion waits
 * for the handler's lock and finds the sink.
 *
 * mremap() with MREMAP_FIXED and mmap() with MAP_FIXED replace what is at the address in one
 * step, so no other thread ever finds a hole there.  MREMAP_DONTUNMAP leaves a mapping behind,
 * so that a parking place is never free for others to map something.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/futex.h"
#include "system/gmem-sigbus.h"

#include <sys/mman.h>

#define PAGE_BYTES 4096
/*
 * An instruction needs a handful at once, a screen in guest memory several hundred.  Each
 * costs up to four mappings of the process's 65530.
 */
#define MAX_SINKS 256

typedef struct GmemSigbusMapping {
    uint8_t *host;
    size_t size;
    GmemBlock *block;
    uint64_t touches;           /* since the last report */
    uint64_t offset;            /* of the last one */
    QTAILQ_ENTRY(GmemSigbusMapping) next;
} GmemSigbusMapping;

/* 0: free, 1: taken, 2: taken, and perhaps somebody waits */
static unsigned int lock_word;
/* Sinks, and handlers that may put one; atomic */
static unsigned int busy;

/* Guarded by the lock.  The one that was reported last is the last one */
static QTAILQ_HEAD(, GmemSigbusMapping) mappings =
    QTAILQ_HEAD_INITIALIZER(mappings);
static uint8_t *sinks[MAX_SINKS];       /* where each is, or NULL */
static unsigned int next_sink;          /* the free one, or the oldest */
/* Where the mapping that belongs to each sink's place is meanwhile; for good once made */
static uint8_t (*parking)[PAGE_BYTES];

static void lock(void)
{
    unsigned int was = qatomic_cmpxchg(&lock_word, 0, 1);

    while (was) {
        was = qatomic_xchg(&lock_word, 2);
        if (was) {
            qemu_futex_wait(&lock_word, 2);
        }
    }
}

static void unlock(void)
{
    if (qatomic_xchg(&lock_word, 0) == 2) {
        qemu_futex_wake_single(&lock_word);
    }
}

/* Map a page of zeros at @at, instead of what is there if MAP_FIXED.  0 or -errno */
static int map_zeros(uint8_t *at, int protection, int fixed)
{
    return mmap(at, PAGE_BYTES, protection,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1,
                0) == MAP_FAILED ? -errno : 0;
}

/*
 * Map the page at @from at @to instead of what is there.  0; or -errno, and what is there may be
 * a page of zeros with @protection then: the kernel may fail after it has unmapped.
 */
static int move_mapping(uint8_t *from, uint8_t *to, int protection)
{
    int ret;

    if (mremap(from, PAGE_BYTES, PAGE_BYTES,
               MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
               to) != MAP_FAILED) {
        return 0;
    }
    ret = -errno;
    map_zeros(to, protection, MAP_FIXED_NOREPLACE);
    return ret;
}

static void forget_sink(unsigned int i)
{
    /*
     * The copy that is left in the parking place would keep the guest_memfd; should this fail,
     * until the place is used again.
     */
    map_zeros(parking[i], PROT_NONE, MAP_FIXED);
    sinks[i] = NULL;
    qatomic_dec(&busy);
}

static int remove_sink(unsigned int i)
{
    int ret = move_mapping(parking[i], sinks[i], PROT_READ | PROT_WRITE);

    if (!ret) {
        forget_sink(i);
    }
    return ret;
}

static int put_sink(uint8_t *page)
{
    unsigned int i = next_sink;
    int ret = sinks[i] ? remove_sink(i) : 0;

    ret = ret ?: move_mapping(page, parking[i], PROT_NONE);
    if (ret) {
        return ret;
    }
    ret = map_zeros(page, PROT_READ | PROT_WRITE, MAP_FIXED);
    if (ret) {
        map_zeros(parking[i], PROT_NONE, MAP_FIXED);
        return ret;
    }
    sinks[i] = page;
    next_sink = (i + 1) % MAX_SINKS;
    qatomic_inc(&busy);
    return 0;
}

/*
 * Does the kernel refuse the page now?  A page that was shared meanwhile, or got a sink, can be
 * read.  No memory, and memory that failed, are no reasons for a sink: touching it
 * again leads to what the kernel does about those.
 */
static bool is_refused(uint8_t *page)
{
    return madvise(page, PAGE_BYTES, MADV_POPULATE_READ) && errno == EFAULT;
}

static GmemSigbusMapping *find_mapping(const uint8_t *addr)
{
    GmemSigbusMapping *m;

    QTAILQ_FOREACH(m, &mappings, next) {
        if (addr >= m->host && addr - m->host < m->size) {
            return m;
        }
    }
    return NULL;
}

static bool recover(const uint8_t *addr)
{
    GmemSigbusMapping *m = find_mapping(addr);
    uint8_t *page;

    if (!m) {
        return false;
    }
    page = m->host + QEMU_ALIGN_DOWN(addr - m->host, PAGE_BYTES);
    if (is_refused(page)) {
        if (put_sink(page)) {
            return false;
        }
        m->touches++;
        m->offset = addr - m->host;
    }
    return true;
}

bool gmem_sigbus_recover(const void *addr)
{
    int saved = errno;
    bool recovered;

    qatomic_inc(&busy);
    smp_mb__after_rmw();
    lock();
    recovered = recover(addr);
    unlock();
    qatomic_dec(&busy);
    errno = saved;
    return recovered;
}

int gmem_sigbus_restore(const void *host, size_t size)
{
    const uint8_t *start = host;
    unsigned int i;
    int err, ret = 0;

    smp_mb();
    if (likely(!qatomic_read(&busy))) {
        return 0;
    }
    lock();
    for (i = 0; i < MAX_SINKS; i++) {
        if (sinks[i] >= start && sinks[i] - start < size) {
            err = remove_sink(i);
            ret = ret ?: err;
        }
    }
    unlock();
    return ret;
}

/* Locked */
static int make_parking(void)
{
    void *area;

    if (parking) {
        return 0;
    }
    area = mmap(NULL, MAX_SINKS * PAGE_BYTES, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) {
        return -errno;
    }
    parking = area;
    return 0;
}

int gmem_sigbus_add(GmemBlock *block, void *host, size_t size)
{
    GmemSigbusMapping *m = g_new0(GmemSigbusMapping, 1);
    int ret;

    g_assert(QEMU_IS_ALIGNED((uintptr_t)host | size, PAGE_BYTES));
    *m = (GmemSigbusMapping) { .host = host, .size = size, .block = block };
    lock();
    ret = make_parking();
    if (!ret) {
        gmem_block_ref(block);
        QTAILQ_INSERT_HEAD(&mappings, m, next);
    }
    unlock();
    if (ret) {
        g_free(m);
    }
    return ret;
}

/* Off the table with all its sinks; the caller frees it */
static GmemSigbusMapping *take_mapping(GmemBlock *block)
{
    GmemSigbusMapping *m;
    unsigned int i;

    QTAILQ_FOREACH(m, &mappings, next) {
        if (m->block == block) {
            break;
        }
    }
    if (!m) {
        return NULL;
    }
    for (i = 0; i < MAX_SINKS; i++) {
        if (sinks[i] && find_mapping(sinks[i]) == m) {
            forget_sink(i);
        }
    }
    QTAILQ_REMOVE(&mappings, m, next);
    return m;
}

void gmem_sigbus_remove(GmemBlock *block)
{
    GmemSigbusMapping *m;

    lock();
    m = take_mapping(block);
    unlock();
    if (m) {
        gmem_block_unref(m->block);
        g_free(m);
    }
}

bool gmem_sigbus_next_report(GmemSigbusReport *report)
{
    GmemSigbusMapping *m;

    lock();
    QTAILQ_FOREACH(m, &mappings, next) {
        if (m->touches) {
            break;
        }
    }
    if (m) {
        gmem_block_ref(m->block);
        *report = (GmemSigbusReport) {
            .block = m->block, .offset = m->offset, .touches = m->touches,
        };
        m->touches = 0;
        QTAILQ_REMOVE(&mappings, m, next);
        QTAILQ_INSERT_TAIL(&mappings, m, next);
    }
    unlock();
    return m;
}
