/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Touching memory that may be private: a SIGBUS becomes a return value. Each
 * thread may touch; no other use of SIGBUS is left to the process.
 */
#ifndef ABI_TOUCH_H
#define ABI_TOUCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Not errno values */
enum {
    TOUCH_SIGBUS = 1000,    /* SIGBUS, BUS_ADRERR, with the address touched */
    TOUCH_OTHER,            /* any other SIGBUS or address */
};

/* Read a byte, or write back the byte that is there. 0, or as above. */
int touch(volatile unsigned char *address, bool write);

/* Read or write a word. 0, or as above. */
int peek(const volatile uint32_t *address, uint32_t *value);
int poke(volatile uint32_t *address, uint32_t value);

/*
 * Copy a page from, or to, where a conversion may happen. 0, or as above; then
 * part of it may have been copied.
 */
int copy_page(void *to, const volatile void *from);
int fill_page(volatile void *to, const void *from);

const char *touch_name(int how);

#endif
