/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a device does with its rings: where they may lie, that they move, come
 * and go.
 */
#define _GNU_SOURCE
#include "tests.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENTRIES 256u
#define GARBAGE 0xee

static struct place place;
static struct device device;

/* A device on rings in such memory, with room for further rings behind */
static void make(enum kind kind, unsigned entries, u64 features)
{
    place_open(&place, kind, 2 * rings_bytes(entries));
    device_open(&device, entries, features, place.base);
    must(!device_start(&device));
}

static enum verdict goes_round(const void *argument)
{
    struct counts before, after;

    (void)argument;
    make(ANON, ENTRIES, 0);
    exchange_until_borrowed(&device);
    counts_read(&before);
    exchange_surely(&device, 50);
    counts_read(&after);
    if (switch_is_on()) {
        must(after.plain == before.plain);
        must(after.mapped - before.mapped >= 50 * BATCH);
        must(after.borrowed == before.borrowed);
    } else {
        must(after.mapped == before.mapped);
        must(after.attached == before.attached);
    }
    return PASSED;
}

static enum verdict with_events(const void *argument)
{
    (void)argument;
    make(MEMFD, ENTRIES, FEATURE_EVENT_IDX);
    exchange_until_borrowed(&device);
    exchange_surely(&device, 50);
    return PASSED;
}

/* Indices wrap, and the areas have several pages: 16, 3 and 9 */
static enum verdict large(const void *argument)
{
    (void)argument;
    make(ANON, 4096, FEATURE_EVENT_IDX);
    exchange_surely(&device, 4096 / BATCH);
    exchange_until_borrowed(&device);
    exchange_surely(&device, 17 * 4096 / BATCH);
    return PASSED;
}

/* vhost does not ask descriptors to be aligned, so one may lie on two pages */
static enum verdict crooked(const void *argument)
{
    struct ring *r = &device.ring[TX];

    (void)argument;
    place_open(&place, ANON, 2 * rings_bytes(ENTRIES));
    device_open(&device, ENTRIES, 0, place.base);
    r->area[DESC] += 8;
    r->desc = (void *)r->area[DESC];
    must(!ring_tell(&device, r));
    must(!device_start(&device));
    exchange_until_borrowed(&device);
    exchange_surely(&device, 20);
    return PASSED;
}

static enum verdict moved(const void *argument)
{
    size_t size = rings_bytes(ENTRIES), i;
    unsigned char *old;

    (void)argument;
    make(ANON, ENTRIES, 0);
    exchange_until_borrowed(&device);
    old = place.base;
    memcpy(old + size, old, size);
    rings_lay(&device, old + size);
    must(!ring_tell(&device, &device.ring[RX]));
    must(!ring_tell(&device, &device.ring[TX]));
    memset(old, GARBAGE, size);
    exchange_until_borrowed(&device);
    for (i = 0; i < size; i++) {
        must(old[i] == GARBAGE);
    }
    return PASSED;
}

static enum verdict switched(const void *argument)
{
    struct counts before, after;
    bool on = switch_is_on();
    unsigned i;

    (void)argument;
    make(ANON, ENTRIES, 0);
    exchange_until_borrowed(&device);
    for (i = 1; i <= 8; i++) {
        switch_set(on ^ (i & 1));
        exchange_until_borrowed(&device);
    }
    switch_set(false);
    counts_read(&before);
    exchange_surely(&device, 4);
    counts_read(&after);
    switch_set(on);
    must(after.mapped == before.mapped && after.plain == before.plain);
    return PASSED;
}

/* Addresses that user space may not have, or that no ring can be at */
static const struct { const char *name; u64 address; int told; } bad[] = {
    { "of the kernel", 0xffff888000000000, 0 },
    { "at the end of everything", 0xfffffffffffff000, 0 },
    { "not of user space any more", 0x00fffffffffff000, 0 },
    { "odd", 1, EINVAL },
};

