/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The other CPUs: started by INIT and SIPI to all but self, so that their
 * APIC ids need not be known; each draws a ticket that becomes its index.
 * Between jobs they halt, which leaves the host's processors to those at work.
 */
#include "cpu.h"
#include "memory.h"
#include "platform.h"

#define APIC            0xfee00000UL
#define APIC_SPURIOUS   0x0f0
#define APIC_ON         0x100
#define APIC_ICR        0x300
#define ICR_ALL_BUT_SELF 0xc4000
#define ICR_INIT        0x500
#define ICR_SIPI        0x600

/* Long enough for nested emulation; a machine that has not managed is stuck. */
#define START_TRIES     400
#define START_SPINS     200000

struct job {
    void (*fn)(void *);
    void *arg;
    uint32_t pending;       /* set by the boot CPU, cleared when done */
    int fault;
};

extern const char ap_trampoline[], ap_trampoline_end[];
extern uint32_t cpu_tickets;
void cpu_main(unsigned index, uint64_t start_info);

static struct job jobs[MAX_CPUS];
static uint32_t arrived = 1;
static unsigned used = 1, wanted;

static void apic_write(unsigned reg, uint32_t v)
{
    *(volatile uint32_t *)(APIC + reg) = v;
}

static void apic_ipi(uint32_t command)
{
    while (*(volatile uint32_t *)(APIC + APIC_ICR) & 0x1000) {
        pause();
    }
    apic_write(APIC_ICR, command | ICR_ALL_BUT_SELF);
}

static _Noreturn void ap_loop(unsigned index)
{
    struct job *j = &jobs[index];

    for (;;) {
        if (!__atomic_load_n(&j->pending, __ATOMIC_ACQUIRE)) {
            /* sti takes effect after hlt began: a wake-up cannot be lost. */
            asm volatile("sti; hlt; cli" : : : "memory");
            continue;
        }
        j->fault = cpu_guard(j->fn, j->arg);
        __atomic_store_n(&j->pending, 0, __ATOMIC_RELEASE);
    }
}

void cpu_main(unsigned index, uint64_t start_info)
{
    cpu_init(index);
    if (!index) {
        guest_main((void *)start_info);
    }
    apic_write(APIC_SPURIOUS, APIC_ON | VECTOR_SPURIOUS);
    __atomic_add_fetch(&arrived, 1, __ATOMIC_RELEASE);
    if (index < wanted) {
        ap_loop(index);
    }
    for (;;) {
        asm volatile("cli; hlt");
    }
}

void smp_init(unsigned want)
{
    unsigned present = MIN(fwcfg_cpus(), MAX_CPUS);

    wanted = want ? MIN(want, present) : present;
    memcpy((void *)(uintptr_t)AP_PAGE, ap_trampoline,
           ap_trampoline_end - ap_trampoline);
    apic_write(APIC_SPURIOUS, APIC_ON | VECTOR_SPURIOUS);
    if (wanted > 1) {
        apic_ipi(ICR_INIT);
    }
    for (unsigned t = 0; wanted > 1 && t < START_TRIES; t++) {
        apic_ipi(ICR_SIPI | AP_PAGE >> 12);
        for (unsigned i = 0; i < START_SPINS; i++) {
            if (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) == present) {
                t = START_TRIES;
                break;
            }
            pause();
        }
    }
    if (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) == present) {
        used = wanted;
    }
    check(used == wanted && (!want || want == wanted), "boot/cpus",
          "expected=%u got=%u present=%u", want ? want : wanted, used,
          present);
}

unsigned cpu_count(void)
{
    return used;
}

unsigned on_all_cpus(void (*fn)(void *), void *arg)
{
    unsigned faults;

    for (unsigned i = 1; i < used; i++) {
        jobs[i].fn = fn;
        jobs[i].arg = arg;
        __atomic_store_n(&jobs[i].pending, 1, __ATOMIC_RELEASE);
    }
    if (used > 1) {
        apic_ipi(VECTOR_WAKE);
    }
    faults = cpu_guard(fn, arg) != 0;
    for (unsigned i = 1; i < used; i++) {
        while (__atomic_load_n(&jobs[i].pending, __ATOMIC_ACQUIRE)) {
            pause();
        }
        faults += jobs[i].fault != 0;
    }
    return faults;
}
