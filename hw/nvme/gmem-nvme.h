/*
 * gmem: requests of an NVMe queue that wait for memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Before a queue is freed its namespaces are drained.  That does not see
 * a request whose memory cannot be mapped, because nothing of it is in flight; left alone,
 * it would go on in freed memory.
 */

#ifndef HW_NVME_GMEM_NVME_H
#define HW_NVME_GMEM_NVME_H

#include "system/block-backend.h"
#include "hw/nvme/nvme.h"

/* A request that has a transfer.  One that waits for an event has none */
static inline NvmeRequest *gmem_nvme_waiting(NvmeSQueue *sq)
{
    NvmeRequest *req;

    QTAILQ_FOREACH(req, &sq->out_req_list, entry) {
        if (req->aiocb) {
            return req;
        }
    }
    return NULL;
}

/* Complete what @sq, which is about to be freed, still has.  Main thread, BQL held */
static inline void gmem_nvme_cancel_waiting(NvmeSQueue *sq)
{
    NvmeRequest *req;

    while ((req = gmem_nvme_waiting(sq))) {
        blk_aio_cancel(req->aiocb);
    }
}

#endif
