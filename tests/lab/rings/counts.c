/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include "counts.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SWITCH "/sys/module/vhost/parameters/map_rings"
#define COUNTS "/sys/kernel/debug/vhost_rings"
/* A page that was taken often is left alone for up to 255 accesses to it, all in
 * all for some 500, and a round, which is one packet, may make only one (to an
 * event index, say) */
#define ROUNDS 800

bool switch_there(void)
{
    return !access(SWITCH, F_OK);
}

void switch_set(bool on)
{
    int fd = open(SWITCH, O_WRONLY | O_CLOEXEC);

    must(fd >= 0);
    must(write(fd, on ? "Y" : "N", 1) == 1);
    close(fd);
}

bool switch_is_on(void)
{
    char letter = 0;
    int fd = open(SWITCH, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        must(read(fd, &letter, 1) == 1);
        close(fd);
    }
    return letter == 'Y';
}

void counts_read(struct counts *c)
{
    struct {
        const char *name;
        unsigned long *value;
    } known[] = {
        { "mapped", &c->mapped }, { "plain", &c->plain },
        { "borrowed", &c->borrowed }, { "taken", &c->taken },
        { "returned", &c->returned }, { "attached", &c->attached },
        { "detached", &c->detached }, { "failed", &c->failed },
    };
    FILE *file = fopen(COUNTS, "re");
    unsigned long value;
    char name[32];
    unsigned i, found = 0;

    must(file);
    while (fscanf(file, "%31s %lu", name, &value) == 2) {
        for (i = 0; i < sizeof(known) / sizeof(*known); i++) {
            if (!strcmp(name, known[i].name)) {
                *known[i].value = value;
                found++;
            }
        }
    }
    fclose(file);
    must(found == sizeof(known) / sizeof(*known));
}

void exchange_until_borrowed(struct device *d)
{
    struct counts before, after;
    bool on = switch_is_on();
    unsigned i;

    for (i = 0; i < ROUNDS; i++) {
        counts_read(&before);
        must(exchange(d, 1));
        counts_read(&after);
        if (on ? after.mapped > before.mapped && after.plain == before.plain
               : after.mapped == before.mapped) {
            return;
        }
    }
    fail("after %u rounds: mapped %lu to %lu, plain %lu to %lu", ROUNDS,
         before.mapped, after.mapped, before.plain, after.plain);
}

void counts_wait_for_none(void)
{
    struct counts c;
    unsigned tries;

    for (tries = 0; tries < 100 * hang(); tries++) {
        counts_read(&c);
        if (c.attached == c.detached && c.borrowed == c.taken + c.returned) {
            return;
        }
        usleep(10000);
    }
    fail("left behind: %lu areas (%lu - %lu), %ld pages (%lu - %lu - %lu)",
         c.attached - c.detached, c.attached, c.detached,
         c.borrowed - c.taken - c.returned, c.borrowed, c.taken, c.returned);
}
