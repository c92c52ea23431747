/*
 * Fixture of the tests of virtio's rings
 *
 * One device in one VM with one block.  The engine, the rings, maps, RCU and main loop are real;
 * the kernel, the memory map and virtio's own part are faked.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GMEM_VIRTIO_FIXTURE_H
#define TESTS_GMEM_VIRTIO_FIXTURE_H

#include "hw/virtio/gmem-virtio.h"
#include "qemu/thread.h"
#include "system/gmem.h"
#include "system/memory.h"

#define PAGE 4096
#define PAGES 64
#define QUEUES 300

/* What the device and QMP have seen since setup() */
typedef struct FakeVirtio {
    bool has_pointers[QUEUES];
    unsigned int stops;             /* of vhost, by its status; of the last one: */
    bool stopped_with_ring;
    unsigned int notified;          /* the driver, that the configuration changed */
    unsigned int events;            /* of stopped queues; the last one: */
    int last_queue;
    uint64_t last_offset;
    unsigned int vhost_errors;
    unsigned int printed;
} FakeVirtio;

extern FakeVirtio fake;
extern GmemBlock *the_block;
extern MemoryRegion region;         /* all of the block */
extern VirtIODevice dev;

void setup(void);
void teardown(void);

/* A conversion to private in a thread of its own */
typedef struct Conversion {
    QemuThread thread;
    uint64_t offset;
    uint64_t size;
    uint32_t timeout_ms;
    bool ended;
    int ret;
} Conversion;

void conversion_begin(Conversion *c, uint64_t offset, uint64_t size);
/* The main loop runs until it ends; its result */
int conversion_end(Conversion *c);
/* Until it has marked the page */
void wait_for_mark(uint64_t offset);
int go_private(uint64_t offset, uint64_t size);
/* With 20 ms; nothing that a main loop would do happens meanwhile */
int go_private_briefly(uint64_t offset, uint64_t size);

/* What virtio does when a queue gets its pointers, each part of 16 bytes */
bool ring_begin(int n, uint64_t desc, uint64_t avail, uint64_t used);
void ring_set(int n);
void make_ring(int n, uint64_t desc, uint64_t avail, uint64_t used);

/* Once, because of this part of this queue */
void check_stopped(int queue, uint64_t offset);
void check_untouched(void);

#endif
