/*
 * gmem in the monitor: conversions that the host asks for
 *
 * A *job* is one gmem-convert.  A thread of its own runs it in steps, each one
 * transaction of the engine, so that it shows progress, ends between steps when
 * it is cancelled, and keeps no guest waiting for long.  It is no worker of the main
 * loop's pool, because a job may wait for an hour and block I/O needs the workers.
 *
 * The main thread owns the list of jobs and everything in a job but what the
 * job's thread writes: @converted (any thread may read it meanwhile) and @error (read
 * after the thread has ended).  The main thread writes @cancelled, the job's
 * reads it.  The engine sleeps without the BQL here, which is the rule for
 * everybody who waits for a range.
 *
 * A job keeps the engine's block, not its RAM: where that is deleted or unplugged
 * meanwhile, the block is retired and the job's next step is refused.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/coroutine.h"
#include "qemu/units.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "block/aio.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-gmem.h"
#include "qapi/qapi-events-gmem-events.h"
#include "gmem/trace.h"
#include "gmem-qmp.h"

/* A step: some milliseconds of kernel work, and small against any VM */
#define JOB_STEP (64 * MiB)

/* An hour.  Longer waits are mistakes, and would outlive their client. */
#define JOB_MAX_TIMEOUT_MS (3600 * 1000)

typedef struct GmemJob {
    uint64_t number;
    GmemBlock *block;
    uint64_t offset;
    uint64_t size;
    GmemPageState to;
    uint32_t timeout_ms;
    Coroutine *waiter;              /* NULL: the client does not wait */
    GmemConversionInfo **result;    /* the waiter's */
    aligned_uint64_t converted;
    bool cancelled;
    char *error;
    QTAILQ_ENTRY(GmemJob) next;
} GmemJob;

static QTAILQ_HEAD(, GmemJob) jobs = QTAILQ_HEAD_INITIALIZER(jobs);
static unsigned int nr_jobs;
static uint64_t last_number;
static bool shut_down;

/* Threads that may still call the engine; leaves before the main loop hears of it */
static QemuMutex running_lock;
static QemuCond none_runs;
static unsigned int nr_running;

static void __attribute__((constructor)) running_init(void)
{
    qemu_mutex_init(&running_lock);
    qemu_cond_init(&none_runs);
}

static void job_free(GmemJob *job)
{
    gmem_block_unref(job->block);
    g_free(job->error);
    g_free(job);
}

static GmemConversionInfo *job_info(GmemJob *job, bool ended)
{
    GmemConversionInfo *info = g_new0(GmemConversionInfo, 1);

    info->conversion = job->number;
    info->id = g_strdup(gmem_block_id(job->block));
    info->offset = job->offset;
    info->size = job->size;
    info->state = gmem_qmp_state(job->to);
    info->converted = qatomic_read_u64(&job->converted);
    info->error = ended ? g_strdup(job->error) : NULL;
    return info;
}

GmemConversionInfoList *gmem_qmp_conversions(void)
{
    GmemConversionInfoList *list = NULL, **tail = &list;
    GmemJob *job;

    QTAILQ_FOREACH(job, &jobs, next) {
        QAPI_LIST_APPEND(tail, job_info(job, false));
    }
    return list;
}

void gmem_qmp_cancel_all(void)
{
    GmemJob *job;

    QTAILQ_FOREACH(job, &jobs, next) {
        qatomic_set(&job->cancelled, true);
    }
}

void gmem_qmp_wait_all(void)
{
    QEMU_LOCK_GUARD(&running_lock);
    while (nr_running) {
        qemu_cond_wait(&none_runs, &running_lock);
    }
}

void gmem_qmp_shut_down(void)
{
    shut_down = true;
    gmem_qmp_cancel_all();
}

void qmp_gmem_convert_cancel(uint64_t conversion, Error **errp)
{
    GmemJob *job;

    QTAILQ_FOREACH(job, &jobs, next) {
        if (job->number == conversion) {
            qatomic_set(&job->cancelled, true);
            return;
        }
    }
    error_setg(errp, "No conversion %" PRIu64 " is running; query-gmem lists"
               " those that are", conversion);
}

static bool job_cancelled(void *opaque)
{
    GmemJob *job = opaque;

    return qatomic_read(&job->cancelled);
}

/*
 * The engine refuses the step that would pass the limit; finding that out
 * before the first one spares the caller half a conversion.
 */
