/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Strings, formatting and pseudo-random numbers.
 */
#include "lib.h"

void *memcpy(void *to, const void *from, size_t n)
{
    void *d = to;

    asm volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void *memset(void *to, int c, size_t n)
{
    void *d = to;

    asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
    return to;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (s[n]) {
        n++;
    }
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}

bool starts_with(const char *s, const char *prefix)
{
    while (*prefix) {
        if (*s++ != *prefix++) {
            return false;
        }
    }
    return true;
}

struct out {
    char *buf;
    size_t size, len;
};

static void put(struct out *o, char c)
{
    if (o->len + 1 < o->size) {
        o->buf[o->len++] = c;
    }
}

static void put_str(struct out *o, const char *s)
{
    while (*s) {
        put(o, *s++);
    }
}

static void put_number(struct out *o, uint64_t v, unsigned base)
{
    char digits[24];
    unsigned n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    while (n) {
        put(o, digits[--n]);
    }
}

static void put_signed(struct out *o, int64_t v)
{
    if (v < 0) {
        put(o, '-');
    }
    put_number(o, v < 0 ? -(uint64_t)v : (uint64_t)v, 10);
}

size_t vformat(char *buf, size_t size, const char *fmt, va_list ap)
{
    struct out o = { buf, size, 0 };

    for (; *fmt; fmt++) {
        bool is_long = false;

        if (*fmt != '%') {
            put(&o, *fmt);
            continue;
        }
        if (*++fmt == 'l') {
            is_long = true;
            fmt++;
        }
        switch (*fmt) {
        case 's':
            put_str(&o, va_arg(ap, const char *));
            break;
        case 'c':
            put(&o, va_arg(ap, int));
            break;
        case 'd':
            put_signed(&o, is_long ? va_arg(ap, long) : va_arg(ap, int));
            break;
        case 'u':
        case 'x':
            put_number(&o, is_long ? va_arg(ap, unsigned long)
                                   : va_arg(ap, unsigned),
                       *fmt == 'x' ? 16 : 10);
            break;
        default:
            put(&o, *fmt);
        }
    }
    buf[o.len] = 0;
    return o.len;
}

size_t format(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    size_t n;

    va_start(ap, fmt);
    n = vformat(buf, size, fmt, ap);
    va_end(ap);
    return n;
}

static int digit(char c, unsigned base)
{
    int d = c >= '0' && c <= '9' ? c - '0' :
            c >= 'a' && c <= 'f' ? c - 'a' + 10 :
            c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

    return d < (int)base ? d : -1;
}

bool parse_u64(const char *s, uint64_t *value, const char **end)
{
    unsigned base = starts_with(s, "0x") ? 16 : 10;
    uint64_t v = 0;
    const char *p = base == 16 ? s + 2 : s;
    const char *first = p;

    for (int d; (d = digit(*p, base)) >= 0; p++) {
        if (__builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, (unsigned)d, &v)) {
            return false;
        }
    }
    if (p == first) {
        return false;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (*p == "KMG"[i]) {
            if (__builtin_mul_overflow(v, 1UL << (10 * (i + 1)), &v)) {
                return false;
            }
            p++;
            break;
        }
    }
    *value = v;
    if (end) {
        *end = p;
    }
    return true;
}

/* xorshift64*: small, and the same numbers wherever it runs. */
void rng_seed(struct rng *r, uint64_t seed)
{
    r->state = seed * 0x9e3779b97f4a7c15 + 0x2545f4914f6cdd1d;
    if (!r->state) {
        r->state = 1;
    }
}

uint64_t rng_next(struct rng *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1d;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    return (rng_next(r) >> 16) % n;
}
