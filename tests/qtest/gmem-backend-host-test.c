/*
 * memory-backend-gmem on the machine's own KVM, ordinary VM: mode none
 *
 *  1. the object works, and its properties tell what it is
 *  2. refusals that depend on the mode or on the kernel
 *  3. properties are fixed once the memory exists
 *  4. an object in use cannot be deleted; one that is not, can
 *  5. migration: userfaultfd and CPR are refused, with the reason
 *  6. mem-lock=on where memory can be private; here, as it takes privileges
 *  7. a program that QEMU starts does not get the memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include "gmem-host.h"
#include "gmem-qmp-check.h"

#define GMEM "'qom-type': 'memory-backend-gmem', 'size': 4194304"
#define NONE_REASON ": on a machine without private memory all of it is one " \
    "shared guest_memfd"

static const GmemRefusal refusals[] = {
    { "auto", GMEM, NULL },
    { "none", GMEM ", 'conversion': 'none'", NULL },
    { "shared", GMEM ", 'initial': 'shared'", NULL },
    { "every common property", GMEM ", 'prealloc': true, 'dump': false,"
      " 'prealloc-threads': 3, 'merge': false, 'share': true", NULL },
    { "not reserved", GMEM ", 'reserve': false", NULL },
    { "policy", GMEM ", 'policy': 'bind', 'host-nodes': [0]", NULL },
    { "policy without nodes", GMEM ", 'policy': 'bind'",
      "host-nodes must be set for policy bind" },
    { "nodes without policy", GMEM ", 'host-nodes': [0]",
      "host-nodes must be empty for policy default" },
    { "a node that is not there", GMEM ", 'policy': 'bind',"
      " 'host-nodes': [127]", "cannot bind memory to host NUMA nodes" },
    { "split", GMEM ", 'conversion': 'split'",
      "memory-backend-gmem 'm0' cannot have conversion=split: conversion=split "
      "is for machines with private memory, and this machine has none" },
    { "in-place", GMEM ", 'conversion': 'in-place'",
      "memory-backend-gmem 'm0' cannot have conversion=in-place: "
      "conversion=in-place is for machines with private memory, and this "
      "machine has none" },
    { "private", GMEM ", 'initial': 'private'",
      "memory-backend-gmem 'm0' cannot have initial=private" NONE_REASON },
    { "shared-limit", GMEM ", 'shared-limit': 4096",
      "memory-backend-gmem 'm0' cannot have shared-limit" NONE_REASON },
    { "dma-granularity", GMEM ", 'dma-granularity': 2097152",
      "memory-backend-gmem 'm0' cannot have dma-granularity" NONE_REASON },
    { "shared-hugetlb", GMEM ", 'shared-hugetlb': true",
      "memory-backend-gmem 'm0' cannot have shared-hugetlb=on" NONE_REASON },
    { "too large", "'qom-type': 'memory-backend-gmem',"
      " 'size': 9223372036854771712", "memory-backend-gmem 'm0': unable to map backing store" },
};

#define MIB4 ", 'size': 4194304"

static const GmemRefusal mem_lock_refusals[] = {
    { "memfd", "'qom-type': 'memory-backend-memfd'" MIB4,
      "memory-backend-memfd 'm0' cannot be used with -overcommit mem-lock=on: "
      "it would allocate the shared side of every private page" },
    { "not private",
      "'qom-type': 'memory-backend-memfd', 'guest-memfd': false" MIB4, NULL },
};

static QTestState *start(void)
{
    return qtest_init("-accel kvm -machine q35,memory-backend=ram0 -S "
                      "-nodefaults -m 32M "
                      "-object memory-backend-gmem,id=ram0,size=32M");
}

static void test_refusals(void)
{
    QTestState *qts = start();

    gmem_check_refusals(qts, refusals, G_N_ELEMENTS(refusals));
    qtest_quit(qts);
}

static QDict *qom_get(QTestState *qts, const char *property)
{
    return qtest_qmp(qts, "{'execute': 'qom-get', 'arguments': {"
                     " 'path': '/objects/ram0', 'property': %s}}", property);
}

static uint64_t get_number(QTestState *qts, const char *property)
{
    QDict *rsp = qom_get(qts, property);
    uint64_t value = qdict_get_int(rsp, "return");

    qobject_unref(rsp);
    return value;
}

static void test_properties(void)
{
    QTestState *qts = start();
    QDict *mode = qom_get(qts, "mode");

    g_assert_cmpstr(qdict_get_str(mode, "return"), ==, "none");
    g_assert_cmpuint(get_number(qts, "shared-size"), ==, 32 * 1024 * 1024);
    g_assert_cmpuint(get_number(qts, "private-size"), ==, 0);
    g_assert_cmpuint(get_number(qts, "conversions"), ==, 0);
    g_assert_cmpuint(get_number(qts, "page-size"), ==, 4096);
    g_assert_cmpuint(get_number(qts, "conversion-timeout"), ==, 1000);
    qobject_unref(mode);
    qtest_quit(qts);
}

#define QOM_SET(property, value) \
    "{'execute': 'qom-set', 'arguments': {'path': '/objects/ram0'," \
    " 'property': '" property "', 'value': " value "}}"
#define FIXED(property) \
    property " of memory-backend-gmem 'ram0' cannot be changed once its " \
    "memory exists"

static void test_fixed(void)
{
    QTestState *qts = start();

    gmem_qmp_refused(qts, FIXED("conversion"), QOM_SET("conversion", "'none'"));
    gmem_qmp_refused(qts, FIXED("initial"), QOM_SET("initial", "'shared'"));
    gmem_qmp_refused(qts, FIXED("page-size"), QOM_SET("page-size", "4096"));
    gmem_qmp_refused(qts, FIXED("shared-limit"),
                     QOM_SET("shared-limit", "4096"));
    gmem_qmp_refused(qts, FIXED("shared-hugetlb"),
                     QOM_SET("shared-hugetlb", "false"));
    gmem_qmp_refused(qts, FIXED("conversion-timeout"),
                     QOM_SET("conversion-timeout", "5"));
    gmem_qmp_refused(qts, "mode", QOM_SET("mode", "'none'"));
    gmem_qmp_refused(qts, "shared-size", QOM_SET("shared-size", "0"));
    gmem_qmp_refused(qts, "cannot change property value",
                     QOM_SET("share", "false"));
    qtest_quit(qts);
}

static void test_delete(void)
{
    QTestState *qts = start();

    gmem_qmp_refused(qts, "object 'ram0' is in use",
                     "{'execute': 'object-del', 'arguments': {'id': 'ram0'}}");
    for (int i = 0; i < 20; i++) {
        g_assert_null(gmem_object_add(qts, GMEM ", 'prealloc': true"));
        gmem_object_del(qts);
    }
    qtest_quit(qts);
}

#define CAPABILITY(name) \
    "{'execute': 'migrate-set-capabilities', 'arguments': {'capabilities': [" \
    " {'capability': '" name "', 'state': true}]}}"

static void test_userfaultfd(void)
{
    QTestState *qts = start();

    gmem_qmp_refused(qts, "background-snapshot is not possible with "
                     "memory-backend-gmem 'ram0': the kernel has no "
                     "userfaultfd for guest_memfd",
                     CAPABILITY("background-snapshot"));
    qtest_quit(qts);

    qts = qtest_init("-accel kvm -machine q35,memory-backend=ram0 -S "
                     "-nodefaults -m 32M -incoming defer "
                     "-object memory-backend-gmem,id=ram0,size=32M");
    gmem_qmp_refused(qts, "postcopy-ram is not possible with "
                     "memory-backend-gmem 'ram0'", CAPABILITY("postcopy-ram"));
    qtest_quit(qts);
}

static void test_cpr(void)
{
    /* aux-ram-share: else other memory is the first that cannot be handed on */
    QTestState *qts = qtest_init(
        "-accel kvm -machine q35,memory-backend=ram0,aux-ram-share=on -S "
        "-nodefaults -m 32M -object memory-backend-gmem,id=ram0,size=32M");

    qtest_qmp_assert_success(qts, "{'execute': 'migrate-set-parameters',"
                             " 'arguments': {'mode': 'cpr-transfer'}}");
    gmem_qmp_refused(qts, "memory-backend-gmem 'ram0' cannot be handed to "
                     "another QEMU: a guest_memfd belongs to its KVM virtual "
                     "machine",
                     "{'execute': 'migrate', 'arguments': {'channels': ["
                     " {'channel-type': 'main', 'addr': {'transport': 'socket',"
                     "  'type': 'unix', 'path': '/nonexistent'}},"
                     " {'channel-type': 'cpr', 'addr': {'transport': 'socket',"
                     "  'type': 'unix', 'path': '/nonexistent'}}]}}");
    qtest_quit(qts);
}

