/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whether the kernel's lockdep still watches.
 */
#ifndef ABI_LOCKDEP_H
#define ABI_LOCKDEP_H

#include "tap.h"

/*
 * A test: a lockdep that met its own limits is silent, which must not pass for
 * order. Skips on a kernel without.
 */
enum verdict check_lockdep(const void *unused);

#endif
