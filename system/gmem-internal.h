/*
 * gmem: what the files of the engine share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Nobody else includes this (tests do).  The lock table is in system/gmem.h.
 */

#ifndef SYSTEM_GMEM_INTERNAL_H
#define SYSTEM_GMEM_INTERNAL_H

#include "qemu/atomic.h"
#include "qemu/thread.h"
#include "system/gmem-use.h"
#include "gmem-map.h"
#include "gmem-range.h"

/*
 * Read-side sections are counted per area of 2 MiB (the unit guests convert),
 * areas sharing stripes modulo their number: few enough to check all, many enough
 * that accesses elsewhere seldom delay a conversion or each other.
 */
#define GMEM_STRIPE_BITS 21
#define GMEM_STRIPES 64

typedef struct QEMU_ALIGNED(64) GmemStripe {
    unsigned int inside[2];     /* sections, by the phase they were entered in */
    unsigned int phase;         /* where new ones go */
    unsigned int drainer;       /* some conversion may change the phase */
} GmemStripe;

/*
 * A replay gives this much at a time: a conversion of other pages waits for one such
 * step at most, and the block lock is held for a search of this many pages
 */
#define GMEM_REPLAY_BYTES (64 * UINT64_C(0x100000))

/* A replay that is calling its holder just now; lives on the replayer's stack */
typedef struct GmemReplay {
    const GmemHolder *holder;
    uint64_t offset;
    uint64_t size;
    QTAILQ_ENTRY(GmemReplay) next;
} GmemReplay;

#define GMEM_USE_SHARDS 8

/* Those that begin in every eighth page */
typedef struct GmemUseShard {
    QemuMutex lock;             /* guards what follows */
    QemuCond ended;             /* some use has */
    IntervalTreeRoot ending;    /* uses that end by themselves */
    IntervalTreeRoot asked_for; /* uses with ask() */
    GHashTable *maps;           /* those of ending that are found by their place */
} GmemUseShard;

/* The pointers that QEMU has into a block: gmem-use.c */
typedef struct GmemUses {
    GmemHolder holder;          /* its name is atomic */
    QemuMutex lock;             /* who joins, who retires */
    bool joined;                /* the holder is one of the block's; atomic */
    GmemUseShard shards[GMEM_USE_SHARDS];
} GmemUses;

struct GmemBlock {
    /* constant */
    uint64_t seq;               /* order of creation */
    GmemBlockMode mode;
    uint64_t size;
    GmemPageState initial;
    uint64_t dma_granularity;
    const GmemProviderOps *ops;
    void *opaque;

    /* atomic */
    unsigned int refs;
    const char *id;             /* interned */
    uint32_t timeout_ms;
    bool broken;
    bool retired;
    bool closed;                /* only gmem_block_restore() converts */
    GmemMap map;
    GmemStripe *stripes;

    QemuMutex commit_lock;

    GmemUses uses;

    QemuMutex lock;             /* guards what follows */
    GmemRangeLock ranges;
    QTAILQ_HEAD(, GmemHolder) holders;      /* by id, ascending */
    QTAILQ_HEAD(, GmemReplay) replays;
    QemuCond holders_idle;      /* a call or a replay came back */
    uint64_t last_holder_id;
    uint64_t shared_limit;
    uint64_t charged_pages;     /* shared, or about to be */
    GmemBlockStats stats;

    QTAILQ_ENTRY(GmemBlock) next;           /* registry lock */
};

static inline unsigned long gmem_page(uint64_t offset)
{
    return offset >> GMEM_PAGE_BITS;
}

/* ---- gmem-block.c ---- */

/* Room for @pages more shared ones?  Takes it when @take */
bool gmem_block_charge(GmemBlock *block, unsigned long pages, bool take);
void gmem_block_uncharge(GmemBlock *block, unsigned long pages);

/* ---- gmem-use.c ---- */

