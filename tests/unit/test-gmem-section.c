/*
 * KVM provider: who may be in the section that keeps memory slots as they are
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The section is the real one; the accelerator is a counter.  A change of memory
 * slots needs one instant in which that is 0.
 *
 *  1. threads that are no vCPUs take turns, however many there are
 *  2. a vCPU does not wait for them, nor does who has the BQL
 *  3. one that waits for its turn gets it
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "hw/core/cpu.h"
#include "system/accel-blocker.h"
#include "../../accel/kvm/gmem-slots.h"

#define THREADS 4
#define ROUNDS 100

__thread CPUState *current_cpu;

static int inside;
static bool passed;
static __thread bool has_bql;

/* ---- in place of the accelerator and of QEMU ---- */

bool __wrap_bql_locked(void);

bool __wrap_bql_locked(void)
{
    return has_bql;
}

void accel_ioctl_begin(void)
{
    qatomic_inc(&inside);
}

void accel_ioctl_end(void)
{
    qatomic_dec(&inside);
}

/* ---- tests ---- */

static void *come_and_go(void *opaque)
{
    int *most = opaque;
    int i;

    for (i = 0; i < ROUNDS; i++) {
        gmem_kvm_section_enter(NULL);
        g_usleep(100);
        *most = MAX(*most, qatomic_read(&inside));
        gmem_kvm_section_leave(NULL);
    }
    return NULL;
}

static void test_turns(void)
{
    QemuThread threads[THREADS];
    int most[THREADS] = { 0 };
    int i;

    for (i = 0; i < THREADS; i++) {
        qemu_thread_create(&threads[i], "convert", come_and_go, &most[i],
                           QEMU_THREAD_JOINABLE);
    }
    for (i = 0; i < THREADS; i++) {
        qemu_thread_join(&threads[i]);
        g_assert_cmpint(most[i], ==, 1);
    }
    g_assert_cmpint(inside, ==, 0);
}

static void *pass_through(void *opaque)
{
    static char cpu;
    const char *who = opaque;

    current_cpu = g_str_equal(who, "vCPU") ? (CPUState *)&cpu : NULL;
    has_bql = g_str_equal(who, "BQL");
    gmem_kvm_section_enter(NULL);
    qatomic_set(&passed, true);
    gmem_kvm_section_leave(NULL);
    return NULL;
}

static void pass_while_inside(const char *who)
{
    QemuThread thread;

    passed = false;
    gmem_kvm_section_enter(NULL);
    qemu_thread_create(&thread, who, pass_through, (void *)who,
                       QEMU_THREAD_JOINABLE);
    qemu_thread_join(&thread);
    g_assert_true(passed);
    gmem_kvm_section_leave(NULL);
    g_assert_cmpint(inside, ==, 0);
}

static void test_others_pass(void)
{
    pass_while_inside("vCPU");
    pass_while_inside("BQL");
}

static void test_next(void)
{
    QemuThread thread;

    passed = false;
    gmem_kvm_section_enter(NULL);
    qemu_thread_create(&thread, "convert", pass_through, (void *)"none",
                       QEMU_THREAD_JOINABLE);
    /* long enough for one that does not wait to be seen */
    g_usleep(20000);
    g_assert_false(qatomic_read(&passed));
    gmem_kvm_section_leave(NULL);
    qemu_thread_join(&thread);
    g_assert_true(passed);
    g_assert_cmpint(inside, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem/section/turns", test_turns);
    g_test_add_func("/gmem/section/others-pass", test_others_pass);
    g_test_add_func("/gmem/section/next", test_next);
    return g_test_run();
}
