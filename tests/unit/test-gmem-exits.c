/*
 * KVM exits that ask for a page state: what the guest and the run loop are told
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The handlers are the real ones; the engine and KVM are faked by functions
 * that record what they are asked and answer what a test has set.
 *
 *  1. every result of a conversion becomes 0, EINVAL or EAGAIN for the guest
 *  2. requests that make no sense never reach the engine; those to a machine that
 *     has private memory, but no block, are refused like any other
 *  3. a kicked conversion is taken up again, as the same request, before KVM runs
 *  4. a reset lets KVM complete it first, without running the guest
 *  5. pre-faulting is bounded and stops at a kick
 *  6. faults: what resolves them, what happens to those that nothing resolves, and to
 *     those of which KVM does not say where they were
 *  7. a fault of a software-protected guest tells a state of before, and converts nothing
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "qapi/qapi-events-run-state.h"
#include "qemu/units.h"
#include "standard-headers/linux/kvm_para.h"
#include "system/gmem-kvm.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "system/kvm.h"
#include "system/runstate.h"

#include <linux/kvm.h>

#define PRIVATE_ATTR (1 << 4)

MachineState *current_machine;

static struct {
    int convert_ret;
    bool no_private_memory;
    bool software_protected;
    bool no_blocks;
    bool kick_in_pre_fault;
    GmemOnFault on_fault;

    unsigned int converts;
    uint64_t gpa, size;
    bool to_private;
    int64_t started_ns;
    unsigned int pre_faults;
    uint64_t pre_fault_size;
    unsigned int runs;
    bool ran_guest;
    uint64_t ret_at_run;
    unsigned int notified, poisoned, stops, shutdowns;
} fake;

static CPUState *cpu;
static struct kvm_run *run;
static GmemKvmCaps caps = { .guest_memfd = true, .pre_fault = true };

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

static void set_up(void)
{
    memset(&fake, 0, sizeof(fake));
    memset(run, 0, sizeof(*run));
    qatomic_set(&cpu->exit_request, false);
}

/* Returns what the run loop is told */
static int hypercall(uint64_t gpa, uint64_t pages, uint64_t attributes)
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

static int fault(uint64_t gpa, uint64_t flags, int run_ret)
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

/* ---- tests ---- */

static void test_answers(void)
{
    static const struct {
        int ret;
        uint64_t answer;
    } table[] = {
        { 0, 0 }, { -EAGAIN, EAGAIN }, { -EINVAL, EINVAL }, { -EIO, EINVAL },
        { -ENOMEM, EINVAL },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        set_up();
        fake.convert_ret = table[i].ret;
        g_assert_cmpint(hypercall(2 * MiB, 3, PRIVATE_ATTR), ==, 0);
        g_assert_cmpuint(run->hypercall.ret, ==, table[i].answer);
        g_assert_cmpuint(fake.gpa, ==, 2 * MiB);
        g_assert_cmpuint(fake.size, ==, 12 * KiB);
        g_assert_true(fake.to_private);
    }
}

static void test_senseless(void)
{
    static const struct {
        uint64_t gpa, pages, attributes;
        bool no_private_memory;
    } table[] = {
        { 0, 0, PRIVATE_ATTR },
        { 0, UINT64_C(1) << 52, 0 },
        { 0, UINT64_MAX, 0 },
        { UINT64_MAX - 4095, 1, 0 },
        { UINT64_C(1) << 63, UINT64_C(1) << 51, PRIVATE_ATTR },
        { 0, 1, 1 << 5 },
        { 0, 1, UINT64_C(1) << 63 },
        { 0, 1, UINT64_C(1) << 36 },
        { 0, 1, PRIVATE_ATTR, true },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        set_up();
        fake.no_private_memory = table[i].no_private_memory;
        g_assert_cmpint(hypercall(table[i].gpa, table[i].pages,
                                  table[i].attributes), ==, 0);
        g_assert_cmpuint(run->hypercall.ret, ==, EINVAL);
        g_assert_cmpuint(fake.converts, ==, 0);
    }
    /* the page size is a hint, whatever it is */
    set_up();
    hypercall(0, 1, 0xf);
    g_assert_cmpuint(run->hypercall.ret, ==, 0);
    g_assert_false(fake.to_private);
}

