/*
 * What the base's utilities want of the rest of QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Locking goes through function pointers that the base's lock profiler owns; here
 * they point at the plain functions.  There is no BQL.
 */

#include "qemu/osdep.h"
#include "qemu/thread.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"

#define PLAIN(type, function) type function##_func = function##_impl

PLAIN(QemuCondTimedWaitFunc, qemu_cond_timedwait);
PLAIN(QemuCondWaitFunc, qemu_cond_wait);
PLAIN(QemuMutexLockFunc, qemu_mutex_lock);

bool mutex_is_bql(QemuMutex *mutex)
{
    return false;
}

void bql_update_status(bool locked)
{
}

/* The base's allocation helpers live in a file that needs much more */
void *qemu_memalign(size_t alignment, size_t size)
{
    void *ptr = NULL;

    if (posix_memalign(&ptr, MAX(alignment, sizeof(void *)), size)) {
        g_error("out of memory");
    }
    return ptr;
}

void qemu_vfree(void *ptr)
{
    free(ptr);
}
