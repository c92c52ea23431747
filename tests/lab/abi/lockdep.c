/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "lockdep.h"
#include <stdio.h>

enum verdict check_lockdep(const void *arg)
{
    FILE *file = fopen("/proc/lockdep_stats", "re");
    char line[256];
    int on;

    (void)arg;
    if (!file) {
        skip("this kernel has no lockdep");
    }
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, " debug_locks: %d", &on) == 1) {
            return on ? PASSED : FAILED;
        }
    }
    fail("/proc/lockdep_stats does not say whether it is on");
}
