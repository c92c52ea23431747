/*
 * gmem: transfers of disks that end because of the guest's memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A transfer that names private memory ends with EFAULT.  One that the guest
 * ends itself, while it waits for memory that cannot be mapped yet, ends with
 * ECANCELED.  Neither says anything about the disk, and a guest has both as often as it
 * likes.  So the guest hears of the error, and nothing else happens: rerror= and werror=,
 * which could stop the VM, are for errors of the disk, and nothing is printed.
 */

#ifndef SYSTEM_GMEM_TRANSFER_H
#define SYSTEM_GMEM_TRANSFER_H

#include "system/block-backend.h"

/*
 * As blk_get_error_action(), for a transfer of guest memory that ended with @error, a
 * positive errno.  Any thread.
 */
BlockErrorAction gmem_transfer_error_action(BlockBackend *blk, bool is_read,
                                            int error);
/* Print @err, unless @ret (a negative errno) is the guest's own doing; frees it */
void gmem_transfer_report(Error *err, int ret);

#endif
