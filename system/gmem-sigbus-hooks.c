/*
 * gmem: SIGBUS in QEMU's threads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  The base blocks SIGBUS everywhere but in vCPU threads, and reads it in the main
 * loop.  A touch that fails while SIGBUS is blocked kills the process, so here it is
 * blocked nowhere: new threads begin without (wiring/sigbus.cocci), and the main thread
 * unblocks it when the first in-place block comes.  An ordinary VM's stays as it was.
 *
 * What the base does about memory that failed relies on its own way: a vCPU thread is
 * interrupted, the main loop is not.  So a notice that interrupts the main thread
 * (BUS_MCEERR_AO) is put aside, and handed to the base's handler by the main loop; and
 * a thread that is no vCPU's and reads failed memory (BUS_MCEERR_AR) dies, as it does with
 * SIGBUS blocked.
 *
 * All of gmem_sigbus() runs in a signal handler.  It may have interrupted anything, unless a touch
 * brought it here.
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "qapi/error.h"
#include "qemu/event_notifier.h"
#include "qemu/main-loop.h"
#include "system/gmem-ram.h"
#include "system/gmem-sigbus.h"
#include "system/ramblock.h"
#include "gmem/trace.h"

/* Notices put aside.  The base keeps one, as the kernel does of a blocked signal */
#define MAX_NOTICES 16
/* Then the main loop has other things to do: a guest can have a device touch without end */
#define MAX_REPORTS 16

static EventNotifier wake_main_loop;
static bool is_armed;

/* A ring: the handler, in the main thread, adds; the main loop takes */
static siginfo_t notices[MAX_NOTICES];
static unsigned int notices_added, notices_taken;
/* The one that the main loop is handing over just now; main thread only */
static const siginfo_t *handing_over;

static bool put_aside(const siginfo_t *info)
{
    unsigned int added = qatomic_read(&notices_added);

    if (added - qatomic_read(&notices_taken) < MAX_NOTICES) {
        notices[added % MAX_NOTICES] = *info;
        qatomic_store_release(&notices_added, added + 1);
    }
    event_notifier_set(&wake_main_loop);
    return true;
}

static bool die(void)
{
    struct sigaction action = { .sa_handler = SIG_DFL };

    sigaction(SIGBUS, &action, NULL);
    raise(SIGBUS);      /* it comes when the handler returns */
    return true;
}

static bool recover(const void *addr)
{
    if (!gmem_sigbus_recover(addr)) {
        return false;
    }
    event_notifier_set(&wake_main_loop);
    return true;
}

bool gmem_sigbus(const siginfo_t *info)
{
    int saved = errno;
    bool done = false;

    if (info->si_code == BUS_ADRERR) {
        done = recover(info->si_addr);
    } else if (info->si_code == BUS_MCEERR_AR && !current_cpu) {
        done = die();
    } else if (info->si_code == BUS_MCEERR_AO && !current_cpu &&
               qatomic_read(&is_armed) && info != qatomic_read(&handing_over)) {
        done = put_aside(info);
    }
    errno = saved;
    return done;
}

/* To whoever handles SIGBUS now, as the base's main loop does it */
static void hand_over_notices(void)
{
    unsigned int taken = notices_taken;
    struct sigaction action;

    while (taken != qatomic_load_acquire(&notices_added)) {
        siginfo_t info = notices[taken % MAX_NOTICES];

        qatomic_set(&notices_taken, ++taken);
        sigaction(SIGBUS, NULL, &action);
        if (action.sa_flags & SA_SIGINFO) {
            qatomic_set(&handing_over, &info);
            action.sa_sigaction(SIGBUS, &info, NULL);
            qatomic_set(&handing_over, NULL);
        }
    }
}

static void report_touches(void)
{
    GmemSigbusReport report;
    unsigned int i;

    for (i = 0; i < MAX_REPORTS; i++) {
        if (!gmem_sigbus_next_report(&report)) {
            return;
        }
        trace_gmem_sigbus_touched(gmem_block_id(report.block), report.offset,
                                  report.touches);
        gmem_access_deny(report.block, report.offset, 1, "kept-pointer",
                         report.touches);
        gmem_block_unref(report.block);
    }
    /* Perhaps there is more */
    event_notifier_set(&wake_main_loop);
}

static void main_loop_woken(EventNotifier *notifier)
{
    event_notifier_test_and_clear(notifier);
    hand_over_notices();
    report_touches();
}

static bool arm(Error **errp)
{
    sigset_t set;
    int ret = event_notifier_init(&wake_main_loop, false);

    if (ret) {
        error_setg_errno(errp, -ret, "cannot watch for touches of private "
                         "memory");
        return false;
    }
    event_notifier_set_handler(&wake_main_loop, main_loop_woken);
    qatomic_set(&is_armed, true);
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return true;
}

bool gmem_sigbus_watch(RAMBlock *rb, Error **errp)
{
    int ret;

    g_assert(qemu_get_thread_id() == getpid());
    if (!is_armed && !arm(errp)) {
        return false;
    }
    ret = gmem_sigbus_add(gmem_from_ramblock(rb), rb->host, rb->max_length);
    if (ret) {
        error_setg_errno(errp, -ret, "cannot watch for touches of private "
                         "memory");
        return false;
    }
    return true;
}
