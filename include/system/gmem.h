/*
 * gmem: guest_memfd as a first-class memory backend - the map of the house
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A *block* is one RAMBlock whose pages come from guest_memfd.
 * Every page of a block has a *state*, shared or private, kept in the block's
 * state map; the map is the only record of it, KVM has no "get".  A *holder*
 * is whoever keeps a host mapping, a DMA mapping or a pointer into a block.
 * A *provider* is the code that tells the kernel about a change of state.
 * A *conversion* changes the state of page-aligned ranges, and happens in one
 * transaction (system/gmem-convert.c) that every holder takes part in:
 *
 *   to private: reserve -> publish converting -> wait out accessors ->
 *               begin() of every holder -> provider -> publish private ->
 *               end() of every holder -> free the shared side -> release
 *   to shared:  reserve -> publish converting -> provider -> publish shared ->
 *               end() of every holder -> free the private side -> release ->
 *               settle() of every holder, likewise where nothing went private
 *
 * Either the whole request happens or none of it: at every return the kernel,
 * the map and the holders agree.  If that cannot be had, the block is *broken*.
 *
 * The map has two bits per page: `shared` and `converting`.  QEMU may touch a
 * page only while it is shared and not converting, from inside a read-side
 * section (gmem_access_begin/_end).  `converting` is set exactly on the pages
 * of a transaction that will change, so undo and end() need no other list.
 *
 * Locks, outermost first.  Never take one on the left of what you hold.
 *
 *  range reservation | a range of a block; held through a transaction.  Nobody
 *                    |   waits for one while holding the BQL.
 *  BQL               | never taken by the engine; a holder may, in begin/end.
 *  holder's own lock | what a holder has mapped.
 *  KVM's slots lock  | the base's; memory slots are changed under it and the BQL.
 *  provider section  | provider->enter/leave: keeps memory slots as they are.
 *                    |   Threads that are no vCPUs take turns in it.
 *  RAM lock          | KVM provider: readers touch the RAM behind a block, for a
 *                    |   bounded time; the writer, who holds the BQL, frees it.
 *  block commit lock | provider call + publication in the map, as one step of at
 *                    |   most 64 MiB: whoever changes memory slots waits for it.
 *                    |   Also slot replay (map -> kernel), which so can never
 *                    |   put back a state that a conversion just replaced.
 *  locks of uses     | which bytes QEMU has pointers to (gmem-use.c): one to join, and
 *                    |   leaves for what begins in every eighth page.
 *  block lock        | reservations tree, holder list, statistics.  A leaf.
 *  registry lock     | the list of blocks.  A leaf.
 *  sink lock         | what the handler of SIGBUS needs (gmem-sigbus.c), which takes it.
 *                    |   A leaf; guest memory is not touched under it.
 *
 * Readers of the map take no lock: words are read atomically.  A reader that
 * must not see a page change underneath it is an accessor or a holder.
 */

#ifndef SYSTEM_GMEM_H
#define SYSTEM_GMEM_H

#include "qemu/queue.h"

/*
 * A step of a commit, or of what a holder does, is no longer: nothing interrupts one, and who
 * changes memory slots waits for it with the BQL held.  A power of two
 */
#define GMEM_STEP_BYTES (64 * UINT64_C(0x100000))

typedef struct GmemBlock GmemBlock;
typedef struct GmemHolder GmemHolder;

typedef enum GmemPageState {
    GMEM_PAGE_PRIVATE = 0,
    GMEM_PAGE_SHARED = 1,
} GmemPageState;

/* How a block is backed; same order and names as QAPI's GmemMode */
typedef enum GmemBlockMode {
    GMEM_BLOCK_MODE_NONE,       /* one all-shared guest_memfd, no conversion */
    GMEM_BLOCK_MODE_SPLIT,      /* guest_memfd for private, memfd for shared */
    GMEM_BLOCK_MODE_IN_PLACE,   /* one guest_memfd that changes state */
} GmemBlockMode;

/**
 * GmemProviderOps: what the engine asks of the code that talks to the kernel.
 *
 * @enter/@leave: bracket the commit step, taken before the commit lock.
 * @set_state: make [offset, offset+size) of @block @to.  All or nothing:
 *     after an error no page has changed.  Returns 0, -EAGAIN with *busy set to the
 *     offset in the block of the first busy page (to private only), -EINTR,
 *     -ENOMEM or another -errno.  Called with the commit lock held.  Pages
 *     that have state @to already may be in the range.  -ENOTRECOVERABLE is the
 *     one exception: nobody knows which of its pages changed.  The engine then breaks
 *     the block and refuses these pages to everybody; the provider does not.
 * @discard: free what the side that is not @state holds of the range.
 *     Called after the commit, with the range still reserved, without the
 *     commit lock; must retry EINTR itself.  A failure is counted, not
 *     reported as a failed conversion.  NULL where nothing has to be freed.
 * @release: the last reference to @block is gone; free what opaque is.  A
 *     conversion may still call the others between gmem_block_retire() and
 *     this.  NULL where the opaque outlives every block.
 */
