/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The TAP stream, and the child processes that the tests are.
 */
#define _GNU_SOURCE
#include "tap.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIES 8

static int number, failed;

/* Where a test explains itself: shared with the parent, who prints it */
static struct {
    size_t used;
    char text[16384];
} *words;

static void vsay(const char *format, va_list args)
{
    size_t left;

    if (!words) {
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
        return;
    }
    left = sizeof(words->text) - words->used;
    if (left > 256) {
        words->used += vsnprintf(words->text + words->used, 250, format, args);
        words->used = strlen(words->text);
        words->text[words->used++] = '\n';
    }
}

void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsay(format, args);
    va_end(args);
}

void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsay(format, args);
    va_end(args);
    _exit(FAILED);
}

void skip(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsay(format, args);
    va_end(args);
    _exit(SKIPPED);
}

const char *error_name(int error)
{
    const char *name = strerrorname_np(error);

    return name ? name : "unknown";
}

bool soak(void)
{
    const char *text = getenv("GMEM_SOAK");

    return text && *text && strcmp(text, "0");
}

unsigned hang(void)
{
    const char *patience = getenv("LAB_PATIENCE");
    unsigned seconds = patience ? atoi(patience) : 0;

    return (seconds > 300 ? seconds : 300) * (soak() ? SOAK_FACTOR : 1);
}

/* Print what the test said, one TAP comment per line */
static void print_words(void)
{
    char *rest = words->text, *line;

    words->text[words->used < sizeof(words->text) ? words->used
                                                  : sizeof(words->text) - 1] = 0;
    while ((line = strsep(&rest, "\n")) && *line) {
        printf("# %s\n", line);
    }
}

static void report(bool good, const char *name, const char *reason)
{
    number++;
    failed += !good;
    printf("%s %d - %s%s%s\n", good ? "ok" : "not ok", number, name,
           reason ? " # SKIP " : "", reason ? reason : "");
    if (!good && words) {
        print_words();
    }
    fflush(stdout);
}

void tap_skip(const char *name, const char *reason)
{
    report(true, name, reason);
}

/* Fork, run, and return the child's wait status */
static int run_child(enum verdict (*fn)(const void *), const void *arg)
{
    int status;
    pid_t child;

    words->used = 0;
    memset(words->text, 0, sizeof(words->text));
    fflush(NULL);
    child = fork();
    if (child < 0) {
        perror("fork");
        exit(125);
    }
    if (!child) {
        /* one group, so that a test's own children end with it */
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(hang());
        _exit(fn(arg));
    }
    setpgid(child, child);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    kill(-child, SIGKILL);
    return status;
}

void tap_run(const char *name, enum verdict (*fn)(const void *),
             const void *arg)
{
    int status = 0, tries;

    if (!words) {
        words = mmap(NULL, sizeof(*words), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    }
    for (tries = 0; tries < TRIES; tries++) {
        status = run_child(fn, arg);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != AGAIN) {
            break;
        }
    }
    if (WIFSIGNALED(status)) {
        say("ended by signal %d (%s)%s", WTERMSIG(status),
            strsignal(WTERMSIG(status)),
            WTERMSIG(status) == SIGALRM ? ": it hung" : "");
    } else if (WEXITSTATUS(status) == AGAIN) {
        say("%d tries, and each time the holder let go too early", TRIES);
    } else if (WEXITSTATUS(status) == SKIPPED) {
        words->text[strcspn(words->text, "\n")] = 0;
        report(true, name, words->text);
        return;
    }
    report(WIFEXITED(status) && WEXITSTATUS(status) == PASSED, name, NULL);
}

int tap_done(void)
{
    printf("1..%d\n", number);
    return failed || !number;
}
