/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * PCI configuration, PAM, power management and memory hot-plug. The host
 * bridge's device id decides between q35 and i440fx; anything else has no PAM
 * and no off switch, and the tests that need them skip.
 */
#include "cpu.h"
#include "platform.h"

#define ID_Q35      0x29c08086
#define ID_I440FX   0x12378086
#define ICH9_LPC    (31 << 3)
#define PIIX4_PM    ((1 << 3) | 3)

#define PM_CONTROL  4
#define PM_TIMER    8
#define PM_HZ_MS    3580
#define SLEEP_S5    0x2000      /* SLP_EN with the type QEMU gives S5 */

#define MHP         0xa00

static uint32_t pci_address(unsigned devfn, unsigned reg)
{
    return 0x80000000 | devfn << 8 | (reg & 0xfc);
}

uint32_t pci_read32(unsigned devfn, unsigned reg)
{
    outl(0xcf8, pci_address(devfn, reg));
    return inl(0xcfc);
}

uint8_t pci_read8(unsigned devfn, unsigned reg)
{
    outl(0xcf8, pci_address(devfn, reg));
    return inb(0xcfc + (reg & 3));
}

void pci_write32(unsigned devfn, unsigned reg, uint32_t v)
{
    outl(0xcf8, pci_address(devfn, reg));
    outl(0xcfc, v);
}

static void pci_write8(unsigned devfn, unsigned reg, uint8_t v)
{
    outl(0xcf8, pci_address(devfn, reg));
    outb(0xcfc + (reg & 3), v);
}

static unsigned pam_first(void)
{
    uint32_t id = pci_read32(0, 0);

    return id == ID_Q35 ? 0x90 : id == ID_I440FX ? 0x59 : 0;
}

bool pam_present(void)
{
    return pam_first() != 0;
}

/* Register and bit position of @gpa's segment. */
static unsigned pam_reg(uint64_t gpa, unsigned *shift)
{
    unsigned segment = (gpa - PAM_BASE) / (16 * KiB);

    if (segment >= 12) {
        *shift = 4;
        return pam_first();
    }
    *shift = segment % 2 * 4;
    return pam_first() + 1 + segment / 2;
}

enum pam pam_get(uint64_t gpa)
{
    unsigned shift, reg = pam_reg(gpa, &shift);

    return pci_read8(0, reg) >> shift & 3;
}

void pam_set(uint64_t gpa, enum pam how)
{
    unsigned shift, reg = pam_reg(gpa, &shift);

    pci_write8(0, reg, (pci_read8(0, reg) & ~(3 << shift)) | how << shift);
}

static uint16_t pm_base(void)
{
    switch (pci_read32(0, 0)) {
    case ID_Q35:
        return pci_read32(ICH9_LPC, 0x40) & 0xff80;
    case ID_I440FX:
        return pci_read32(PIIX4_PM, 0x40) & 0xffc0;
    default:
        return 0;
    }
}

void delay_ms(unsigned ms)
{
    static uint16_t port;       /* several CPUs cannot ask the bus at once */
    uint32_t last;

    if (!port) {
        port = pm_base() + PM_TIMER;
    }
    if (port == PM_TIMER) {
        return;
    }
    last = inl(port);
    for (uint64_t left = (uint64_t)ms * PM_HZ_MS; left;) {
        uint32_t now = inl(port), gone = (now - last) & 0xffffff;

        last = now;
        left -= MIN(left, gone);
        pause();
    }
}

void machine_end(enum end how)
{
    outb(arg_u64("exit-port", 0xf4), how);
    if (pm_base()) {
        outw(pm_base() + PM_CONTROL, SLEEP_S5);
    }
    for (;;) {
        asm volatile("cli; hlt");
    }
}

bool dimm_get(unsigned slot, struct dimm *d)
{
    uint8_t flags;

    outl(MHP, slot);
    d->gpa = inl(MHP) | (uint64_t)inl(MHP + 4) << 32;
    d->size = inl(MHP + 8) | (uint64_t)inl(MHP + 12) << 32;
    flags = inb(MHP + 20);
    d->enabled = flags & 1;
    d->inserting = flags & 2;
    d->removing = flags & 4;
    /* Ports with nothing behind them read as ones, missing slots as zeros. */
    return flags != 0xff && d->size && d->size % PAGE == 0;
}

void dimm_ack_insert(unsigned slot)
{
    outl(MHP, slot);
    outb(MHP + 20, 2);
}

void dimm_eject(unsigned slot)
{
    outl(MHP, slot);
    outb(MHP + 20, 4);
    outb(MHP + 20, 8);
}
