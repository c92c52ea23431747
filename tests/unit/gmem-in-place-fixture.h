/*
 * Fixture of the tests of conversion in place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The real engine and provider, a guest_memfd that is a memfd.  The fake kernel keeps one
 * bit per page of the file, checks every argument of the call as a kernel does, and can
 * refuse.  There is no call by guest-physical address at all.
 */

#ifndef TESTS_GMEM_IN_PLACE_FIXTURE_H
#define TESTS_GMEM_IN_PLACE_FIXTURE_H

#include "qemu/bitmap.h"
#include "qemu/units.h"
#include "system/gmem.h"
#include "system/kvm_int.h"
#include "system/ramblock.h"

#define PAGE (4 * KiB)
#define PAGES 512
#define RAM_SIZE (PAGES * PAGE)

typedef struct FakeKernel {
    DECLARE_BITMAP(private, PAGES);
    ino_t file;
    unsigned int calls;
    int error;                  /* answer to the next calls */
    unsigned int errors;        /* to how many */
    bool only_private;
    unsigned int busy_page;
    unsigned int busy_for;      /* calls to private that reach the page */
} FakeKernel;

/* gmem_sigbus_restore(): how often it was asked, for what at last, and its answer */
typedef struct FakeRestore {
    unsigned int calls;
    uint64_t offset, size;
    int error;
} FakeRestore;

extern FakeKernel kernel;
extern FakeRestore restore;
/* the one RAMBlock, while there is a block */
extern RAMBlock *ram;

/* A block and its RAM, all in state @initial; both fakes forget everything */
GmemBlock *set_up(GmemPageState initial);
void tear_down(GmemBlock *block);

/* A request for one @segment that waits long enough for any busy page */
GmemRequest request(GmemSegment *segment, GmemPageState to);
/* Convert @pages pages from page @first on; 0 or the engine's -errno */
int convert(GmemBlock *block, unsigned int first, unsigned int pages,
            GmemPageState to);
/* Fails the test unless the engine's map says of each page what the kernel says */
void check_same(GmemBlock *block);

#endif
