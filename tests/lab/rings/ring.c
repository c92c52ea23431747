/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The device and its driver. Every index is read and written as the virtio
 * specification wants it of a driver; nothing is taken from a library, so that
 * the addresses in play are those that the test chose.
 */
#define _GNU_SOURCE
#include "ring.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Of the first device; each has its own, or it would see others' packets */
#define PROTOCOL     0xb000
#define PROTOCOLS    0x1000u
#define HEADER       sizeof(struct virtio_net_hdr_v1)
#define SLOT_SIZE    256u            /* of a buffer */
#define POSTED       128u            /* buffers that wait for packets */
#define BUFFERS      ((BATCH + POSTED) * SLOT_SIZE)
#define BUFFERS_GPA  0x40000000ull

struct packet {
    struct virtio_net_hdr_v1 header;
    struct ethhdr ethernet;
    u32 number;
    unsigned char filling[46];
} __attribute__((packed));

int vhost_ioctl(struct device *d, unsigned long request, void *argument)
{
    int r;

    do {
        r = ioctl(d->fd, request, argument);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? errno : 0;
}

#define surely(device, request, argument)                                   \
    do {                                                                    \
        int error_ = vhost_ioctl(device, request, argument);                \
                                                                            \
        if (error_) {                                                       \
            fail("%s: %s", #request, error_name(error_));                   \
        }                                                                   \
    } while (0)

/* With event indices each of the two rings is two bytes longer */
size_t area_bytes(enum area area, unsigned entries)
{
    switch (area) {
    case DESC:
        return entries * sizeof(struct vring_desc);
    case AVAIL:
        return sizeof(struct vring_avail) + entries * sizeof(__virtio16) + 2;
    default:
        return sizeof(struct vring_used) +
               entries * sizeof(struct vring_used_elem) + 2;
    }
}

static size_t area_pages(enum area area, unsigned entries)
{
    return (area_bytes(area, entries) + PAGE - 1) / PAGE;
}

size_t rings_bytes(unsigned entries)
{
    size_t pages = 0;
    enum area area;

    for (area = 0; area < AREAS; area++) {
        pages += area_pages(area, entries) + 1;
    }
    return QUEUES * pages * PAGE;
}

void rings_lay(struct device *d, void *at)
{
    unsigned char *next = at;
    enum area area;
    unsigned i;

    for (i = 0; i < QUEUES; i++) {
        struct ring *r = &d->ring[i];

        for (area = 0; area < AREAS; area++) {
            r->area[area] = next;
            next += (area_pages(area, r->size) + 1) * PAGE;
        }
        r->desc = (void *)r->area[DESC];
        r->avail = (void *)r->area[AVAIL];
        r->used = (void *)r->area[USED];
    }
}

int ring_tell(struct device *d, const struct ring *r)
{
    struct vhost_vring_addr addresses = {
        .index = r->index,
        .desc_user_addr = (uintptr_t)r->desc + d->iova_offset,
        .avail_user_addr = (uintptr_t)r->avail + d->iova_offset,
        .used_user_addr = (uintptr_t)r->used + d->iova_offset,
    };

    return vhost_ioctl(d, VHOST_SET_VRING_ADDR, &addresses);
}

/* A buffer as the device knows it */
static u64 buffer_address(struct device *d, unsigned slot)
{
    if (d->iova_offset) {
        return (uintptr_t)d->buffers + slot * SLOT_SIZE + d->iova_offset;
    }
    return BUFFERS_GPA + slot * SLOT_SIZE;
}

static struct packet *buffer(struct device *d, unsigned slot)
{
    return (void *)(d->buffers + slot * SLOT_SIZE);
}

/* Put a buffer into the ring, not yet seen by the device */
static void put(struct device *d, struct ring *r, unsigned slot, unsigned flags)
{
    unsigned at = r->next % r->size;

    r->desc[at].addr = buffer_address(d, slot);
    r->desc[at].len = flags ? SLOT_SIZE : sizeof(struct packet);
    r->desc[at].flags = flags;
    r->desc[at].next = 0;
    r->avail->ring[at] = at;
    r->next++;
}

static void publish_unseen(struct device *d, struct ring *r)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    r->avail->idx = r->next;
    if (d->features & FEATURE_EVENT_IDX) {
        /* wake us at the next one */
        r->avail->ring[r->size] = r->seen;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void ring_kick(struct ring *r)
{
    u64 one = 1;

    must(write(r->kick, &one, sizeof(one)) == sizeof(one));
}

static void publish(struct device *d, struct ring *r)
{
    publish_unseen(d, r);
    ring_kick(r);
}

/*
 * Fill with zeros what is not. A used ring that nobody has written then is in
 * the page tables by having been read, and no more.
 */
static void clear(unsigned char *memory, size_t size)
{
    size_t i;

    for (i = 0; i < size && !memory[i]; i++) {
    }
    memset(memory + i, 0, size - i);
}

static bool drained(int fd)
{
    u64 count;

    return read(fd, &count, sizeof(count)) == sizeof(count);
}

static bool failed(struct device *d)
{
    bool rx = drained(d->ring[RX].error);

    return drained(d->ring[TX].error) || rx;
}

/* Packets that were sent before and that nobody took; errors that were told */
static void drain(struct device *d)
{
    char data[2048];

    while (recv(d->socket, data, sizeof(data), MSG_DONTWAIT) > 0) {
    }
    failed(d);
}

void rings_reset(struct device *d)
{
    unsigned i;

    drain(d);
    for (i = 0; i < QUEUES; i++) {
        struct ring *r = &d->ring[i];
        struct vhost_vring_state base = { .index = i };
        enum area area;

        for (area = 0; area < AREAS; area++) {
            clear(r->area[area], area_bytes(area, r->size));
        }
        r->next = r->seen = 0;
        surely(d, VHOST_SET_VRING_BASE, &base);
    }
    for (i = 0; i < POSTED; i++) {
        put(d, &d->ring[RX], BATCH + i, VRING_DESC_F_WRITE);
    }
    d->received = d->sent;
}

static void tell_memory(struct device *d)
{
    struct {
        struct vhost_memory head;
        struct vhost_memory_region region;
    } table = {
        .head.nregions = 1,
        .region = { .guest_phys_addr = BUFFERS_GPA, .memory_size = BUFFERS,
                    .userspace_addr = (uintptr_t)d->buffers },
    };

    surely(d, VHOST_SET_MEM_TABLE, &table);
}

static int open_socket(unsigned protocol)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(protocol),
        .sll_ifindex = if_nametoindex("lo"),
    };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(protocol));

    must(fd >= 0);
    must(bind(fd, (void *)&address, sizeof(address)) == 0);
    return fd;
}

