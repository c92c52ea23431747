/*
 * Fixture of the tests of touches of private pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The SIGBUS is real: memory that is mapped from a memfd and lies behind its end, as a page
 * that is private does for guest_memfd.  ftruncate() is the conversion.
 */

#ifndef TESTS_GMEM_SIGBUS_FIXTURE_H
#define TESTS_GMEM_SIGBUS_FIXTURE_H

#include "system/gmem.h"

#define PAGE 4096
#define MAX_SINKS 256       /* system/gmem-sigbus.c */

typedef struct Memory {
    int fd;
    size_t size;
    uint8_t *host;
    GmemBlock *block;
} Memory;

/* How often SIGBUS was handled so far (atomic) */
extern unsigned int nr_signals;

/* From now on SIGBUS is recovered from, or ends the process; @flags are sigaction()'s */
void handle_sigbus(int flags);

/* A block in mode in-place and its mapping, all private, that SIGBUS is watched for */
Memory *memory_new(unsigned int pages);
void memory_free(Memory *mem);

/* The pages from @page on are private */
void set_private(Memory *mem, unsigned int page);
/* All pages are shared; 0 or the -errno of gmem_sigbus_restore() */
int set_shared(Memory *mem);

/* Touches of @mem, at @offset in bytes; they may raise SIGBUS */
uint8_t load(Memory *mem, size_t offset);
void store(Memory *mem, size_t offset, uint8_t value);
uint64_t load_word(Memory *mem, size_t offset);
void store_word(Memory *mem, size_t offset, uint64_t value);

/* How many mappings there are of any test's file; with @mem, in its memory only */
unsigned int mappings(Memory *mem);

#endif
