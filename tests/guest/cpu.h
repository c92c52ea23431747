/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The processor: instructions C has no words for, descriptor tables,
 * exceptions, and the other CPUs. Interrupts stay off, but for the moment in
 * which an idle CPU waits for the next job.
 */
#ifndef GUEST_CPU_H
#define GUEST_CPU_H

#include "lib.h"
#include "layout.h"

static inline void outb(uint16_t port, uint8_t v)
{
    asm volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t v)
{
    asm volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t v)
{
    asm volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t v;

    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t v;

    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;

    asm volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

static inline void cpuid(uint32_t leaf, uint32_t r[4])
{
    asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
                 : "a"(leaf), "c"(0));
}

static inline void pause(void)
{
    asm volatile("pause" : : : "memory");
}

typedef struct {
    uint32_t held;
} Lock;

static inline void lock(Lock *l)
{
    while (__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE)) {
        pause();
    }
}

static inline void unlock(Lock *l)
{
    __atomic_store_n(&l->held, 0, __ATOMIC_RELEASE);
}

/* What vectors.S leaves on the stack. */
struct frame {
    uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* Load descriptor tables; once on each CPU, before anything may fault. */
void cpu_init(unsigned index);
/* Index of the CPU this runs on. */
unsigned cpu_index(void);
/*
 * Call @fn; an exception inside it is printed and ends the call. Returns 0 or
 * the vector + 1. May nest.
 */
int cpu_guard(void (*fn)(void *), void *arg);
/* Do not print the next exception of this CPU: it is the test's own. */
void cpu_expect_fault(void);

/*
 * Watch over code that may never end: after some ten seconds at one and the
 * same instruction it is left by an exception of VECTOR_WATCHDOG. Boot CPU
 * only, inside cpu_guard(); stopping is for the caller in either case.
 */
void watchdog_start(void);
void watchdog_stop(void);
/* For exception(): take one tick; has the code at @rip had its time? */
bool watchdog_expired(uint64_t rip);

/* Start the other CPUs, at most @want - 1 of them; the rest is parked. */
void smp_init(unsigned want);
/* CPUs in use, the boot CPU included. */
unsigned cpu_count(void);
/*
 * Run @fn(@arg) on every CPU at once and wait for all. Returns the number of
 * CPUs on which it ended with an exception. Boot CPU only.
 */
unsigned on_all_cpus(void (*fn)(void *), void *arg);

#endif
