/*
 * memory-backend-gmem where KVM is not used, and options that never work
 *
 *  1. every option that is refused without a look at the kernel, by its message
 *  2. the object without KVM
 *  3. a value that QAPI does not know, a property that can only be read
 *  4. guest-memfd=on on a machine without private memory; set once the memory exists
 *  5. object types and properties are described to management software
 *
 * What needs a kernel: gmem-backend-host-test.c and the lab.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qlist.h"
#include "gmem-object.h"
#include "gmem-qmp-check.h"

#define GMEM "'qom-type': 'memory-backend-gmem', 'size': 4194304"

static const GmemRefusal option_refusals[] = {
    { "share=off", GMEM ", 'share': false",
      "memory-backend-gmem 'm0' cannot have share=off: a guest_memfd can only "
      "be mapped shared" },
    { "merge=on", GMEM ", 'merge': true",
      "memory-backend-gmem 'm0' cannot have merge=on: the kernel merges "
      "anonymous memory only" },
    { "no size", "'qom-type': 'memory-backend-gmem'",
      "Parameter 'size' is missing" },
    { "size 0", "'qom-type': 'memory-backend-gmem', 'size': 0",
      "doesn't take value '0'" },
    { "odd size", "'qom-type': 'memory-backend-gmem', 'size': 4194305",
      "cannot have size=4194305: it must be a multiple of 4 KiB" },
    { "page-size=2M", GMEM ", 'page-size': 2097152",
      "cannot have page-size=2 MiB: Linux offers guest_memfd in 4 KiB pages "
      "only" },
    { "page-size=1G", GMEM ", 'page-size': 1073741824",
      "cannot have page-size=1 GiB: Linux offers guest_memfd in 4 KiB pages "
      "only" },
    { "page-size=8K", GMEM ", 'page-size': 8192",
      "cannot have page-size=8 KiB: it is not a page size of x86" },
    { "page-size=0", GMEM ", 'page-size': 0",
      "memory-backend-gmem 'm0' cannot have page-size=0: it must be at least "
      "4 KiB" },
    { "shared-limit=0", GMEM ", 'shared-limit': 0",
      "'m0' cannot have shared-limit=0: it must be at least 4 KiB" },
    { "hugetlbsize=0", GMEM ", 'shared-hugetlb': true, 'shared-hugetlbsize': 0",
      "'m0' cannot have shared-hugetlbsize=0: it must be at least 4 KiB" },
    { "hugetlbsize alone", GMEM ", 'shared-hugetlbsize': 2097152",
      "'m0' has shared-hugetlbsize without shared-hugetlb=on" },
    { "odd shared-limit", GMEM ", 'shared-limit': 4097",
      "cannot have shared-limit=4097: it must be a multiple of 4 KiB" },
    { "dma-granularity=0", GMEM ", 'dma-granularity': 0",
      "'m0' cannot have dma-granularity=0: it must be at least 4 KiB" },
    { "small dma-granularity", GMEM ", 'dma-granularity': 2048",
      "'m0' cannot have dma-granularity=2 KiB: it must be a power of two, from "
      "4 KiB to 64 MiB" },
    { "odd dma-granularity", GMEM ", 'dma-granularity': 12288",
      "cannot have dma-granularity=12 KiB: it must be a power of two" },
    { "large dma-granularity", GMEM ", 'dma-granularity': 134217728",
      "cannot have dma-granularity=128 MiB: it must be a power of two" },
    { "timeout 0", GMEM ", 'conversion-timeout': 0",
      "memory-backend-gmem 'm0' cannot have conversion-timeout=0: it must be at "
      "least 1 ms" },
    { "prealloc without reserve", GMEM ", 'prealloc': true, 'reserve': false",
      "'prealloc=on' and 'reserve=off' are incompatible" },
};

static const GmemRefusal kvm_refusals[] = {
    { "defaults", GMEM,
      "memory-backend-gmem 'm0' needs KVM: a guest_memfd belongs to a KVM "
      "virtual machine" },
    { "split", GMEM ", 'conversion': 'split', 'initial': 'private'",
      "'m0' needs KVM" },
    { "in-place", GMEM ", 'conversion': 'in-place'", "'m0' needs KVM" },
    { "page-size=4K", GMEM ", 'page-size': 4096", "'m0' needs KVM" },
    { "dma-granularity=64M", GMEM ", 'dma-granularity': 67108864",
      "'m0' needs KVM" },
};

static const GmemRefusal schema_refusals[] = {
    { "conversion", GMEM ", 'conversion': 'fast'",
      "does not accept value 'fast'" },
    { "initial", GMEM ", 'initial': 'secret'",
      "does not accept value 'secret'" },
    { "timeout", GMEM ", 'conversion-timeout': -1", "conversion-timeout" },
    { "unknown", GMEM ", 'hugetlb': true", "Parameter 'hugetlb' is unexpected" },
    { "read-only", GMEM ", 'mode': 'none'", "Parameter 'mode' is unexpected" },
};

#define MIB4 ", 'size': 4194304"

static const GmemRefusal ordinary_refusals[] = {
    { "ram", "'qom-type': 'memory-backend-ram', 'guest-memfd': true" MIB4,
      "memory-backend-ram 'm0' cannot have guest-memfd=on: the machine has no "
      "private memory" },
    { "memfd", "'qom-type': 'memory-backend-memfd', 'guest-memfd': true" MIB4,
      "memory-backend-memfd 'm0' cannot have guest-memfd=on" },
    { "ram off", "'qom-type': 'memory-backend-ram', 'guest-memfd': false" MIB4,
      NULL },
};

static void run_table(const GmemRefusal *table, size_t lines)
{
    QTestState *qts = qtest_init("-machine q35 -m 32M -nodefaults");

    gmem_check_refusals(qts, table, lines);
    qtest_quit(qts);
}

static void test_options(void)
{
    run_table(option_refusals, G_N_ELEMENTS(option_refusals));
}

static void test_no_kvm(void)
{
    run_table(kvm_refusals, G_N_ELEMENTS(kvm_refusals));
}

static void test_schema(void)
{
    run_table(schema_refusals, G_N_ELEMENTS(schema_refusals));
}

static void test_ordinary(void)
{
    run_table(ordinary_refusals, G_N_ELEMENTS(ordinary_refusals));
}

static void test_fixed(void)
{
    QTestState *qts = qtest_init("-machine q35 -m 32M -nodefaults");

    g_assert_null(gmem_object_add(qts, "'qom-type': 'memory-backend-ram'" MIB4));
    gmem_qmp_refused(qts, "guest-memfd of memory-backend-ram 'm0' cannot be "
                     "changed once its memory exists",
                     "{'execute': 'qom-set', 'arguments': {"
                     " 'path': '/objects/m0', 'property': 'guest-memfd',"
                     " 'value': true}}");
    gmem_object_del(qts);
    qtest_quit(qts);
}

/* The properties of type @type, as QMP lists them */
static QDict *list_properties(QTestState *qts, const char *type)
{
    QDict *rsp = qtest_qmp(qts, "{'execute': 'qom-list-properties',"
                           " 'arguments': {'typename': %s}}", type);
    QDict *names = qdict_new();
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *property = qobject_to(QDict, qlist_entry_obj(entry));

        qdict_put_str(names, qdict_get_str(property, "name"),
                      qdict_get_str(property, "type"));
    }
    qobject_unref(rsp);
    return names;
}

