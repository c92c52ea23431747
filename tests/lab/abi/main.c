/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * gmem-abi: does this kernel's guest_memfd behave as documented?
 *
 *   --in-place=on|off|auto   which interface it must have (auto: what it has)
 *   --only=TEXT              cases and scenes whose name has TEXT in it
 *   --calls                  no holders, no guests, no scenes: calls alone
 *   --list                   print the names
 *
 * Cases are about the kernel's interface in tables, scenes about what many do
 * at once. Both are for one setting of in-place conversion or for both.
 */
#define _GNU_SOURCE
#include "cases.h"
#include "scenes.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct table *const tables[] = {
    &table_capability, &table_create, &table_file, &table_slot,
    &table_refuse, &table_convert, &table_busy, &table_guest, &table_split,
};

static struct {
    const char *only, *in_place;
    bool calls, list;
    unsigned types, kernel;
} options = { .in_place = "auto" };

static const char *type_name(unsigned type)
{
    return type == VM_DEFAULT ? "default" : "sw-protected";
}

/* In the child: one case, from the world to its end */
static enum verdict run_case(const void *arg)
{
    const struct abi_case *c = arg;
    const struct step *s;
    struct world w;

    if (c->pages) {
        world_make(&w, c->type, c->flags, c->pages);
    } else {
        world_open(&w, c->type, c->flags, 4 * PAGE);
    }
    if (c->bound) {
        world_bind(&w);
    }
    for (s = c->steps; s->call != CALL_END; s++) {
        if (!step_run(&w, s)) {
            say("at step %td", s - c->steps + 1);
            return hold_lapsed(&w) ? AGAIN : FAILED;
        }
    }
    hold_release(&w);
    return !c->after || world_check(&w, c->after) ? PASSED : FAILED;
}

/* Does the case need more than calls? */
static bool has_company(const struct abi_case *c)
{
    const struct step *s;

    for (s = c->steps; s->call != CALL_END; s++) {
        if (s->call >= CALL_GUEST_READ && s->call <= CALL_HOLD) {
            return true;
        }
    }
    return false;
}

static bool wanted(const char *name, unsigned kernels)
{
    return (kernels & options.kernel) &&
        (!options.only || strstr(name, options.only));
}

static void offer(const char *name, unsigned type,
                  enum verdict (*fn)(const void *), const void *arg)
{
    char reason[64];

    if (options.list) {
        puts(name);
    } else if (!(options.types & (1u << type))) {
        snprintf(reason, sizeof(reason), "this KVM has no %s VMs",
                 type_name(type));
        tap_skip(name, reason);
    } else {
        tap_run(name, fn, arg);
    }
}

static void run_table(const struct table *t)
{
    const struct abi_case *c;
    char name[256];

    for (c = t->cases; c < t->cases + t->count; c++) {
        snprintf(name, sizeof(name), "%s VM, %s", type_name(c->type),
                 c->name);
        if (wanted(name, c->kernels) && !(options.calls && has_company(c))) {
            offer(name, c->type, run_case, c);
        }
    }
}

static enum verdict run_scene(const void *arg)
{
    const struct scene *s = arg;

    return s->run() ? PASSED : FAILED;
}

static void run_scenes(void)
{
    const struct scene *s;
    char name[256];

    for (s = scenes; s->name && !options.calls; s++) {
        snprintf(name, sizeof(name), "%s VM, scene: %s", type_name(s->type),
                 s->name);
        if (wanted(name, s->kernels)) {
            offer(name, s->type, run_scene, s);
        }
    }
}

static void parse(int argc, char **argv)
{
    static const struct option known[] = {
        { "in-place", required_argument, NULL, 'i' },
        { "only", required_argument, NULL, 'o' },
        { "calls", no_argument, NULL, 'c' },
        { "list", no_argument, NULL, 'l' },
        { 0 }
    };
    int letter;

    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (letter == 'i') {
            options.in_place = optarg;
        } else if (letter == 'o') {
            options.only = optarg;
        } else if (letter == 'c') {
            options.calls = true;
        } else if (letter == 'l') {
            options.list = true;
        } else {
            exit(2);
        }
    }
}

/* Is the interface the one that was asked for? A result of its own. */
static enum verdict check_setting(const void *arg)
{
    (void)arg;
    say("in-place conversion is %s", in_place ? "on" : "off");
    return in_place == !strcmp(options.in_place, "on") ? PASSED : FAILED;
}

int main(int argc, char **argv)
{
    size_t i;

    parse(argc, argv);
    options.types = world_probe();
    if (!options.types && !options.list) {
        printf("1..0 # SKIP no /dev/kvm\n");
        return 0;
    }
    options.kernel = in_place ? ON : OFF;
    if (strcmp(options.in_place, "auto")) {
        options.kernel = !strcmp(options.in_place, "on") ? ON : OFF;
        if (!options.list) {
            tap_run("the kernel has the interface that was asked for",
                    check_setting, NULL);
        }
    }
    for (i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
        run_table(tables[i]);
    }
    run_scenes();
    return options.list ? 0 : tap_done();
}