static bool job_passes_limit(GmemJob *job, uint64_t offset)
{
    uint64_t limit = gmem_block_shared_limit(job->block);
    uint64_t shared = gmem_block_shared_bytes(job->block);
    uint64_t end = job->offset + job->size;
    uint64_t need;

    if (!limit || job->to != GMEM_PAGE_SHARED) {
        return false;
    }
    if (shared <= limit && end - offset <= limit - shared) {
        return false;
    }
    need = gmem_block_count(job->block, offset, end - offset,
                            GMEM_PAGE_PRIVATE);
    return need && (shared > limit || need > limit - shared);
}

static char *limit_error(GmemJob *job)
{
    return g_strdup_printf("gmem block '%s' may share 0x%" PRIx64 " bytes at"
                           " once (shared-limit) and shares 0x%" PRIx64
                           " already", gmem_block_id(job->block),
                           gmem_block_shared_limit(job->block),
                           gmem_block_shared_bytes(job->block));
}

static char *busy_error(GmemJob *job, const GmemRequest *req)
{
    const char *holder = req->stalled_holder;

    return g_strdup_printf("gmem block '%s': the page at 0x%" PRIx64
                           " was still busy after %" PRIu32 " ms%s%s",
                           gmem_block_id(job->block), req->stalled_offset,
                           job->timeout_ms, holder ? ", used by " : "",
                           holder ?: "");
}

static char *step_error(GmemJob *job, const GmemRequest *req, int ret)
{
    const char *id = gmem_block_id(job->block);

    if (gmem_block_is_broken(job->block)) {
        return g_strdup_printf("gmem block '%s' is broken", id);
    }
    switch (ret) {
    case -EAGAIN:
        return busy_error(job, req);
    case -EINTR:
        return g_strdup("cancelled");
    case -EINVAL:
        if (job_passes_limit(job, req->segments[0].offset)) {
            return limit_error(job);
        }
        return g_strdup_printf("gmem block '%s' takes no conversions any more",
                               id);
    default:
        return g_strdup_printf("gmem block '%s': the kernel failed to convert"
                               " 0x%" PRIx64 " bytes at 0x%" PRIx64 ", which"
                               " stay as they were; query-gmem has its answer"
                               " as last-error", id, req->segments[0].size,
                               req->segments[0].offset);
    }
}

static bool job_step(GmemJob *job, uint64_t offset, uint64_t size)
{
    GmemSegment segment = {
        .block = job->block, .offset = offset, .size = size,
    };
    GmemRequest req = {
        .segments = &segment, .nr_segments = 1, .to = job->to,
        .timeout_ms = job->timeout_ms, .kicked = job_cancelled, .opaque = job,
        .stalled_offset = offset,
    };
    int ret = gmem_convert_request(&req);

    trace_gmem_qmp_convert_step(job->number, offset, size, ret);
    if (ret) {
        job->error = step_error(job, &req, ret);
    }
    g_free(req.stalled_holder);
    return !ret;
}

/* Without the BQL */
static void job_run(GmemJob *job)
{
    uint64_t offset = job->offset;
    uint64_t end = job->offset + job->size;

    if (job_passes_limit(job, offset)) {
        job->error = limit_error(job);
        return;
    }
    while (offset < end) {
        uint64_t next = MIN(end, QEMU_ALIGN_DOWN(offset, JOB_STEP) + JOB_STEP);

        if (job_cancelled(job)) {
            job->error = g_strdup("cancelled");
            return;
        }
        if (!job_step(job, offset, next - offset)) {
            return;
        }
        offset = next;
        qatomic_set_u64(&job->converted, offset - job->offset);
    }
}

/* In the main loop, when the job's thread is done with it */
static void job_ended(void *opaque)
{
    GmemJob *job = opaque;
    GmemConversionInfo *info = job_info(job, true);
    Coroutine *waiter = job->waiter;

    trace_gmem_qmp_convert_end(job->number, info->converted, info->error ?: "");
    QTAILQ_REMOVE(&jobs, job, next);
    nr_jobs--;
    qapi_event_send_gmem_convert_completed(info);
    if (waiter) {
        *job->result = info;
    } else {
        qapi_free_GmemConversionInfo(info);
    }
    job_free(job);
    if (waiter) {
        aio_co_wake(waiter);
    }
}

