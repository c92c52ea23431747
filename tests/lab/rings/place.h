/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Memory that rings can be in.
 */
#ifndef RINGS_PLACE_H
#define RINGS_PLACE_H

#include "uapi.h"
#include <stdbool.h>
#include <stddef.h>

enum kind {
    ANON,           /* private anonymous memory */
    MEMFD,          /* tmpfs */
    DISK,           /* a file on a disk, with write-back */
    HUGE,           /* one transparent huge page */
    HUGETLB,
    GMEM,           /* a guest_memfd of a software-protected VM */
    KINDS,
};

extern const char *const kind_names[KINDS];

/* A directory on a file system that has write-back; NULL: there is none */
extern const char *disk_directory;

struct place {
    enum kind kind;
    int fd;                     /* -1: no file */
    int vm;                     /* of a guest_memfd */
    unsigned char *base;
    size_t size;
};

/* Make such memory, mapped and all zeros. Skips where that cannot be. */
void place_open(struct place *p, enum kind kind, size_t size);

/* The same pages mapped a second time, for one that has a file. */
unsigned char *place_alias(const struct place *p);

/* Offset of an address in it */
size_t place_offset(const struct place *p, const void *address);

/*
 * /proc/self/pagemap of the page at an address: whether it is present, or
 * swapped out; its frame, 0 if it is not present.
 */
bool page_present(const void *address);
bool page_swapped(const void *address);
u64 page_frame(const void *address);

#endif
