/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A driver of virtio devices over PCI, of today's kind, with split queues: disks and
 * network cards on bus 0. It polls, believes nothing that memory says, and waits for
 * nothing without a bound, because the memory of its queues may go private under the
 * device at any moment.
 *
 * The parts of a queue are a page each, with a page between two of them that nobody
 * uses: its neighbour. A device's pages (V_PAGES of them) begin at .pages:
 *     0 2 4      descriptors, available ring, used ring of queue 0
 *     6 8 10     of queue 1
 *     12         tables of indirect descriptors
 *     14 16      what requests begin with, and where a disk puts its verdict
 *     18 20      what is read into, what is written from
 * Requests are numbered by slots, of which V_SLOTS may be under way in one queue.
 */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "cpu.h"
#include "memory.h"

#define V_PAGES     22
#define V_QUEUES    2
#define V_PARTS     3
#define V_SIZE      16          /* descriptors of a queue */
#define V_ROWS      3           /* descriptors of a request */
#define V_SLOTS     (V_SIZE / V_ROWS)
#define V_MAX       8           /* devices */

#define V_TABLE     12
#define V_HEAD      14
#define V_VERDICT   16
#define V_READ      18
#define V_WRITE     20

enum virtio_kind { VIRTIO_NET = 1, VIRTIO_BLK = 2 };
/* Queues of a network card */
enum { NET_RECEIVE, NET_SEND };

#define STATUS_NEEDS_RESET  0x40

struct virtq {
    uint64_t part[V_PARTS];     /* guest addresses */
    uint16_t offered;
    volatile uint16_t *bell;
};

struct virtio {
    char name[16];              /* "blk" or "net", and its slot */
    enum virtio_kind kind;
    unsigned nr_queues;
    uint64_t pages;
    volatile uint8_t *common, *notify;
    uint32_t multiplier;
    uint8_t mark;               /* the first byte of what frames carry */
    struct virtq q[V_QUEUES];
    Lock lock;                  /* for whoever drives it from several CPUs */
};

/* A piece of memory for the device to read, or to write */
struct piece {
    uint64_t gpa;
    uint32_t size;
    bool device_writes;
};

/* What becomes of a request. */
enum outcome {
    DONE,               /* and a disk says that it went well */
    DONE_BADLY,         /* a disk's verdict is another */
    NEEDS_RESET,
    SILENCE,            /* until the time was over */
};
const char *outcome_name(enum outcome o);

/*
 * Find the devices; each gets V_PAGES pages from @base on. Returns how many of @max
 * there are. Boot CPU only, as are all accesses to configuration space.
 */
unsigned virtio_find(struct virtio *v, unsigned max, uint64_t base);
uint8_t virtio_status(struct virtio *v);
/* Stop the device; false when it does not say that it has, within @ms. */
bool virtio_reset(struct virtio *v, unsigned ms);
/*
 * Reset, clear the rings, negotiate, enable the queues. Returns whether the device has
 * agreed; whether it likes its rings, virtio_status() tells.
 */
bool virtio_start(struct virtio *v, unsigned ms);
/* Page @n of the device. */
uint64_t virtio_page(const struct virtio *v, unsigned n);

/*
 * Offer up to V_ROWS pieces as the request of that slot, by the device's table if
 * @indirect; and ring the bell.
 */
void virtio_offer(struct virtio *v, unsigned queue, unsigned slot,
                  const struct piece *pieces, unsigned n, bool indirect);
void virtio_kick(struct virtio *v, unsigned queue);
/* How many requests of the queue seem to be under way, or V_SLOTS if that is absurd. */
unsigned virtio_under_way(const struct virtio *v, unsigned queue);
/* Until the device has taken all that was offered: DONE, NEEDS_RESET, or SILENCE. */
enum outcome virtio_wait(struct virtio *v, unsigned queue, unsigned ms);

/* Offer the read or write of a page at a sector. */
void blk_offer(struct virtio *v, unsigned slot, bool write, uint64_t sector,
               uint64_t gpa, bool indirect);
/* After virtio_wait() said DONE: did the request of slot 0 go well? */
enum outcome blk_verdict(struct virtio *v, enum outcome waited);
/* blk_offer() in slot 0 and its end. */
enum outcome blk_request(struct virtio *v, bool write, uint64_t sector,
                         uint64_t gpa, bool indirect, unsigned ms);
/* Offer a broadcast frame from a page, or a page for one to come. */
void net_offer(struct virtio *v, unsigned slot, unsigned queue, uint64_t gpa,
               bool indirect);

#endif
