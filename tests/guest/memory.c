/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The map of RAM and the page tables above 4 GiB.
 */
#include "memory.h"
#include "cpu.h"

#define PVH_MAGIC   0x336ec578
#define PD_POOL     16          /* GiB above 4 that 2 MiB pages can map */
#define PML4_SPAN   (512 * GiB)

struct start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modules, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
};

struct memmap_entry {
    uint64_t start, size;
    uint32_t type, reserved;
};

struct extent ram[MAX_RAM];
unsigned nr_ram;

extern uint64_t boot_pdpt[512];
static uint64_t pd_pool[PD_POOL][512] __attribute__((aligned(4096)));
static uint64_t mapped_end = GIB4;

static unsigned pvh_ram(const struct start_info *si, struct extent *out)
{
    const struct memmap_entry *e;
    unsigned n = 0;

    if (si->magic != PVH_MAGIC || si->version < 1) {
        return 0;
    }
    e = (const void *)si->memmap;
    for (unsigned i = 0; i < si->memmap_entries && n < MAX_RAM; i++) {
        if (e[i].type == 1 && e[i].size >= PAGE) {
            out[n++] = (struct extent) { e[i].start, e[i].start + e[i].size };
        }
    }
    return n;
}

/* Sort and merge; there are a handful of entries. */
static void tidy(void)
{
    unsigned n = 0;

    for (unsigned i = 1; i < nr_ram; i++) {
        for (unsigned j = i; j && ram[j].start < ram[j - 1].start; j--) {
            struct extent t = ram[j];

            ram[j] = ram[j - 1];
            ram[j - 1] = t;
        }
    }
    for (unsigned i = 1; i < nr_ram; i++) {
        if (ram[i].start <= ram[n].end) {
            ram[n].end = MAX(ram[n].end, ram[i].end);
        } else {
            ram[++n] = ram[i];
        }
    }
    nr_ram = nr_ram ? n + 1 : 0;
}

static void map_high(void)
{
    uint32_t r[4];
    bool huge;

    cpuid(0x80000001, r);
    huge = r[3] & 1 << 26;
    for (unsigned i = 4; i < 512 && (huge || i < 4 + PD_POOL); i++) {
        if (huge) {
            boot_pdpt[i] = i * GiB | PTE_LARGE;
        } else {
            for (unsigned j = 0; j < 512; j++) {
                pd_pool[i - 4][j] = i * GiB | j * 2 * MiB | PTE_LARGE;
            }
            boot_pdpt[i] = (uintptr_t)pd_pool[i - 4] | PTE_RW;
        }
        mapped_end = (i + 1) * GiB;
    }
}

void memory_init(const void *start_info)
{
    const struct start_info *si = start_info;
    const char *from = "fw_cfg";

    args_init(si->magic == PVH_MAGIC ? (const char *)si->cmdline : NULL);
    nr_ram = fwcfg_ram(ram, MAX_RAM);
    if (!nr_ram) {
        nr_ram = pvh_ram(si, ram);
        from = "pvh";
    }
    tidy();
    map_high();
    for (unsigned i = 0; i < nr_ram; i++) {
        say("# RAM 0x%lx-0x%lx (%s)", ram[i].start, ram[i].end, from);
    }
    shadow_init();
}

uint64_t low_end(void)
{
    uint64_t hole[1], end = 0;

    if (arg_list("hole", hole, 1)) {
        return hole[0];
    }
    for (unsigned i = 0; i < nr_ram; i++) {
        if (ram[i].start < GIB4) {
            end = MAX(end, ram[i].end);
        }
    }
    return end;
}

uint64_t high_end(void)
{
    uint64_t end = GIB4;

    for (unsigned i = 0; i < nr_ram; i++) {
        if (ram[i].start >= GIB4) {
            end = MAX(end, ram[i].end);
        }
    }
    return end;
}

bool is_ram(uint64_t gpa)
{
    /* Physical RAM under these is hidden by VGA and the PAM registers. */
    if (gpa >= VGA_WINDOW && gpa < PAM_END) {
        return false;
    }
    for (unsigned i = 0; i < nr_ram; i++) {
        if (gpa >= ram[i].start && gpa < ram[i].end) {
            return true;
        }
    }
    return false;
}

/* Text mode, where the firmware left any VGA, has nothing at 0xa0000. */
bool reads_back(uint64_t gpa)
{
    volatile uint64_t *p = (void *)gpa;
    uint64_t old = *p;
    bool same;

    *p = ~old;
    same = *p == ~old;
    *p = old;
    return same;
}

bool is_mapped(uint64_t gpa, uint64_t size)
{
    return gpa < mapped_end && size <= mapped_end - gpa;
}

struct extent area(uint64_t size)
{
    uint64_t base = arg_u64("base", 16 * MiB) & -PAGE, end = 0;

    size = arg_u64("size", size) & -PAGE;
    for (unsigned i = 0; i < nr_ram; i++) {
        if (base >= ram[i].start && base < ram[i].end) {
            end = ram[i].end;
        }
    }
    if (base < CONVERTIBLE || base >= end) {
        return (struct extent) { base, base };
    }
    return (struct extent) { base, base + MIN(size, end - base) };
}
