/*
 * gmem: the guest_memfd of a RAMBlock
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  QEMU asks for a guest_memfd when a RAMBlock that wants one has its host
 * memory.  In mode split it lies beside that memory.  In mode in-place it *is* the
 * memory: one file holds what is shared and what is private, and KVM takes both from it.
 * So whatever the RAM was made of, a backend's memfd, anonymous memory for firmware or
 * default RAM, is replaced before anybody has touched it: the guest_memfd is mapped over
 * it at the same address, and takes the place of its file under the same number.  Those who
 * made the RAM, and those who free it, need not know.
 *
 * The RAMBlock has the file twice, as fd and as guest_memfd, because QEMU closes both.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qapi/error.h"
#include "qemu/units.h"
#include "system/gmem-kvm.h"
#include "system/gmem-ram.h"
#include "system/hostmem-gmem.h"
#include "system/kvm.h"
#include "system/memory.h"
#include "system/ramblock.h"

/* KVM does not know whose file it refused; memory-backend-gmem tells that itself */
static void prepend_name(const RAMBlock *rb, Error **errp)
{
    if (!object_dynamic_cast(rb->mr->owner, TYPE_MEMORY_BACKEND_GMEM)) {
        error_prepend(errp, "memory '%s': ", memory_region_name(rb->mr));
    }
}

static int create_split(RAMBlock *rb, Error **errp)
{
    ERRP_GUARD();
    int fd = kvm_create_guest_memfd(rb->max_length, 0, errp);

    if (fd < 0) {
        prepend_name(rb, errp);
        return fd;
    }
    /* The kernel makes it without; a child process must not keep the memory */
    qemu_set_cloexec(fd);
    return fd;
}

/* Huge pages, and files with contents of their own, would be lost without a word */
static bool can_replace(const RAMBlock *rb, Error **errp)
{
    const char *why = NULL;

    if (rb->page_size != qemu_real_host_page_size()) {
        why = "huge pages";
    } else if (rb->flags & (RAM_NAMED_FILE | RAM_PMEM | RAM_READONLY |
                            RAM_PREALLOC)) {
        why = "a file or buffer of its own";
    }
    if (!why) {
        return true;
    }
    error_setg(errp, "memory '%s' cannot lie on %s: this kernel converts in "
               "place, and all of the memory is one guest_memfd",
               memory_region_name(rb->mr), why);
    return false;
}

/* The guest_memfd @fd takes the place of what @rb was made of, where that is */
static bool replace_memory(RAMBlock *rb, int fd, Error **errp)
{
    void *host = mmap(rb->host, rb->max_length, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_FIXED, fd, 0);

    if (host == MAP_FAILED ||
        (rb->fd >= 0 && dup3(fd, rb->fd, O_CLOEXEC) < 0)) {
        error_setg_errno(errp, errno, "cannot map the guest_memfd of '%s'",
                         memory_region_name(rb->mr));
        return false;
    }
    rb->fd_offset = 0;
    rb->flags |= RAM_SHARED;
    return true;
}

static int create_in_place(RAMBlock *rb, GmemPageState initial, Error **errp)
{
    ERRP_GUARD();
    int fd;

    if (!can_replace(rb, errp)) {
        return -1;
    }
    fd = gmem_kvm_create_in_place(rb->max_length, initial, errp);
    if (fd < 0) {
        prepend_name(rb, errp);
        return -1;
    }
    if (!replace_memory(rb, fd, errp)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* memory-backend-gmem has made and mapped the guest_memfd already */
static int reuse(RAMBlock *rb, Error **errp)
{
    int fd = qemu_dup(rb->fd);

    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot keep the guest_memfd of '%s' "
                         "open twice", memory_region_name(rb->mr));
    }
    return fd;
}

int gmem_ram_create_guest_memfd(RAMBlock *rb, Error **errp)
{
    GmemBlockConfig config = { };
    int fd;

    gmem_ram_config(rb->mr, &config);
    if (config.mode == GMEM_BLOCK_MODE_SPLIT) {
        fd = create_split(rb, errp);
    } else if (object_dynamic_cast(rb->mr->owner, TYPE_MEMORY_BACKEND_GMEM)) {
        fd = reuse(rb, errp);
    } else {
        fd = create_in_place(rb, config.initial, errp);
    }
    if (fd < 0) {
        /* Taken just before for this RAM, and given back by nobody else */
        ram_block_coordinated_discard_require(false);
    }
    return fd;
}

int gmem_ram_discard_private(RAMBlock *rb, uint64_t offset, uint64_t size)
{
    GmemBlock *block = gmem_from_ramblock(rb);

    return block && gmem_block_mode(block) == GMEM_BLOCK_MODE_SPLIT ?
        ram_block_discard_guest_memfd_range(rb, offset, size) : 0;
}

int gmem_ram_iommu_fd(RAMBlock *rb)
{
    GmemBlock *block = gmem_from_ramblock(rb);

    return block && gmem_block_mode(block) != GMEM_BLOCK_MODE_SPLIT ?
        -1 : qemu_ram_get_fd(rb);
}
