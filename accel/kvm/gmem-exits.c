/*
 * gmem on KVM: exits that ask for another page state
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A guest asks by hypercall (KVM_HC_MAP_GPA_RANGE), which has a
 * return value, or by touching a page in the wrong state (a memory fault, see
 * gmem-fault.c), which has none.  A conversion may have to wait; a vCPU that is
 * kicked meanwhile stops waiting and leaves the run loop with the hypercall
 * *pending*.  It is taken up again before KVM next runs the guest, because KVM
 * completes the hypercall with whatever is in kvm_run then.  For the same
 * reason a reset or INIT lets KVM complete a pending hypercall before the
 * registers get their new values: else the completion would change those.  So does
 * unplug, because KVM keeps the vCPU, and a new one may take it over.
 *
 * All state is the vCPU thread's own: its exits, its run loop, and resets, which
 * run_on_cpu() brings to it.
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "standard-headers/linux/kvm_para.h"
#include "system/gmem-kvm.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "system/kvm.h"
#include "gmem-vcpu.h"
#include "gmem/trace.h"

#include <linux/kvm.h>

#define HC_PAGE_BITS 12
/* KVM_MAP_GPA_RANGE_*: bits 3:0 are a hint about page sizes */
#define HC_ATTR_PRIVATE (1 << 4)
#define HC_ATTR_KNOWN 0x1f

/*
 * What is mapped at once after a conversion, in one hypercall.  The guest
 * faults in the rest as it comes to it; more would let it hold up its vCPU.
 */
#define PRE_FAULT_MAX (16 * MiB)

typedef struct PendingHypercall {
    bool active;
    bool to_private;
    uint64_t gpa;
    uint64_t size;
    int64_t started_ns;
} PendingHypercall;

static __thread PendingHypercall pending;
static __thread int run_errno;

bool gmem_vcpu_kicked(void *opaque)
{
    CPUState *cpu = opaque;

    return qatomic_load_acquire(&cpu->exit_request) ||
           qatomic_read(&cpu->kvm_run->immediate_exit);
}

int gmem_vcpu_leave(CPUState *cpu)
{
    /* Consumed, as KVM_RUN would have; the caller's loop looks at everything */
    qatomic_set(&cpu->kvm_run->immediate_exit, 0);
    return EXCP_INTERRUPT;
}

static uint64_t hypercall_answer(int ret)
{
    switch (ret) {
    case 0:
        return 0;
    case -EAGAIN:
        return EAGAIN;
    default:
        return EINVAL;
    }
}

/* Map what just became private; failures show when the guest touches it */
static void pre_fault(CPUState *cpu, uint64_t gpa, uint64_t size)
{
    struct kvm_pre_fault_memory args = {
        .gpa = gpa,
        .size = MIN(size, PRE_FAULT_MAX),
    };

    if (!gmem_kvm_caps()->pre_fault) {
        return;
    }
    while (args.size && !gmem_vcpu_kicked(cpu)) {
        if (kvm_vcpu_ioctl(cpu, KVM_PRE_FAULT_MEMORY, &args)) {
            return;
        }
    }
}

/* Run the pending hypercall.  0: it has its answer; EXCP_*: interrupted */
static int run_pending(CPUState *cpu)
{
    int ret = gmem_convert_since(pending.gpa, pending.size, pending.to_private,
                                 pending.started_ns, gmem_vcpu_kicked, cpu);

    if (ret == -EINTR) {
        trace_gmem_exit_interrupted(cpu->cpu_index, pending.gpa, pending.size);
        return gmem_vcpu_leave(cpu);
    }
    pending.active = false;
    cpu->kvm_run->hypercall.ret = hypercall_answer(ret);
    if (!ret && pending.to_private) {
        pre_fault(cpu, pending.gpa, pending.size);
    }
    return 0;
}

/* What the guest asks for, if it makes sense at all */
static bool parse_request(const struct kvm_run *run, PendingHypercall *request)
{
    uint64_t pages = run->hypercall.args[1];
    uint64_t attributes = run->hypercall.args[2];
    uint64_t end;

    request->gpa = run->hypercall.args[0];
    request->size = pages << HC_PAGE_BITS;
    request->to_private = attributes & HC_ATTR_PRIVATE;
    request->started_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    return pages && pages <= UINT64_MAX >> HC_PAGE_BITS &&
           !(attributes & ~(uint64_t)HC_ATTR_KNOWN) &&
           !uadd64_overflow(request->gpa, request->size, &end);
}

