/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The request to the host: KVM_HC_MAP_GPA_RANGE.
 */
#ifndef GUEST_CONVERT_H
#define GUEST_CONVERT_H

#include "memory.h"

#define HC_MAP_GPA_RANGE 12
#define ATTR_PRIVATE    0x10    /* bits 3:0 are a page size: 0 4K, 1 2M, 2 1G */

#define RET_OK          0
#define RET_EAGAIN      11      /* from QEMU: positive */
#define RET_EINVAL      22
#define RET_KVM_EINVAL  (-22)   /* from KVM itself: negative */

/* Find out whether the host converts; decides the rule of content=auto. */
void convert_init(void);
/* NULL, or why nothing can be converted here. */
const char *convert_missing(void);
/* Is the host's part played in the guest (dry=)? */
bool convert_is_dry(void);

/* One request, with its arguments as they are; returns RAX. */
long map_gpa_raw(uint64_t gpa, uint64_t pages, uint64_t attrs);
/* The same, taking EAGAIN up to retries= times. Shadow untouched. */
long map_gpa(uint64_t gpa, uint64_t pages, uint64_t attrs);
/* map_gpa(), and on success the shadow follows. */
long convert(uint64_t gpa, uint64_t pages, bool to_private);
/* How often the host said EAGAIN so far. */
uint64_t convert_eagain(void);

/* The stand-in for a host under dry= (sim.c). */
long sim_map_gpa(uint64_t gpa, uint64_t pages, uint64_t attrs);

#endif
