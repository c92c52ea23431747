/*
 * The rings of a vhost-user device, stopped and started beneath it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The rings lie in memory of the test's, which plays the guest and the back
 * end; messages are noted.
 *
 *  1. held: rings that run tell nobody, others are left alone; what the base
 *     says of completions meanwhile is noted, and said when they start
 *  2. still, moving, done, by the indices in memory, also where they wrap; a
 *     ring that the back end has not got is nothing to wait for
 *  3. stopped and started: from where it stopped, at the same place; kicked
 *     always, the guest is told only of rings that moved
 *  4. let go, and no longer held, without having been stopped
 *  5. parked once, until they start again; rings that never were are not; the
 *     place is taken back, and made anew.  Running again with requests under
 *     way takes a back end that does none twice, and rings that it has
 *  6. rings fit a table that has each of their parts in one piece; pins are
 *     these parts
 *  7. a message that fails ends it, at each one
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/virtio/gmem-vhost-rings.h"
#include "hw/virtio/vhost-user.h"
#include "hw/virtio/virtio.h"

#define RINGS 3u
#define GPA 0x10000u
#define PART 0x1000u
#define EACH (3 * PART)

/* What the back end was told, as "stop 0, start 0 7, call 0" */
static GString *said;
static unsigned int messages, fail_at;
static uint64_t park_gpa, park_host;    /* of the region for parked rings */
static uint16_t take;               /* how far a ring comes that is stopped */

static uint8_t memory[RINGS * EACH];
static EventNotifier kicks[RINGS], calls[RINGS];
static VirtIODevice vdev;

typedef struct Fixture {
    struct vhost_virtqueue vqs[RINGS];
    struct vhost_dev dev;
    GmemVhostWire wire;
    GmemVhostRings r;
    GmemVhostTable had;
} Fixture;

/* ---- in place of the wire ---- */

static int note(const char *format, ...) G_GNUC_PRINTF(1, 2);

static int note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_string_append(said, said->len ? ", " : "");
    g_string_append_vprintf(said, format, args);
    va_end(args);
    return ++messages == fail_at ? -EIO : 0;
}

static void check_said(const char *wanted)
{
    g_assert_cmpstr(said->str, ==, wanted);
    g_string_truncate(said, 0);
}

static const char *who(int fd)
{
    unsigned int i;

    for (i = 0; i < RINGS; i++) {
        if (fd == event_notifier_get_wfd(&calls[i])) {
            return "guest";
        }
    }
    return fd < 0 ? "nobody" : "quiet";
}

int gmem_vhost_wire_call(GmemVhostWire *wire, unsigned int ring, int fd)
{
    return note("call %u %s", ring, who(fd));
}

int gmem_vhost_wire_stop(GmemVhostWire *wire, unsigned int ring, int fd,
                         uint16_t *taken)
{
    *taken = take;
    return note("stop %u %s", ring, who(fd));
}

int gmem_vhost_wire_start(GmemVhostWire *wire, unsigned int ring,
                          unsigned int size, uint16_t taken,
                          const GmemVhostAddresses *at, int kick)
{
    g_assert_cmphex(at->desc, ==, (uintptr_t)memory + ring * EACH);
    g_assert_cmphex(at->avail, ==, at->desc + PART);
    g_assert_cmphex(at->used, ==, at->desc + 2 * PART);
    g_assert_cmpint(kick, ==, event_notifier_get_fd(&kicks[ring]));
    g_assert_cmpuint(size, ==, 16 << ring);
    return note("start %u %u", ring, taken);
}

int gmem_vhost_wire_address(GmemVhostWire *wire, unsigned int ring,
                            const GmemVhostAddresses *at)
{
    return note("park %u", ring);
}

int gmem_vhost_wire_add(GmemVhostWire *wire, const GmemVhostRegion *region,
                        int fd)
{
    g_assert_cmpint(fd, >=, 0);
    g_assert_false(park_gpa);
    park_gpa = region->gpa;
    park_host = region->host;
    return note("add");
}

