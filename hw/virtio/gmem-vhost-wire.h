/*
 * gmem: a few messages to vhost-user back ends, with a time limit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  The base sends a message and waits for its answer as long as it
 * takes.  What a conversion needs must not: the answer has to come by a
 * deadline, and nothing is printed when it does not.  After an error the
 * connection is of no use any more, because an answer that comes late would be
 * taken for another's.
 *
 * Formats and numbers are those of the vhost-user protocol.
 */

#ifndef HW_VIRTIO_GMEM_VHOST_WIRE_H
#define HW_VIRTIO_GMEM_VHOST_WIRE_H

#include "chardev/char-fe.h"

typedef struct GmemVhostWire {
    CharFrontend *chr;
    int64_t deadline_ms;        /* QEMU_CLOCK_REALTIME */
} GmemVhostWire;

/* A region of memory, as ADD_MEM_REG and REM_MEM_REG name it */
typedef struct GmemVhostRegion {
    uint64_t gpa;
    uint64_t size;
    uint64_t host;
    uint64_t offset;            /* in the file */
} GmemVhostRegion;

typedef struct GmemVhostAddresses {
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
} GmemVhostAddresses;

/*
 * All of these: BQL held; 0 or -errno.  With the back end's acknowledgement,
 * unless they say otherwise; it needs to have CONFIGURE_MEM_SLOTS and
 * REPLY_ACK.
 */
int gmem_vhost_wire_add(GmemVhostWire *wire, const GmemVhostRegion *region,
                        int fd);
int gmem_vhost_wire_remove(GmemVhostWire *wire, const GmemVhostRegion *region);
/* @fd -1: none */
int gmem_vhost_wire_call(GmemVhostWire *wire, unsigned int ring, int fd);
/*
 * Stop a ring, which goes on telling of completions by @fd: there are back ends
 * that fail when they end a request and have nobody to tell.  *taken: how far
 * it came.
 */
int gmem_vhost_wire_stop(GmemVhostWire *wire, unsigned int ring, int fd,
                         uint16_t *taken);
/* A ring that is stopped is said to lie elsewhere. */
int gmem_vhost_wire_address(GmemVhostWire *wire, unsigned int ring,
                            const GmemVhostAddresses *at);
/*
 * Start a ring from @taken on.  Without acknowledgement: gmem_vhost_wire_call()
 * comes next.
 */
int gmem_vhost_wire_start(GmemVhostWire *wire, unsigned int ring,
                          unsigned int size, uint16_t taken,
                          const GmemVhostAddresses *at, int kick);

/*
 * Wait until there is something to read, or the end of the connection; false:
 * not in time.
 */
bool gmem_vhost_wire_wait(GmemVhostWire *wire);

#endif