static void test_mem_lock(void)
{
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
    QTestState *qts;

    if (setrlimit(RLIMIT_MEMLOCK, &limit)) {
        g_test_skip("this user cannot lock memory");
        return;
    }
    qts = qtest_init("-machine q35-swp --preconfig -nodefaults "
                     "-overcommit mem-lock=on");
    gmem_check_refusals(qts, mem_lock_refusals,
                        G_N_ELEMENTS(mem_lock_refusals));
    qtest_quit(qts);
}

/* Is what /proc tells of file descriptor @fd of @pid closed on exec? */
static bool closed_on_exec(pid_t pid, const char *fd)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fdinfo/%s", (int)pid, fd);
    g_autofree char *info = NULL;
    const char *flags;

    g_assert_true(g_file_get_contents(path, &info, NULL, NULL));
    flags = strstr(info, "flags:");
    g_assert_nonnull(flags);
    return g_ascii_strtoull(flags + strlen("flags:"), NULL, 8) & O_CLOEXEC;
}

static void test_close_on_exec(void)
{
    QTestState *qts = start();
    pid_t pid = qtest_pid(qts);
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned int found = 0;
    const char *fd;

    while ((fd = g_dir_read_name(dir))) {
        g_autofree char *link = g_build_filename(path, fd, NULL);
        g_autofree char *target = g_file_read_link(link, NULL);

        if (target && strstr(target, "[kvm-gmem]")) {
            found++;
            g_assert_true(closed_on_exec(pid, fd));
        }
    }
    g_assert_cmpuint(found, ==, 1);
    g_dir_close(dir);
    qtest_quit(qts);
}

static const GmemHostTest tests[] = {
    { "refusals", test_refusals }, { "properties", test_properties },
    { "fixed", test_fixed }, { "delete", test_delete },
    { "userfaultfd", test_userfaultfd }, { "cpr", test_cpr },
    { "mem-lock", test_mem_lock }, { "close-on-exec", test_close_on_exec },
};

int main(int argc, char **argv)
{
    return gmem_host_main(argc, argv, "backend-host", tests,
                          G_N_ELEMENTS(tests));
}
