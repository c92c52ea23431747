/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the kernel counts of borrowed ring pages, and the switch.
 */
#ifndef RINGS_COUNTS_H
#define RINGS_COUNTS_H

#include "ring.h"

struct counts {
    unsigned long mapped, plain;            /* accesses */
    unsigned long borrowed, taken, returned;    /* pages */
    unsigned long attached, detached, failed;   /* areas */
};

/* Whether the kernel has the switch at all */
bool switch_there(void);

/* Set vhost.map_rings, for all devices. */
void switch_set(bool on);

/* Whether it is on, as switch_set() left it */
bool switch_is_on(void);

void counts_read(struct counts *c);

/*
 * Exchange packets, one by one, until no access goes by uaccess any more; with
 * the switch off, until none but those do. Fails if that does not come about.
 */
void exchange_until_borrowed(struct device *d);

/* Wait until no area of any device is attached, and no page borrowed. */
void counts_wait_for_none(void);

#endif
