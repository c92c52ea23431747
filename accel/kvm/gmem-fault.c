/*
 * gmem on KVM: memory faults
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A memory fault says that a vCPU cannot go on until a page has the
 * state that it expects.  It is answered by a conversion and by running the vCPU
 * again.  There is no way to tell the guest "no": a fault that no conversion
 * resolves comes back at once, for ever.  So a fault that fails, or that comes
 * back though its conversion worked, waits longer each time, is reported, and
 * the machine's on-fault policy decides whether there is a next time.
 *
 * Guests of SNP and TDX have a view of their own of which pages are private, and the fault
 * tells it.  A sw-protected guest has none: KVM looks the state up, twice, and
 * exits when a conversion came between.  That fault tells the state of before, which
 * nobody wants back; running the vCPU again resolves it.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "qapi/qapi-events-run-state.h"
#include "system/gmem-kvm.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "system/runstate.h"
#include "gmem-vcpu.h"
#include "gmem/trace.h"

#include <linux/kvm.h>

/*
 * Two vCPUs may fight over a page, each conversion undoing the other's: past the
 * first count that is slowed down, and past the second, some 15 seconds later,
 * taken for a fault that conversions do not resolve.
 */
#define REPEATS_FREE 16
#define REPEATS_HOPELESS 40
#define DELAY_MAX_MS 1000
/* One slice of a delay: how late a kick may be noticed */
#define DELAY_SLICE_US 2000
/* A fault that comes back later than this is a new one */
#define REPEAT_NS (2 * DELAY_MAX_MS * SCALE_MS)
#define EVENT_NS (1000 * SCALE_MS)

static __thread GmemFault last;

/* Count how often this fault came in a row */
static void remember(const struct kvm_run *run)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    bool same = last.repeats && last.gpa == run->memory_fault.gpa &&
                last.flags == run->memory_fault.flags &&
                now - last.seen_ns < REPEAT_NS;

    last.gpa = run->memory_fault.gpa;
    last.flags = run->memory_fault.flags;
    last.seen_ns = now;
    if (same) {
        last.repeats++;
    } else {
        last.repeats = 1;
        last.delay_ms = 0;
    }
}

/* Sleep, longer each time.  False when a kick cut it short */
static bool back_off(CPUState *cpu)
{
    int64_t end;

    last.delay_ms = MIN(MAX(1, last.delay_ms * 2), DELAY_MAX_MS);
    end = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + last.delay_ms * SCALE_MS;
    while (qemu_clock_get_ns(QEMU_CLOCK_REALTIME) < end) {
        if (gmem_vcpu_kicked(cpu)) {
            return false;
        }
        g_usleep(DELAY_SLICE_US);
    }
    last.seen_ns = end;
    return true;
}

/* At most one per second, VM and @next_ns, whatever the guest does */
static bool may_report(int64_t *next_ns)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    int64_t next = qatomic_read_i64(next_ns);

    return now >= next &&
           qatomic_cmpxchg(next_ns, next, now + EVENT_NS) == next;
}

/*
 * Memory of the host has gone bad.  The guest can cause the other faults at will,
 * so they must not use up what this one needs to be heard.
 */
static void report_poison(void)
{
    static int64_t next_ns;
    MemoryFailureFlags flags = { .action_required = true };

    if (may_report(&next_ns)) {
        qapi_event_send_memory_failure(MEMORY_FAILURE_RECIPIENT_GUEST,
                                       MEMORY_FAILURE_ACTION_IGNORE, &flags);
    }
}

static void report(int ret, int run_errno)
{
    static int64_t next_ns;

    if (run_errno == EHWPOISON) {
        report_poison();
    }
    if (!may_report(&next_ns)) {
        return;
    }
    if (last.gpa == GMEM_FAULT_SOMEWHERE) {
        warn_report_once("gmem: the guest uses private memory through a "
                         "read-only view of it, and cannot go on; further "
                         "cases are traced only");
        return;
    }
    warn_report_once("gmem: a memory fault of the guest at 0x%" PRIx64
                     " (flags 0x%" PRIx64 ") cannot be resolved: %s; "
                     "further ones are traced only", last.gpa, last.flags,
                     strerror(run_errno ?: -ret));
    gmem_notify_fault(last.gpa);
}

/* False: the vCPU goes on trying */
static bool apply_policy(void)
{
    switch (gmem_machine_on_fault(current_machine)) {
    case GMEM_ON_FAULT_PAUSE:
        bql_lock();
        vm_stop(RUN_STATE_PAUSED);
        bql_unlock();
        return true;
    case GMEM_ON_FAULT_SHUTDOWN:
        qemu_system_shutdown_request(SHUTDOWN_CAUSE_HOST_ERROR);
        return true;
    default:
        return false;
    }
}

/* The fault may come back: make it cost the guest, not the host */
static int slow_down(CPUState *cpu)
{
    return back_off(cpu) ? 0 : gmem_vcpu_leave(cpu);
}

static int unresolved(CPUState *cpu, int ret, int run_errno)
{
    report(ret, run_errno);
    if (apply_policy()) {
        return gmem_vcpu_leave(cpu);
    }
    return slow_down(cpu);
}

/* Does the guest take each page for what KVM has it for? */
static bool follows_kvm(const MachineState *machine)
{
    return gmem_machine_has_private_memory(machine) &&
           !gmem_machine_is_launched(machine);
}

/* Returns 0 or -errno of the conversion that the fault asks for */
static int convert(CPUState *cpu, const struct kvm_run *run, int run_errno)
{
    uint64_t flags = run->memory_fault.flags;

    if (run_errno || flags & ~(uint64_t)KVM_MEMORY_EXIT_FLAG_PRIVATE) {
        return -EINVAL;
    }
    if (follows_kvm(current_machine)) {
        return 0;
    }
    return gmem_convert(run->memory_fault.gpa, run->memory_fault.size,
                        flags & KVM_MEMORY_EXIT_FLAG_PRIVATE,
                        gmem_vcpu_kicked, cpu);
}

int gmem_fault_handle(CPUState *cpu, struct kvm_run *run, int run_errno)
{
    int ret;

    remember(run);
    ret = convert(cpu, run, run_errno);
    trace_gmem_fault(cpu->cpu_index, last.gpa, run->memory_fault.size,
                     last.flags, run_errno, ret, last.repeats);
    if (ret == -EINTR) {
        /* The conversion comes again because of the kick: no sign of a fight */
        last.repeats--;
        return gmem_vcpu_leave(cpu);
    }
    if (ret || last.repeats > REPEATS_HOPELESS) {
        return unresolved(cpu, ret ?: -EFAULT, run_errno);
    }
    return last.repeats > REPEATS_FREE ? slow_down(cpu) : 0;
}
