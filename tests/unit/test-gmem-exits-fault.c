/*
 * KVM exits that ask for a page state: faults
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *  1. what resolves them, what happens to those that nothing resolves, and to those of
 *     which KVM does not say where they were
 *  2. one that comes back is slowed down; a kick ends each delay
 *  3. a fault of a software-protected guest tells a state of before, and converts nothing
 *  4. a machine that has private memory, but no block: faults and requests are refused like
 *     any other
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h"
#include "qemu/units.h"
#include "gmem-exits-fixture.h"

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_init();
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
