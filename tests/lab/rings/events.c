/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What happens to the pages of a ring. Each event happens to every area of both
 * rings in turn: packets go round until all pages are borrowed, then it happens,
 * then packets go round again. With the switch on the page must have been taken
 * from vhost, and must be borrowed again later.
 *
 * An event leaves a trap behind where it can: the page that vhost used before
 * still exists, with contents that would be noticed.
 */
#define _GNU_SOURCE
#include "tests.h"
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define ENTRIES 256u            /* each area has one page then */
#define GARBAGE 0xee
#define OCCUPIED MIB
#define KPF_THP 22

struct stage {
    struct place place;
    struct device device;
    unsigned char *page;        /* the area that it happens to */
    unsigned char copy[PAGE];   /* of the page, when it happened */
    unsigned char *trap;
    pid_t child;
    int pipe[2];
};

struct event {
    enum kind kind;
    void (*happen)(struct stage *s);
    /* afterwards, when packets have gone round: is the trap untouched? */
    void (*check)(struct stage *s);
};

/* Try until it has come about; the alarm ends what never does */
#define until(attempt, condition)                                           \
    while ((attempt), !(condition)) {                                       \
        usleep(10000);                                                      \
    }

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        skip("no %s", path);
    }
    must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static int node_of(void *page)
{
    int status = -1;

    must(!syscall(SYS_move_pages, 0, 1ul, &page, NULL, &status, 0));
    return status;
}

static int move_to(void *page, int node)
{
    int status = -1;

    must(syscall(SYS_move_pages, 0, 1ul, &page, &node, &status,
                 MPOL_MF_MOVE) >= 0);
    return status;
}

static void move(struct stage *s)
{
    int other;

    if (access("/sys/devices/system/node/node1", F_OK)) {
        skip("this machine has one node: boot with numa=fake=2");
    }
    other = !node_of(s->page);
    until(move_to(s->page, other), node_of(s->page) == other);
}

static void unmap(struct stage *s)
{
    must(!madvise(s->page, PAGE, MADV_DONTNEED));
}

static void protect(struct stage *s)
{
    must(!mprotect(s->page, PAGE, PROT_READ));
    must(!mprotect(s->page, PAGE, PROT_READ | PROT_WRITE));
}

/* Another page in its place; the old one goes on to exist, as garbage */
static void replace(struct stage *s)
{
    int fd = memfd_create("other", MFD_CLOEXEC);
    unsigned char *old = place_alias(&s->place) +
                         place_offset(&s->place, s->page);

    must(fd >= 0);
    must(write(fd, s->page, PAGE) == (ssize_t)PAGE);
    must(mmap(s->page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
              fd, 0) == s->page);
    close(fd);
    memset(old, GARBAGE, PAGE);
    memset(s->copy, GARBAGE, PAGE);
    s->trap = old;
}