static void test_others(void)
{
    int ret;

    set_up();
    run->exit_reason = KVM_EXIT_HYPERCALL;
    run->hypercall.nr = KVM_HC_MAP_GPA_RANGE + 1;
    g_assert_false(gmem_kvm_handle_exit(cpu, run, &ret));
    run->exit_reason = KVM_EXIT_MMIO;
    g_assert_false(gmem_kvm_handle_exit(cpu, run, &ret));
    g_assert_cmpint(gmem_kvm_run_result(run, -EHWPOISON), ==, -EHWPOISON);
    g_assert_false(gmem_kvm_pre_run(cpu, &ret));
}

/* A machine with private memory whose RAM is all ordinary: refused, not stopped */
static void test_no_blocks(void)
{
    int ret;

    set_up();
    fake.no_blocks = true;
    fake.convert_ret = -EINVAL;
    g_assert_cmpint(hypercall(0, 1, PRIVATE_ATTR), ==, 0);
    g_assert_cmpuint(run->hypercall.ret, ==, EINVAL);
    g_assert_cmpuint(fake.converts, ==, 1);
    g_assert_cmpint(fault(10 * MiB, 0, -EHWPOISON), ==, 0);

    /* an ordinary machine without blocks is none of our business */
    fake.no_private_memory = true;
    g_assert_false(gmem_kvm_handle_exit(cpu, run, &ret));
    g_assert_cmpint(gmem_kvm_run_result(run, -EHWPOISON), ==, -EHWPOISON);
    run->exit_reason = KVM_EXIT_HYPERCALL;
    g_assert_false(gmem_kvm_handle_exit(cpu, run, &ret));
}

static void test_kicked(void)
{
    int64_t started;
    int ret;

    set_up();
    fake.convert_ret = -EINTR;
    run->immediate_exit = 1;
    g_assert_cmpint(hypercall(0, 512, PRIVATE_ATTR), ==, EXCP_INTERRUPT);
    /* the kick is consumed; KVM has not run, so nobody else could do it */
    g_assert_cmpuint(run->immediate_exit, ==, 0);
    started = fake.started_ns;

    g_assert_true(gmem_kvm_pre_run(cpu, &ret));
    g_assert_cmpint(ret, ==, EXCP_INTERRUPT);

    fake.convert_ret = -EAGAIN;
    g_assert_false(gmem_kvm_pre_run(cpu, &ret));
    g_assert_cmpuint(run->hypercall.ret, ==, EAGAIN);
    g_assert_cmpuint(fake.converts, ==, 3);
    g_assert_cmpuint(fake.size, ==, 2 * MiB);
    g_assert_true(fake.to_private);
    /* its time has run all along */
    g_assert_cmpint(fake.started_ns, ==, started);

    g_assert_false(gmem_kvm_pre_run(cpu, &ret));
    g_assert_cmpuint(fake.converts, ==, 3);
}

static void test_reset(void)
{
    int ret;

    set_up();
    gmem_kvm_vcpu_reset(cpu);
    g_assert_cmpuint(fake.runs, ==, 0);

    fake.convert_ret = -EINTR;
    hypercall(0, 512, PRIVATE_ATTR);
    gmem_kvm_vcpu_reset(cpu);
    g_assert_cmpuint(fake.runs, ==, 1);
    g_assert_false(fake.ran_guest);
    g_assert_cmpuint(fake.ret_at_run, ==, EAGAIN);
    g_assert_cmpuint(run->immediate_exit, ==, 0);

    g_assert_false(gmem_kvm_pre_run(cpu, &ret));
    gmem_kvm_vcpu_reset(cpu);
    g_assert_cmpuint(fake.runs, ==, 1);
    g_assert_cmpuint(fake.converts, ==, 1);
}

static void test_pre_fault(void)
{
    set_up();
    hypercall(0, 1024 * 1024, PRIVATE_ATTR);
    g_assert_cmpuint(fake.pre_fault_size, ==, 16 * MiB);
    g_assert_cmpuint(fake.pre_faults, ==, 8);

    set_up();
    fake.kick_in_pre_fault = true;
    g_assert_cmpint(hypercall(0, 1024 * 1024, PRIVATE_ATTR), ==, 0);
    g_assert_cmpuint(fake.pre_faults, ==, 1);
    g_assert_cmpuint(run->hypercall.ret, ==, 0);

    set_up();
    hypercall(0, 1, 0);
    fake.convert_ret = -EINVAL;
    hypercall(0, 1, PRIVATE_ATTR);
    g_assert_cmpuint(fake.pre_faults, ==, 0);
}

