/*
 * Objects that must be refused: what the tests of memory backends share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GMEM_OBJECT_H
#define TESTS_GMEM_OBJECT_H

#include "libqtest.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"

/* One object-add: its arguments beside the id, and what its error must say */
typedef struct GmemRefusal {
    const char *name;
    const char *properties;     /* JSON members, after 'id' */
    const char *error;          /* part of the message; NULL: it works */
} GmemRefusal;

/* object-add of 'm0'; returns the message of its error, or NULL; caller frees */
static inline char *gmem_object_add(QTestState *qts, const char *properties)
{
    g_autofree char *json = g_strdup_printf(
        "{'execute': 'object-add', 'arguments': {'id': 'm0', %s}}",
        properties);
    QDict *rsp = qtest_qmp(qts, "%p", qobject_from_json(json, &error_abort));
    QDict *error = qdict_get_qdict(rsp, "error");
    char *desc = error ? g_strdup(qdict_get_str(error, "desc")) : NULL;

    qobject_unref(rsp);
    return desc;
}

static inline void gmem_object_del(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{'execute': 'object-del', 'arguments': {"
                             " 'id': 'm0'}}");
}

/* Runs the whole table, and tells of each line that is not as it should be */
static inline void gmem_check_refusals(QTestState *qts, const GmemRefusal *table,
                                       size_t lines)
{
    for (size_t i = 0; i < lines; i++) {
        g_autofree char *desc = gmem_object_add(qts, table[i].properties);
        bool right = table[i].error ? desc && strstr(desc, table[i].error)
                                    : !desc;

        if (!right) {
            g_test_message("case:     %s", table[i].name);
            g_test_message("expected: %s", table[i].error ?: "success");
            g_test_message("answer:   %s", desc ?: "success");
            g_test_fail();
        }
        if (!desc) {
            gmem_object_del(qts);
        }
    }
}

#endif
