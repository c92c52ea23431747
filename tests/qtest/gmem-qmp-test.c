/*
 * gmem in the monitor of a VM that has none
 *
 *  1. query-gmem and "info gmem" say that there is nothing
 *  2. commands on a block refuse, and say that there is none
 *  3. arguments that the schema does not allow are refused
 *  4. query-stats knows the provider and its schema
 *
 * What a VM with gmem answers: gmem-qmp-host-test.c (mode none), the tests in
 * tests/unit (every refusal, conversions), and the lab (the real thing).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "gmem-qmp-check.h"

static QTestState *start(void)
{
    return qtest_init("-machine q35 -m 32M -nodefaults");
}

static void test_query(void)
{
    QTestState *qts = start();
    QDict *info = gmem_qmp_return(qts, "{'execute': 'query-gmem'}");

    g_assert_true(qlist_empty(qdict_get_qlist(info, "blocks")));
    g_assert_true(qlist_empty(qdict_get_qlist(info, "conversions")));
    qobject_unref(info);
    qtest_quit(qts);
}

static void test_info(void)
{
    QTestState *qts = start();
    g_autofree char *text = qtest_hmp(qts, "info gmem");

    g_assert_nonnull(strstr(text, "This VM has no memory from guest_memfd"));
    qtest_quit(qts);
}

static void test_no_block(void)
{
    QTestState *qts = start();

    gmem_qmp_refused(qts, "this VM has no memory from guest_memfd",
                     "{'execute': 'gmem-convert', 'arguments': {"
                     " 'id': 'pc.ram', 'offset': 0, 'size': 4096,"
                     " 'state': 'private'}}");
    gmem_qmp_refused(qts, "No gmem block is called 'pc.ram'",
                     "{'execute': 'query-gmem-map', 'arguments': {"
                     " 'id': 'pc.ram'}}");
    gmem_qmp_refused(qts, "No conversion 1 is running",
                     "{'execute': 'gmem-convert-cancel', 'arguments': {"
                     " 'conversion': 1}}");
    qtest_quit(qts);
}

static void test_schema(void)
{
    QTestState *qts = start();

    gmem_qmp_refused(qts, "does not accept value 'secret'",
                     "{'execute': 'gmem-convert', 'arguments': {"
                     " 'id': 'pc.ram', 'offset': 0, 'size': 4096,"
                     " 'state': 'secret'}}");
    gmem_qmp_refused(qts, "'size' is missing",
                     "{'execute': 'gmem-convert', 'arguments': {"
                     " 'id': 'pc.ram', 'offset': 0, 'state': 'private'}}");
    gmem_qmp_refused(qts, "'limit'",
                     "{'execute': 'query-gmem-map', 'arguments': {"
                     " 'id': 'pc.ram', 'limit': 4294967296}}");
    qtest_quit(qts);
}

static void test_stats(void)
{
    QTestState *qts = start();
    QDict *rsp, *schema;
    QList *list;

    rsp = qtest_qmp(qts, "{'execute': 'query-stats', 'arguments': {"
                         " 'target': 'vm',"
                         " 'providers': [{'provider': 'gmem'}]}}");
    g_assert_true(qlist_empty(qdict_get_qlist(rsp, "return")));
    qobject_unref(rsp);

    rsp = qtest_qmp(qts, "{'execute': 'query-stats-schemas', 'arguments': {"
                         " 'provider': 'gmem'}}");
    list = qdict_get_qlist(rsp, "return");
    g_assert_cmpint(qlist_size(list), ==, 1);
    schema = qobject_to(QDict, qlist_peek(list));
    g_assert_cmpstr(qdict_get_str(schema, "provider"), ==, "gmem");
    g_assert_cmpstr(qdict_get_str(schema, "target"), ==, "vm");
    g_assert_cmpint(qlist_size(qdict_get_qlist(schema, "stats")), >, 10);
    qobject_unref(rsp);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/gmem/qmp/query", test_query);
    qtest_add_func("/gmem/qmp/info", test_info);
    qtest_add_func("/gmem/qmp/no-block", test_no_block);
    qtest_add_func("/gmem/qmp/schema", test_schema);
    qtest_add_func("/gmem/qmp/stats", test_stats);
    return g_test_run();
}
