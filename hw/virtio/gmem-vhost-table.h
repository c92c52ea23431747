/*
 * gmem: what of guest memory a vhost-user back end may map
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A table is a list of *pieces*: ranges that lie in one go in
 * guest-physical memory, in QEMU's, and in one file.  It is made anew each
 * time, from the lowest address to the highest: what touches and lies in one
 * file becomes one piece, because back ends refuse a buffer that crosses two.
 * A back end takes a few hundred pieces.  Where a guest shares its memory in
 * more runs, those that are needed stay (*pins*: rings, and memory that does
 * not convert), and of the others the largest.
 *
 * Knows numbers only: callers lock, and tell the back end.
 */

#ifndef HW_VIRTIO_GMEM_VHOST_TABLE_H
#define HW_VIRTIO_GMEM_VHOST_TABLE_H

/*
 * @file: never looked into; @pinned: see above, and set for pieces with a pin
 * in them
 */
typedef struct GmemPiece {
    uint64_t gpa;
    uint64_t size;
    uint64_t host;
    void *file;
    bool pinned;
} GmemPiece;

typedef struct GmemPin {
    uint64_t gpa;
    uint64_t size;
} GmemPin;

typedef struct GmemVhostTable {
    GArray *pieces;             /* of GmemPiece, by gpa; disjoint */
    unsigned int room;          /* pieces that there may be in the end */
    const GmemPin *pins;        /* the caller's, until the end */
    unsigned int nr_pins;
    unsigned int nr_pinned;     /* pieces, when they were counted last */
    uint64_t lost;              /* bytes that there was no room for */
    bool disorder;              /* a piece not behind the others is left out */
} GmemVhostTable;

void gmem_vhost_table_init(GmemVhostTable *t);
void gmem_vhost_table_destroy(GmemVhostTable *t);

/* Begin a new table in @t. */
void gmem_vhost_table_begin(GmemVhostTable *t, unsigned int room,
                            const GmemPin *pins, unsigned int nr_pins);
/*
 * Add a piece behind all that there are.  Never more than twice the room of
 * pieces (pinned ones apart) is kept, however many come.
 */
void gmem_vhost_table_add(GmemVhostTable *t, const GmemPiece *piece);
/* All of it is there.  False: there is not even room for what is pinned. */
bool gmem_vhost_table_end(GmemVhostTable *t);

/* Any byte of [gpa, gpa + size) is in the table. */
bool gmem_vhost_table_touches(const GmemVhostTable *t, uint64_t gpa,
                              uint64_t size);
/* Where QEMU has [gpa, gpa + size), if all of it is in one piece; else NULL. */
void *gmem_vhost_table_host(const GmemVhostTable *t, uint64_t gpa,
                            uint64_t size);
/* Just this piece is one of the table. */
bool gmem_vhost_table_has(const GmemVhostTable *t, const GmemPiece *piece);
bool gmem_vhost_table_equal(const GmemVhostTable *one,
                            const GmemVhostTable *two);

static inline const GmemPiece *gmem_vhost_piece(const GmemVhostTable *t,
                                                unsigned int i)
{
    return &g_array_index(t->pieces, GmemPiece, i);
}

#endif