int gmem_vhost_wire_remove(GmemVhostWire *wire, const GmemVhostRegion *region)
{
    g_assert_cmphex(region->gpa, ==, park_gpa);
    g_assert_cmphex(region->host, ==, park_host);
    park_gpa = 0;
    return note("remove");
}

/* ---- in place of virtio ---- */

VirtQueue *virtio_get_queue(VirtIODevice *v, int n)
{
    return (VirtQueue *)&kicks[n];
}

EventNotifier *virtio_queue_get_host_notifier(VirtQueue *vq)
{
    return (EventNotifier *)vq;
}

/* The last one is not enabled */
hwaddr virtio_queue_get_desc_addr(VirtIODevice *v, int n)
{
    return n + 1 < RINGS ? GPA + n * EACH : 0;
}

hwaddr virtio_queue_get_avail_addr(VirtIODevice *v, int n)
{
    return GPA + n * EACH + PART;
}

hwaddr virtio_queue_get_used_addr(VirtIODevice *v, int n)
{
    return GPA + n * EACH + 2 * PART;
}

hwaddr virtio_queue_get_desc_size(VirtIODevice *v, int n)
{
    return 256;
}

hwaddr virtio_queue_get_avail_size(VirtIODevice *v, int n)
{
    return 38;
}

hwaddr virtio_queue_get_used_size(VirtIODevice *v, int n)
{
    return 134;
}

unsigned int virtio_queue_get_last_avail_idx(VirtIODevice *v, int n)
{
    return take;
}

/* ---- guest and back end ---- */

static void set_index(unsigned int ring, unsigned int part, uint16_t value)
{
    stw_le_p(memory + ring * EACH + part * PART + 2, value);
}

static void set_both(unsigned int ring, uint16_t avail, uint16_t used)
{
    set_index(ring, 1, avail);
    set_index(ring, 2, used);
}

static bool told(unsigned int ring)
{
    return event_notifier_test_and_clear(&calls[ring]);
}

static void set_table(Fixture *f, unsigned int rings)
{
    GmemPiece piece = { GPA, rings * EACH, (uintptr_t)memory };

    gmem_vhost_table_begin(&f->had, 8, NULL, 0);
    gmem_vhost_table_add(&f->had, &piece);
    g_assert_true(gmem_vhost_table_end(&f->had));
}

static void setup(Fixture *f, gconstpointer opaque)
{
    unsigned int i;

    memset(memory, 0, sizeof(memory));
    said = g_string_new("");
    messages = fail_at = park_gpa = 0;
    for (i = 0; i < RINGS; i++) {
        uint8_t *at = memory + i * EACH;
        hwaddr gpa = GPA + i * EACH;

        event_notifier_init(&kicks[i], 0);
        event_notifier_init(&calls[i], 0);
        f->vqs[i] = (struct vhost_virtqueue) {
            .num = 16 << i,
            .desc = at, .avail = at + PART, .used = at + 2 * PART,
            .desc_phys = gpa, .desc_size = 256,
            .avail_phys = gpa + PART, .avail_size = 38,
            .used_phys = gpa + 2 * PART, .used_size = 134,
        };
    }
    /* the last one was never started */
    f->vqs[RINGS - 1] = (struct vhost_virtqueue) {};
    f->dev = (struct vhost_dev) { .vdev = &vdev, .vqs = f->vqs, .nvqs = RINGS };
    gmem_vhost_table_init(&f->had);
    set_table(f, RINGS);
    g_assert_cmpint(gmem_vhost_rings_init(&f->r, &f->dev, &f->wire), ==, 0);
    for (i = 0; i < RINGS; i++) {
        g_assert_false(gmem_vhost_rings_set_call(&f->r, i,
                           event_notifier_get_wfd(&calls[i])));
    }
}

static void teardown(Fixture *f, gconstpointer opaque)
{
    unsigned int i;

    gmem_vhost_rings_destroy(&f->r);
    gmem_vhost_table_destroy(&f->had);
    for (i = 0; i < RINGS; i++) {
        event_notifier_cleanup(&kicks[i]);
        event_notifier_cleanup(&calls[i]);
    }
    g_string_free(said, true);
}

