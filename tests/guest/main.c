/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Boot, check the command line, run the scenarios named by test= in order.
 */
#include "tests.h"

static const struct {
    const char *name;
    void (*run)(void);
    bool converts;      /* skipped where nothing can be converted */
    bool in_all;        /* part of test=all: needs no help from the host */
} scenarios[] = {
    { "selftest", test_selftest, false, true },
    { "table",    test_table,    true,  true },
    { "content",  test_content,  true,  true },
    { "random",   test_random,   true,  true },
    { "pam",      test_pam,      true,  true },
    { "cycle",    test_cycle,    true,  true },
    { "pattern",  test_pattern,  true,  false },
    { "hotplug",  test_hotplug,  true,  false },
    { "request",  test_request,  true,  false },
    { "dma",      test_dma,      true,  false },
    { "view",     test_view,     true,  false },
    { "touch",    test_touch,    true,  false },
    { "bench",    test_bench,    true,  false },
    { "maps",     test_maps,     true,  false },
    { "virtio",   test_virtio,   false, false },
    { "hostile",  test_hostile,  true,  false },
    { "storm",    test_storm,    true,  false },
};

static const char *const rules[] = { "auto", "split", "inplace" };
static const char *const dry_modes[] = {
    "", "ok", "stale", "spill", "partial", "lax", "wrap", "lost",
};

static bool one_of(const char *const *set, unsigned n, const char *value)
{
    for (unsigned i = 0; i < n; i++) {
        if (!strcmp(set[i], value)) {
            return true;
        }
    }
    return false;
}

/* Is every word of test= the name of a scenario, or "all"? */
static bool tests_known(const char *list)
{
    unsigned words = 1, hits = in_list(list, "all");

    for (const char *p = list; *p; p++) {
        words += *p == ',';
    }
    for (unsigned i = 0; i < ARRAY_SIZE(scenarios); i++) {
        hits += in_list(list, scenarios[i].name);
    }
    return hits == words;
}

static const char *usage_error(void)
{
    const char *bad = args_check();

    if (bad) {
        return bad;
    }
    if (!tests_known(arg_str("test", "table"))) {
        return "test";
    }
    if (!one_of(rules, ARRAY_SIZE(rules), arg_str("content", "auto"))) {
        return "content";
    }
    if (!one_of(dry_modes, ARRAY_SIZE(dry_modes), arg_str("dry", ""))) {
        return "dry";
    }
    if (area(PAGE).start == area(PAGE).end) {
        return "base";
    }
    return NULL;
}

static void call(void *fn)
{
    ((void (*)(void))fn)();
}

static void run(unsigned i)
{
    const char *name = scenarios[i].name;
    int fault;

    if (scenarios[i].converts && convert_missing()) {
        skip(name, convert_missing());
        return;
    }
    say("# BEGIN %s", name);
    fault = cpu_guard(call, scenarios[i].run);
    if (fault) {
        fail(name, "exception vector=%d", fault - 1);
    }
    say("# END %s", name);
}

void guest_main(const void *start_info)
{
    const char *tests, *bad;

    serial_init();
    say("%s", "");      /* whatever the firmware left on this line */
    memory_init(start_info);
    bad = usage_error();
    if (bad) {
        say("not ok 1 - boot/cmdline # bad or unknown: %s", bad);
        say("GUEST-DONE pass=0 fail=1 skip=0");
        machine_end(END_USAGE);
    }
    tests = arg_str("test", arg_u64("bench", 0) ? "bench" : "table");
    say("# GUEST tests=%s", tests);
    smp_init(arg_u64("cpus", 0));
    convert_init();
    for (unsigned i = 0; i < ARRAY_SIZE(scenarios); i++) {
        if (in_list(tests, scenarios[i].name) ||
            (scenarios[i].in_all && in_list(tests, "all"))) {
            run(i);
        }
    }
    if (!convert_missing()) {
        say("# eagain=%lu", convert_eagain());
        if (arg_u64("dump", 1)) {
            shadow_dump();
        }
    }
    finish();
}