static void test_described(void)
{
    static const char *const names[] = {
        "size", "host-nodes", "policy", "prealloc", "prealloc-threads",
        "prealloc-context", "dump", "reserve", "share", "merge", "conversion",
        "initial", "page-size", "conversion-timeout", "shared-limit",
        "dma-granularity",
        "shared-hugetlb", "shared-hugetlbsize", "mode", "shared-size",
        "private-size", "conversions", "guest-memfd",
    };
    QTestState *qts = qtest_init("-machine none");
    QDict *gmem = list_properties(qts, "memory-backend-gmem");
    QDict *guest = list_properties(qts, "sw-protected-guest");

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (!qdict_haskey(gmem, names[i])) {
            g_test_message("memory-backend-gmem has no property %s", names[i]);
            g_test_fail();
        }
    }
    g_assert_cmpstr(qdict_get_str(guest, "on-fault"), ==, "GmemOnFault");
    qobject_unref(gmem);
    qobject_unref(guest);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("gmem/backend/options", test_options);
    qtest_add_func("gmem/backend/no-kvm", test_no_kvm);
    qtest_add_func("gmem/backend/schema", test_schema);
    qtest_add_func("gmem/backend/ordinary-machine", test_ordinary);
    qtest_add_func("gmem/backend/fixed", test_fixed);
    qtest_add_func("gmem/backend/described", test_described);
    return g_test_run();
}
