/*
 * What several unit tests need: a kernel that always agrees, and a look at open files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GMEM_FAKE_H
#define TESTS_GMEM_FAKE_H

#include "system/gmem.h"

static inline int gmem_fake_set_state(GmemBlock *block, uint64_t offset,
                                      uint64_t size, GmemPageState to,
                                      uint64_t *busy)
{
    return 0;
}

static const GmemProviderOps gmem_fake_ops = {
    .name = "fake",
    .set_state = gmem_fake_set_state,
};

/* How many files this process has open; one of them is the look itself */
static inline unsigned int gmem_open_files(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned int files = 0;

    while (g_dir_read_name(dir)) {
        files++;
    }
    return files;
}

#endif
