/*
 * gmem: what of guest memory a vhost-user back end may map
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in hw/virtio/gmem-vhost-table.h.  A guest can make millions of
 * runs.  So pieces that are not pinned are thinned out on the way, whenever
 * there are twice as many as there is room for: what goes then is smaller than
 * all that stay, and would go in the end as well.  The last piece may still
 * grow, and never goes on the way.
 */

#include "qemu/osdep.h"
#include "hw/virtio/gmem-vhost-table.h"

static GmemPiece *piece_at(const GmemVhostTable *t, unsigned int i)
{
    return &g_array_index(t->pieces, GmemPiece, i);
}

static uint64_t last_byte(const GmemPiece *p)
{
    return p->gpa + (p->size - 1);
}

void gmem_vhost_table_init(GmemVhostTable *t)
{
    *t = (GmemVhostTable) {
        .pieces = g_array_new(false, false, sizeof(GmemPiece)),
    };
}

void gmem_vhost_table_destroy(GmemVhostTable *t)
{
    g_array_free(t->pieces, true);
    t->pieces = NULL;
}

void gmem_vhost_table_begin(GmemVhostTable *t, unsigned int room,
                            const GmemPin *pins, unsigned int nr_pins)
{
    g_array_set_size(t->pieces, 0);
    t->room = room;
    t->pins = pins;
    t->nr_pins = nr_pins;
    t->nr_pinned = 0;
    t->lost = 0;
    t->disorder = false;
}

/* ---- which ones stay ---- */

/* The number of the first of @end pieces that ends at @gpa or behind it */
static unsigned int find(const GmemVhostTable *t, uint64_t gpa,
                         unsigned int end)
{
    unsigned int low = 0;

    while (low < end) {
        unsigned int middle = low + (end - low) / 2;

        if (last_byte(piece_at(t, middle)) < gpa) {
            low = middle + 1;
        } else {
            end = middle;
        }
    }
    return low;
}

/*
 * Mark those of the first @end pieces that have a pin in them; how many are
 * marked
 */
static unsigned int mark_pinned(GmemVhostTable *t, unsigned int end)
{
    unsigned int i, at, count = 0;

    for (i = 0; i < t->nr_pins; i++) {
        const GmemPin *pin = &t->pins[i];

        for (at = find(t, pin->gpa, end);
             at < end && piece_at(t, at)->gpa <= pin->gpa + (pin->size - 1);
             at++) {
            piece_at(t, at)->pinned = true;
        }
    }
    for (i = 0; i < end; i++) {
        count += piece_at(t, i)->pinned;
    }
    return count;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/*
 * The size of the @stay-th largest of the first @end that are not pinned, 0
 * where there are fewer
 */
static uint64_t smallest_to_stay(const GmemVhostTable *t, unsigned int end,
                                 unsigned int stay)
{
    g_autofree uint64_t *sizes = g_new(uint64_t, end + 1);
    unsigned int i, n = 0;

    for (i = 0; i < end; i++) {
        if (!piece_at(t, i)->pinned) {
            sizes[n++] = piece_at(t, i)->size;
        }
    }
    if (n < stay || !stay) {
        return stay ? 0 : UINT64_MAX;
    }
    qsort(sizes, n, sizeof(*sizes), by_size);
    return sizes[stay - 1];
}

/* How many of the first @end that are not pinned are larger than @size */
static unsigned int count_larger(const GmemVhostTable *t, unsigned int end,
                                 uint64_t size)
{
    unsigned int i, count = 0;

    for (i = 0; i < end; i++) {
        const GmemPiece *p = piece_at(t, i);

        count += !p->pinned && p->size > size;
    }
    return count;
}

/*
 * Keep of the first @end pieces those that are pinned and the @stay largest; of
 * equal ones the lower
 */
static void thin(GmemVhostTable *t, unsigned int end, unsigned int stay)
{
    uint64_t least = smallest_to_stay(t, end, stay);
    unsigned int equals = stay - MIN(stay, count_larger(t, end, least));
    unsigned int i, kept = 0, len = t->pieces->len;

    for (i = 0; i < len; i++) {
        GmemPiece p = *piece_at(t, i);
        bool stays = i >= end || p.pinned || p.size > least;

        if (!stays && p.size == least && equals) {
            equals--;
            stays = true;
        }
        if (stays) {
            *piece_at(t, kept++) = p;
        } else {
            t->lost += p.size;
        }
    }
    g_array_set_size(t->pieces, kept);
}

/* ---- making one ---- */

static bool joins(const GmemPiece *one, const GmemPiece *two)
{
    return one->file == two->file && one->gpa + one->size == two->gpa &&
           one->host + one->size == two->host;
}

static void thin_on_the_way(GmemVhostTable *t)
{
    unsigned int end = t->pieces->len - 1;
    unsigned int most = 2 * t->room + t->nr_pins + t->nr_pinned + 64;

    if (end < most) {
        return;
    }
    t->nr_pinned = mark_pinned(t, end);
    if (end - t->nr_pinned >= 2 * t->room) {
        thin(t, end, t->room);
    }
}

void gmem_vhost_table_add(GmemVhostTable *t, const GmemPiece *piece)
{
    GmemPiece *last = t->pieces->len ? piece_at(t, t->pieces->len - 1) : NULL;

    if (!piece->size || (last && last_byte(last) >= piece->gpa)) {
        t->disorder = true;
        return;
    }
    if (last && joins(last, piece)) {
        last->size += piece->size;
        last->pinned |= piece->pinned;
        return;
    }
    g_array_append_val(t->pieces, *piece);
    thin_on_the_way(t);
}

bool gmem_vhost_table_end(GmemVhostTable *t)
{
    unsigned int pinned = mark_pinned(t, t->pieces->len);

    t->pins = NULL;
    t->nr_pins = 0;
    if (pinned > t->room) {
        return false;
    }
    if (t->pieces->len > t->room) {
        thin(t, t->pieces->len, t->room - pinned);
    }
    return true;
}

/* ---- looking ---- */

bool gmem_vhost_table_touches(const GmemVhostTable *t, uint64_t gpa,
                              uint64_t size)
{
    unsigned int i = find(t, gpa, t->pieces->len);

    return size && i < t->pieces->len &&
           piece_at(t, i)->gpa <= gpa + (size - 1);
}

void *gmem_vhost_table_host(const GmemVhostTable *t, uint64_t gpa,
                            uint64_t size)
{
    unsigned int i = find(t, gpa, t->pieces->len);
    const GmemPiece *p;

    if (!size || i == t->pieces->len) {
        return NULL;
    }
    p = piece_at(t, i);
    if (p->gpa > gpa || last_byte(p) - gpa < size - 1) {
        return NULL;
    }
    return (void *)(uintptr_t)(p->host + (gpa - p->gpa));
}

bool gmem_vhost_table_has(const GmemVhostTable *t, const GmemPiece *piece)
{
    unsigned int i = find(t, piece->gpa, t->pieces->len);
    const GmemPiece *p = i < t->pieces->len ? piece_at(t, i) : NULL;

    return p && p->gpa == piece->gpa && p->size == piece->size &&
           p->host == piece->host && p->file == piece->file;
}

bool gmem_vhost_table_equal(const GmemVhostTable *one,
                            const GmemVhostTable *two)
{
    unsigned int i;

    if (one->pieces->len != two->pieces->len) {
        return false;
    }
    for (i = 0; i < one->pieces->len; i++) {
        if (!gmem_vhost_table_has(two, piece_at(one, i))) {
            return false;
        }
    }
    return true;
}
