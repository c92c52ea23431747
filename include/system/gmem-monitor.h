/*
 * gmem in the monitor: what the rest of QEMU can ask of gmem-convert
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Conversions of the monitor run in threads of their own.  Whoever is
 * about to give memory another state behind the monitor's back, as a reset does,
 * ends them first: one that was only delayed would undo that later.
 *
 *     gmem_qmp_cancel_all();      with the BQL
 *     bql_unlock();
 *     gmem_qmp_wait_all();
 *     ...                         no conversion of the monitor runs here
 *     bql_lock();
 *
 * And holders say here what QMP should hear of them.
 */

#ifndef SYSTEM_GMEM_MONITOR_H
#define SYSTEM_GMEM_MONITOR_H

/* Ask all running conversions to end soon, without waiting.  Main thread, BQL held */
void gmem_qmp_cancel_all(void);
/*
 * Wait until none calls the engine any more.  Main thread, which so begins none
 * meanwhile; without the BQL, which a holder may need to let go of memory.  Takes
 * as long as the step of a conversion does that cannot be cancelled.
 */
void gmem_qmp_wait_all(void);

/*
 * ---- events of holders (system/gmem-events.c) ----
 * At most one in a second for each device, which tells about the last; any thread.  @device
 * is a path in the QOM tree, @id a block; both are copied.
 */

/* A conversion has stopped a queue because of bytes of it in a block */
void gmem_event_queue_stopped(const char *device, int queue, const char *id,
                              uint64_t offset, uint64_t size);
/* vhost met an error in a queue */
void gmem_event_vhost_error(const char *device, int queue);

#endif
