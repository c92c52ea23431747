/*
 * gmem in the monitor: what the parts of the QMP layer share
 *
 * Three layers.  gmem-qmp.c and gmem-qmp-convert.c answer commands from what
 * the engine knows and nothing else, so that they run under unit tests with a
 * fake provider.  gmem-qmp-host.c knows QEMU: RAMBlocks, QOM, the kind of VM.
 * gmem-events.c carries what the engine observes, on any thread, to the main
 * loop and limits its rate.
 *
 * All functions here are called by the main thread, with the BQL held, unless
 * their comment says otherwise.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_GMEM_QMP_H
#define SYSTEM_GMEM_QMP_H

#include "system/gmem-monitor.h"
#include "system/gmem.h"
#include "qapi/qapi-types-gmem.h"

#define GMEM_QMP_PAGE 4096

/* ---- gmem-qmp.c ---- */

/* Referenced block called @id; without one, NULL and an error that lists the ids */
GmemBlock *gmem_qmp_find(const char *id, Error **errp);
/* [offset, offset+size) is not empty, is page-aligned and lies in @block */
bool gmem_qmp_check_range(GmemBlock *block, uint64_t offset, uint64_t size,
                          Error **errp);
GmemState gmem_qmp_state(GmemPageState state);

/* ---- gmem-qmp-host.c ---- */

/* Fills in what the engine does not know: qom-path and allocated memory */
void gmem_qmp_host_info(GmemBlock *block, GmemBlockInfo *info);
/* Appends where in the guest's memory the block is, or nothing where it is not */
void gmem_qmp_host_places(GmemBlock *block, GString *text);
/* False with the reason when converting would destroy a guest's data */
bool gmem_qmp_host_may_convert(Error **errp);

/* ---- gmem-qmp-convert.c ---- */

/* Most conversions that run for the monitor at once */
#define GMEM_QMP_MAX_JOBS 8

/* Conversions that run now, oldest first */
GmemConversionInfoList *gmem_qmp_conversions(void);
/* Cancel all, and begin no conversion any more.  QEMU is about to end */
void gmem_qmp_shut_down(void);

/* ---- gmem-events.c ---- */

/* Become the engine's observer.  Once, at start. */
void gmem_events_init(void);

/* ---- gmem-stats.c ---- */

/* Register as a provider of query-stats.  Once, at start. */
void gmem_stats_init(void);

#endif
