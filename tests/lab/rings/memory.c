/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Memory that vhost may not reach any more, and memory that it has written: no
 * write where none is allowed, and none that is lost.
 */
#define _GNU_SOURCE
#include "tests.h"
#include "world.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ENTRIES 256u

static struct place place;
static struct device device;

static void make(enum kind kind)
{
    place_open(&place, kind, rings_bytes(ENTRIES));
    device_open(&device, ENTRIES, 0, place.base);
    must(!device_start(&device));
}

/* The used ring cannot be written: the device says so, and has not done it */
static enum verdict read_only(const void *argument)
{
    unsigned char copy[PAGE], *used;

    (void)argument;
    make(MEMFD);
    exchange_until_borrowed(&device);
    used = device.ring[TX].area[USED];
    must(!mprotect(used, PAGE, PROT_READ));
    memcpy(copy, used, PAGE);
    send_unseen(&device, 1);
    ring_kick(&device.ring[TX]);
    device_wait_error(&device);
    must(!memcmp(copy, used, PAGE));
    must(!mprotect(used, PAGE, PROT_READ | PROT_WRITE));
    device_restart(&device);
    exchange_until_borrowed(&device);
    return PASSED;
}

/* Memory of the ring goes away for good */
static enum verdict unmapped(const void *argument)
{
    unsigned char *ring;
    enum area area;

    (void)argument;
    for (area = 0; area < AREAS; area++) {
        make(ANON);
        exchange_until_borrowed(&device);
        ring = device.ring[TX].area[area];
        send_unseen(&device, 1);
        must(!munmap(ring, PAGE));
        ring_kick(&device.ring[TX]);
        device_wait_error(&device);
        must(mmap(ring, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
                  MAP_ANONYMOUS | MAP_FIXED, -1, 0) == ring);
        device_restart(&device);
    exchange_until_borrowed(&device);
        device_close(&device);
    }
    return PASSED;
}

/* A page of a live ring is made private, and shared again */
static enum verdict converted(const void *argument)
{
    unsigned char copy[PAGE], *page;
    enum area area;
    u64 at;

    (void)argument;
    make(GMEM);
    for (area = 0; area < AREAS; area++) {
        exchange_until_borrowed(&device);
        page = device.ring[TX].area[area];
        at = place_offset(&place, page);
        send_unseen(&device, 1);
        memcpy(copy, page, PAGE);
        convert_surely(place.fd, at, PAGE, PRIVATE);
        ring_kick(&device.ring[TX]);
        device_wait_error(&device);
        device_stop(&device);
        convert_surely(place.fd, at, PAGE, 0);
        if (memcmp(copy, page, PAGE)) {
            fail("area %u was written while it was private", area);
        }
        rings_reset(&device);
        must(!device_start(&device));
    }
    device_restart(&device);
    exchange_until_borrowed(&device);
    return PASSED;
}

/* Pages beside those of the ring come and go, and it does not notice */
static enum verdict beside_converted(const void *argument)
{
    struct counts before, after;
    unsigned i;

    (void)argument;
    make(GMEM);
    exchange_until_borrowed(&device);
    counts_read(&before);
    for (i = 0; i < 100; i++) {
        /* each area has one page, and one that nobody uses behind it */
        convert_surely(place.fd, (2 * (i % 6) + 1) * PAGE, PAGE, PRIVATE);
        exchange_surely(&device, 1);
        convert_surely(place.fd, (2 * (i % 6) + 1) * PAGE, PAGE, 0);
    }
    counts_read(&after);
    must(after.taken == before.taken && after.plain == before.plain);
    return PASSED;
}

/*
 * vhost alone writes the used ring. What it wrote must be on the disk when the
 * file has been written back, whoever had written it back before.
 */
static enum verdict on_disk(const void *argument)
{
    unsigned char copy[PAGE], read_back[PAGE], there = 1;
    size_t at;
    unsigned i;

    (void)argument;
    make(DISK);
    for (i = 0; i < 20; i++) {
        exchange_until_borrowed(&device);
        must(!msync(place.base, place.size, MS_SYNC));
        exchange_surely(&device, 1 + i % 3);
    }
    device_stop(&device);
    at = place_offset(&place, device.ring[RX].area[USED]);
    memcpy(copy, device.ring[RX].area[USED], PAGE);
    must(!munmap(place.base, place.size));
    must(!fsync(place.fd));
    while (there & 1) {
        must(!posix_fadvise(place.fd, 0, 0, POSIX_FADV_DONTNEED));
        place.base = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, place.fd, at);
        must(place.base != MAP_FAILED);
        must(!mincore(place.base, PAGE, &there));
        must(!munmap(place.base, PAGE));
    }
    must(pread(place.fd, read_back, PAGE, at) == (ssize_t)PAGE);
    if (memcmp(copy, read_back, PAGE)) {
        fail("the used ring on the disk is not what it was");
    }
    return PASSED;
}

/*
 * A page of tmpfs that was only read is writable in the page tables, and clean.
 * What vhost has written to it must not be lost with memory that is short.
 */
static enum verdict clean_page(const void *argument)
{
    unsigned char copy[PAGE], there = 1, *used;
    unsigned tries;

    (void)argument;
    make(MEMFD);
    used = device.ring[TX].area[USED];
    exchange_until_borrowed(&device);
    device_stop(&device);
    memcpy(copy, used, PAGE);
    /* without swap space a dirty page stays, which is as good */
    for (tries = 0; (there & 1) && tries < 50; tries++) {
        madvise(used, PAGE, MADV_PAGEOUT);
        must(!mincore(used, PAGE, &there));
        usleep(1000);
    }
    must(!memcmp(copy, used, PAGE));
    return PASSED;
}

const struct test memory_tests[] = {
    { "a used ring that is read-only", read_only },
    { "memory of a ring is unmapped", unmapped },
    { "a page of a ring is made private", converted },
    { "pages beside a ring are made private", beside_converted },
    { "a used ring in a file reaches the disk", on_disk },
    { "a used ring in a page that was clean", clean_page },
    { 0 },
};
