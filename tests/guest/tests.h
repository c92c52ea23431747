/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The scenarios, one to a file. Each reports its own results and leaves every
 * page in the state that the shadow says.
 */
#ifndef GUEST_TESTS_H
#define GUEST_TESTS_H

#include "convert.h"
#include "cpu.h"

void test_selftest(void);
void test_table(void);
void test_content(void);
void test_random(void);
void test_pattern(void);
void test_pam(void);
void test_cycle(void);
void test_dma(void);
void test_hotplug(void);
void test_request(void);
void test_view(void);
void test_touch(void);
void test_bench(void);
void test_maps(void);

/*
 * Make all of [a.start, a.end) shared and filled with @gen, whatever it was.
 * Returns false, with a failure reported, when the host refuses.
 */
bool area_reset(const char *name, struct extent a, unsigned gen);

/*
 * Ask the host for the state that each page of @a should have already. Where
 * it agrees nothing happens; under the split rule a page whose state it sees
 * otherwise loses its content. Reports one result; returns whether it passed.
 */
bool check_states(const char *name, struct extent a);

#endif
