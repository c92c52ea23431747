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

/* The first byte of [offset, end) of @mr, if there is one; @gpa is where offset stands */
static bool find_denied_in(const MemoryRegion *mr, uint64_t offset,
                           uint64_t end, hwaddr gpa, GmemDenied *denied)
{
    GmemBlock *block = gmem_touch_block(mr);
    uint64_t at;

    if (!block) {
        return false;
    }
    at = gmem_touch_first_denied(block, offset, end);
    if (at == end) {
        return false;
    }
    gmem_block_ref(block);
    *denied = (GmemDenied) { block, at, gpa + (at - offset) };
    return true;
}

/* A walk over the memory map; [addr, last] is what has not been looked at */
typedef struct GmemLook {
    hwaddr addr;
    hwaddr last;
    GmemDenied *denied;
    bool found;
} GmemLook;

static bool look_at(Int128 start, Int128 len, const MemoryRegion *mr,
                    hwaddr offset, void *opaque)
{
    GmemLook *look = opaque;
    hwaddr first = int128_get64(start);
    hwaddr last = first + (int128_getlo(len) - 1);
    hwaddr from = MAX(first, look->addr);
    hwaddr to = MIN(last, look->last);

    if (from <= to) {
        offset += from - first;
        look->found = find_denied_in(mr, offset, offset + (to - from) + 1, from,
                                     look->denied);
    }
    return look->found || last >= look->last;
}

/*
 * The first such page of [addr, addr+size) in @as, an address space of CPUs: MMIO
 * and holes are passed over.
 */
static bool find_denied(AddressSpace *as, hwaddr addr, uint64_t size,
                        GmemDenied *denied)
{
    GmemLook look = {
        .addr = addr, .last = addr + MIN(size - 1, UINT64_MAX - addr),
        .denied = denied,
    };

    if (!size) {
        return false;
    }
    RCU_READ_LOCK_GUARD();
    flatview_for_each_range(address_space_to_flatview(as), look_at, &look);
    return look.found;
}

/* The same for the byte at @addr, as a device reaches it, through an IOMMU perhaps */
static bool find_denied_dma(AddressSpace *as, hwaddr addr, bool is_write,
                            GmemDenied *denied)
{
    hwaddr xlat, len = 1;
    MemoryRegion *mr;

    RCU_READ_LOCK_GUARD();
    mr = address_space_translate(as, addr, &xlat, &len, is_write,
                                 MEMTXATTRS_UNSPECIFIED);
    return find_denied_in(mr, xlat, xlat + 1, addr, denied);
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

int gmem_touch_dma_result(const QEMUSGList *sg, int index, uint64_t byte,
                          bool is_write)
{
    GmemDenied denied;

    if (!qatomic_read(&gmem_touch_armed) || index >= sg->nsg ||
        !find_denied_dma(sg->as, sg->sg[index].base + byte, is_write,
                         &denied)) {
        return 0;
    }
    gmem_block_unref(denied.block);
    return -EFAULT;
}
