/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Numbers that assembly and C must agree on.
 */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

#define MAX_CPUS    16
#define STACK_SIZE  16384

/* Where the other processors start; below 1 MiB, as a SIPI demands. */
#define AP_PAGE     0x8000

#define SEL_CODE32  0x08
#define SEL_DATA    0x10
#define SEL_CODE64  0x18
#define SEL_TSS     0x20    /* one 16-byte descriptor for each CPU */

/* Accessed and dirty are preset, so that nothing needs to write the tables. */
#define PTE_RW      0x063
#define PTE_LARGE   0x0e3

#define VECTOR_WAKE 0x40
#define VECTOR_WATCHDOG 0x41
#define VECTOR_SPURIOUS 0xff

#endif
