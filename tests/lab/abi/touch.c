/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Touching memory that may be private.
 */
#define _GNU_SOURCE
#include "touch.h"
#include "tap.h"
#include "uapi.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

static __thread sigjmp_buf way_out;
static __thread volatile sig_atomic_t touching;
static __thread uintptr_t first, last;      /* what may be touched */

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;

    (void)context;
    if (!touching) {
        /* not ours: die of it, as a process does */
        sigaction(signal, &(struct sigaction) { .sa_handler = SIG_DFL }, NULL);
        return;
    }
    siglongjmp(way_out, info->si_code == BUS_ADRERR && at >= first &&
                        at <= last ? TOUCH_SIGBUS : TOUCH_OTHER);
}

static void install(void)
{
    struct sigaction action = {
        .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO,
    };

    must(sigaction(SIGBUS, &action, NULL) == 0);
}

static void catch_sigbus(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, install);
}

/* Evaluates the statement with a way out of it; what came of it is in how */
#define GUARDED(how, address, size, statement) do {                         \
    catch_sigbus();                                                         \
    first = (uintptr_t)(address) & ~(PAGE - 1);                             \
    last = (uintptr_t)(address) + (size) - 1;                               \
    how = sigsetjmp(way_out, 1);                                            \
    if (!how) {                                                             \
        touching = 1;                                                       \
        statement;                                                          \
    }                                                                       \
    touching = 0;                                                           \
} while (0)

int touch(volatile unsigned char *address, bool write)
{
    int how;

    if (write) {
        GUARDED(how, address, 1, *address = *address);
    } else {
        GUARDED(how, address, 1, (void)*address);
    }
    return how;
}

int peek(const volatile uint32_t *address, uint32_t *value)
{
    int how;

    GUARDED(how, address, 4, *value = *address);
    return how;
}

int poke(volatile uint32_t *address, uint32_t value)
{
    int how;

    GUARDED(how, address, 4, *address = value);
    return how;
}

int copy_page(void *to, const volatile void *from)
{
    int how;

    GUARDED(how, from, PAGE, memcpy(to, (const void *)from, PAGE));
    return how;
}

int fill_page(volatile void *to, const void *from)
{
    int how;

    GUARDED(how, to, PAGE, memcpy((void *)to, from, PAGE));
    return how;
}

const char *touch_name(int how)
{
    switch (how) {
    case 0:
        return "no signal";
    case TOUCH_SIGBUS:
        return "SIGBUS (BUS_ADRERR)";
    case TOUCH_OTHER:
        return "SIGBUS, but not BUS_ADRERR at that address";
    default:
        return error_name(how);
    }
}
