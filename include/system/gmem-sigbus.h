/*
 * gmem: a touch of a private page does not end QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  The host mapping of an in-place block is its guest_memfd, so a touch of a
 * private page raises SIGBUS (BUS_ADRERR) in the thread that touches.  system/gmem-touch.c
 * refuses most touches before they happen; this is for those that happen all the same,
 * through a pointer that was kept, or in the moment in which the page goes.
 *
 * The handler puts a *sink* in the way: a page of zeros at the address that was touched.
 * Reads of the sink find zeros, and writes vanish with it; nobody sees it but QEMU, and who looks
 * through QEMU's mapping, as a memory slot does that is bound by host address.
 * The page's own mapping is *parked* at another address meanwhile, and so keeps all that
 * madvise() and mlock() said of it.  It comes back when the page becomes shared, when
 * there are too many sinks (the oldest goes first), or never, when the block goes.
 *
 * Whether a page is private is for the kernel to say, not the state map: the handler asks
 * it again before it puts a sink, and a conversion removes sinks between the kernel's
 * change and the map's.  So whoever sees a page shared in the map finds no sink there.
 *
 *     provider, to shared:   ioctl -> gmem_sigbus_restore() -> (map: shared)
 *
 * SIGBUS must be blocked in no thread that can touch guest memory: the kernel kills a
 * process whose touch fails in a thread that blocks it.  Threads of QEMU have it unblocked
 * (wiring/sigbus.cocci), the main thread from the first in-place block on.
 */

#ifndef SYSTEM_GMEM_SIGBUS_H
#define SYSTEM_GMEM_SIGBUS_H

#include "system/gmem.h"

#include <signal.h>

typedef struct RAMBlock RAMBlock;

/* ---- mappings and sinks (system/gmem-sigbus.c) ---- */

/*
 * [host, host+size) is the mapping of @block, whose pages the kernel keeps from QEMU while
 * they are private.  @host and @size are multiples of 4 KiB.  0 or -errno.  Any thread; takes
 * a reference.
 */
int gmem_sigbus_add(GmemBlock *block, void *host, size_t size);
/*
 * The mapping of @block is about to be unmapped, and nobody has a pointer into it any
 * more.  Does nothing if it was not added.  Any thread.
 */
void gmem_sigbus_remove(GmemBlock *block);

/*
 * For a provider: the kernel has made all pages of [host, host+size) shared, and the map does
 * not say so yet.  Takes the sinks away from there; one atomic load while there are
 * none anywhere.  0, or -errno when the mapping could not be put back, -ENOMEM mostly: then QEMU
 * would read zeros of a shared page, so the provider makes the pages private again.
 * Any thread, with the commit lock; -errno leaves nothing to be undone here.
 */
int gmem_sigbus_restore(const void *host, size_t size);

/*
 * The signal handler's part, for a SIGBUS that came of a touch of @addr.  True: touch it again.
 * False: no mapping of ours, or the sink could not be mapped.  Async-signal-safe;
 * keeps errno.
 */
bool gmem_sigbus_recover(const void *addr);

/* The touches of a block since its last report */
typedef struct GmemSigbusReport {
    GmemBlock *block;           /* referenced */
    uint64_t offset;            /* the last one's */
    uint64_t touches;
} GmemSigbusReport;

/*
 * A block that was touched, each in its turn.  False: none is left.  Any thread, not for the
 * handler
 */
bool gmem_sigbus_next_report(GmemSigbusReport *report);

/* ---- in QEMU (system/gmem-sigbus-hooks.c) ---- */

/* gmem_sigbus_add() for @rb, which has a block.  Main thread.  False with @errp set */
bool gmem_sigbus_watch(RAMBlock *rb, Error **errp);
/*
 * First thing in QEMU's handler of SIGBUS, in whatever thread.  True: all is done.  False:
 * it is for the rest of the handler, as if this were not here.
 */
bool gmem_sigbus(const siginfo_t *info);

#endif