static void open_ring(struct device *d, struct ring *r, unsigned entries)
{
    struct vhost_vring_state number = { .index = r->index, .num = entries };
    struct vhost_vring_file file = { .index = r->index };

    r->kick = file.fd = eventfd(0, EFD_CLOEXEC);
    surely(d, VHOST_SET_VRING_KICK, &file);
    r->call = file.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    surely(d, VHOST_SET_VRING_CALL, &file);
    r->error = file.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    surely(d, VHOST_SET_VRING_ERR, &file);
    surely(d, VHOST_SET_VRING_NUM, &number);
    r->size = entries;
}

void device_open(struct device *d, unsigned entries, u64 features, void *at)
{
    static unsigned devices;
    unsigned i;

    *d = (struct device) {
        .protocol = PROTOCOL + __sync_fetch_and_add(&devices, 1) % PROTOCOLS,
        .fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC),
        .features = features | FEATURE_VERSION_1 |
                    FEATURE(VHOST_NET_F_VIRTIO_NET_HDR),
    };
    if (d->fd < 0) {
        skip("no /dev/vhost-net: %s", error_name(errno));
    }
    d->buffers = mmap(NULL, BUFFERS, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    must(d->buffers != MAP_FAILED);
    d->socket = open_socket(d->protocol);
    surely(d, VHOST_SET_OWNER, NULL);
    surely(d, VHOST_SET_FEATURES, &d->features);
    tell_memory(d);
    for (i = 0; i < QUEUES; i++) {
        d->ring[i].index = i;
        open_ring(d, &d->ring[i], entries);
    }
    rings_lay(d, at);
    rings_reset(d);
    for (i = 0; i < QUEUES && !(features & FEATURE_ACCESS_PLATFORM); i++) {
        must(!ring_tell(d, &d->ring[i]));
    }
}

void device_close(struct device *d)
{
    unsigned i;

    close(d->fd);
    close(d->socket);
    for (i = 0; i < QUEUES; i++) {
        close(d->ring[i].kick);
        close(d->ring[i].call);
        close(d->ring[i].error);
    }
    must(!munmap(d->buffers, BUFFERS));
}

static int set_backend(struct device *d, unsigned queue, int fd)
{
    struct vhost_vring_file file = { .index = queue, .fd = fd };

    return vhost_ioctl(d, VHOST_NET_SET_BACKEND, &file);
}

