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

#endif