static void test_fault_resolved(void)
{
    set_up();
    g_assert_cmpint(fault(MiB, KVM_MEMORY_EXIT_FLAG_PRIVATE, -EFAULT), ==, 0);
    g_assert_true(fake.to_private);
    g_assert_cmpuint(fake.size, ==, 4 * KiB);
    g_assert_cmpint(fault(MiB, 0, -EFAULT), ==, 0);
    g_assert_false(fake.to_private);
    g_assert_cmpuint(fake.converts, ==, 2);
    g_assert_cmpuint(fake.notified, ==, 0);

    fake.convert_ret = -EINTR;
    run->immediate_exit = 1;
    g_assert_cmpint(fault(MiB, 0, -EFAULT), ==, EXCP_INTERRUPT);
    g_assert_cmpuint(run->immediate_exit, ==, 0);
}

/* Which fault it is decides what is tried; none of them ends the VM */
static void test_fault_hopeless(void)
{
    set_up();
    fake.convert_ret = -EINVAL;
    g_assert_cmpint(fault(2 * MiB, 0, -EFAULT), ==, 0);
    g_assert_cmpuint(fake.converts, ==, 1);
    g_assert_cmpint(fault(3 * MiB, 1, -EFAULT), ==, 0);
    g_assert_cmpint(fault(4 * MiB, 0, -EHWPOISON), ==, 0);
    g_assert_cmpint(fault(5 * MiB, 0, -ENOMEM), ==, 0);
    g_assert_cmpuint(fake.converts, ==, 1);
    g_assert_cmpuint(fake.stops + fake.shutdowns, ==, 0);
    /* four at once, but told at most once in a while */
    g_assert_cmpuint(fake.notified, ==, 1);
    /* the broken page is heard, though it was not the first of them */
    g_assert_cmpuint(fake.poisoned, ==, 1);

    /* a kick ends the delay that the fault has to wait */
    qatomic_set(&cpu->exit_request, true);
    g_assert_cmpint(fault(2 * MiB, 0, -EFAULT), ==, EXCP_INTERRUPT);
}

static void test_fault_policy(void)
{
    set_up();
    fake.convert_ret = -EINVAL;
    fake.on_fault = GMEM_ON_FAULT_PAUSE;
    g_assert_cmpint(fault(6 * MiB, 0, -EFAULT), ==, EXCP_INTERRUPT);
    g_assert_cmpuint(fake.stops, ==, 1);
    fake.on_fault = GMEM_ON_FAULT_SHUTDOWN;
    g_assert_cmpint(fault(6 * MiB, 0, -EFAULT), ==, EXCP_INTERRUPT);
    g_assert_cmpuint(fake.shutdowns, ==, 1);

    /* a fault that is resolved never asks the policy */
    fake.convert_ret = 0;
    g_assert_cmpint(fault(7 * MiB, 0, -EFAULT), ==, 0);
    g_assert_cmpuint(fake.stops + fake.shutdowns, ==, 2);
}

/* In place, KVM may fail without an exit; elsewhere that is the base's to report */
static void test_fault_blind(void)
{
    int ret;

    set_up();
    run->exit_reason = KVM_EXIT_UNKNOWN;
    g_assert_cmpint(gmem_kvm_run_result(run, -EFAULT), ==, -EFAULT);
    g_assert_cmpuint(run->exit_reason, ==, KVM_EXIT_UNKNOWN);
    caps.in_place = true;
    g_assert_cmpint(gmem_kvm_run_result(run, -EINVAL), ==, -EINVAL);
    g_assert_cmpuint(run->exit_reason, ==, KVM_EXIT_UNKNOWN);
    fake.no_blocks = true;
    g_assert_cmpint(gmem_kvm_run_result(run, -EFAULT), ==, -EFAULT);
    g_assert_cmpuint(run->exit_reason, ==, KVM_EXIT_UNKNOWN);
    fake.no_blocks = false;

    g_assert_cmpint(gmem_kvm_run_result(run, -EFAULT), ==, -EFAULT);
    g_assert_cmpuint(run->exit_reason, ==, KVM_EXIT_MEMORY_FAULT);
    g_assert_true(gmem_kvm_handle_exit(cpu, run, &ret));
    g_assert_cmpint(ret, ==, 0);
    g_assert_cmpuint(fake.converts, ==, 0);

    /* it waits longer each time, and the policy holds for it as well */
    qatomic_set(&cpu->exit_request, true);
    run->exit_reason = KVM_EXIT_UNKNOWN;
    gmem_kvm_run_result(run, -EFAULT);
    g_assert_true(gmem_kvm_handle_exit(cpu, run, &ret));
    g_assert_cmpint(ret, ==, EXCP_INTERRUPT);
    fake.on_fault = GMEM_ON_FAULT_PAUSE;
    run->exit_reason = KVM_EXIT_UNKNOWN;
    gmem_kvm_run_result(run, -EFAULT);
    g_assert_true(gmem_kvm_handle_exit(cpu, run, &ret));
    g_assert_cmpuint(fake.stops, ==, 1);
    caps.in_place = false;
}

