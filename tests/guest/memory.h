/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest memory. Everything from CONVERTIBLE up may be converted; below lie the
 * guest itself and the firmware's leavings. For each page that may be
 * converted the shadow keeps one byte: its state and what must be in it. The
 * content rule says what a conversion does to a page:
 *   split    the side left behind is freed, the other side starts as zeros
 *   inplace  the content stays
 */
#ifndef GUEST_MEMORY_H
#define GUEST_MEMORY_H

#include "lib.h"
#include "platform.h"

#define CONVERTIBLE (4 * MiB)
#define GIB4        (4 * GiB)
#define VGA_WINDOW  0xa0000UL
#define MAX_RAM     8

/* Take over the memory map; after smp_init() would be too late. */
void memory_init(const void *start_info);
/* RAM extents, ascending, adjacent ones merged. */
extern struct extent ram[MAX_RAM];
extern unsigned nr_ram;
/* End of RAM below 4 GiB, where the hole starts. */
uint64_t low_end(void);
/* End of RAM above 4 GiB; 4 GiB if there is none. */
uint64_t high_end(void);
bool is_ram(uint64_t gpa);
/*
 * Does this page keep what is written to it? Tells RAM where e820 does not: the VGA
 * window without VGA and SMM, a PAM segment. Its content stays.
 */
bool reads_back(uint64_t gpa);
/* Can the guest reach [gpa, gpa + size) through its page tables? */
bool is_mapped(uint64_t gpa, uint64_t size);
/* The area the tests use: base= and size=, with @size as the default. */
struct extent area(uint64_t size);

/* --- shadow ------------------------------------------------------------ */

enum rule { RULE_SPLIT, RULE_INPLACE };
extern enum rule content_rule;

#define SHADOW_PRIVATE  0x80
#define GEN_ZERO        0
#define GEN_MAX         126     /* 1..GEN_MAX: the pattern of that number */
#define GEN_UNKNOWN     127

void shadow_init(void);
/* The byte of a page, or NULL when the page is not followed. */
uint8_t *shadow(uint64_t gpa);
bool shadow_private(uint64_t gpa);
/* Note a successful conversion of a range, which may hold holes. */
void shadow_convert(uint64_t gpa, uint64_t pages, bool to_private);
/* Forget the content of a range (state is kept, or set by the caller). */
void shadow_forget(uint64_t gpa, uint64_t pages);
/* Print the state of all RAM as lines "STATE gpa pages P|S". */
void shadow_dump(void);
/* FNV-1a over the states and contents of a range. */
uint64_t shadow_digest(uint64_t gpa, uint64_t pages);

/* Write pattern @gen (1..GEN_MAX) to a page, and note it if it is followed. */
void page_fill(uint64_t gpa, unsigned gen);
/* What word @i of the page must be under pattern @gen. */
uint64_t page_word(uint64_t gpa, unsigned gen, unsigned i);

struct mismatch {
    uint64_t gpa, expected, got;
};
/* Compare a page with pattern @gen, every word or (@quick) eight; fills @m. */
bool page_is(uint64_t gpa, unsigned gen, bool quick, struct mismatch *m);
/* The same with the shadow of the page; an unknown page is always right. */
bool page_check(uint64_t gpa, bool quick, struct mismatch *m);
bool range_check(uint64_t gpa, uint64_t pages, bool quick, struct mismatch *m);
void range_fill(uint64_t gpa, uint64_t pages, unsigned gen);

#endif
