/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The few things a C library would have given us: strings, printing to the
 * serial port, the command line, and the running list of results.
 */
#ifndef GUEST_LIB_H
#define GUEST_LIB_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE        4096UL
#define KiB         1024UL
#define MiB         (1024 * KiB)
#define GiB         (1024 * MiB)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)   ((a) < (b) ? (a) : (b))
#define MAX(a, b)   ((a) > (b) ? (a) : (b))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
bool starts_with(const char *s, const char *prefix);

/*
 * Format into @buf, always terminated. Knows %s %c %d %u %x %p %% and the
 * length "l". Returns the length written, without the terminator.
 */
size_t vformat(char *buf, size_t size, const char *fmt, va_list ap);
size_t format(char *buf, size_t size, const char *fmt, ...) PRINTF(3, 4);

/*
 * Number with an optional suffix K, M or G, decimal or 0x; @end, if given, gets
 * the first character not used. Returns false when there is no number.
 */
bool parse_u64(const char *s, uint64_t *value, const char **end);

/* Serial port (serial.c). A line is printed whole, whatever CPU prints it. */
void serial_init(void);
void say(const char *fmt, ...) PRINTF(1, 2);
/*
 * Print "MARK name" and, with step=1, "WAIT name"; then wait for one byte from
 * the host. Boot CPU only.
 */
void mark(const char *fmt, ...) PRINTF(1, 2);
/* As mark(), but wait whatever step= says: the host has work to do. */
void mark_and_wait(const char *name);

/* Command line (args.c): words of the form key=value. */
void args_init(const char *cmdline);
/* Name of the first word that is unknown or malformed, or NULL. */
const char *args_check(void);
uint64_t arg_u64(const char *key, uint64_t fallback);
/* Value of @key as a string that lives as long as the guest. */
const char *arg_str(const char *key, const char *fallback);
/* Numbers separated by commas; returns how many of @max were there. */
unsigned arg_list(const char *key, uint64_t *values, unsigned max);
/* Is @word in the comma-separated @list? */
bool in_list(const char *list, const char *word);

/* Results (report.c). May be called by any CPU. */
void pass(const char *name);
void fail(const char *name, const char *fmt, ...) PRINTF(2, 3);
void skip(const char *name, const char *reason);
/* pass() or fail() by @ok; the text is for the failure. Returns @ok. */
bool check(bool ok, const char *name, const char *fmt, ...) PRINTF(3, 4);
unsigned failures(void);
/* Print the plan and the totals and end the machine. */
_Noreturn void finish(void);

struct rng {
    uint64_t state;
};
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* Below @n, which must not be 0. */
uint64_t rng_below(struct rng *r, uint64_t n);

#endif
