/*
 * gmem in the monitor of an ordinary VM on the machine's own KVM (mode none)
 *
 *  1. the backend shows up with its figures, all shared
 *  2. its map is one range
 *  3. nothing can be converted, and bad arguments are told from that
 *  4. query-stats has a result with the backend's path
 *  5. "info gmem" draws it; a second, hot-added backend appears and goes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qlist.h"
#include "gmem-host.h"
#include "gmem-qmp-check.h"

#define SIZE (64 << 20)
#define ARGS "-accel kvm -machine q35,memory-backend=ram0 -m 64M -nodefaults" \
             " -S -object memory-backend-gmem,id=ram0,size=64M"

static QDict *only(QDict *dict, const char *list)
{
    QList *items = qdict_get_qlist(dict, list);

    g_assert_cmpint(qlist_size(items), ==, 1);
    return qobject_to(QDict, qlist_peek(items));
}

static void test_query(void)
{
    QTestState *qts = qtest_init(ARGS);
    QDict *info = gmem_qmp_return(qts, "{'execute': 'query-gmem'}");
    QDict *block = only(info, "blocks");

    g_assert_cmpstr(qdict_get_str(block, "id"), ==, "ram0");
    g_assert_cmpstr(qdict_get_str(block, "qom-path"), ==, "/objects/ram0");
    g_assert_cmpstr(qdict_get_str(block, "mode"), ==, "none");
    g_assert_cmpint(qdict_get_int(block, "size"), ==, SIZE);
    g_assert_cmpint(qdict_get_int(block, "shared"), ==, SIZE);
    g_assert_cmpint(qdict_get_int(block, "private"), ==, 0);
    g_assert_false(qdict_get_bool(block, "broken"));
    qobject_unref(info);
    qtest_quit(qts);
}

static void test_map(void)
{
    QTestState *qts = qtest_init(ARGS);
    QDict *map = gmem_qmp_return(qts, "{'execute': 'query-gmem-map',"
                                      " 'arguments': {'id': 'ram0'}}");
    QDict *range = only(map, "ranges");

    g_assert_cmpint(qdict_get_int(range, "offset"), ==, 0);
    g_assert_cmpint(qdict_get_int(range, "size"), ==, SIZE);
    g_assert_cmpstr(qdict_get_str(range, "state"), ==, "shared");
    g_assert_false(qdict_haskey(map, "next"));
    qobject_unref(map);
    qtest_quit(qts);
}

static void test_refused(void)
{
    static const struct {
        const char *arguments;
        const char *message;
    } table[] = {
        { "'id': 'ram0', 'offset': 0, 'size': 4096, 'state': 'private'",
          "is in mode none" },
        { "'id': 'ram1', 'offset': 0, 'size': 4096, 'state': 'private'",
          "No gmem block is called 'ram1'; there is 'ram0'" },
        { "'id': 'ram0', 'offset': 0, 'size': 0, 'state': 'private'",
          "size of the range is 0" },
        { "'id': 'ram0', 'offset': 5, 'size': 4096, 'state': 'private'",
          "offset 0x5 is not a multiple of 4096" },
        { "'id': 'ram0', 'offset': 0, 'size': 67112960, 'state': 'private'",
          "reaches beyond the block's size of 0x4000000" },
    };
    QTestState *qts = qtest_init(ARGS);
    unsigned int i;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        g_autofree char *command = g_strdup_printf(
            "{'execute': 'gmem-convert', 'arguments': {%s}}",
            table[i].arguments);

        gmem_qmp_refused(qts, table[i].message, command);
    }
    qtest_quit(qts);
}

static void test_stats(void)
{
    QTestState *qts = qtest_init(ARGS);
    QDict *rsp = qtest_qmp(qts, "{'execute': 'query-stats', 'arguments': {"
                                " 'target': 'vm', 'providers': ["
                                " {'provider': 'gmem', 'names': ['shared']}]}}");
    QDict *result = only(rsp, "return");
    QDict *stat = only(result, "stats");

    g_assert_cmpstr(qdict_get_str(result, "qom-path"), ==, "/objects/ram0");
    g_assert_cmpstr(qdict_get_str(stat, "name"), ==, "shared");
    g_assert_cmpint(qdict_get_int(stat, "value"), ==, SIZE);
    qobject_unref(rsp);
    qtest_quit(qts);
}

static void test_info(void)
{
    QTestState *qts = qtest_init(ARGS);
    g_autofree char *text = qtest_hmp(qts, "info gmem");
    g_autofree char *stats = qtest_hmp(qts, "info stats vm * gmem");

    g_assert_nonnull(strstr(text, "ram0: mode none, 64 MiB of which 64 MiB"));
    g_assert_nonnull(strstr(text, "0x000000000000 ........"));
    g_assert_nonnull(strstr(text, "guest addresses: 0x0-"));
    g_assert_nonnull(strstr(stats, "shared"));
    qtest_quit(qts);
}

static void test_hot_add(void)
{
    QTestState *qts = qtest_init(ARGS);
    QDict *info;

    qtest_qmp_assert_success(qts, "{'execute': 'object-add', 'arguments': {"
                                  " 'qom-type': 'memory-backend-gmem',"
                                  " 'id': 'more', 'size': 1048576 }}");
    info = gmem_qmp_return(qts, "{'execute': 'query-gmem'}");
    g_assert_cmpint(qlist_size(qdict_get_qlist(info, "blocks")), ==, 2);
    qobject_unref(info);
    qtest_qmp_assert_success(qts, "{'execute': 'object-del', 'arguments': {"
                                  " 'id': 'more' }}");
    info = gmem_qmp_return(qts, "{'execute': 'query-gmem'}");
    only(info, "blocks");
    qobject_unref(info);
    qtest_quit(qts);
}

static const GmemHostTest tests[] = {
    { "query", test_query }, { "map", test_map }, { "refused", test_refused },
    { "stats", test_stats }, { "info", test_info },
    { "hot-add", test_hot_add },
};

int main(int argc, char **argv)
{
    return gmem_host_main(argc, argv, "qmp-host", tests, G_N_ELEMENTS(tests));
}
