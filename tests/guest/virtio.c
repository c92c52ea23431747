/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Registers are those of virtio 1.2, section 4.1; rings those of section 2.7.
 */
#include "virtio.h"

#define VENDOR          0x1af4
#define MODERN          0x1040      /* device id: this plus the kind */
#define COMMAND         0x04
#define COMMAND_ON      0x406       /* memory, bus master; no interrupts */
#define CAPABILITIES    0x34
#define CAP_VENDOR      9
#define CFG_COMMON      1
#define CFG_NOTIFY      2

#define FEATURE_SELECT  0x00
#define FEATURES        0x04
#define ACCEPT_SELECT   0x08
#define ACCEPT          0x0c
#define STATUS          0x14
#define QUEUE           0x16
#define QUEUE_SIZE      0x18
#define QUEUE_ENABLE    0x1c
#define QUEUE_NOTIFY    0x1e
#define QUEUE_PART      0x20        /* of 8 bytes each */

#define F_INDIRECT      (1u << 28)
#define F_MODERN        3u          /* of the high half: VERSION_1, ACCESS_PLATFORM */

#define DRIVER          3           /* ACKNOWLEDGE, DRIVER */
#define FEATURES_OK     11
#define DRIVER_OK       15

#define ROW_NEXT        1
#define ROW_WRITE       2
#define ROW_INDIRECT    4
#define NO_INTERRUPT    1

#define BLK_OUT         1
#define VERDICT_NONE    0xff
#define NET_HEADER      12
#define FRAME           60

struct descriptor {
    uint64_t gpa;
    uint32_t size;
    uint16_t flags, next;
};

struct ring {
    uint16_t flags, index, slots[V_SIZE];
};

/* ---- registers ---- */

static void put8(struct virtio *v, unsigned reg, uint8_t value)
{
    v->common[reg] = value;
}

static void put16(struct virtio *v, unsigned reg, uint16_t value)
{
    *(volatile uint16_t *)(v->common + reg) = value;
}

static void put32(struct virtio *v, unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(v->common + reg) = value;
}

static uint32_t get32(struct virtio *v, unsigned reg)
{
    return *(volatile uint32_t *)(v->common + reg);
}

uint8_t virtio_status(struct virtio *v)
{
    return v->common[STATUS];
}

/* ---- finding ---- */

/* Where a structure lies that a capability describes; NULL where we cannot reach it */
static volatile uint8_t *structure(unsigned devfn, unsigned cap)
{
    unsigned bar = 0x10 + 4 * (pci_read8(devfn, cap + 4) % 6);
    uint32_t low = pci_read32(devfn, bar);
    uint64_t at = low & ~0xfu;

    if ((low & 6) == 4) {
        at |= (uint64_t)pci_read32(devfn, bar + 4) << 32;
    }
    at += pci_read32(devfn, cap + 8);
    return low & 1 || !at || !is_mapped(at, 64 * KiB) ? NULL : (void *)at;
}

static void take_capability(struct virtio *v, unsigned devfn, unsigned cap)
{
    switch (pci_read8(devfn, cap + 3)) {
    case CFG_COMMON:
        v->common = structure(devfn, cap);
        break;
    case CFG_NOTIFY:
        v->notify = structure(devfn, cap);
        v->multiplier = pci_read32(devfn, cap + 16);
        break;
    }
}

static bool take(struct virtio *v, unsigned devfn)
{
    uint32_t id = pci_read32(devfn, 0), kind = (id >> 16) - MODERN;

    if ((id & 0xffff) != VENDOR || (kind != VIRTIO_NET && kind != VIRTIO_BLK)) {
        return false;
    }
    pci_write32(devfn, COMMAND, COMMAND_ON);
    for (unsigned cap = pci_read8(devfn, CAPABILITIES), n = 0; cap && n < 48;
         cap = pci_read8(devfn, cap + 1), n++) {
        if (pci_read8(devfn, cap) == CAP_VENDOR) {
            take_capability(v, devfn, cap);
        }
    }
    v->kind = kind;
    v->nr_queues = kind == VIRTIO_NET ? 2 : 1;
    format(v->name, sizeof(v->name), "%s%u", kind == VIRTIO_NET ? "net" : "blk",
           devfn >> 3);
    return v->common && v->notify;
}

unsigned virtio_find(struct virtio *v, unsigned max, uint64_t base)
{
    unsigned n = 0;

    for (unsigned devfn = 0; devfn < 256 && n < max; devfn += 8) {
        v[n] = (struct virtio) { .pages = base + n * V_PAGES * PAGE };
        if (take(&v[n], devfn)) {
            for (unsigned i = 0; i < V_QUEUES * V_PARTS; i++) {
                v[n].q[i / V_PARTS].part[i % V_PARTS] = virtio_page(&v[n], 2 * i);
            }
            n++;
        }
    }
    return n;
}

uint64_t virtio_page(const struct virtio *v, unsigned n)
{
    return v->pages + n * PAGE;
}

/* ---- starting ---- */

bool virtio_reset(struct virtio *v, unsigned ms)
{
    put8(v, STATUS, 0);
    while (virtio_status(v)) {
        if (!ms--) {
            return false;
        }
        delay_ms(1);
    }
    return true;
}

static bool negotiate(struct virtio *v)
{
    put8(v, STATUS, DRIVER);
    for (unsigned half = 0; half < 2; half++) {
        put32(v, FEATURE_SELECT, half);
        put32(v, ACCEPT_SELECT, half);
        put32(v, ACCEPT, get32(v, FEATURES) & (half ? F_MODERN : F_INDIRECT));
    }
    put8(v, STATUS, FEATURES_OK);
    return virtio_status(v) & 8;
}

