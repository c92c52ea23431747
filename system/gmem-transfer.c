/*
 * gmem: transfers of disks that end because of the guest's memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in system/gmem-transfer.h.  In a VM without private memory, EFAULT would be
 * an error of the host, and is left to the disk's policy.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/gmem-touch.h"
#include "system/gmem-transfer.h"

static bool is_made_by_guest(int error)
{
    return error == ECANCELED ||
           (error == EFAULT && qatomic_read(&gmem_touch_armed));
}

BlockErrorAction gmem_transfer_error_action(BlockBackend *blk, bool is_read,
                                            int error)
{
    return is_made_by_guest(error) ?
        BLOCK_ERROR_ACTION_REPORT : blk_get_error_action(blk, is_read, error);
}

void gmem_transfer_report(Error *err, int ret)
{
    if (is_made_by_guest(-ret)) {
        error_free(err);
    } else {
        error_report_err(err);
    }
}