/* Use up free pages, so that those just freed do not come back to the ring */
static void occupy(struct stage *s)
{
    s->trap = mmap(NULL, OCCUPIED, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(s->trap != MAP_FAILED);
    memset(s->trap, GARBAGE, OCCUPIED);
}

static void occupied_is_untouched(struct stage *s)
{
    size_t i;

    for (i = 0; i < OCCUPIED; i++) {
        if (s->trap[i] != GARBAGE) {
            fail("a page was written that the ring has given up");
        }
    }
    must(!munmap(s->trap, OCCUPIED));
}

/* Page by page, but for huge pages */
static void punch(struct stage *s)
{
    bool huge = s->place.kind == HUGETLB;
    unsigned char *start = huge ? s->place.base : s->page;
    size_t size = huge ? s->place.size : PAGE;
    unsigned char *copy = malloc(size);

    must(copy);
    memcpy(copy, start, size);
    must(!fallocate(s->place.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    place_offset(&s->place, start), size));
    occupy(s);
    memcpy(start, copy, size);
    free(copy);
}

/* A child gets the page too; whoever writes to it first gets a copy */
static void copy_on_write(struct stage *s)
{
    char byte;

    must(!pipe(s->pipe));
    must((s->child = fork()) >= 0);
    if (!s->child) {
        close(s->pipe[1]);
        must(read(s->pipe[0], &byte, 1) == 0);
        _exit(memcmp(s->page, s->copy, PAGE) ? FAILED : PASSED);
    }
    close(s->pipe[0]);
}

static void child_has_its_own(struct stage *s)
{
    int status;

    close(s->pipe[1]);
    must(waitpid(s->child, &status, 0) == s->child);
    if (status) {
        fail("a child's page has changed (status %#x)", status);
    }
}

/* One page of the same contents as another */
static void merge(struct stage *s)
{
    if (access("/sys/kernel/mm/ksm", F_OK)) {
        skip("this kernel has no KSM");
    }
    s->trap = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(s->trap != MAP_FAILED);
    /* not like other pages of rings; no area uses this byte */
    s->page[PAGE - 1] = place_offset(&s->place, s->page) / PAGE + 1;
    memcpy(s->copy, s->page, PAGE);
    memcpy(s->trap, s->page, PAGE);
    must(!madvise(s->page, PAGE, MADV_MERGEABLE));
    must(!madvise(s->trap, PAGE, MADV_MERGEABLE));
    write_file("/sys/kernel/mm/ksm/pages_to_scan", "1000");
    write_file("/sys/kernel/mm/ksm/run", "1");
    until((void)0, page_frame(s->page) &&
          page_frame(s->page) == page_frame(s->trap));
    write_file("/sys/kernel/mm/ksm/run", "0");
}

static void trap_is_untouched(struct stage *s)
{
    if (memcmp(s->trap, s->copy, PAGE)) {
        fail("a page was written that is no longer of the ring");
    }
}

static bool has_swap(void)
{
    FILE *file = fopen("/proc/swaps", "re");
    char line[256];
    bool found;

    if (!file) {
        return false;
    }
    found = fgets(line, sizeof(line), file) && fgets(line, sizeof(line), file);
    fclose(file);
    return found;
}

static bool in_core(void *page)
{
    unsigned char there = 1;

    must(!mincore(page, PAGE, &there));
    return there & 1;
}

static void write_back(struct stage *s)
{
    must(!msync(s->page, PAGE, MS_SYNC));
}

static void page_out(struct stage *s)
{
    if (s->place.kind == DISK) {
        write_back(s);
    } else if (!has_swap()) {
        skip("no swap space");
    }
    until(madvise(s->page, PAGE, MADV_PAGEOUT), !in_core(s->page));
    occupy(s);
}

static bool is_huge(void *page)
{
    int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
    u64 flags = 0;

    must(fd >= 0);
    must(pread(fd, &flags, 8, page_frame(page) * 8) == 8);
    close(fd);
    return flags >> KPF_THP & 1;
}

/* write() says EAGAIN where not all of the range could be split */
static void try_split(struct stage *s)
{
    char text[100];
    int fd = open("/sys/kernel/debug/split_huge_pages", O_WRONLY | O_CLOEXEC);

    must(fd >= 0);
    snprintf(text, sizeof(text), "%d,%p,%p", getpid(), s->place.base,
             s->place.base + s->place.size);
    must(write(fd, text, strlen(text)) > 0 || errno == EAGAIN);
    close(fd);
}

static void collapse(struct stage *s)
{
    until(madvise(s->place.base, s->place.size, MADV_COLLAPSE),
          is_huge(s->page));
}

static void split(struct stage *s)
{
    if (!is_huge(s->page)) {
        collapse(s);
        exchange_until_borrowed(&s->device);
    }
    until(try_split(s), !is_huge(s->page));
}

static void split_and_collapse(struct stage *s)
{
    split(s);
    exchange_until_borrowed(&s->device);
    collapse(s);
}

static void happens(struct stage *s, const struct event *e)
{
    struct counts before, after;

    exchange_until_borrowed(&s->device);
    memcpy(s->copy, s->page, PAGE);
    counts_read(&before);
    e->happen(s);
    counts_read(&after);
    if (switch_is_on() && after.taken == before.taken) {
        fail("no page was taken from vhost");
    }
    exchange_surely(&s->device, 4);
    if (e->check) {
        e->check(s);
    }
    exchange_until_borrowed(&s->device);
}

static enum verdict run_event(const void *argument)
{
    const struct event *e = argument;
    struct stage *s = calloc(1, sizeof(*s));
    enum area area;
    unsigned queue;

    place_open(&s->place, e->kind, rings_bytes(ENTRIES));
    device_open(&s->device, ENTRIES, 0, s->place.base);
    must(!device_start(&s->device));
    for (queue = 0; queue < QUEUES; queue++) {
        for (area = 0; area < AREAS; area++) {
            s->page = s->device.ring[queue].area[area];
            happens(s, e);
        }
    }
    return PASSED;
}

#define EVENT(text, ...) { text, run_event, &(const struct event){ __VA_ARGS__ } }

const struct test event_tests[] = {
    EVENT("moved to another node: anonymous memory", ANON, move),
    EVENT("moved to another node: tmpfs", MEMFD, move),
    EVENT("moved to another node: a file on a disk", DISK, move),
    EVENT("unmapped: tmpfs", MEMFD, unmap),
    EVENT("unmapped: a file on a disk", DISK, unmap),
    EVENT("unmapped: guest_memfd", GMEM, unmap),
    EVENT("write-protected for a moment: anonymous memory", ANON, protect),
    EVENT("write-protected for a moment: tmpfs", MEMFD, protect),
    EVENT("write-protected for a moment: part of a huge page", HUGE, protect),
    EVENT("replaced by another page", MEMFD, replace, trap_is_untouched),
    EVENT("punched: tmpfs", MEMFD, punch, occupied_is_untouched),
    EVENT("punched: hugetlb", HUGETLB, punch, occupied_is_untouched),
    EVENT("punched: guest_memfd", GMEM, punch, occupied_is_untouched),
    EVENT("copied on write after fork", ANON, copy_on_write,
          child_has_its_own),
    EVENT("merged with an equal page", ANON, merge, trap_is_untouched),
    EVENT("swapped out: anonymous memory", ANON, page_out,
          occupied_is_untouched),
    EVENT("swapped out: tmpfs", MEMFD, page_out, occupied_is_untouched),
    EVENT("dropped from the page cache: a file on a disk", DISK, page_out,
          occupied_is_untouched),
    EVENT("written back: a file on a disk", DISK, write_back),
    EVENT("a huge page is split", HUGE, split),
    EVENT("a huge page is split and made again", HUGE, split_and_collapse),
    { 0 },
};