static void *job_thread(void *opaque)
{
    /* a holder's begin() may use RCU */
    rcu_register_thread();
    job_run(opaque);
    WITH_QEMU_LOCK_GUARD(&running_lock) {
        if (!--nr_running) {
            qemu_cond_broadcast(&none_runs);
        }
    }
    aio_bh_schedule_oneshot(qemu_get_aio_context(), job_ended, opaque);
    rcu_unregister_thread();
    return NULL;
}

static void job_start(GmemJob *job)
{
    QemuThread thread;

    WITH_QEMU_LOCK_GUARD(&running_lock) {
        nr_running++;
    }
    qemu_thread_create(&thread, "gmem-convert", job_thread, job,
                       QEMU_THREAD_DETACHED);
}

static bool check_block(GmemBlock *block, Error **errp)
{
    const char *id = gmem_block_id(block);

    if (gmem_block_is_broken(block)) {
        error_setg(errp, "gmem block '%s' is broken: undoing a conversion"
                   " failed, and it takes no further ones", id);
        return false;
    }
    if (gmem_block_mode(block) == GMEM_BLOCK_MODE_NONE) {
        error_setg(errp, "gmem block '%s' is in mode none: all of it is shared"
                   " and stays so; only a VM with private memory has blocks in"
                   " mode split or in-place, which can be converted", id);
        return false;
    }
    if (gmem_block_is_closed(block)) {
        error_setg(errp, "gmem block '%s' takes no conversions until all its"
                   " pages have their initial state again, and a device uses"
                   " it", id);
        return false;
    }
    return gmem_qmp_host_may_convert(errp);
}

static bool check_request(GmemBlock *block, uint64_t offset, uint64_t size,
                          bool has_timeout, uint32_t timeout, Error **errp)
{
    if (!gmem_qmp_check_range(block, offset, size, errp)) {
        return false;
    }
    if (has_timeout && (!timeout || timeout > JOB_MAX_TIMEOUT_MS)) {
        error_setg(errp, "gmem-convert takes a timeout of 1 to %d ms, not"
                   " %" PRIu32, JOB_MAX_TIMEOUT_MS, timeout);
        return false;
    }
    if (!check_block(block, errp)) {
        return false;
    }
    if (shut_down) {
        error_setg(errp, "QEMU is ending and begins no conversion of gmem block"
                   " '%s' any more", gmem_block_id(block));
        return false;
    }
    if (nr_jobs >= GMEM_QMP_MAX_JOBS) {
        error_setg(errp, "%d conversions are running, which is the most; wait"
                   " for GMEM_CONVERT_COMPLETED or use gmem-convert-cancel",
                   GMEM_QMP_MAX_JOBS);
        return false;
    }
    return true;
}

/* Takes over the caller's reference to @block */
static GmemJob *job_new(GmemBlock *block, uint64_t offset, uint64_t size,
                        GmemPageState to, uint32_t timeout_ms)
{
    GmemJob *job = g_new0(GmemJob, 1);

    job->number = ++last_number;
    job->block = block;
    job->offset = offset;
    job->size = size;
    job->to = to;
    job->timeout_ms = timeout_ms;
    QTAILQ_INSERT_TAIL(&jobs, job, next);
    nr_jobs++;
    trace_gmem_qmp_convert_start(job->number, gmem_block_id(block), offset,
                                 size, GmemState_str(gmem_qmp_state(to)),
                                 timeout_ms);
    return job;
}

GmemConversionInfo *coroutine_fn
qmp_gmem_convert(const char *id, uint64_t offset, uint64_t size,
                 GmemState state, bool has_timeout, uint32_t timeout,
                 bool has_wait, bool wait, Error **errp)
{
    GmemPageState to = state == GMEM_STATE_SHARED ? GMEM_PAGE_SHARED
                                                  : GMEM_PAGE_PRIVATE;
    GmemBlock *block = gmem_qmp_find(id, errp);
    GmemConversionInfo *result = NULL;
    GmemJob *job;

    if (!block) {
        return NULL;
    }
    if (!check_request(block, offset, size, has_timeout, timeout, errp)) {
        gmem_block_unref(block);
        return NULL;
    }
    job = job_new(block, offset, size, to,
                  has_timeout ? timeout : gmem_block_timeout_ms(block));
    if (!has_wait || !wait) {
        result = job_info(job, false);
    } else {
        job->waiter = qemu_coroutine_self();
        job->result = &result;
    }
    job_start(job);
    while (!result) {
        qemu_coroutine_yield();
    }
    return result;
}