typedef struct GmemProviderOps {
    const char *name;
    void (*enter)(GmemBlock *block);
    void (*leave)(GmemBlock *block);
    int (*set_state)(GmemBlock *block, uint64_t offset, uint64_t size,
                     GmemPageState to, uint64_t *busy);
    int (*discard)(GmemBlock *block, uint64_t offset, uint64_t size,
                   GmemPageState state);
    void (*release)(GmemBlock *block);
} GmemProviderOps;

/**
 * GmemHolderOps: what a keeper of guest memory promises.
 *
 * @begin: the range goes private.  Stop using it and drop its pins before
 *     returning.  May sleep, may take the BQL, must come back by @deadline_ns
 *     (QEMU_CLOCK_REALTIME), which is no further away than the block's
 *     conversion-timeout, because a reset may have to wait for it; it is called again where
 *     the request has more time.  Returns 0, or -EAGAIN when it could not let go:
 *     then it still holds all of what it held.  Pages in the range that the
 *     holder does not hold are not an error.
 * @end: the range now has state @state; where that is shared, the holder may
 *     use it.  Called after every successful begin, and with GMEM_PAGE_SHARED also
 *     without one: after a conversion to shared, and where one to private was
 *     undone, for the range may have been left out as converting.  Must tolerate
 *     pages that it holds already, or that a replay gives it in another thread at
 *     the same time.  Cannot fail: a holder that cannot map what became shared
 *     reports that itself and does without.
 *
 * @settle: may be NULL.  A request has shared pages of the block (or found them
 *     so), or left them shared that were to be private; its end() calls are all
 *     made, its ranges are free again.  Whoever needs time until it can be reached
 *     through these pages answers -EAGAIN until it can, and sleeps for a moment
 *     only; it is asked again for a second at most, and not for longer than the
 *     block's conversion-timeout.  *@number is 0 the first time, and the holder's
 *     own until it answers 0.
 *
 * One holder's begin never waits for another's.  Calls for different ranges
 * come from several threads at once; begin/end pairs of one range never overlap.
 */
typedef struct GmemHolderOps {
    int (*begin)(GmemHolder *holder, uint64_t offset, uint64_t size,
                 int64_t deadline_ns);
    void (*end)(GmemHolder *holder, uint64_t offset, uint64_t size,
                GmemPageState state);
    int (*settle)(GmemHolder *holder, uint64_t *number);
} GmemHolderOps;

struct GmemHolder {
    const GmemHolderOps *ops;
    const char *name;           /* for events; stays valid while registered.  Atomic */
    /* engine's own */
    GmemBlock *block;
    uint64_t id;
    unsigned int users;
    bool leaving;
    QTAILQ_ENTRY(GmemHolder) next;
};

/* A part of a conversion request: page-aligned, inside one block */
typedef struct GmemSegment {
    GmemBlock *block;
    uint64_t offset;
    uint64_t size;
} GmemSegment;

/**
 * GmemRequest: one conversion.
 *
 * @timeout_ms: longest wait for reservations, holders and busy pages; 0 takes the
 *     shortest conversion-timeout of the blocks involved.
 * @restore: gmem_block_restore() only; converts closed blocks too.
 * @kicked: polled while waiting and between calls of begin(); true ends that with
 *     -EINTR.  May be NULL.
 * @stalled_holder, @stalled_block, @stalled_offset: out; who kept the conversion waiting when
 *     the result is -EAGAIN (static or holder-lifetime string copied; g_free it), or NULL.
 */
typedef struct GmemRequest {
    GmemSegment *segments;
    unsigned int nr_segments;
    GmemPageState to;
    uint32_t timeout_ms;
    bool restore;
    bool (*kicked)(void *opaque);
    void *opaque;
    char *stalled_holder;
    GmemBlock *stalled_block;
    uint64_t stalled_offset;
} GmemRequest;

#define GMEM_LATENCY_BUCKETS 24     /* bucket n: below 2^n microseconds */

typedef struct GmemBlockStats {
    uint64_t conversions[2];        /* by GmemPageState converted to */
    uint64_t bytes[2];              /* bytes that changed state */
    uint64_t retries;               /* provider or holder said try again */
    uint64_t busy_ns;               /* time spent waiting for them */
    uint64_t failures;              /* requests that ended in an error */
    uint64_t discard_failures;
    uint64_t denied;                /* accesses refused */
    uint64_t latency[GMEM_LATENCY_BUCKETS];
    int last_error;                 /* errno of the last failure, 0 if none */
} GmemBlockStats;

