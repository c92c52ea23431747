/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Steps on a guest_memfd as a file and as memory, without KVM.
 */
#ifndef ABI_FILECALLS_H
#define ABI_FILECALLS_H

#include "cases.h"

/* Do a step; an errno. */
int file_step(struct world *w, const struct step *s);

#endif
