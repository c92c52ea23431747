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
#include "virtio.h"

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
void test_virtio(void);
void test_hostile(void);
void test_storm(void);

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

/* The virtio devices of hostile and storm, all started; in pages of the area. */
struct devices {
    unsigned n;
    unsigned patience;          /* ms that the slowest request may take */
    struct virtio v[V_MAX];
};
/*
 * Find and start them, and note the neighbours of their pages. NULL, with a skip or a
 * failure reported, when there is nothing to work with.
 */
struct devices *devices_begin(const char *test);
/* Does the device do what it is for? Uses its pages, which must be shared. */
bool device_works(struct devices *d, struct virtio *v);
/*
 * The end: all pages shared, each device works after a reset, nobody has touched a
 * neighbour. Leaves the devices reset, and a page of each private for the host to see.
 */
void devices_end(const char *test, struct devices *d);
/* convert() with a few tries only: who answers EAGAIN has taken its time. */
long pages_convert(uint64_t gpa, uint64_t pages, bool to_private);
/* Does the page hold what pattern @gen was at @from? */
bool page_copied(uint64_t gpa, uint64_t from, unsigned gen);

#endif
