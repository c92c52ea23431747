/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Lists of tests. Each runs in a process of its own (tap_run), with the switch
 * off and on.
 */
#ifndef RINGS_TESTS_H
#define RINGS_TESTS_H

#include "counts.h"
#include "place.h"

struct test {
    const char *name;
    enum verdict (*run)(const void *argument);
    const void *argument;       /* NULL: the test itself */
};

/* What may happen to a page of a ring, in each kind of memory */
extern const struct test event_tests[];

/* Memory that may not be reached, and memory that was written */
extern const struct test memory_tests[];

/* How often a device's rings are set up to see whether something is left behind */
extern unsigned setups;

/* What the device does with rings: registration, set-ups, translation */
extern const struct test ring_tests[];

/* Each list ends with a test without name. */

/* Everything at once; an argument of seconds */
enum verdict stress(const void *seconds);

/* Packets per second, both ways in turn: prints them, and judges nothing */
enum verdict rate(const void *unused);

#endif