static void hold(Fixture *f)
{
    g_assert_cmpint(gmem_vhost_rings_hold(&f->r, &f->had), ==, 0);
    check_said("call 0 quiet, call 1 quiet");
}

/* ---- tests ---- */

static void test_indices(Fixture *f, gconstpointer opaque)
{
    set_both(0, 5, 5);
    set_both(1, 3, 0xfffe);
    hold(f);
    g_assert_false(gmem_vhost_rings_are_still(&f->r, &f->had));
    g_assert_false(gmem_vhost_rings_are_moving(&f->r, &f->had));
    set_index(1, 2, 1);
    g_assert_true(gmem_vhost_rings_are_moving(&f->r, &f->had));
    g_assert_false(gmem_vhost_rings_are_moving(&f->r, &f->had));
    set_index(1, 2, 3);
    g_assert_true(gmem_vhost_rings_are_still(&f->r, &f->had));

    /* one is not with the back end */
    set_both(1, 9, 3);
    g_assert_false(gmem_vhost_rings_are_still(&f->r, &f->had));
    set_table(f, 1);
    g_assert_true(gmem_vhost_rings_are_still(&f->r, &f->had));
}

static void test_round(Fixture *f, gconstpointer opaque)
{
    set_both(0, 9, 6);
    set_both(1, 0, 0);
    hold(f);
    take = 8;
    g_assert_cmpint(gmem_vhost_rings_stop(&f->r), ==, 0);
    check_said("stop 0 quiet, stop 1 quiet");
    set_index(1, 2, 8);
    g_assert_false(gmem_vhost_rings_are_done(&f->r, &f->had));
    set_index(0, 2, 8);
    g_assert_true(gmem_vhost_rings_are_done(&f->r, &f->had));
    set_index(1, 2, 0);

    /* the guest has masked the second one meanwhile */
    g_assert_true(gmem_vhost_rings_set_call(&f->r, 1, -1));
    g_assert_false(told(0));
    g_assert_cmpint(gmem_vhost_rings_start(&f->r, &f->had), ==, 0);
    check_said("start 0 8, call 0 guest, start 1 8, call 1 nobody");
    g_assert_true(event_notifier_test_and_clear(&kicks[0]));
    g_assert_true(event_notifier_test_and_clear(&kicks[1]));
    g_assert_false(event_notifier_test_and_clear(&kicks[2]));
    g_assert_true(told(0));
    g_assert_false(told(1));
    g_assert_false(gmem_vhost_rings_set_call(&f->r, 1, -1));
}

static void test_let_go(Fixture *f, gconstpointer opaque)
{
    bool unhold = opaque;

    set_both(0, 1, 0);
    hold(f);
    set_index(0, 2, 1);
    if (unhold) {
        g_assert_cmpint(gmem_vhost_rings_unhold(&f->r, &f->had), ==, 0);
    } else {
        gmem_vhost_rings_let_go(&f->r, &f->had);
    }
    check_said(unhold ? "call 0 guest, call 1 guest" : "");
    g_assert_true(told(0));
    g_assert_false(told(1));
    /* again: only what is new */
    set_index(1, 2, 1);
    gmem_vhost_rings_let_go(&f->r, &f->had);
    g_assert_false(told(0));
    g_assert_true(told(1));
    g_assert_false(gmem_vhost_rings_set_call(&f->r, 0, -1));
}

static void test_stopped_by_others(Fixture *f, gconstpointer opaque)
{
    take = 4;
    set_index(0, 2, 4);
    set_index(1, 2, 4);
    gmem_vhost_rings_note_stopped(&f->r, &vdev);
    g_assert_true(gmem_vhost_rings_are_done(&f->r, &f->had));
    set_index(1, 2, 3);
    g_assert_false(gmem_vhost_rings_are_done(&f->r, &f->had));
}