/* One that comes back though it is always resolved is slowed down */
static void test_fault_repeated(void)
{
    unsigned int i;

    set_up();
    qatomic_set(&cpu->exit_request, true);
    for (i = 0; i < 16; i++) {
        g_assert_cmpint(fault(8 * MiB, 0, -EFAULT), ==, 0);
    }
    /* from here on it would wait, if it were not kicked */
    g_assert_cmpint(fault(8 * MiB, 0, -EFAULT), ==, EXCP_INTERRUPT);
    g_assert_cmpint(fault(9 * MiB, 0, -EFAULT), ==, 0);
}

/* What another vCPU has just converted stays as it is; one that comes back is as any other */
static void test_fault_overtaken(void)
{
    unsigned int i;

    set_up();
    fake.software_protected = true;
    fake.convert_ret = -EINVAL;
    g_assert_cmpint(fault(12 * MiB, KVM_MEMORY_EXIT_FLAG_PRIVATE, -EFAULT),
                    ==, 0);
    g_assert_cmpint(fault(13 * MiB, 0, -EFAULT), ==, 0);
    g_assert_cmpint(fault(13 * MiB, 0, -EHWPOISON), ==, 0);
    g_assert_cmpint(fault(13 * MiB, 2, -EFAULT), ==, 0);

    qatomic_set(&cpu->exit_request, true);
    for (i = 0; i < 16; i++) {
        g_assert_cmpint(fault(14 * MiB, 0, -EFAULT), ==, 0);
    }
    g_assert_cmpint(fault(14 * MiB, 0, -EFAULT), ==, EXCP_INTERRUPT);
    g_assert_cmpuint(fake.converts, ==, 0);

    /* in an ordinary VM there is nothing that could be overtaken */
    fake.no_private_memory = true;
    g_assert_cmpint(fault(15 * MiB, 0, -EFAULT), ==, EXCP_INTERRUPT);
    g_assert_cmpuint(fake.converts, ==, 1);
}

/* A conversion that is kicked again and again has not been tried in vain */
static void test_fault_kicked(void)
{
    unsigned int i;

    set_up();
    qatomic_set(&cpu->exit_request, true);
    fake.convert_ret = -EINTR;
    for (i = 0; i < 100; i++) {
        g_assert_cmpint(fault(11 * MiB, 0, -EFAULT), ==, EXCP_INTERRUPT);
    }
    fake.convert_ret = 0;
    for (i = 0; i < 16; i++) {
        g_assert_cmpint(fault(11 * MiB, 0, -EFAULT), ==, 0);
        /* nor does a kick make what did come back forgotten */
        fake.convert_ret = -EINTR;
        g_assert_cmpint(fault(11 * MiB, 0, -EFAULT), ==, EXCP_INTERRUPT);
        fake.convert_ret = 0;
    }
    g_assert_cmpint(fault(11 * MiB, 0, -EFAULT), ==, EXCP_INTERRUPT);
    g_assert_cmpuint(fake.notified, ==, 0);
}

int main(int argc, char **argv)
{
    cpu = g_new0(CPUState, 1);
    run = g_new0(struct kvm_run, 1);
    cpu->kvm_run = run;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/exits/answers", test_answers);
    g_test_add_func("/gmem/exits/senseless", test_senseless);
    g_test_add_func("/gmem/exits/others", test_others);
    g_test_add_func("/gmem/exits/kicked", test_kicked);
    g_test_add_func("/gmem/exits/reset", test_reset);
    g_test_add_func("/gmem/exits/pre-fault", test_pre_fault);
    g_test_add_func("/gmem/exits/fault/resolved", test_fault_resolved);
    g_test_add_func("/gmem/exits/fault/hopeless", test_fault_hopeless);
    g_test_add_func("/gmem/exits/fault/policy", test_fault_policy);
    g_test_add_func("/gmem/exits/fault/blind", test_fault_blind);
    g_test_add_func("/gmem/exits/fault/repeated", test_fault_repeated);
    g_test_add_func("/gmem/exits/fault/overtaken", test_fault_overtaken);
    g_test_add_func("/gmem/exits/fault/kicked", test_fault_kicked);
    g_test_add_func("/gmem/exits/fault/no-blocks", test_no_blocks);
    return g_test_run();
}
