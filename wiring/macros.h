/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Macros that Coccinelle must know to parse the base's functions, beside the base's
 * own list. Without them a function is skipped without a word; the hit counts would
 * notice, but a rule could not be written at all.
 */
#define g_autofree
#define g_autoptr(type) type *
#define g_auto(type) type
#define WITH_RCU_READ_LOCK_GUARD() if (1)
#define WITH_QEMU_LOCK_GUARD(lock) if (1)
#define RCU_READ_LOCK_GUARD()
#define QEMU_LOCK_GUARD(lock)
#define QEMU_UNINITIALIZED
#define G_GNUC_PRINTF(format, first)