static void test_park(Fixture *f, gconstpointer opaque)
{
    hold(f);
    g_assert_cmpint(gmem_vhost_rings_stop(&f->r), ==, 0);
    g_string_truncate(said, 0);
    g_assert_cmpint(gmem_vhost_rings_park(&f->r), ==, 0);
    check_said("add, park 0, park 1");
    g_assert_cmpint(gmem_vhost_rings_park(&f->r), ==, 0);
    check_said("");
    g_assert_cmpint(gmem_vhost_rings_start(&f->r, &f->had), ==, 0);
    g_string_truncate(said, 0);
    g_assert_cmpint(gmem_vhost_rings_park(&f->r), ==, 0);
    check_said("park 0, park 1");
    gmem_vhost_rings_note_started(&f->r);
    g_assert_cmpint(gmem_vhost_rings_park(&f->r), ==, 0);
    check_said("park 0, park 1");

    g_assert_cmpint(gmem_vhost_rings_unpark(&f->r), ==, 0);
    check_said("remove");
    g_assert_cmpint(gmem_vhost_rings_unpark(&f->r), ==, 0);
    check_said("");
    g_assert_cmpint(gmem_vhost_rings_park(&f->r), ==, 0);
    check_said("add, park 0, park 1");
}

static void test_resume(Fixture *f, gconstpointer opaque)
{
    hold(f);
    g_assert_true(gmem_vhost_rings_may_resume(&f->r, &f->had));
    f->dev.protocol_features = 1u << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD;
    g_assert_false(gmem_vhost_rings_may_resume(&f->r, &f->had));
    f->dev.protocol_features = 0;
    set_table(f, 1);
    g_assert_false(gmem_vhost_rings_may_resume(&f->r, &f->had));
}

static void test_fit(Fixture *f, gconstpointer opaque)
{
    g_autoptr(GArray) pins = g_array_new(false, false, sizeof(GmemPin));
    /* ends in the middle of the second ring's used ring */
    GmemPiece piece = { GPA, EACH + 2 * PART + 100, (uintptr_t)memory };

    hold(f);
    g_assert_true(gmem_vhost_rings_fit(&f->r, &f->had));
    gmem_vhost_table_begin(&f->had, 8, NULL, 0);
    gmem_vhost_table_add(&f->had, &piece);
    g_assert_true(gmem_vhost_table_end(&f->had));
    g_assert_false(gmem_vhost_rings_fit(&f->r, &f->had));

    gmem_vhost_rings_pins(&f->r, &vdev, pins);
    g_assert_cmpuint(pins->len, ==, 6);
    g_assert_cmphex(g_array_index(pins, GmemPin, 5).gpa, ==,
                    GPA + EACH + 2 * PART);
    g_assert_cmpuint(g_array_index(pins, GmemPin, 5).size, ==, 134);
}

static void test_faults(Fixture *f, gconstpointer opaque)
{
    unsigned int at;

    /* call x2; stop x2; add, park x2; start, call, start, call; remove */
    for (at = 1; at <= 12; at++) {
        int ret;

        messages = park_gpa = 0;
        fail_at = at;
        ret = gmem_vhost_rings_hold(&f->r, &f->had) ?:
              gmem_vhost_rings_stop(&f->r) ?:
              gmem_vhost_rings_park(&f->r) ?:
              gmem_vhost_rings_start(&f->r, &f->had) ?:
              gmem_vhost_rings_unpark(&f->r);
        g_assert_cmpint(ret, ==, -EIO);
        g_assert_cmpuint(messages, ==, at);
        gmem_vhost_rings_destroy(&f->r);
        g_assert_cmpint(gmem_vhost_rings_init(&f->r, &f->dev, &f->wire), ==,
                        0);
    }
}

#define ADD(name, data, fn) \
    g_test_add("/gmem/vhost-rings/" name, Fixture, GINT_TO_POINTER(data), \
               setup, fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("indices", 0, test_indices);
    ADD("round", 0, test_round);
    ADD("let-go", 0, test_let_go);
    ADD("unhold", 1, test_let_go);
    ADD("stopped-by-others", 0, test_stopped_by_others);
    ADD("park", 0, test_park);
    ADD("fit", 0, test_fit);
    ADD("resume", 0, test_resume);
    ADD("faults", 0, test_faults);
    return g_test_run();
}
