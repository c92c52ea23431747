/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A way out of an instruction that never completes, by the boot CPU's APIC
 * timer. One tick proves nothing, as the whole machine may have been stopped
 * for a while; several at the same address do.
 */
#include "cpu.h"

#define APIC            0xfee00000UL
#define APIC_EOI        0x0b0
#define APIC_TIMER      0x320
#define APIC_INITIAL    0x380
#define APIC_DIVIDE     0x3e0
#define TIMER_PERIODIC  0x20000
#define TIMER_MASKED    0x10000
#define DIVIDE_BY_128   0xa

/* QEMU and KVM both clock the APIC at 1 GHz. */
#define TICK            (3UL * 1000000000 / 128)
#define TICKS           4

static uint64_t last_rip;
static unsigned ticks;

static void apic_write(unsigned reg, uint32_t v)
{
    *(volatile uint32_t *)(APIC + reg) = v;
}

void watchdog_start(void)
{
    /* Only the timer may interrupt: the firmware's PIC set-up must not. */
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    ticks = 0;
    last_rip = 0;
    apic_write(APIC_DIVIDE, DIVIDE_BY_128);
    apic_write(APIC_TIMER, TIMER_PERIODIC | VECTOR_WATCHDOG);
    apic_write(APIC_INITIAL, TICK);
    asm volatile("sti" : : : "memory");
}

void watchdog_stop(void)
{
    asm volatile("cli" : : : "memory");
    apic_write(APIC_INITIAL, 0);
    apic_write(APIC_TIMER, TIMER_MASKED | VECTOR_WATCHDOG);
}

bool watchdog_expired(uint64_t rip)
{
    apic_write(APIC_EOI, 0);
    ticks = rip == last_rip ? ticks + 1 : 1;
    last_rip = rip;
    return ticks >= TICKS;
}