void gmem_uses_init(GmemUses *uses);
void gmem_uses_destroy(GmemUses *uses);

/* ---- gmem-access.c ---- */

/*
 * Wait until no read-side section covers [offset, offset+size), whose pages are
 * converting.  0, -EAGAIN or -EINTR.
 */
int gmem_access_drain(GmemBlock *block, uint64_t offset, uint64_t size,
                      GmemWait *wait);

/* ---- gmem-holder.c ---- */

/* What of a run went to which holders: ids ascend as holders join */
typedef struct GmemBegun {
    uint64_t done;              /* begin() was fine for holders up to this id */
    unsigned int retries;
    bool called;                /* some holder was; the next one needs time left */
    char *stalled;              /* name of the one that would not let go */
} GmemBegun;

/* The youngest holder's id.  Who joins later sees `converting` and stays off */
uint64_t gmem_holders_last(GmemBlock *block);
/*
 * begin() of every holder with an id in (begun->done, last].  0, or -EAGAIN or
 * -EINTR when one did not let go, or when all together took too long: time and
 * kick are looked at before each call.  @begun tells how far it came.
 */
int gmem_holders_begin(GmemBlock *block, uint64_t offset, uint64_t size,
                       uint64_t last, GmemBegun *begun, GmemWait *wait);
/* settle() of every holder, until all answer 0 or @wait ends: 0, -EAGAIN or -EINTR */
int gmem_holders_settle(GmemBlock *block, GmemWait *wait);
/* end(@state) of every holder with an id up to @done or above @last */
void gmem_holders_end(GmemBlock *block, uint64_t offset, uint64_t size,
                      GmemPageState state, uint64_t done, uint64_t last);

/* ---- the transaction: gmem-convert.c, gmem-quiesce.c, gmem-commit.c ---- */

/* A merged segment, and how far the transaction came with it */
typedef struct GmemPart {
    GmemBlock *block;
    uint64_t offset;
    uint64_t size;
    unsigned long pages;        /* that change, and are marked converting */
    uint64_t last_holder;       /* the youngest that has to begin() */
    uint64_t begun_end;         /* all runs below: begin() of all is done */
    uint64_t begun_holder;      /* the run there: begin() up to this id */
    uint64_t committed_end;     /* below it, kernel and map have the new state */
    bool lost;                  /* nobody knows what state the kernel has */
    unsigned int retries;
    int64_t busy_ns;
} GmemPart;

typedef struct GmemTransaction {
    GmemRequest *req;
    GmemPart *parts;            /* sorted, disjoint */
    unsigned int nr_parts;
    GmemRange *ranges;          /* one per part */
    GmemClaim *claims;          /* one per block */
    unsigned int nr_claims;     /* held */
    GmemWait wait;
    bool holder_called;         /* begin() of one, that is */
    uint32_t timeout_ms;
    int error;                  /* errno behind the answer, for statistics */
} GmemTransaction;

/* Accessors and holders off every page that goes private; 0, -EAGAIN, -EINTR */
int gmem_quiesce(GmemTransaction *t);
/* Runs that changed: unmark, end(), then free the other side */
void gmem_settle(GmemTransaction *t);
/* Runs that did not change after all: unmark, end() of all holders */
void gmem_unquiesce(GmemTransaction *t);
/* Kernel and map, all parts or none; 0, -EAGAIN, -EINTR or -EIO */
int gmem_commit(GmemTransaction *t);

/* The first run of converting pages of @part from *@offset; in bytes */
bool gmem_part_next_run(const GmemPart *part, uint64_t offset,
                        uint64_t *start, uint64_t *size);
/* Remember who kept the request waiting (takes @holder), for an -EAGAIN */
void gmem_transaction_stalled(GmemTransaction *t, GmemBlock *block,
                              uint64_t offset, char *holder);
/* Back off once, on the account of @part */
int gmem_part_backoff(GmemTransaction *t, GmemPart *part);

#endif
