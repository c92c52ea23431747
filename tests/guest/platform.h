/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The PC around the processor: fw_cfg, the host bridge's PAM registers, the
 * clock and the off switch, and the ACPI memory hot-plug ports.
 */
#ifndef GUEST_PLATFORM_H
#define GUEST_PLATFORM_H

#include "lib.h"

/* The guest's entry in C (main.c); @start_info as the PVH protocol has it. */
_Noreturn void guest_main(const void *start_info);

/* Values for isa-debug-exit; QEMU then exits with (value << 1) | 1. */
enum end {
    END_PASS = 0x10,
    END_FAIL = 0x11,
    END_SKIP = 0x12,
    END_USAGE = 0x13,
};
/* Debug exit, then ACPI power-off, then halt: whichever works first. */
_Noreturn void machine_end(enum end how);

/*
 * Busy-wait on the ACPI timer; returns at once where there is none. Any CPU, once the
 * boot CPU has asked for the first time.
 */
void delay_ms(unsigned ms);

/* Configuration space of bus 0, for one CPU at a time. */
uint32_t pci_read32(unsigned devfn, unsigned reg);
uint8_t pci_read8(unsigned devfn, unsigned reg);
void pci_write32(unsigned devfn, unsigned reg, uint32_t v);

/* CPUs that the machine has, 1 if there is no fw_cfg. */
unsigned fwcfg_cpus(void);
/*
 * Read up to @max entries of RAM from the machine's own memory map, which,
 * unlike the firmware's, has no pieces cut out. Returns how many; 0 if none.
 */
struct extent {
    uint64_t start, end;
};
unsigned fwcfg_ram(struct extent *ram, unsigned max);
/* fw_cfg's DMA, for a device that writes to guest memory at our command. */
#define FWCFG_DMA_ERROR 1u
struct fwcfg_dma {
    uint32_t control, size;     /* all big-endian */
    uint64_t address;
};
bool fwcfg_has_dma(void);
/* Make the device look at the control block at @gpa; it is done on return. */
void fwcfg_dma_start(uint64_t gpa);
/* Have @size bytes of fw_cfg's signature written to @gpa; returns control. */
uint32_t fwcfg_dma(struct fwcfg_dma *block, uint64_t gpa, uint32_t size);

/* PAM segments, from 0xc0000 up: 12 of 16 KiB, then one of 64 KiB. */
enum pam { PAM_OFF = 0, PAM_READ = 1, PAM_WRITE = 2, PAM_RW = 3 };
#define PAM_BASE 0xc0000UL
#define PAM_END  0x100000UL
bool pam_present(void);
enum pam pam_get(uint64_t gpa);
void pam_set(uint64_t gpa, enum pam how);

/* Memory hot-plug slots; false when the slot does not exist. */
struct dimm {
    uint64_t gpa, size;
    bool enabled, inserting, removing;
};
bool dimm_get(unsigned slot, struct dimm *d);
void dimm_ack_insert(unsigned slot);
/* Let the host take the DIMM away, as the guest's ACPI _EJ0 would. */
void dimm_eject(unsigned slot);

#endif