int device_start(struct device *d)
{
    unsigned i;
    int error;

    for (i = 0; i < QUEUES; i++) {
        error = set_backend(d, i, d->socket);
        if (error) {
            /* one that has not started cannot always be stopped */
            while (i--) {
                must(!set_backend(d, i, -1));
            }
            return error;
        }
    }
    publish(d, &d->ring[RX]);
    return 0;
}

void device_stop(struct device *d)
{
    unsigned i;

    for (i = 0; i < QUEUES; i++) {
        must(!set_backend(d, i, -1));
    }
}

void device_restart(struct device *d)
{
    device_stop(d);
    rings_reset(d);
    must(!device_start(d));
}

/* Wait until the device has used more than we have seen; false: an error */
static bool wait_used(struct device *d, struct ring *r)
{
    struct pollfd calls[] = {
        { .fd = r->call, .events = POLLIN },
        { .fd = d->ring[RX].error, .events = POLLIN },
        { .fd = d->ring[TX].error, .events = POLLIN },
    };
    time_t end = time(NULL) + hang() / 5;

    while (r->used->idx == r->seen) {
        if (failed(d)) {
            return false;
        }
        poll(calls, 3, 50);
        drained(r->call);
        if (time(NULL) > end) {
            fail("the device does not go on: queue %u, %u sent, %u received, "
                 "avail %u, used %u", r->index, d->sent, d->received, r->next,
                 r->used->idx);
        }
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return true;
}

static void fill(struct packet *p, unsigned protocol, u32 number)
{
    memset(p, 0, sizeof(*p));
    p->ethernet.h_proto = htons(protocol);
    p->number = number;
    memset(p->filling, number * 7 + 1, sizeof(p->filling));
}

/* Say what came instead of a packet, and where that packet is, before the end */
static void fail_packet(struct device *d, unsigned slot)
{
    const struct packet *p = buffer(d, slot);
    unsigned i;

    for (i = 0; i < BATCH + POSTED; i++) {
        if (buffer(d, i)->number == d->received &&
            buffer(d, i)->ethernet.h_proto == htons(d->protocol)) {
            say("its number is in slot %u", i);
        }
    }
    fail("device %u: packet %u came back in slot %u as number %u, protocol %#x, "
         "filled with %#x and %#x; %u sent, %u seen, used index %u",
         d->protocol - PROTOCOL, d->received, slot, p->number,
         ntohs(p->ethernet.h_proto), p->filling[0],
         p->filling[sizeof(p->filling) - 1], d->sent, d->ring[RX].seen,
         d->ring[RX].used->idx);
}

/* What has come back must be the next packet that was sent */
static void take(struct device *d, struct ring *r)
{
    volatile struct vring_used_elem *element =
        &r->used->ring[r->seen % r->size];
    unsigned at = element->id, slot;
    struct packet wanted;

    if (at >= r->size || element->len != sizeof(wanted)) {
        fail("used element %u is id %u, length %u", r->seen, at, element->len);
    }
    slot = BATCH + at % POSTED;
    fill(&wanted, d->protocol, d->received);
    if (memcmp(&buffer(d, slot)->ethernet, &wanted.ethernet,
               sizeof(wanted) - HEADER)) {
        fail_packet(d, slot);
    }
    memset(buffer(d, slot), 0, sizeof(wanted));
    d->received++;
    r->seen++;
    put(d, r, slot, VRING_DESC_F_WRITE);
}

void send_unseen(struct device *d, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        fill(buffer(d, i), d->protocol, d->sent++);
        put(d, &d->ring[TX], i, 0);
    }
    publish_unseen(d, &d->ring[TX]);
}

void device_wait_error(struct device *d)
{
    time_t end = time(NULL) + hang() / 5;

    while (!failed(d)) {
        if (time(NULL) > end) {
            fail("the device signals no error");
        }
        usleep(10000);
    }
}

bool exchange(struct device *d, unsigned count)
{
    struct ring *tx = &d->ring[TX], *rx = &d->ring[RX];

    send_unseen(d, count);
    ring_kick(tx);
    while (d->received != d->sent) {
        if (!wait_used(d, rx)) {
            return false;
        }
        while (rx->seen != rx->used->idx) {
            take(d, rx);
        }
        publish(d, rx);
    }
    while (tx->seen != tx->next) {
        if (!wait_used(d, tx)) {
            return false;
        }
        tx->seen = tx->used->idx;
    }
    return !failed(d);
}

void exchange_surely(struct device *d, unsigned rounds)
{
    while (rounds--) {
        if (!exchange(d, BATCH)) {
            fail("the device signals an error of a ring");
        }
    }
}
