/*
 * KVM exits that ask for a page state: the guest's hypercall
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *  1. every result of a conversion becomes 0, EINVAL or EAGAIN for the guest
 *  2. requests that make no sense never reach the engine; other exits are left alone
 *  3. a kicked conversion is taken up again, as the same request, before KVM runs
 *  4. a reset lets KVM complete it first, without running the guest
 *  5. pre-faulting is bounded and stops at a kick
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h"
#include "qemu/units.h"
#include "standard-headers/linux/kvm_para.h"
#include "gmem-exits-fixture.h"

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_init();
    g_test_add_func("/gmem/exits/hypercall/answers", test_answers);
    g_test_add_func("/gmem/exits/hypercall/senseless", test_senseless);
    g_test_add_func("/gmem/exits/hypercall/others", test_others);
    g_test_add_func("/gmem/exits/hypercall/kicked", test_kicked);
    g_test_add_func("/gmem/exits/hypercall/reset", test_reset);
    g_test_add_func("/gmem/exits/hypercall/pre-fault", test_pre_fault);
    return g_test_run();
}
