/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The command line: words "key=value" separated by spaces, copied before the
 * firmware's memory is given to the tests. README.md lists the keys.
 */
#include "lib.h"

#define MAX_WORDS 32

static char text[1024];
static struct {
    const char *key, *value;
    bool ok;
} words[MAX_WORDS];
static unsigned nr_words;
static bool truncated;

static const char *const numbers[] = {
    "seed", "rounds", "cpus", "base", "size", "step", "dump", "chunk",
    "retries", "delay", "marks", "bench", "slots", "exit-port", "unit",
    "warm", "patience", "traffic",
};
static const char *const lists[] = {
    "borders", "dimm", "hole", "requests", "units",
};
static const char *const strings[] = { "test", "content", "dry" };

static bool known(const char *const *set, unsigned n, const char *key)
{
    for (unsigned i = 0; i < n; i++) {
        if (!strcmp(set[i], key)) {
            return true;
        }
    }
    return false;
}

/* Numbers separated by commas up to the end of the string? */
static bool is_numbers(const char *s, bool many)
{
    uint64_t v;

    for (;;) {
        if (!parse_u64(s, &v, &s)) {
            return false;
        }
        if (!*s) {
            return true;
        }
        if (*s++ != ',' || !many) {
            return false;
        }
    }
}

static bool word_ok(const char *key, const char *value)
{
    if (known(numbers, ARRAY_SIZE(numbers), key)) {
        return is_numbers(value, false);
    }
    if (known(lists, ARRAY_SIZE(lists), key)) {
        return is_numbers(value, true);
    }
    return known(strings, ARRAY_SIZE(strings), key) && *value;
}

static void add_word(char *word)
{
    char *eq = word;

    if (nr_words == MAX_WORDS) {
        truncated = true;
        return;
    }
    while (*eq && *eq != '=') {
        eq++;
    }
    words[nr_words].key = word;
    words[nr_words].value = *eq ? eq + 1 : "";
    *eq = 0;
    words[nr_words].ok = word_ok(word, words[nr_words].value);
    nr_words++;
}

void args_init(const char *cmdline)
{
    size_t n = cmdline ? strlen(cmdline) : 0;
    char *p = text;

    truncated = n >= sizeof(text);
    if (n) {
        memcpy(text, cmdline, MIN(n, sizeof(text) - 1));
    }
    while (*p) {
        char *word;

        while (*p == ' ') {
            p++;
        }
        word = p;
        while (*p && *p != ' ') {
            p++;
        }
        if (*p) {
            *p++ = 0;
        }
        if (*word) {
            add_word(word);
        }
    }
}

const char *args_check(void)
{
    for (unsigned i = 0; i < nr_words; i++) {
        if (!words[i].ok) {
            return words[i].key;
        }
    }
    return truncated ? "(command line too long)" : NULL;
}

const char *arg_str(const char *key, const char *fallback)
{
    for (unsigned i = 0; i < nr_words; i++) {
        if (!strcmp(words[i].key, key)) {
            return words[i].value;
        }
    }
    return fallback;
}

uint64_t arg_u64(const char *key, uint64_t fallback)
{
    uint64_t v = fallback;

    parse_u64(arg_str(key, ""), &v, NULL);
    return v;
}

unsigned arg_list(const char *key, uint64_t *values, unsigned max)
{
    const char *s = arg_str(key, "");
    unsigned n = 0;

    while (n < max && parse_u64(s, &values[n], &s)) {
        n++;
        if (*s++ != ',') {
            break;
        }
    }
    return n;
}

bool in_list(const char *list, const char *word)
{
    size_t n = strlen(word);

    while (*list) {
        if (starts_with(list, word) && (!list[n] || list[n] == ',')) {
            return true;
        }
        while (*list && *list++ != ',') {
        }
    }
    return false;
}