static struct ring bad_ring(const struct ring *r, enum area area, u64 address)
{
    struct ring changed = *r;

    if (address == 1) {
        address = (uintptr_t)r->area[area] + 1;
    }
    if (area == DESC) {
        changed.desc = (void *)address;
    } else if (area == AVAIL) {
        changed.avail = (void *)address;
    } else {
        changed.used = (void *)address;
    }
    return changed;
}

static void try_bad(unsigned i, enum area area)
{
    struct ring *r = &device.ring[TX], changed;
    struct counts before, after;
    int told, started = -1;

    if (area == DESC && bad[i].told) {
        return;                 /* descriptors may be anywhere */
    }
    changed = bad_ring(r, area, bad[i].address);
    if (ring_tell(&device, &changed) != EINVAL) {
        fail("%s, area %u: accepted while the device runs", bad[i].name, area);
    }
    exchange_surely(&device, 2);
    device_stop(&device);
    rings_reset(&device);
    counts_read(&before);
    told = ring_tell(&device, &changed);
    if (!told) {
        started = device_start(&device);
    }
    counts_read(&after);
    if (told != bad[i].told || (!told && started != EFAULT)) {
        fail("%s, area %u: told %s, started %s", bad[i].name, area,
             error_name(told), error_name(started));
    }
    /* RX has started, and may have got its used ring */
    must(after.attached - before.attached <= 1);
    must(!ring_tell(&device, r));
    rings_reset(&device);
    must(!device_start(&device));
}

static enum verdict validated(const void *argument)
{
    enum area area;
    unsigned i;

    (void)argument;
    make(ANON, ENTRIES, 0);
    exchange_until_borrowed(&device);
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        for (area = 0; area < AREAS; area++) {
            try_bad(i, area);
        }
    }
    device_restart(&device);
    exchange_until_borrowed(&device);
    return PASSED;
}

unsigned setups = 10000;

/* Every set-up lies elsewhere, so that all is attached and detached again */
static enum verdict set_up(const void *argument)
{
    size_t size = rings_bytes(ENTRIES);
    struct counts before, after;
    unsigned i;

    (void)argument;
    alarm(4 * hang());          /* they are many */
    make(ANON, ENTRIES, 0);
    counts_read(&before);
    for (i = 1; i <= (switch_is_on() ? setups : setups / 100); i++) {
        device_stop(&device);
        rings_lay(&device, place.base + (i & 1) * size);
        rings_reset(&device);
        must(!ring_tell(&device, &device.ring[RX]));
        must(!ring_tell(&device, &device.ring[TX]));
        must(!device_start(&device));
        if (!exchange(&device, 2)) {
            fail("set-up %u: the device signals an error", i);
        }
    }
    counts_read(&after);
    if (switch_is_on()) {
        must(after.attached - before.attached >= setups);
        must(after.borrowed - before.borrowed >= setups);
    }
    device_close(&device);
    counts_wait_for_none();
    return PASSED;
}

/* A process that ends gives back what another one's device has borrowed */
static enum verdict closed_elsewhere(const void *argument)
{
    struct counts c;
    int until[2], status;
    pid_t child;
    char none;

    (void)argument;
    make(ANON, ENTRIES, 0);
    must(!pipe2(until, O_CLOEXEC));
    child = fork();
    must(child >= 0);
    if (!child) {
        close(until[1]);
        _exit(read(until[0], &none, 1));
    }
    exchange_until_borrowed(&device);
    device_close(&device);
    counts_read(&c);
    must(!switch_is_on() || c.attached > c.detached);
    close(until[1]);
    must(waitpid(child, &status, 0) == child && !status);
    counts_wait_for_none();
    return PASSED;
}

