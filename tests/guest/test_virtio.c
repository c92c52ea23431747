/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Do the virtio devices work that hostile and storm are going to torment? And what those
 * two have in common.
 */
#include "tests.h"

#define GEN_NEIGHBOUR   99
#define TRIES           3

static struct devices devices;

long pages_convert(uint64_t gpa, uint64_t pages, bool to_private)
{
    long got = RET_EAGAIN;

    for (unsigned i = 0; i < TRIES && got == RET_EAGAIN; i++) {
        got = map_gpa_raw(gpa, pages, to_private ? ATTR_PRIVATE : 0);
    }
    if (got == RET_OK) {
        shadow_convert(gpa, pages, to_private);
    }
    return got;
}

bool page_copied(uint64_t gpa, uint64_t from, unsigned gen)
{
    for (unsigned i = 0; i < PAGE / 8; i++) {
        if (((volatile uint64_t *)gpa)[i] != page_word(from, gen, i)) {
            return false;
        }
    }
    return true;
}

static bool disk_works(struct devices *d, struct virtio *v)
{
    static unsigned gen;
    uint64_t from = virtio_page(v, V_WRITE), to = virtio_page(v, V_READ);

    gen = gen % GEN_MAX + 1;
    page_fill(from, gen);
    memset((void *)to, 0, PAGE);
    return blk_request(v, true, 0, from, false, d->patience) == DONE &&
           blk_request(v, false, 0, to, true, d->patience) == DONE &&
           page_copied(to, from, gen);
}

/* It sends; and receives, where the host has told us (traffic=1) that it sends */
static bool card_works(struct devices *d, struct virtio *v)
{
    if (arg_u64("traffic", 0)) {
        net_offer(v, 0, NET_RECEIVE, virtio_page(v, V_READ), true);
        if (virtio_wait(v, NET_RECEIVE, d->patience) != DONE) {
            return false;
        }
    }
    net_offer(v, 0, NET_SEND, virtio_page(v, V_WRITE), false);
    return virtio_wait(v, NET_SEND, d->patience) == DONE;
}

bool device_works(struct devices *d, struct virtio *v)
{
    bool works = v->kind == VIRTIO_BLK ? disk_works(d, v) : card_works(d, v);

    shadow_forget(virtio_page(v, V_READ), 1);
    shadow_forget(virtio_page(v, V_WRITE), 1);
    return works && !(virtio_status(v) & STATUS_NEEDS_RESET);
}

static bool all_shared(struct virtio *v)
{
    bool good = true;

    for (unsigned i = 0; i < V_PAGES; i++) {
        uint64_t gpa = virtio_page(v, i);

        good &= !shadow_private(gpa) || pages_convert(gpa, 1, false) == RET_OK;
    }
    return good;
}

static bool start(const char *test, const char *step, struct devices *d,
                  struct virtio *v)
{
    bool good = virtio_start(v, d->patience) && device_works(d, v);
    char name[64];

    format(name, sizeof(name), "%s/%s/%s", test, v->name, step);
    return check(good, name, "status=0x%x", virtio_status(v));
}

struct devices *devices_begin(const char *test)
{
    struct devices *d = &devices;
    uint64_t size = V_MAX * V_PAGES * PAGE;
    struct extent a = area(size);
    bool good = true;

    d->patience = arg_u64("patience", 20000);
    d->n = a.end - a.start < size ? 0 : virtio_find(d->v, V_MAX, a.start);
    if (!d->n) {
        skip(test, "no virtio device, or the area is too small");
        return NULL;
    }
    for (unsigned i = 1; i < d->n * V_PAGES; i += 2) {
        page_fill(a.start + i * PAGE, GEN_NEIGHBOUR);
    }
    for (unsigned i = 0; i < d->n; i++) {
        good &= all_shared(&d->v[i]) && start(test, "works", d, &d->v[i]);
    }
    return good ? d : NULL;
}

static void check_neighbours(const char *test, struct devices *d)
{
    struct mismatch m = { 0, 0, 0 };
    char name[64];
    bool good = true;

    for (unsigned i = 1; i < d->n * V_PAGES && good; i += 2) {
        good = page_check(virtio_page(&d->v[0], i), false, &m);
    }
    format(name, sizeof(name), "%s/neighbours", test);
    check(good, name, "gpa=0x%lx expected=0x%lx got=0x%lx", m.gpa, m.expected, m.got);
}

void devices_end(const char *test, struct devices *d)
{
    char name[64];

    for (unsigned i = 0; i < d->n; i++) {
        struct virtio *v = &d->v[i];

        format(name, sizeof(name), "%s/%s/ends", test, v->name);
        if (check(all_shared(v), name, "its pages cannot be shared") &&
            start(test, "works-in-the-end", d, v)) {
            check(virtio_reset(v, d->patience) &&
                  pages_convert(virtio_page(v, V_READ), 1, true) == RET_OK, name,
                  "reset, it keeps its pages");
        }
    }
    check_neighbours(test, d);
}

void test_virtio(void)
{
    struct devices *d = devices_begin("virtio");

    if (d) {
        check_neighbours("virtio", d);
    }
}
