/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Results as TAP lines, and the end. A failure carries "key=value" details
 * after a '#', so that the line is still TAP.
 */
#include "cpu.h"
#include "platform.h"

static Lock result_lock;
static unsigned nr, passed, failed, skipped;

static void result(const char *verdict, unsigned *counter, const char *name,
                   const char *detail)
{
    unsigned n;

    lock(&result_lock);
    n = ++nr;
    ++*counter;
    unlock(&result_lock);
    say("%s %u - %s%s%s", verdict, n, name, *detail ? " # " : "", detail);
}

void pass(const char *name)
{
    result("ok", &passed, name, "");
}

void skip(const char *name, const char *reason)
{
    char text[160];

    format(text, sizeof(text), "SKIP %s", reason);
    result("ok", &skipped, name, text);
}

static void vfail(const char *name, const char *fmt, va_list ap)
{
    char text[200];

    vformat(text, sizeof(text), fmt, ap);
    result("not ok", &failed, name, text);
}

void fail(const char *name, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfail(name, fmt, ap);
    va_end(ap);
}

bool check(bool ok, const char *name, const char *fmt, ...)
{
    va_list ap;

    if (ok) {
        pass(name);
        return true;
    }
    va_start(ap, fmt);
    vfail(name, fmt, ap);
    va_end(ap);
    return false;
}

unsigned failures(void)
{
    return failed;
}

void finish(void)
{
    bool dry = *arg_str("dry", "");

    say("1..%u", nr);
    say("GUEST-DONE pass=%u fail=%u skip=%u%s", passed, failed, skipped,
        dry ? " dry" : "");
    machine_end(failed ? END_FAIL : skipped ? END_SKIP : END_PASS);
}
