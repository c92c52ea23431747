/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The two facts we want from fw_cfg's I/O ports: how many CPUs there are and
 * where the machine's RAM is. And its DMA, the simplest of any device.
 */
#include "cpu.h"
#include "platform.h"

#define FW_SELECT   0x510
#define FW_DATA     0x511
#define FW_DMA      0x514       /* address, big-endian, high half first */
#define KEY_SIGNATURE 0x00
#define KEY_ID      0x01
#define ID_DMA      0x02
#define DMA_READ    0x02
#define DMA_SELECT  0x08
#define KEY_CPUS    0x05
#define KEY_DIR     0x19
#define E820_RAM    1

static void fw_select(uint16_t key)
{
    outw(FW_SELECT, key);
}

static void fw_read(void *to, size_t n)
{
    uint8_t *p = to;

    while (n--) {
        *p++ = inb(FW_DATA);
    }
}

static bool fw_present(void)
{
    char sig[5] = "";

    fw_select(KEY_SIGNATURE);
    fw_read(sig, 4);
    return !strcmp(sig, "QEMU");
}

unsigned fwcfg_cpus(void)
{
    uint16_t n = 0;

    if (fw_present()) {
        fw_select(KEY_CPUS);
        fw_read(&n, sizeof(n));
    }
    return n ? n : 1;
}

/* Select the file @name; returns its size, 0 if there is none. */
static uint32_t fw_open(const char *name)
{
    struct {
        uint32_t size;
        uint16_t key, reserved;
        char name[56];
    } file;
    uint32_t count;

    fw_select(KEY_DIR);
    fw_read(&count, sizeof(count));
    for (count = __builtin_bswap32(count); count; count--) {
        fw_read(&file, sizeof(file));
        file.name[sizeof(file.name) - 1] = 0;
        if (!strcmp(file.name, name)) {
            fw_select(__builtin_bswap16(file.key));
            return __builtin_bswap32(file.size);
        }
    }
    return 0;
}

unsigned fwcfg_ram(struct extent *ram, unsigned max)
{
    struct {
        uint64_t start, size;
        uint32_t type;
    } __attribute__((packed)) e;
    unsigned n = 0;
    uint32_t size = fw_present() ? fw_open("etc/e820") : 0;

    for (; size >= sizeof(e) && n < max; size -= sizeof(e)) {
        fw_read(&e, sizeof(e));
        if (e.type == E820_RAM && e.size) {
            ram[n++] = (struct extent) { e.start, e.start + e.size };
        }
    }
    return n;
}

bool fwcfg_has_dma(void)
{
    uint32_t id = 0;

    if (fw_present()) {
        fw_select(KEY_ID);
        fw_read(&id, sizeof(id));
    }
    return id & ID_DMA;
}

void fwcfg_dma_start(uint64_t gpa)
{
    asm volatile("" ::: "memory");
    outl(FW_DMA, __builtin_bswap32(gpa >> 32));
    outl(FW_DMA + 4, __builtin_bswap32(gpa));
    asm volatile("" ::: "memory");
}

uint32_t fwcfg_dma(struct fwcfg_dma *block, uint64_t gpa, uint32_t size)
{
    block->control = __builtin_bswap32(KEY_SIGNATURE << 16 | DMA_SELECT |
                                       DMA_READ);
    block->size = __builtin_bswap32(size);
    block->address = __builtin_bswap64(gpa);
    fwcfg_dma_start((uint64_t)block);
    return __builtin_bswap32(*(volatile uint32_t *)&block->control);
}
