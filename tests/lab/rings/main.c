/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost-rings: what vhost promises of rings whose pages it borrows, and what
 * it must not have lost of what it promised before. See README.md.
 *
 *   --disk=DIRECTORY   on a file system with write-back, for rings in a file
 *   --only=TEXT        tests with that in their names
 *   --list             print their names
 *   --setups=N         how often rings are set up where that is the test (10000)
 *   --stress=SECONDS   everything at once instead
 *   --rate             packets per second instead, both ways in turn
 */
#define _GNU_SOURCE
#include "lockdep.h"
#include "tests.h"
#include "world.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *only = "";
static bool listing;

static void run(const struct test *t, const char *how)
{
    char name[200];

    for (; t->name; t++) {
        snprintf(name, sizeof(name), "%s: %s", how, t->name);
        if (!strstr(name, only)) {
            continue;
        }
        if (listing) {
            printf("%s\n", name);
        } else {
            tap_run(name, t->run, t->argument);
        }
    }
}

static void run_all(void)
{
    static const char *const how[] = { "by uaccess", "by borrowed pages" };
    unsigned on;

    for (on = 0; on < 2; on++) {
        if (!listing) {
            switch_set(on);
        }
        run(event_tests, how[on]);
        run(memory_tests, how[on]);
        run(ring_tests, how[on]);
    }
}

static int run_stress(unsigned seconds)
{
    switch_set(true);
    tap_run("everything at once", stress, &seconds);
    tap_run("the kernel's locks were watched to the end", check_lockdep, NULL);
    return tap_done();
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        { "disk", required_argument, NULL, 'd' },
        { "only", required_argument, NULL, 'o' },
        { "list", no_argument, NULL, 'l' },
        { "setups", required_argument, NULL, 'u' },
        { "stress", required_argument, NULL, 's' },
        { "rate", no_argument, NULL, 'r' },
        { 0 }
    };
    unsigned seconds = 0;
    bool rates = false;
    int letter;

    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (letter == 'd') {
            disk_directory = optarg;
        } else if (letter == 'o') {
            only = optarg;
        } else if (letter == 'l') {
            listing = true;
        } else if (letter == 'u') {
            setups = strtoul(optarg, NULL, 0);
            /* by uaccess it is a hundredth of them, and none would show nothing */
            if (setups < 100) {
                fprintf(stderr, "vhost-rings: --setups=%s: 100 at least\n",
                        optarg);
                return 2;
            }
        } else if (letter == 's') {
            seconds = strtoul(optarg, NULL, 0);
        } else if (letter == 'r') {
            rates = true;
        } else {
            return 2;
        }
    }
    if (!listing) {
        if (!switch_there()) {
            printf("1..0 # SKIP this kernel has no vhost.map_rings\n");
            return 0;
        }
        world_probe();
    }
    if (seconds) {
        return run_stress(seconds);
    }
    if (rates) {
        tap_run("packets go round both ways", rate, NULL);
        return tap_done();
    }
    run_all();
    return listing ? 0 : tap_done();
}
