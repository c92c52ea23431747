/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Test results. Every test runs in a process of its own, so that a crash, a
 * hang or a forgotten descriptor is that test's alone, and what it held is
 * gone when it ends.
 */
#ifndef ABI_TAP_H
#define ABI_TAP_H

#include <stdbool.h>

/* How a test ends; the numbers are exit statuses */
enum verdict {
    PASSED = 0,
    FAILED = 1,
    SKIPPED = 2,
    AGAIN = 3,      /* nothing was learnt: a holder let go too early */
};

/*
 * Seconds after which a test counts as hung; nothing is measured by it. Longer
 * in a soak (GMEM_SOAK) and as LAB_PATIENCE says, which grows on slow kernels.
 */
unsigned hang(void);

/* Is this a soak? Then tests do more. */
bool soak(void);
#define SOAK_FACTOR 15

/*
 * Run fn(arg) in a child and report it under name. What the child says with
 * say() is shown beneath a failure, and is the reason of a skip.
 */
void tap_run(const char *name, enum verdict (*fn)(const void *),
             const void *arg);

/* Report a test that cannot be run */
void tap_skip(const char *name, const char *reason);

/* Print the plan; the exit status of the program */
int tap_done(void);

/* In a test: explain. One line, without newline. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* In a test: explain and end it there */
void fail(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));
void skip(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* In a test: what must hold, or the test fails with file, line and errno */
#define must(condition)                                                     \
    ((condition) ? (void)0                                                  \
                 : fail("%s:%d: %s (errno %s)", __FILE__, __LINE__,         \
                        #condition, error_name(errno)))

/* "EAGAIN" for EAGAIN, "0" for 0 */
const char *error_name(int error);

#endif
