/*
 * qtests that need the machine's own KVM: they run, or are skipped with the reason
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GMEM_HOST_H
#define TESTS_GMEM_HOST_H

#include "gmem-object.h"

typedef struct GmemHostTest {
    const char *name;
    void (*fn)(void);
} GmemHostTest;

static char *gmem_host_skip;    /* why the tests cannot run here, or NULL */

/*
 * Why no test can run here, or NULL; caller frees.  Only what the kernel lacks counts:
 * any other failure is for the tests to find.
 */
static inline char *gmem_host_why_not(void)
{
    g_autofree char *desc = NULL;
    QTestState *qts;

    if (access("/dev/kvm", R_OK | W_OK)) {
        return g_strdup("no access to /dev/kvm");
    }
    qts = qtest_init("-machine none -accel kvm");
    desc = gmem_object_add(qts, "'qom-type': 'memory-backend-gmem',"
                           " 'size': 4096");
    qtest_quit(qts);
    if (desc && strstr(desc, "this kernel")) {
        return g_steal_pointer(&desc);
    }
    return NULL;
}

static inline void gmem_host_run_or_skip(gconstpointer data)
{
    const GmemHostTest *test = data;

    if (gmem_host_skip) {
        g_test_skip(gmem_host_skip);
    } else {
        test->fn();
    }
}

/* What main() returns: runs the @count @tests as gmem/@group/NAME */
static inline int gmem_host_main(int argc, char **argv, const char *group,
                                 const GmemHostTest *tests, size_t count)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    gmem_host_skip = gmem_host_why_not();
    for (size_t i = 0; i < count; i++) {
        g_autofree char *path = g_strdup_printf("gmem/%s/%s", group,
                                                tests[i].name);

        qtest_add_data_func(path, &tests[i], gmem_host_run_or_skip);
    }
    ret = g_test_run();
    g_free(gmem_host_skip);
    return ret;
}

#endif
