/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest converts just those pages that its devices are using, one at a time:
 *   rings      each part of each queue goes private: the device needs a reset, says so,
 *              leaves the page alone, and works again when it has been reset
 *   born       a queue is enabled whose ring is private: the same
 *   named      a request names a private page, as its buffer, head, verdict or table: QEMU's
 *              disk needs a reset; a card may, or stay silent; and works again
 *   in flight  the page of a request that is under way: what the disk reads into it is there
 *              before it goes private, and nothing comes after; what is written is what was
 *              there before; the request ends
 * Every time the next device works on beside it. Each wait has a bound: patience=.
 */
#include "tests.h"

#define GEN_MINE    101         /* what the guest puts into its private page */
#define GEN_BEFORE  102
#define GEN_LATE    103
#define FLIGHTS     4
#define SECTOR      64
#define MARK        0x50       /* of frames that lie in private pages */

static const char *const part_names[] = { "descriptors", "available", "used" };
static char label[64];
static unsigned failed_before;
static struct { unsigned done, reset, again, flying; } flights;

/* One torment of one device is one result, or one for each expectation that is not met */
static void begin(const struct virtio *v, const char *what, int number)
{
    size_t n = format(label, sizeof(label), "hostile/%s/%s", v->name, what);

    if (number >= 0) {
        format(label + n, sizeof(label) - n, "-%d", number);
    }
    failed_before = failures();
}

static void end(void)
{
    if (failures() == failed_before) {
        pass(label);
    }
}

static bool expect(struct virtio *v, const char *what, bool good, long value)
{
    char name[80];

    if (!good) {
        format(name, sizeof(name), "%s/%s", label, what);
        fail(name, "value=%ld status=0x%x", value, virtio_status(v));
    }
    return good;
}

static void expect_page(const char *what, uint64_t page)
{
    struct mismatch m;
    char name[80];

    if (!page_check(page, false, &m)) {
        format(name, sizeof(name), "%s/%s", label, what);
        fail(name, "gpa=0x%lx expected=0x%lx got=0x%lx", m.gpa, m.expected, m.got);
    }
}

static void expect_ok(struct virtio *v, const char *what, long got)
{
    expect(v, what, got == RET_OK, got);
}

/* Take its silence for an answer only after all of the time */
static bool needs_reset(struct devices *d, struct virtio *v)
{
    for (unsigned ms = d->patience; ms; ms--) {
        if (virtio_status(v) & STATUS_NEEDS_RESET) {
            return true;
        }
        delay_ms(1);
    }
    return false;
}

static void beside(struct devices *d, struct virtio *v)
{
    struct virtio *next = &d->v[(v - d->v + 1) % d->n];

    if (next != v) {
        expect(v, next->name, device_works(d, next), 0);
    }
}

/* Shared again, reset, and as good as new; the page holds what the guest left in it */
static void again(struct devices *d, struct virtio *v, uint64_t page, bool left_alone)
{
    expect_ok(v, "to-shared", pages_convert(page, 1, false));
    if (left_alone) {
        expect_page("content", page);
    }
    shadow_forget(page, 1);
    expect(v, "again", virtio_start(v, d->patience) && device_works(d, v), 0);
}

/* ---- rings ---- */

static void stopped_ring(struct devices *d, struct virtio *v, unsigned queue,
                         uint64_t page)
{
    expect(v, "needs-reset", needs_reset(d, v), 0);
    page_fill(page, GEN_MINE);
    virtio_kick(v, queue);
    beside(d, v);
    expect_page("untouched", page);
    again(d, v, page, true);
    end();
}

static void ring(struct devices *d, struct virtio *v, unsigned queue, unsigned part)
{
    uint64_t page = v->q[queue].part[part];

    begin(v, part_names[part], queue);
    expect_ok(v, "to-private", pages_convert(page, 1, true));
    stopped_ring(d, v, queue, page);
}

/* The ring is private before there is a queue */
static void born(struct devices *d, struct virtio *v)
{
    uint64_t page = v->q[0].part[1];

    begin(v, "born-private", -1);
    virtio_reset(v, d->patience);
    expect_ok(v, "to-private", pages_convert(page, 1, true));
    virtio_start(v, d->patience);
    stopped_ring(d, v, 0, page);
}

/* ---- requests that name private pages ---- */

static enum outcome request(struct devices *d, struct virtio *v, unsigned what)
{
    bool indirect = what == V_TABLE;

    if (v->kind == VIRTIO_BLK) {
        return blk_request(v, what == V_WRITE, SECTOR,
                           virtio_page(v, what == V_WRITE ? V_WRITE : V_READ), indirect,
                           d->patience);
    }
    /* Silence is what the kernel's vhost answers, so do not wait for long */
    net_offer(v, 0, what == V_READ ? NET_RECEIVE : NET_SEND,
              virtio_page(v, what == V_READ ? V_READ : V_WRITE), indirect);
    return virtio_wait(v, what == V_READ ? NET_RECEIVE : NET_SEND, d->patience / 40);
}

/* Nothing of what was private got out; what cards send the host looks at */
static void kept_secret(struct devices *d, struct virtio *v)
{
    uint64_t from = virtio_page(v, V_WRITE), to = virtio_page(v, V_READ);
    enum outcome o = blk_request(v, false, SECTOR, to, false, d->patience);

    expect(v, "secret", o == DONE && !page_copied(to, from, GEN_MINE), o);
}