/**
 * GmemObserver: who wants to hear of what goes wrong (the QMP layer).
 * Called without engine locks, in the thread concerned, @stalled and @broken with the
 * range reserved or queued for; must not wait, convert, or call holders.
 * @stalled comes once per request that ends in -EAGAIN; @holder is NULL where the
 * kernel did not say who keeps the page.  @denied comes once for @times touches, and tells
 * about the last of them.
 */
typedef struct GmemObserver {
    void (*stalled)(GmemBlock *block, uint64_t offset, uint64_t size,
                    const char *holder);
    void (*denied)(GmemBlock *block, uint64_t offset, uint64_t size,
                   const char *who, uint64_t times);
    void (*broken)(GmemBlock *block, const char *why);
} GmemObserver;

void gmem_set_observer(const GmemObserver *observer);
/* Whom to tell; never NULL, but each of its functions may be */
const GmemObserver *gmem_observer(void);

/* ---- blocks (system/gmem-block.c) ---- */

typedef struct GmemBlockConfig {
    const char *id;                 /* what QMP calls it: the RAMBlock's idstr */
    GmemBlockMode mode;
    uint64_t size;                  /* bytes, multiple of 4 KiB */
    GmemPageState initial;
    uint32_t timeout_ms;            /* 0: 1000 */
    uint64_t shared_limit;          /* bytes; 0: none */
    uint64_t dma_granularity;       /* bytes, a power of two; 0: 4 KiB */
    const GmemProviderOps *ops;     /* NULL for mode none */
    void *opaque;                   /* the provider's */
} GmemBlockConfig;

GmemBlock *gmem_block_new(const GmemBlockConfig *config);
void gmem_block_ref(GmemBlock *block);
void gmem_block_unref(GmemBlock *block);
/* take it off the registry; no new conversion finds it */
void gmem_block_retire(GmemBlock *block);
bool gmem_block_is_retired(const GmemBlock *block);
/*
 * A closed block takes no conversion but gmem_block_restore(): no device shows its memory
 * to the guest.  What runs may finish, what queues for a range is refused.  Any thread;
 * whoever closes a block opens it.
 */
void gmem_block_set_closed(GmemBlock *block, bool closed);
bool gmem_block_is_closed(const GmemBlock *block);
/*
 * @block is closed, no conversion of it is under way, and all of it has its initial
 * state; that stays so until it is opened.  Any thread, never waits.
 */
bool gmem_block_is_restored(GmemBlock *block);

const char *gmem_block_id(const GmemBlock *block);
void gmem_block_set_id(GmemBlock *block, const char *id);
GmemBlockMode gmem_block_mode(const GmemBlock *block);
uint64_t gmem_block_size(const GmemBlock *block);
GmemPageState gmem_block_initial(const GmemBlock *block);
void *gmem_block_opaque(const GmemBlock *block);
bool gmem_block_is_broken(const GmemBlock *block);
/*
 * For the engine and its providers: kernel and map may disagree.  Marks @block
 * broken (once) and tells the observer; @why is a static string.  Any thread, without
 * the commit lock.
 */
void gmem_block_break(GmemBlock *block, const char *why);
uint64_t gmem_block_shared_bytes(const GmemBlock *block);
uint64_t gmem_block_shared_limit(const GmemBlock *block);
void gmem_block_set_shared_limit(GmemBlock *block, uint64_t bytes);
/* The unit that IOMMUs map the block in which cannot divide a mapping (gmem-units.h) */
uint64_t gmem_block_dma_granularity(const GmemBlock *block);
uint32_t gmem_block_timeout_ms(const GmemBlock *block);
void gmem_block_set_timeout_ms(GmemBlock *block, uint32_t ms);
void gmem_block_get_stats(GmemBlock *block, GmemBlockStats *stats);
/* A request that touched @block was refused before it became one.  Any thread */
void gmem_block_count_refused(GmemBlock *block);

/* Referenced block with this id, or NULL */
GmemBlock *gmem_block_find(const char *id);
/* Calls @fn for every registered block (referenced meanwhile), in order of creation */
void gmem_block_foreach(void (*fn)(GmemBlock *block, void *opaque),
                        void *opaque);

/* ---- the state map (lock-free reads) ---- */

/*
 * The run of equal state that begins at @offset: stores its state and
 * returns its end, at most @limit.  A converting page counts as what it was.
 */
uint64_t gmem_block_run(GmemBlock *block, uint64_t offset, uint64_t limit,
                        GmemPageState *state);
/*
 * The first run of [offset, limit) of pages that are shared and not converting; false: there is none.
 * Whoever is to map them is a holder already.
 */
bool gmem_block_next_usable(GmemBlock *block, uint64_t offset, uint64_t limit,
                            uint64_t *start, uint64_t *size);
