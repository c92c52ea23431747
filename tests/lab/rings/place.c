/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include "place.h"
#include "world.h"
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const kind_names[KINDS] = {
    "anonymous memory", "tmpfs", "a file on a disk", "a huge page", "hugetlb",
    "guest_memfd",
};

const char *disk_directory;

static int open_disk_file(size_t size)
{
    char path[256];
    int fd;

    if (!disk_directory) {
        skip("no directory on a disk was given (--disk)");
    }
    snprintf(path, sizeof(path), "%s/rings-XXXXXX", disk_directory);
    must((fd = mkostemp(path, O_CLOEXEC)) >= 0);
    unlink(path);
    must(!ftruncate(fd, size));
    return fd;
}

/* In a VM with private memory, mapped and shared to begin with */
static void open_gmem(struct place *p)
{
    struct world w;

    if (!in_place) {
        skip("this KVM does not convert guest_memfd in place");
    }
    world_open(&w, VM_SW_PROTECTED, MAPPED, p->size);
    p->vm = w.fd[ON_VM];
    p->fd = w.fd[ON_GMEM];
}

static void open_file(struct place *p)
{
    switch (p->kind) {
    case MEMFD:
    case HUGETLB:
        p->fd = memfd_create("rings", MFD_CLOEXEC |
                             (p->kind == HUGETLB ? MFD_HUGETLB : 0));
        must(p->fd >= 0);
        must(!ftruncate(p->fd, p->size));
        break;
    case DISK:
        p->fd = open_disk_file(p->size);
        break;
    case GMEM:
        open_gmem(p);
        break;
    default:
        break;
    }
}

static void map_huge(struct place *p)
{
    unsigned char *all = mmap(NULL, 2 * p->size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    must(all != MAP_FAILED);
    p->base = (void *)(((uintptr_t)all + p->size - 1) & -p->size);
    must(!madvise(p->base, p->size, MADV_HUGEPAGE));
    *p->base = 0;
}

void place_open(struct place *p, enum kind kind, size_t size)
{
    size_t unit = kind == HUGE || kind == HUGETLB ? 2 * MIB : PAGE;

    *p = (struct place) {
        .kind = kind, .fd = -1, .size = (size + unit - 1) / unit * unit,
    };
    if (kind == HUGE) {
        map_huge(p);
        return;
    }
    open_file(p);
    p->base = mmap(NULL, p->size, PROT_READ | PROT_WRITE,
                   p->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, p->fd,
                   0);
    if (p->base == MAP_FAILED && kind == HUGETLB) {
        skip("no huge pages were set aside");
    }
    must(p->base != MAP_FAILED);
}

unsigned char *place_alias(const struct place *p)
{
    unsigned char *alias = mmap(NULL, p->size, PROT_READ | PROT_WRITE,
                                MAP_SHARED, p->fd, 0);

    must(alias != MAP_FAILED);
    return alias;
}

size_t place_offset(const struct place *p, const void *address)
{
    return (const unsigned char *)address - p->base;
}

static u64 pagemap(const void *address)
{
    static int fd = -1;
    u64 entry = 0;

    if (fd < 0) {
        must((fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) >= 0);
    }
    must(pread(fd, &entry, sizeof(entry), (uintptr_t)address / PAGE * 8) == 8);
    return entry;
}

bool page_present(const void *address)
{
    return pagemap(address) >> 63;
}

bool page_swapped(const void *address)
{
    return pagemap(address) >> 62 & 1;
}

u64 page_frame(const void *address)
{
    return page_present(address) ? pagemap(address) & ((1ull << 55) - 1) : 0;
}
