/*
 * Preallocation of guest memory, on the side where the guest will use it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Memory that starts shared is preallocated through its mapping, by
 * QEMU's own qemu_prealloc_mem().  Memory that starts private cannot be touched, so
 * its guest_memfd is told to allocate: the range is cut into chunks, and threads take
 * one chunk after the other.  In mode split a guest_memfd has no mapping to bind a NUMA
 * policy to; its pages follow the policy of the thread that allocates them.
 *
 * A page on the wrong side would be held twice, so all of it must have its initial
 * state, and no vCPU may be about to change that.  In mode in-place there are no sides: the
 * guest_memfd is told to allocate, at any time, whatever is private just then.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/thread.h"
#include "qemu/thread-context.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "exec/cpu-common.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "system/ramblock.h"
#include "system/runstate.h"

#ifdef CONFIG_NUMA
#include <numa.h>
#include <numaif.h>
#endif

/* Large enough to make the calls cheap, small enough to share out evenly */
#define PREALLOC_CHUNK (64 * MiB)
/* Said only where people wait for it */
#define PREALLOC_REPORT (10 * NANOSECONDS_PER_SECOND)

typedef struct GmemPrealloc {
    int fd;
    uint64_t size;
    uint64_t next;              /* atomic; offset of the first chunk not taken */
    uint64_t done;              /* atomic; bytes allocated */
    int error;                  /* atomic; the first errno */
    int64_t report_ns;          /* atomic; when to tell of progress next */
    const char *name;
    HostMemoryBackend *backend;
} GmemPrealloc;

static HostMemoryBackend *owner(RAMBlock *rb)
{
    return (HostMemoryBackend *)object_dynamic_cast(rb->mr->owner,
                                                    TYPE_MEMORY_BACKEND);
}

static int allocate(int fd, uint64_t offset, uint64_t size)
{
    while (fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, size)) {
        if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

#ifdef CONFIG_NUMA
/* policy=preferred may name several nodes; only the newer mode minds them all */
static int policy_mode(HostMemPolicy policy)
{
#ifdef HAVE_NUMA_HAS_PREFERRED_MANY
    if (policy == HOST_MEM_POLICY_PREFERRED && numa_has_preferred_many() > 0) {
        return MPOL_PREFERRED_MANY;
    }
#endif
    return policy;
}
#endif

static int bind_thread(GmemPrealloc *p)
{
#ifdef CONFIG_NUMA
    HostMemoryBackend *backend = p->backend;
    unsigned long last;

    if (!backend || backend->policy == HOST_MEM_POLICY_DEFAULT) {
        return 0;
    }
    last = find_last_bit(backend->host_nodes, MAX_NODES);
    /* one more bit than there are nodes: the kernel cuts the last one off */
    if (last < MAX_NODES &&
        set_mempolicy(policy_mode(backend->policy), backend->host_nodes,
                      last + 2)) {
        return errno;
    }
#endif
    return 0;
}

static void report(GmemPrealloc *p)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    int64_t due = qatomic_read(&p->report_ns);

    if (now < due || qatomic_cmpxchg(&p->report_ns, due,
                                     now + PREALLOC_REPORT) != due) {
        return;
    }
    info_report("preallocating guest_memfd of '%s': %" PRIu64 " of %" PRIu64
                " MiB", p->name, qatomic_read(&p->done) / MiB, p->size / MiB);
}

static void *prealloc_thread(void *opaque)
{
    GmemPrealloc *p = opaque;
    int error = bind_thread(p);

    while (!error && !qatomic_read(&p->error)) {
        uint64_t offset = qatomic_fetch_add(&p->next, PREALLOC_CHUNK);
        uint64_t size;

        if (offset >= p->size) {
            return NULL;
        }
        size = MIN(PREALLOC_CHUNK, p->size - offset);
        error = allocate(p->fd, offset, size);
        qatomic_add(&p->done, size);
        report(p);
    }
    qatomic_cmpxchg(&p->error, 0, error);
    return NULL;
}

static void run_threads(GmemPrealloc *p, int nr, ThreadContext *tc)
{
    g_autofree QemuThread *threads = g_new0(QemuThread, nr);

    for (int i = 0; i < nr; i++) {
        if (tc) {
            thread_context_create_thread(tc, &threads[i], "gmem-prealloc",
                                         prealloc_thread, p,
                                         QEMU_THREAD_JOINABLE);
        } else {
            qemu_thread_create(&threads[i], "gmem-prealloc", prealloc_thread,
                               p, QEMU_THREAD_JOINABLE);
        }
    }
    for (int i = 0; i < nr; i++) {
        qemu_thread_join(&threads[i]);
    }
}

static bool prealloc_gmem(RAMBlock *rb, size_t size, int max_threads,
                             ThreadContext *tc, Error **errp)
{
    uint64_t chunks = DIV_ROUND_UP(size, PREALLOC_CHUNK);
    GmemPrealloc p = {
        .fd = rb->guest_memfd,
        .size = size,
        .name = memory_region_name(rb->mr),
        .report_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + PREALLOC_REPORT,
        .backend = owner(rb),
    };

    run_threads(&p, MAX(1, MIN(max_threads, chunks)), tc);
    if (p.error) {
        error_setg_errno(errp, p.error, "cannot preallocate %zu bytes of "
                         "guest_memfd for '%s'", size, p.name);
        return false;
    }
    return true;
}

/* A new backend always passes; one whose prealloc is set later may not */
static bool check_initial(GmemBlock *block, RAMBlock *rb, Error **errp)
{
    HostMemoryBackend *backend = owner(rb);
    const char *why;

    if (backend && host_memory_backend_is_mapped(backend) &&
        runstate_is_running()) {
        why = "the guest may convert pages of it meanwhile";
    } else if (!gmem_block_range_is(block, 0, gmem_block_size(block),
                                    gmem_block_initial(block))) {
        why = gmem_block_initial(block) == GMEM_PAGE_SHARED ?
            "pages of it have been converted to private" :
            "pages of it have been converted to shared";
    } else {
        return true;
    }
    error_setg(errp, "memory '%s' cannot be preallocated now: %s",
               gmem_block_id(block), why);
    error_append_hint(errp, "Give prealloc=on when the backend is made, or set "
                      "it while the VM is stopped and has just been reset.\n");
    return false;
}

bool gmem_prealloc_mem(int fd, char *area, size_t size, int max_threads,
                       ThreadContext *tc, bool async, Error **errp)
{
    ram_addr_t offset;
    RAMBlock *rb = qemu_ram_block_from_host(area, false, &offset);
    GmemBlock *block = rb ? gmem_from_ramblock(rb) : NULL;
    GmemBlockMode mode = block ? gmem_block_mode(block) : GMEM_BLOCK_MODE_NONE;

    if (mode == GMEM_BLOCK_MODE_IN_PLACE) {
        return prealloc_gmem(rb, size, max_threads, tc, errp);
    }
    if (mode == GMEM_BLOCK_MODE_SPLIT && !check_initial(block, rb, errp)) {
        return false;
    }
    if (mode == GMEM_BLOCK_MODE_NONE ||
        gmem_block_initial(block) == GMEM_PAGE_SHARED) {
        return qemu_prealloc_mem(fd, area, size, max_threads, tc, async, errp);
    }
    return prealloc_gmem(rb, size, max_threads, tc, errp);
}