/*
 * Bytes of a page-aligned range, clipped to the block, that have @state; a converting
 * page counts as what it was.  64 pages at a time, whatever pattern they make.
 */
uint64_t gmem_block_count(GmemBlock *block, uint64_t offset, uint64_t size,
                          GmemPageState state);
/* The whole range has @state and no page of it is converting */
bool gmem_block_range_is(GmemBlock *block, uint64_t offset, uint64_t size,
                         GmemPageState state);
/*
 * Calls @fn under the commit lock for every run of private pages of the range: how
 * a memory slot that comes back learns its attributes.  Stops at the first error.
 */
int gmem_block_replay_private(GmemBlock *block, uint64_t offset, uint64_t size,
                              int (*fn)(void *opaque, uint64_t offset,
                                        uint64_t size), void *opaque);
/* Hold the commit lock: no page of @block changes state meanwhile */
void gmem_block_commit_lock(GmemBlock *block);
void gmem_block_commit_unlock(GmemBlock *block);

/* ---- QEMU's own accesses ---- */

/* A read-side section; the engine's own, on the stack of who is inside */
typedef struct GmemAccess {
    GmemBlock *block;
    uint64_t offset;
    uint64_t size;
    uint64_t phases;
} GmemAccess;

/*
 * Enter the read-side section for a touch of the range by @who (for the event).
 * False: some page is private or converting; nothing was entered.  The section
 * is short: no sleeping, no locks.  Sections may nest and overlap.
 */
bool gmem_access_begin(GmemAccess *access, GmemBlock *block, uint64_t offset,
                       uint64_t size, const char *who);
/* Leave it; any thread, once per successful begin */
void gmem_access_end(const GmemAccess *access);
/*
 * Count @times touches by @who that came to nothing, the last one at @offset, and tell the
 * observer.  Any thread.
 */
void gmem_access_deny(GmemBlock *block, uint64_t offset, uint64_t size,
                      const char *who, uint64_t times);

/* ---- holders ---- */

/*
 * Join.  After this, every conversion calls the holder.  To learn what is
 * shared now, the caller then runs gmem_holder_replay_shared().  Any thread;
 * safe against conversions; never waits for a range, so the BQL may be held.
 */
void gmem_holder_add(GmemBlock *block, GmemHolder *holder);
/*
 * Calls ops->end(SHARED) for every run of the range that is shared and not
 * converting.  A conversion of pages that this is giving to the holder just now waits
 * with its begin() until that end() is back, so the two never overlap; what is
 * converting already is left out, and the conversion's own end() gives it to the holder
 * if it comes out shared.  Goes in steps of at most 64 MiB.  Another thread may remove the
 * holder meanwhile: that ends the replay, and returns when it has ended.  Not to be
 * called twice at a time for one holder and range.
 */
void gmem_holder_replay_shared(GmemHolder *holder, uint64_t offset,
                               uint64_t size);
/*
 * Leave: no call comes any more, not even the end() to a begin() that was.  The holder
 * must hold nothing when it calls this, and take nothing that end() still offers: from
 * here on pages go private without asking it.  Returns when
 * no call into the holder is running; the calls that the caller itself is inside of do
 * not count, so a holder may remove itself, or another, from begin() or end().  The
 * caller must not hold a lock that this holder's own begin() or end() takes: one that
 * takes the BQL is removed without it.
 */
void gmem_holder_remove(GmemHolder *holder);

/* ---- conversions (system/gmem-convert.c) ---- */

/*
 * Run one conversion.  Returns 0; -EINVAL (bad range, to private in
 * mode none, shared-limit, broken, closed or retired block: nothing changed); -EAGAIN (still busy at the timeout: nothing changed);
 * -EINTR (kicked: ask again; to private nothing changed, to shared maybe all, but some holder needs a while yet); -EIO (the kernel failed and it was undone, or the block
 * broke).  May sleep.  Never call it with the BQL or a holder's lock held.
 */
int gmem_convert_request(GmemRequest *req);

/*
 * Give all of @block its initial state (system/gmem-reset.c).  @timeout_ms, result and
 * locks as for gmem_convert_request().
 */
int gmem_block_restore(GmemBlock *block, uint32_t timeout_ms);

/*
 * gmem_convert: change the state of guest-physical [gpa, gpa+size), for exits, launch code
 * and firmware (system/gmem.c).  Splits over blocks, MMIO and holes: those may be asked to be shared (they
 * are), never private.  -EINVAL, -EAGAIN, -EINTR as above; -EIO is folded into -EINVAL.  @kicked may be NULL.
 */
int gmem_convert(uint64_t gpa, uint64_t size, bool to_private,
                 bool (*kicked)(void *opaque), void *opaque);

#endif
