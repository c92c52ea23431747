/*
 * Fixture of the tests of KVM exits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/boards.h"
#include "qapi/qapi-events-run-state.h"
#include "qemu/units.h"
#include "standard-headers/linux/kvm_para.h"
#include "system/gmem-ram.h"
#include "system/kvm.h"
#include "system/runstate.h"
#include "gmem-exits-fixture.h"

MachineState *current_machine;

FakeExits fake;
CPUState *cpu;
struct kvm_run *run;
GmemKvmCaps caps = { .guest_memfd = true, .pre_fault = true };

/* ---- in place of engine, machine and KVM ---- */

bool gmem_ram_in_use(void)
{
    return !fake.no_blocks;
}

bool gmem_machine_has_private_memory(const MachineState *machine)
{
    return !fake.no_private_memory;
}

bool gmem_machine_is_launched(const MachineState *machine)
{
    return !fake.software_protected;
}

GmemOnFault gmem_machine_on_fault(const MachineState *machine)
{
    return fake.on_fault;
}

const GmemKvmCaps *gmem_kvm_caps(void)
{
    return &caps;
}

int gmem_convert_since(uint64_t gpa, uint64_t size, bool to_private,
                       int64_t started_ns, bool (*kicked)(void *opaque),
                       void *opaque)
{
    fake.converts++;
    fake.gpa = gpa;
    fake.size = size;
    fake.to_private = to_private;
    fake.started_ns = started_ns;
    return fake.convert_ret;
}

int gmem_convert(uint64_t gpa, uint64_t size, bool to_private,
                 bool (*kicked)(void *opaque), void *opaque)
{
    return gmem_convert_since(gpa, size, to_private, 0, kicked, opaque);
}

void gmem_notify_fault(uint64_t gpa)
{
    fake.notified++;
}

void qapi_event_send_memory_failure(MemoryFailureRecipient recipient,
                                    MemoryFailureAction action,
                                    MemoryFailureFlags *flags)
{
    g_assert_cmpint(recipient, ==, MEMORY_FAILURE_RECIPIENT_GUEST);
    g_assert_true(flags->action_required);
    fake.poisoned++;
}

int vm_stop(RunState state)
{
    g_assert_cmpint(state, ==, RUN_STATE_PAUSED);
    fake.stops++;
    return 0;
}

void qemu_system_shutdown_request(ShutdownCause reason)
{
    fake.shutdowns++;
}

int kvm_vcpu_ioctl(CPUState *c, unsigned long type, ...)
{
    struct kvm_pre_fault_memory *args;
    va_list ap;

    if (type == KVM_RUN) {
        fake.runs++;
        fake.ran_guest |= !run->immediate_exit;
        fake.ret_at_run = run->hypercall.ret;
        return -EINTR;
    }
    g_assert_cmpuint(type, ==, KVM_PRE_FAULT_MEMORY);
    va_start(ap, type);
    args = va_arg(ap, struct kvm_pre_fault_memory *);
    va_end(ap);
    fake.pre_faults++;
    if (fake.pre_faults == 1) {
        fake.pre_fault_size = args->size;
    }
    run->immediate_exit = fake.kick_in_pre_fault;
    args->gpa += MIN(args->size, 2 * MiB);
    args->size -= MIN(args->size, 2 * MiB);
    return 0;
}

/* ---- what a guest does ---- */

void fixture_init(void)
{
    cpu = g_new0(CPUState, 1);
    run = g_new0(struct kvm_run, 1);
    cpu->kvm_run = run;
}

void set_up(void)
{
    memset(&fake, 0, sizeof(fake));
    memset(run, 0, sizeof(*run));
    qatomic_set(&cpu->exit_request, false);
}

int hypercall(uint64_t gpa, uint64_t pages, uint64_t attributes)
{
    int ret = -1;

    run->exit_reason = KVM_EXIT_HYPERCALL;
    run->hypercall.nr = KVM_HC_MAP_GPA_RANGE;
    run->hypercall.args[0] = gpa;
    run->hypercall.args[1] = pages;
    run->hypercall.args[2] = attributes;
    run->hypercall.ret = 0x5555;
    g_assert_true(gmem_kvm_handle_exit(cpu, run, &ret));
    return ret;
}

int fault(uint64_t gpa, uint64_t flags, int run_ret)
{
    int ret = -1;

    run->exit_reason = KVM_EXIT_MEMORY_FAULT;
    run->memory_fault.gpa = gpa;
    run->memory_fault.size = 4 * KiB;
    run->memory_fault.flags = flags;
    g_assert_cmpint(gmem_kvm_run_result(run, run_ret), ==, -EFAULT);
    g_assert_true(gmem_kvm_handle_exit(cpu, run, &ret));
    return ret;
}
