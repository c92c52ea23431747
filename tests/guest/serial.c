/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * COM1. Every port access is an exit of the VM, so the line status is asked
 * once for as many bytes as the transmit FIFO holds.
 */
#include "cpu.h"

#define COM1        0x3f8
#define FIFO_DEPTH  16
#define LSR_READY   0x01
#define LSR_EMPTY   0x20

static Lock print_lock;

void serial_init(void)
{
    outb(COM1 + 1, 0);          /* no interrupts */
    outb(COM1 + 3, 0x80);       /* divisor 1: 115200 */
    outb(COM1 + 0, 1);
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 0x03);       /* 8n1 */
    outb(COM1 + 2, 0x07);       /* FIFO on and empty */
    outb(COM1 + 4, 0x03);
}

static void send(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i % FIFO_DEPTH == 0) {
            while (!(inb(COM1 + 5) & LSR_EMPTY)) {
                pause();
            }
        }
        outb(COM1, s[i]);
    }
}

static void say_args(const char *prefix, const char *fmt, va_list ap)
{
    char line[320];
    size_t n = format(line, sizeof(line) - 1, "%s", prefix);

    n += vformat(line + n, sizeof(line) - 1 - n, fmt, ap);
    line[n++] = '\n';
    lock(&print_lock);
    send(line, n);
    unlock(&print_lock);
}

void say(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say_args("", fmt, ap);
    va_end(ap);
}

static void wait_byte(void)
{
    while (!(inb(COM1 + 5) & LSR_READY)) {
        pause();
    }
    inb(COM1);
}

void mark(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say_args("MARK ", fmt, ap);
    va_end(ap);
    if (arg_u64("step", 0)) {
        va_start(ap, fmt);
        say_args("WAIT ", fmt, ap);
        va_end(ap);
        wait_byte();
    }
}

void mark_and_wait(const char *name)
{
    say("MARK %s", name);
    say("WAIT %s", name);
    wait_byte();
}
