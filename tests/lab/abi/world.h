/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a test works on: one VM with one guest_memfd, mapped into this process,
 * whose pages are in a given state and hold known content.
 *
 * The state of a file is written as one letter per page:
 *
 *     s  shared, reads as zeros            p  private, zeros
 *     S  shared, holds its stamp           P  private, its stamp
 *     g  shared, the guest's mark on top   q  private, the mark on top
 *     ?  not looked at
 *
 * The stamp of a page is different from that of every other page. Contents of
 * private pages are looked at by making them shared, which only a
 * software-protected VM allows: such a VM keeps contents across conversions.
 */
#ifndef ABI_WORLD_H
#define ABI_WORLD_H

#include "tap.h"
#include "uapi.h"
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

/* Where the file's pages are in guest memory, when they are bound to a slot */
#define DATA_GPA   0x10000000ull
#define DATA_SLOT  0
/* What the guest's mark is: the first four bytes of a page */
#define GUEST_MARK 0x6d61726bu

/* A guest_memfd that may be mapped, and starts shared */
#define MAPPED (GMEM_MMAP | GMEM_SHARED)

/* What calls are made on, or pass as an argument */
enum object {
    ON_GMEM,        /* the guest_memfd */
    ON_VM,
    ON_KVM,
    ON_VCPU,
    ON_DUP,         /* dup() of the guest_memfd */
    ON_SECOND,      /* another guest_memfd of the same VM, as large */
    ON_FOREIGN,     /* a guest_memfd of another VM */
    ON_MEMFD,
    ON_PIPE,
    ON_EVENTFD,
    ON_NOTHING,     /* -1 */
    OBJECTS,
};

struct vcpu;
struct holder;

struct world {
    unsigned type;          /* of the VM */
    u64 flags;              /* of the guest_memfd */
    size_t size, pages;
    int fd[OBJECTS];        /* -1: not opened yet; see world_fd() */
    int foreign_vm;
    unsigned char *window;  /* the guest_memfd mapped; NULL without MMAP */
    unsigned char *plain;   /* ordinary memory of the same size */
    struct vcpu *vcpu;      /* of ON_VCPU, with its code in a slot */
    struct holder *holders;
};

/* Is in-place conversion on in this kernel? Set once, by world_probe(). */
extern bool in_place;

/* Which VM types the kernel has, as bits; sets in_place. */
unsigned world_probe(void);

/* An ioctl that returns -1 with errno, or the value. Never EINTR. */
int call(int fd, unsigned long request, void *argument);

/* A new guest_memfd; -1 with errno. */
int gmem_create(int vm, u64 size, u64 flags);

/*
 * Convert [offset, offset + size) of a guest_memfd. Returns an errno; EAGAIN
 * and where are as the kernel gave them (where may be NULL).
 */
int convert(int gmem, u64 offset, u64 size, u64 attributes, u64 *where);

/* The same, with patience for references that go by themselves. */
void convert_surely(int gmem, u64 offset, u64 size, u64 attributes);

/* Put a guest_memfd into a slot of the VM; an errno. */
int slot_set(int vm, unsigned slot, unsigned flags, u64 gpa, u64 size,
             const void *host, int gmem, u64 offset);

/* Open a VM and a guest_memfd of size bytes. Skips where that cannot be. */
void world_open(struct world *w, unsigned type, u64 flags, u64 size);

/* The same, with pages as the string says: one letter each. */
void world_make(struct world *w, unsigned type, u64 flags, const char *pages);

/* Bind the whole file at DATA_GPA. */
void world_bind(struct world *w);

/* The descriptor of an object; opened when it is used first. */
int world_fd(struct world *w, enum object object);

/* Address of a page in the window; page may lie beyond the end. */
unsigned char *world_page(const struct world *w, size_t page);

/*
 * Look whether the file is as the string says: who may touch what, and then
 * what is in it. Private pages are shared afterwards. False, explained.
 */
bool world_check(struct world *w, const char *pages);

/* The same without the contents of private pages, which stay private. */
bool world_see(struct world *w, const char *pages);

/* Fill a page with its stamp; compare it (content: 's', 'S', 'g' as above). */
void stamp(unsigned char *memory, size_t page);
bool stamped(const unsigned char *memory, size_t page, char content);

#endif
