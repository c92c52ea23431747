/*
 * gmem: what is told when a touch of guest memory was or would be refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Commands that read guest memory look through the range first, so that
 * they can name the page that is in the way; nothing has been written by then.  It is
 * courtesy: a guest that runs may convert pages between the look and the read,
 * which is then refused by itself (gmem-touch.c).
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h"
#include "hw/core/cpu.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qemu/rcu.h"
#include "system/address-spaces.h"
#include "system/dma.h"
#include "system/gmem-touch-hooks.h"
#include "system/hw_accel.h"
#include "system/memory.h"

#define PAGE_BYTES 4096

/* A page that may not be touched */
typedef struct GmemDenied {
    GmemBlock *block;           /* referenced */
    uint64_t offset;
    hwaddr gpa;
} GmemDenied;

/* The first such page of [addr, addr+size) in @as */
static bool find_denied(AddressSpace *as, hwaddr addr, uint64_t size,
                        GmemDenied *denied)
{
    hwaddr xlat, part;

    RCU_READ_LOCK_GUARD();
    for (; size; addr += part, size -= part) {
        MemoryRegion *mr;
        GmemBlock *block;
        uint64_t offset;

        part = size;
        mr = address_space_translate(as, addr, &xlat, &part, false,
                                     MEMTXATTRS_UNSPECIFIED);
        block = gmem_touch_block(mr);
        offset = block ? gmem_touch_first_denied(block, xlat, xlat + part) : 0;
        if (block && offset < xlat + part) {
            gmem_block_ref(block);
            *denied = (GmemDenied) { block, offset, addr + (offset - xlat) };
            return true;
        }
    }
    return false;
}

/* The same for what @cpu sees at @addr; what it does not see is not denied */
static bool find_denied_virtual(CPUState *cpu, vaddr addr, uint64_t size,
                                GmemDenied *denied)
{
    uint64_t part;

    cpu_synchronize_state(cpu);
    for (; size; addr += part, size -= part) {
        uint64_t in_page = addr % PAGE_BYTES;
        MemTxAttrs attrs = MEMTXATTRS_UNSPECIFIED;
        hwaddr gpa = cpu_get_phys_page_attrs_debug(cpu, addr - in_page, &attrs);
        AddressSpace *as;

        part = MIN(size, PAGE_BYTES - in_page);
        if (gpa == -1) {
            return false;
        }
        as = cpu_get_address_space(cpu, cpu_asidx_from_attrs(cpu, attrs));
        if (find_denied(as, gpa + in_page, part, denied)) {
            return true;
        }
    }
    return false;
}

static void denied_error(const GmemDenied *denied, const char *who,
                         Error **errp)
{
    error_setg(errp, "%s cannot read guest address 0x%" PRIx64
               ": the page at offset 0x%" PRIx64 " of gmem block '%s' is "
               "private, and only the guest reaches it", who, denied->gpa,
               QEMU_ALIGN_DOWN(denied->offset, PAGE_BYTES),
               gmem_block_id(denied->block));
    error_append_hint(errp, "query-gmem-map lists what is shared\n");
}

/* The command ends here: count it, raise the event, and set the error */
static void refuse(GmemDenied *denied, const char *who, Error **errp)
{
    GmemAccess access;

    if (gmem_access_begin(&access, denied->block, denied->offset, 1, who)) {
        gmem_access_end(&access);
    }
    denied_error(denied, who, errp);
    gmem_block_unref(denied->block);
}

bool gmem_touch_check_physical(hwaddr addr, uint64_t size, const char *who,
                               Error **errp)
{
    GmemDenied denied;

    if (!qatomic_read(&gmem_touch_armed) ||
        !find_denied(&address_space_memory, addr, size, &denied)) {
        return true;
    }
    refuse(&denied, who, errp);
    return false;
}

bool gmem_touch_check_virtual(CPUState *cpu, vaddr addr, uint64_t size,
                              const char *who, Error **errp)
{
    GmemDenied denied;

    if (!qatomic_read(&gmem_touch_armed) ||
        !find_denied_virtual(cpu, addr, size, &denied)) {
        return true;
    }
    refuse(&denied, who, errp);
    return false;
}

void gmem_touch_explain(Monitor *mon, CPUState *cpu, hwaddr addr,
                        uint64_t size, bool is_physical)
{
    GmemDenied denied;
    Error *err = NULL;
    bool found = false;

    if (qatomic_read(&gmem_touch_armed)) {
        found = is_physical ?
            find_denied(cpu ? cpu->as : &address_space_memory, addr, size,
                        &denied) :
            find_denied_virtual(cpu, addr, size, &denied);
    }
    if (found) {
        denied_error(&denied, is_physical ? "xp" : "x", &err);
        monitor_printf(mon, "%s\n", error_get_pretty(err));
        error_free(err);
        gmem_block_unref(denied.block);
    }
}

int gmem_touch_dma_result(const QEMUSGList *sg, int index, uint64_t byte)
{
    GmemDenied denied;

    if (!qatomic_read(&gmem_touch_armed) || index >= sg->nsg ||
        !find_denied(sg->as, sg->sg[index].base + byte, 1, &denied)) {
        return 0;
    }
    gmem_block_unref(denied.block);
    return -EFAULT;
}