static void named(struct devices *d, struct virtio *v, unsigned what, const char *text)
{
    bool disk = v->kind == VIRTIO_BLK, into = what == V_READ;
    uint64_t page = virtio_page(v, what);
    enum outcome o;

    begin(v, text, -1);
    expect_ok(v, "to-private", pages_convert(page, 1, true));
    page_fill(page, GEN_MINE);
    v->mark = what == V_WRITE ? MARK : 0;
    o = request(d, v, what);
    v->mark = 0;
    say("# %s: %s", label, outcome_name(o));
    expect(v, "outcome", disk ? o == NEEDS_RESET : o != DONE_BADLY, o);
    beside(d, v);
    if (into) {
        expect_page("untouched", page);
    } else if (what == V_WRITE) {
        page_fill(page, GEN_LATE);      /* vhost tries again until it may read */
    }
    again(d, v, page, into && disk);
    if (disk && what == V_WRITE) {
        kept_secret(d, v);
    }
    end();
}

/* ---- requests under way ---- */

/* What became of both, whichever came first; false when the request did not end well */
static bool landed(struct devices *d, struct virtio *v, long got, enum outcome o)
{
    flights.done += o == DONE;
    flights.reset += o == NEEDS_RESET;
    flights.again += got == RET_EAGAIN;
    expect(v, "request", got == RET_OK || got == RET_EAGAIN, got);
    expect(v, "outcome", o == DONE || o == NEEDS_RESET, o);
    if (o != DONE) {
        virtio_reset(v, d->patience);
    }
    return o == DONE;
}

/*
 * The page of a request goes private; then the guest has other plans for it. Another request
 * goes first: a disk that may do only so many in a second has the second one wait.
 */
static enum outcome fly(struct devices *d, struct virtio *v, bool write, uint64_t page,
                        long *got)
{
    blk_offer(v, 1, false, 0, virtio_page(v, write ? V_READ : V_WRITE), false);
    blk_offer(v, 0, write, SECTOR, page, false);
    flights.flying += virtio_under_way(v, 0) != 0;
    *got = pages_convert(page, 1, true);
    if (*got == RET_OK && write) {
        page_fill(page, GEN_MINE);
    }
    return blk_verdict(v, virtio_wait(v, 0, d->patience));
}

static bool has_arrived(uint64_t page, uint64_t from)
{
    struct mismatch m;

    return content_rule == RULE_SPLIT ? page_is(page, GEN_ZERO, false, &m)
                                      : page_copied(page, from, GEN_BEFORE);
}

static void read_in_flight(struct devices *d, struct virtio *v, int number)
{
    uint64_t from = virtio_page(v, V_WRITE), page = virtio_page(v, V_READ);
    enum outcome o;
    long got;

    begin(v, "read-in-flight", number);
    page_fill(from, GEN_BEFORE);
    o = blk_request(v, true, SECTOR, from, false, d->patience);
    expect(v, "prepared", o == DONE, o);
    page_fill(page, GEN_MINE);
    o = fly(d, v, false, page, &got);
    if (landed(d, v, got, o) && got == RET_OK) {
        expect(v, "arrived", has_arrived(page, from), 0);
    }
    if (got == RET_OK) {
        page_fill(page, GEN_MINE);
        expect_ok(v, "to-shared", pages_convert(page, 1, false));
        expect_page("nothing-late", page);
    }
    shadow_forget(page, 1);
    if (o != DONE) {
        virtio_start(v, d->patience);
    }
    end();
}

static void write_in_flight(struct devices *d, struct virtio *v, int number)
{
    uint64_t page = virtio_page(v, V_WRITE), to = virtio_page(v, V_READ);
    enum outcome o;
    bool wrote;
    long got;

    begin(v, "write-in-flight", number);
    page_fill(page, GEN_BEFORE);
    o = fly(d, v, true, page, &got);
    wrote = landed(d, v, got, o);
    if (got == RET_OK) {
        expect_ok(v, "to-shared", pages_convert(page, 1, false));
    }
    if (wrote) {
        o = blk_request(v, false, SECTOR, to, false, d->patience);
        expect(v, "written", o == DONE && page_copied(to, page, GEN_BEFORE), o);
    }
    shadow_forget(page, 1);
    if (o != DONE) {
        virtio_start(v, d->patience);
    }
    end();
}

/* ---- all of it ---- */

static void torment(struct devices *d, struct virtio *v)
{
    for (unsigned i = 0; i < v->nr_queues * V_PARTS; i++) {
        ring(d, v, i / V_PARTS, i % V_PARTS);
    }
    born(d, v);
    named(d, v, V_READ, "named-read");
    named(d, v, V_WRITE, "named-write");
    named(d, v, V_TABLE, "named-table");
    if (v->kind == VIRTIO_BLK) {
        named(d, v, V_HEAD, "named-head");
        named(d, v, V_VERDICT, "named-verdict");
    }
    for (unsigned i = 0; v->kind == VIRTIO_BLK && i < FLIGHTS; i++) {
        read_in_flight(d, v, i);
        write_in_flight(d, v, i);
    }
}

static bool has_disk(const struct devices *d)
{
    bool found = false;

    for (unsigned i = 0; i < d->n; i++) {
        found |= d->v[i].kind == VIRTIO_BLK;
    }
    return found;
}

void test_hostile(void)
{
    struct devices *d = devices_begin("hostile");

    if (!d) {
        return;
    }
    for (unsigned i = 0; i < d->n; i++) {
        torment(d, &d->v[i]);
    }
    if (has_disk(d)) {
        say("# hostile: under way %u, done %u, needed a reset %u, EAGAIN %u",
            flights.flying, flights.done, flights.reset, flights.again);
        check(flights.flying && flights.done, "hostile/in-flight",
              "under-way=%u done=%u", flights.flying, flights.done);
    }
    devices_end("hostile", d);
}
