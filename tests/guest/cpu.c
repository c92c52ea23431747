/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Descriptor tables and exceptions. One GDT serves all CPUs; each has its own
 * TSS, and the task register is what tells a CPU who it is.
 */
#include "cpu.h"
#include "platform.h"

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, iomap;
} __attribute__((packed));

struct gate {
    uint16_t offset0, selector;
    uint8_t ist, type;
    uint16_t offset1;
    uint32_t offset2, reserved;
};

struct table_ptr {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static uint64_t gdt[SEL_TSS / 8 + 2 * MAX_CPUS];
static struct gate idt[256];
static struct tss tss[MAX_CPUS];
static uint8_t emergency_stack[MAX_CPUS][2048] __attribute__((aligned(16)));
static uint64_t recover[MAX_CPUS];      /* stack pointers of guarded() */
static bool quiet[MAX_CPUS];

extern const uint64_t vector_table[32];
extern const char wake_vector[], watchdog_vector[], spurious_vector[];
extern const char guarded_fault[];
int guarded(void (*fn)(void *), void *arg, uint64_t *slot);
void exception(struct frame *f);

unsigned cpu_index(void)
{
    uint16_t sel;

    asm volatile("str %0" : "=r"(sel));
    return (sel - SEL_TSS) / 16;
}

static void set_gate(unsigned vector, uint64_t to, unsigned ist)
{
    idt[vector] = (struct gate) {
        .offset0 = to, .selector = SEL_CODE64, .ist = ist, .type = 0x8e,
        .offset1 = to >> 16, .offset2 = to >> 32,
    };
}

static void fill_idt(void)
{
    for (unsigned i = 0; i < 32; i++) {
        /* NMI, double fault, machine check: the stack may be the problem. */
        set_gate(i, vector_table[i], i == 2 || i == 8 || i == 18);
    }
    set_gate(VECTOR_WAKE, (uintptr_t)wake_vector, 0);
    set_gate(VECTOR_WATCHDOG, (uintptr_t)watchdog_vector, 0);
    set_gate(VECTOR_SPURIOUS, (uintptr_t)spurious_vector, 0);
    gdt[SEL_CODE32 / 8] = 0x00cf9b000000ffff;
    gdt[SEL_DATA / 8] = 0x00cf93000000ffff;
    gdt[SEL_CODE64 / 8] = 0x00af9b000000ffff;
}

void cpu_init(unsigned index)
{
    uint64_t base = (uintptr_t)&tss[index], limit = sizeof(tss[0]) - 1;
    uint64_t *d = &gdt[SEL_TSS / 8 + 2 * index];
    struct table_ptr g = { sizeof(gdt) - 1, (uintptr_t)gdt };
    struct table_ptr i = { sizeof(idt) - 1, (uintptr_t)idt };

    if (!index) {
        fill_idt();
    }
    tss[index].ist[0] = (uintptr_t)emergency_stack[index + 1];
    tss[index].iomap = sizeof(tss[0]);
    d[0] = limit | (base & 0xffffff) << 16 | 0x89UL << 40 |
           (base >> 24 & 0xff) << 56;
    d[1] = base >> 32;
    asm volatile("lgdt %0; lidt %1; ltr %w2"
                 : : "m"(g), "m"(i), "r"(SEL_TSS + 16 * index) : "memory");
}

int cpu_guard(void (*fn)(void *), void *arg)
{
    return guarded(fn, arg, &recover[cpu_index()]);
}

void cpu_expect_fault(void)
{
    quiet[cpu_index()] = true;
}

void exception(struct frame *f)
{
    unsigned cpu = cpu_index();
    uint64_t cr2;

    if (f->vector == VECTOR_WATCHDOG) {
        if (!watchdog_expired(f->rip)) {
            return;
        }
        quiet[cpu] = true;
    }
    asm volatile("mov %%cr2, %0" : "=r"(cr2));
    if (!quiet[cpu]) {
        say("# EXCEPTION cpu=%u vector=%lu error=0x%lx rip=0x%lx cr2=0x%lx "
            "rsp=0x%lx", cpu, f->vector, f->error, f->rip, cr2, f->rsp);
    }
    quiet[cpu] = false;
    if (!recover[cpu]) {
        machine_end(END_FAIL);
    }
    f->rsp = recover[cpu];
    f->rip = (uintptr_t)guarded_fault;
    f->rax = f->vector + 1;
}