/* Let the nth allocation of this thread fail; 0 for none */
static void fail_nth(unsigned n)
{
    static int fd = -1;
    char text[16];
    int wait;

    if (fd < 0) {
        fd = open("/proc/thread-self/fail-nth", O_WRONLY | O_CLOEXEC);
        wait = open("/sys/kernel/debug/failslab/ignore-gfp-wait",
                    O_WRONLY | O_CLOEXEC);
        if (fd < 0 || wait < 0) {
            skip("this kernel cannot make allocations fail");
        }
        must(write(wait, "N", 1) == 1);
        close(wait);
    }
    snprintf(text, sizeof(text), "%u", n);
    must(write(fd, text, strlen(text)) > 0);
}

/* Where there is no memory for borrowing, there is uaccess */
static enum verdict no_memory(const void *argument)
{
    struct counts before, after;
    unsigned n;
    int error;

    (void)argument;
    fail_nth(0);
    counts_read(&before);
    for (n = 1; n <= 12; n++) {
        place_open(&place, ANON, rings_bytes(ENTRIES));
        device_open(&device, ENTRIES, 0, place.base);
        fail_nth(n);
        error = device_start(&device);
        fail_nth(0);
        must(!error || error == ENOMEM);
        if (error) {
            rings_reset(&device);
            must(!device_start(&device));
        }
        exchange_until_borrowed(&device);
        device_close(&device);
    }
    counts_read(&after);
    must(!switch_is_on() || after.failed > before.failed);
    counts_wait_for_none();
    return PASSED;
}

static void iotlb_send(unsigned type, const void *address, size_t size)
{
    struct vhost_msg message = {
        .type = VHOST_IOTLB_MSG,
        .iotlb = { .iova = (uintptr_t)address + device.iova_offset,
                   .size = size, .uaddr = (uintptr_t)address,
                   .perm = VHOST_ACCESS_RW, .type = type },
    };

    must(write(device.fd, &message, sizeof(message)) == sizeof(message));
}

/* Rings behind an IOMMU: the same address of theirs leads elsewhere later */
static enum verdict translated(const void *argument)
{
    size_t size = rings_bytes(ENTRIES), i;
    unsigned char *old;

    (void)argument;
    place_open(&place, ANON, 2 * size);
    device_open(&device, ENTRIES, FEATURE_ACCESS_PLATFORM, place.base);
    device.iova_offset = 0x100000000;
    rings_reset(&device);
    iotlb_send(VHOST_IOTLB_UPDATE, device.buffers, (BATCH + 128) * 256);
    iotlb_send(VHOST_IOTLB_UPDATE, place.base, size);
    must(!ring_tell(&device, &device.ring[RX]));
    must(!ring_tell(&device, &device.ring[TX]));
    must(!device_start(&device));
    exchange_until_borrowed(&device);

    old = place.base;
    memcpy(old + size, old, size);
    iotlb_send(VHOST_IOTLB_INVALIDATE, old, size);
    rings_lay(&device, old + size);
    device.iova_offset -= size;
    iotlb_send(VHOST_IOTLB_UPDATE, old + size, size);
    device.iova_offset += size;
    memset(old, GARBAGE, size);
    exchange_until_borrowed(&device);
    for (i = 0; i < size; i++) {
        must(old[i] == GARBAGE);
    }
    return PASSED;
}

/* After all those processes, which closed nothing */
static enum verdict nothing_left(const void *argument)
{
    (void)argument;
    counts_wait_for_none();
    return PASSED;
}

const struct test ring_tests[] = {
    { "packets go round, and every access goes the way it should", goes_round },
    { "packets go round with event indices", with_events },
    { "rings of many pages", large },
    { "descriptors that lie on two pages", crooked },
    { "the rings are moved while the device runs", moved },
    { "the switch is turned while the device runs", switched },
    { "addresses that no ring may have", validated },
    { "set-ups, over and over, leave nothing behind", set_up },
    { "another process closes the device at last", closed_elsewhere },
    { "no memory for borrowing", no_memory },
    { "rings behind an IOMMU", translated },
    { "nothing is left behind", nothing_left },
    { 0 },
};
