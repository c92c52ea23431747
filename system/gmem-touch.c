/*
 * gmem: QEMU's own touches of guest memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in system/gmem-touch-hooks.h.  In split mode a touch of a private page
 * would find the shared side: zeros, in host memory that the conversion has just freed.
 * In place it would be a SIGBUS.
 */

#include "qemu/osdep.h"
#include "system/gmem-ram.h"
#include "system/gmem-touch-hooks.h"
#include "system/memory.h"
#include "system/runstate.h"

#define PAGE_BYTES 4096
/* Longest part of a copy in one section: a conversion waits for it */
#define SECTION_BYTES (2 * 1024 * 1024)
/* After every other handler of a starting VM, those of a launch too */
#define LAST_PRIORITY INT_MAX

unsigned int gmem_touch_armed;

static bool vm_has_run;

static void vm_state_changed(void *opaque, bool running, RunState state)
{
    if (running) {
        qatomic_set(&vm_has_run, true);
    }
}

void gmem_touch_arm(void)
{
    static VMChangeStateEntry *handler;

    if (!handler) {
        handler = qemu_add_vm_change_state_handler_prio(vm_state_changed, NULL,
                                                        LAST_PRIORITY);
    }
    qatomic_inc(&gmem_touch_armed);
}

void gmem_touch_disarm(void)
{
    qatomic_dec(&gmem_touch_armed);
}

GmemBlock *gmem_touch_block(const MemoryRegion *mr)
{
    GmemBlock *block = gmem_from_ramblock(mr->ram_block);

    if (!block || gmem_block_mode(block) == GMEM_BLOCK_MODE_NONE) {
        return NULL;
    }
    if (gmem_block_mode(block) == GMEM_BLOCK_MODE_SPLIT &&
        gmem_block_initial(block) == GMEM_PAGE_PRIVATE &&
        !qatomic_read(&vm_has_run)) {
        return NULL;
    }
    return block;
}

/* As gmem_touch_first_denied(), page by page: for where the map is changing */
static uint64_t first_denied_page(GmemBlock *block, uint64_t offset,
                                  uint64_t end)
{
    uint64_t next;

    for (; offset < end; offset = next) {
        next = MIN(end, QEMU_ALIGN_DOWN(offset, PAGE_BYTES) + PAGE_BYTES);
        if (!gmem_block_range_is(block, offset, next - offset,
                                 GMEM_PAGE_SHARED)) {
            return offset;
        }
    }
    return end;
}

uint64_t gmem_touch_first_denied(GmemBlock *block, uint64_t offset,
                                 uint64_t end)
{
    GmemPageState state;
    uint64_t next, denied;

    for (; offset < end; offset = next) {
        next = gmem_block_run(block, offset, end, &state);
        if (state == GMEM_PAGE_PRIVATE) {
            return offset;
        }
        if (!gmem_block_range_is(block, offset, next - offset,
                                 GMEM_PAGE_SHARED)) {
            denied = first_denied_page(block, offset, next);
            if (denied < next) {
                return denied;
            }
        }
    }
    return end;
}

/* How many bytes were copied: up to the section that was refused */
static hwaddr copy(GmemBlock *block, hwaddr offset, uint8_t *to,
                   const uint8_t *from, hwaddr size, const char *who)
{
    GmemAccess access;
    hwaddr done, part;

    for (done = 0; done < size; done += part) {
        part = MIN(size - done,
                   SECTION_BYTES - (offset + done) % SECTION_BYTES);
        if (!gmem_access_begin(&access, block, offset + done, part, who)) {
            break;
        }
        memmove(to + done, from + done, part);
        gmem_access_end(&access);
    }
    return done;
}

bool gmem_touch_read_guarded(const MemoryRegion *mr, hwaddr offset, void *to,
                             const void *from, hwaddr size)
{
    GmemBlock *block = gmem_touch_block(mr);
    hwaddr done;

    if (!block) {
        memcpy(to, from, size);
        return true;
    }
    done = copy(block, offset, to, from, size, "memory-read");
    /* Not all callers look at the result, and the buffer may hold old data */
    memset((uint8_t *)to + done, 0, size - done);
    return done == size;
}

bool gmem_touch_write_guarded(const MemoryRegion *mr, hwaddr offset, void *to,
                              const void *from, hwaddr size)
{
    GmemBlock *block = gmem_touch_block(mr);

    if (!block) {
        memmove(to, from, size);
        return true;
    }
    return copy(block, offset, to, from, size, "memory-write") == size;
}

hwaddr gmem_touch_shared_length(const MemoryRegion *mr, hwaddr offset,
                                hwaddr size, const char *who)
{
    GmemBlock *block = gmem_touch_block(mr);
    uint64_t end, denied;
    GmemAccess access;

    if (!block || offset >= gmem_block_size(block)) {
        return size;
    }
    end = offset + MIN(size, gmem_block_size(block) - offset);
    denied = gmem_touch_first_denied(block, offset, end);
    if (denied == offset &&
        gmem_access_begin(&access, block, offset, 1, who)) {
        /* It became shared this moment: a page is better than a refusal */
        gmem_access_end(&access);
        denied = MIN(end, QEMU_ALIGN_DOWN(offset, PAGE_BYTES) + PAGE_BYTES);
    }
    return denied == end ? size : denied - offset;
}

hwaddr gmem_touch_cache_guarded(const MemoryRegion *mr, hwaddr offset,
                                hwaddr size)
{
    hwaddr length = gmem_touch_shared_length(mr, offset, size, "virtio-ring");

    /* If its first page is what is in the way, that has been counted */
    if (length && length < size) {
        gmem_access_deny(gmem_touch_block(mr), offset + length, 1,
                         "virtio-ring", 1);
    }
    return length;
}

bool gmem_touch_enter_guarded(GmemAccess *access, const MemoryRegion *mr,
                              hwaddr offset, hwaddr size)
{
    GmemBlock *block = gmem_touch_block(mr);
    GmemAccess entered;

    if (!block) {
        return true;
    }
    if (!gmem_access_begin(&entered, block, offset, size, "memory-word")) {
        return false;
    }
    *access = entered;
    return true;
}