static void enable_queue(struct virtio *v, unsigned n)
{
    struct virtq *q = &v->q[n];

    q->offered = 0;
    put16(v, QUEUE, n);
    put16(v, QUEUE_SIZE, V_SIZE);
    for (unsigned i = 0; i < V_PARTS; i++) {
        memset((void *)q->part[i], 0, PAGE);
        put32(v, QUEUE_PART + 8 * i, q->part[i]);
        put32(v, QUEUE_PART + 8 * i + 4, q->part[i] >> 32);
    }
    ((volatile struct ring *)q->part[1])->flags = NO_INTERRUPT;
    q->bell = (volatile uint16_t *)(v->notify + v->multiplier *
              *(volatile uint16_t *)(v->common + QUEUE_NOTIFY));
    put16(v, QUEUE_ENABLE, 1);
}

bool virtio_start(struct virtio *v, unsigned ms)
{
    if (!virtio_reset(v, ms) || !negotiate(v)) {
        return false;
    }
    for (unsigned i = 0; i < v->nr_queues; i++) {
        enable_queue(v, i);
    }
    put8(v, STATUS, DRIVER_OK);
    return true;
}

/* ---- requests ---- */

static void fill_rows(volatile struct descriptor *d, unsigned first,
                      const struct piece *pieces, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        d[i].gpa = pieces[i].gpa;
        d[i].size = pieces[i].size;
        d[i].flags = (pieces[i].device_writes ? ROW_WRITE : 0) |
                     (i + 1 < n ? ROW_NEXT : 0);
        d[i].next = first + i + 1;
    }
}

void virtio_offer(struct virtio *v, unsigned queue, unsigned slot,
                  const struct piece *pieces, unsigned n, bool indirect)
{
    struct virtq *q = &v->q[queue];
    volatile struct descriptor *d = (void *)q->part[0];
    volatile struct ring *available = (void *)q->part[1];
    unsigned first = slot * V_ROWS;

    d += first;
    if (indirect) {
        unsigned at = (queue * V_SLOTS + slot) * V_ROWS;
        volatile struct descriptor *table = (void *)virtio_page(v, V_TABLE);

        fill_rows(table + at, 0, pieces, n);
        d->gpa = (uint64_t)(table + at);
        d->size = n * sizeof(*table);
        d->flags = ROW_INDIRECT;
    } else {
        fill_rows(d, first, pieces, n);
    }
    available->flags = NO_INTERRUPT;
    available->slots[q->offered % V_SIZE] = first;
    asm volatile("" : : : "memory");
    available->index = ++q->offered;
    virtio_kick(v, queue);
}

void virtio_kick(struct virtio *v, unsigned queue)
{
    *v->q[queue].bell = queue;
}

unsigned virtio_under_way(const struct virtio *v, unsigned queue)
{
    const struct virtq *q = &v->q[queue];
    uint16_t used = ((volatile struct ring *)q->part[2])->index;
    uint16_t n = q->offered - used;

    return MIN(n, V_SLOTS);
}

enum outcome virtio_wait(struct virtio *v, unsigned queue, unsigned ms)
{
    for (;;) {
        if (!virtio_under_way(v, queue)) {
            return DONE;
        }
        if (virtio_status(v) & STATUS_NEEDS_RESET) {
            return NEEDS_RESET;
        }
        if (!ms--) {
            return SILENCE;
        }
        delay_ms(1);
    }
}

const char *outcome_name(enum outcome o)
{
    static const char *const names[] = {
        "done", "done-badly", "needs-reset", "silence",
    };
    return names[o];
}

/* ---- disks ---- */

static volatile uint8_t *verdict(struct virtio *v, unsigned slot)
{
    return (volatile uint8_t *)virtio_page(v, V_VERDICT) + slot;
}

void blk_offer(struct virtio *v, unsigned slot, bool write, uint64_t sector,
               uint64_t gpa, bool indirect)
{
    volatile uint64_t *head = (void *)(virtio_page(v, V_HEAD) + 16 * slot);
    struct piece pieces[V_ROWS] = {
        { (uint64_t)head, 16, false },
        { gpa, PAGE, !write },
        { (uint64_t)verdict(v, slot), 1, true },
    };

    head[0] = write ? BLK_OUT : 0;
    head[1] = sector;
    *verdict(v, slot) = VERDICT_NONE;
    virtio_offer(v, 0, slot, pieces, V_ROWS, indirect);
}

enum outcome blk_verdict(struct virtio *v, enum outcome waited)
{
    return waited == DONE && *verdict(v, 0) ? DONE_BADLY : waited;
}

enum outcome blk_request(struct virtio *v, bool write, uint64_t sector,
                         uint64_t gpa, bool indirect, unsigned ms)
{
    blk_offer(v, 0, write, sector, gpa, indirect);
    return blk_verdict(v, virtio_wait(v, 0, ms));
}

/* ---- network cards ---- */

void net_offer(struct virtio *v, unsigned slot, unsigned queue, uint64_t gpa,
               bool indirect)
{
    volatile uint8_t *frame = (volatile uint8_t *)gpa + NET_HEADER;
    struct piece piece = { gpa, PAGE, queue == NET_RECEIVE };

    if (queue == NET_SEND) {
        for (unsigned i = 0; i < NET_HEADER + FRAME; i++) {
            ((volatile uint8_t *)gpa)[i] = 0;
        }
        for (unsigned i = 0; i < 6; i++) {
            frame[i] = 0xff;                /* to everybody */
        }
        frame[6] = 0x52;                    /* from one that is nobody's */
        frame[12] = 0x88;                   /* of the kind for experiments */
        frame[13] = 0xb5;
        frame[14] = v->mark;
        piece.size = NET_HEADER + FRAME;
    }
    virtio_offer(v, queue, slot, &piece, 1, indirect);
}
