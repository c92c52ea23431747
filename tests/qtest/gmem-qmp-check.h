/*
 * Checks of QMP answers that the tests of gmem share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GMEM_QMP_CHECK_H
#define TESTS_GMEM_QMP_CHECK_H

#include "libqtest.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"

/* The command's return value, which has to be an object; caller unrefs it */
static inline QDict *gmem_qmp_return(QTestState *qts, const char *command)
{
    QDict *rsp = qtest_qmp(qts, "%p", qobject_from_json(command, &error_abort));
    QDict *result = qdict_get_qdict(rsp, "return");

    g_assert_nonnull(result);
    qobject_ref(result);
    qobject_unref(rsp);
    return result;
}

/* The command has to be refused with an error that says @want */
static inline void gmem_qmp_refused(QTestState *qts, const char *want,
                                    const char *command)
{
    QDict *rsp = qtest_qmp(qts, "%p", qobject_from_json(command, &error_abort));
    QDict *error = qdict_get_qdict(rsp, "error");
    const char *desc = error ? qdict_get_str(error, "desc") : "no error";

    if (!strstr(desc, want)) {
        g_test_message("command:  %s", command);
        g_test_message("answer:   %s", desc);
        g_test_message("expected: %s", want);
        g_test_fail();
    }
    qobject_unref(rsp);
}

#endif
