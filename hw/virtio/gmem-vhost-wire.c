/*
 * gmem: a few messages to vhost-user back ends, with a time limit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in hw/virtio/gmem-vhost-wire.h.  At most a handful of messages
 * is under way, so writing does not block.  Before reading there is a wait for
 * something to read, in a main context of our own: nothing else runs meanwhile.
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "chardev/char.h"
#include "hw/virtio/gmem-vhost-wire.h"
#include "io/channel.h"

enum {
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    GET_VRING_BASE = 11,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    ADD_MEM_REG = 37,
    REM_MEM_REG = 38,
};

#define VERSION 0x1u
#define IS_REPLY 0x4u
#define NEED_REPLY 0x8u
/* With the number of a ring: no file comes along */
#define NO_FILE 0x100u

typedef struct QEMU_PACKED Message {
    uint32_t request;
    uint32_t flags;
    uint32_t size;              /* of what follows */
    union {
        uint64_t number;
        struct {
            uint32_t ring;
            uint32_t value;
        } state;
        struct {
            uint32_t ring;
            uint32_t flags;
            GmemVhostAddresses at;
            uint64_t log;
        } addresses;
        struct {
            uint64_t padding;
            GmemVhostRegion region;
        } memory;
    };
} Message;

#define HEADER offsetof(Message, number)

static int put(GmemVhostWire *wire, Message *m, uint32_t request,
               uint32_t flags, uint32_t size, int fd)
{
    int length = HEADER + size;

    m->request = request;
    m->flags = VERSION | flags;
    m->size = size;
    if (qemu_chr_fe_set_msgfds(wire->chr, &fd, fd >= 0) < 0 ||
        qemu_chr_fe_write_all(wire->chr, (const uint8_t *)m,
                              length) != length) {
        return -EIO;
    }
    return 0;
}

/* ---- answers ---- */

static gboolean set_flag(gpointer flag)
{
    *(bool *)flag = true;
    return G_SOURCE_REMOVE;
}

static gboolean set_readable(QIOChannel *ioc, GIOCondition condition,
                             gpointer flag)
{
    return set_flag(flag);
}

static GSource *watch(CharFrontend *chr)
{
    ChardevClass *class = chr->chr ? CHARDEV_GET_CLASS(chr->chr) : NULL;

    return class && class->chr_add_watch ?
           class->chr_add_watch(chr->chr, G_IO_IN | G_IO_HUP | G_IO_ERR) : NULL;
}

/*
 * One for all, as only one waits at a time.  It takes a file, without which
 * GLib ends the program; so it is made for the first message of all, and stays
 */
static GMainContext *waiting_room(void)
{
    static GMainContext *context;

    context = context ?: g_main_context_new();
    return context;
}

static void attach(GMainContext *context, GSource *source, GSourceFunc fn,
                   bool *flag)
{
    g_source_set_callback(source, fn, flag, NULL);
    g_source_attach(source, context);
}

bool gmem_vhost_wire_wait(GmemVhostWire *wire)
{
    int64_t left = wire->deadline_ms - qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    GMainContext *context = waiting_room();
    GSource *late = g_timeout_source_new(MAX(left, 0));
    GSource *source = watch(wire->chr);
    bool readable = false, is_late = false;

    if (source) {
        attach(context, source, (GSourceFunc)(void (*)(void))set_readable,
               &readable);
        attach(context, late, set_flag, &is_late);
        while (!readable && !is_late) {
            g_main_context_iteration(context, true);
        }
        g_source_destroy(source);
        g_source_unref(source);
    }
    g_source_destroy(late);
    g_source_unref(late);
    return readable;
}

static int receive(GmemVhostWire *wire, Message *m, uint32_t request,
                   uint32_t size)
{
    int length = HEADER + size;

    if (!gmem_vhost_wire_wait(wire)) {
        return -ETIMEDOUT;
    }
    if (qemu_chr_fe_read_all(wire->chr, (uint8_t *)m, length) != length) {
        return -EIO;
    }
    return m->request == request && m->size == size &&
           m->flags == (VERSION | IS_REPLY) ? 0 : -EPROTO;
}

/* Send it, and have it acknowledged */
static int ask(GmemVhostWire *wire, Message *m, uint32_t request,
               uint32_t size, int fd)
{
    Message answer = {};
    int ret = put(wire, m, request, NEED_REPLY, size, fd) ?:
              receive(wire, &answer, request, sizeof(answer.number));

    return ret ?: answer.number ? -EIO : 0;
}

/* ---- memory ---- */

int gmem_vhost_wire_add(GmemVhostWire *wire, const GmemVhostRegion *region,
                        int fd)
{
    Message m = { .memory.region = *region };

    return ask(wire, &m, ADD_MEM_REG, sizeof(m.memory), fd);
}

int gmem_vhost_wire_remove(GmemVhostWire *wire, const GmemVhostRegion *region)
{
    Message m = { .memory.region = *region };

    return ask(wire, &m, REM_MEM_REG, sizeof(m.memory), -1);
}

/* ---- rings ---- */

static Message ring_file(unsigned int ring, int fd)
{
    return (Message) { .number = ring | (fd < 0 ? NO_FILE : 0) };
}

int gmem_vhost_wire_call(GmemVhostWire *wire, unsigned int ring, int fd)
{
    Message m = ring_file(ring, fd);

    return ask(wire, &m, SET_VRING_CALL, sizeof(m.number), fd);
}

int gmem_vhost_wire_stop(GmemVhostWire *wire, unsigned int ring, int fd,
                         uint16_t *taken)
{
    Message m = { .state.ring = ring }, call = ring_file(ring, fd);
    int ret = put(wire, &m, GET_VRING_BASE, 0, sizeof(m.state), -1) ?:
              put(wire, &call, SET_VRING_CALL, 0, sizeof(call.number), fd) ?:
              receive(wire, &m, GET_VRING_BASE, sizeof(m.state));

    *taken = m.state.value;
    return ret ?: m.state.ring == ring ? 0 : -EPROTO;
}

static Message ring_at(unsigned int ring, const GmemVhostAddresses *at)
{
    return (Message) { .addresses = { .ring = ring, .at = *at } };
}

int gmem_vhost_wire_address(GmemVhostWire *wire, unsigned int ring,
                            const GmemVhostAddresses *at)
{
    Message m = ring_at(ring, at);

    return ask(wire, &m, SET_VRING_ADDR, sizeof(m.addresses), -1);
}

int gmem_vhost_wire_start(GmemVhostWire *wire, unsigned int ring,
                          unsigned int size, uint16_t taken,
                          const GmemVhostAddresses *at, int kick)
{
    Message num = { .state = { ring, size } };
    Message base = { .state = { ring, taken } };
    Message addr = ring_at(ring, at);
    Message file = ring_file(ring, kick);

    return put(wire, &num, SET_VRING_NUM, 0, sizeof(num.state), -1) ?:
           put(wire, &base, SET_VRING_BASE, 0, sizeof(base.state), -1) ?:
           put(wire, &addr, SET_VRING_ADDR, 0, sizeof(addr.addresses), -1) ?:
           put(wire, &file, SET_VRING_KICK, 0, sizeof(file.number), kick);
}