static int map_gpa_range(CPUState *cpu, struct kvm_run *run)
{
    bool valid = parse_request(run, &pending) &&
                 gmem_machine_has_private_memory(current_machine);

    trace_gmem_exit_hypercall(cpu->cpu_index, run->hypercall.args[0],
                              run->hypercall.args[1], run->hypercall.args[2],
                              valid);
    if (!valid) {
        run->hypercall.ret = EINVAL;
        return 0;
    }
    pending.active = true;
    return run_pending(cpu);
}

/*
 * May the guest ask for page states at all?  A machine with private memory lets it,
 * even if none of its RAM can be private: then it hears EINVAL and must not be stopped.
 */
static bool concerned(void)
{
    return gmem_ram_in_use() ||
           gmem_machine_has_private_memory(current_machine);
}

bool gmem_kvm_handle_exit(CPUState *cpu, struct kvm_run *run, int *ret)
{
    /* the reason first: to be concerned costs something, and most exits are others */
    switch (run->exit_reason) {
    case KVM_EXIT_HYPERCALL:
        if (run->hypercall.nr != KVM_HC_MAP_GPA_RANGE || !concerned()) {
            return false;
        }
        *ret = map_gpa_range(cpu, run);
        return true;
    case KVM_EXIT_MEMORY_FAULT:
        if (!concerned()) {
            return false;
        }
        *ret = gmem_fault_handle(cpu, run, run_errno);
        return true;
    default:
        return false;
    }
}

bool gmem_kvm_pre_run(CPUState *cpu, int *ret)
{
    if (!pending.active) {
        return false;
    }
    *ret = run_pending(cpu);
    return *ret;
}

/*
 * Where pages convert in place, a slot that is bound by host address only (a read-only
 * view) may show a private one.  A guest that looks there makes KVM fail without an
 * exit that says where.  It is no reason to stop the machine.
 */
static bool is_blind_fault(const struct kvm_run *run, int run_ret)
{
    return run_ret == -EFAULT && run->exit_reason == KVM_EXIT_UNKNOWN &&
           gmem_kvm_caps()->in_place && gmem_ram_in_use();
}

int gmem_kvm_run_result(struct kvm_run *run, int run_ret)
{
    run_errno = 0;
    if (is_blind_fault(run, run_ret)) {
        run->exit_reason = KVM_EXIT_MEMORY_FAULT;
        run->memory_fault.gpa = GMEM_FAULT_SOMEWHERE;
        run->memory_fault.size = 0;
        run->memory_fault.flags = 0;
        run_errno = EFAULT;
        return run_ret;
    }
    if (run->exit_reason != KVM_EXIT_MEMORY_FAULT || !concerned()) {
        return run_ret;
    }
    if (run_ret == -EHWPOISON || run_ret == -ENOMEM) {
        run_errno = -run_ret;
        return -EFAULT;
    }
    return run_ret;
}

void gmem_kvm_vcpu_reset(CPUState *cpu)
{
    struct kvm_run *run = cpu->kvm_run;

    if (!pending.active) {
        return;
    }
    trace_gmem_exit_reset(cpu->cpu_index, pending.gpa, pending.size);
    pending.active = false;
    run->hypercall.ret = EAGAIN;
    /* Completes the hypercall and comes back without running the guest */
    qatomic_set(&run->immediate_exit, 1);
    kvm_vcpu_ioctl(cpu, KVM_RUN, NULL);
    qatomic_set(&run->immediate_exit, 0);
}

int gmem_kvm_convert_memory(uint64_t gpa, uint64_t size, bool to_private)
{
    bool locked = bql_locked();
    int ret;

    if (!gmem_ram_in_use()) {
        return -EINVAL;
    }
    /* Launch code holds the BQL; waiting with it held might wait for ever */
    if (locked) {
        bql_unlock();
    }
    ret = gmem_convert(gpa, size, to_private, NULL, NULL);
    if (locked) {
        bql_lock();
    }
    return ret;
}
