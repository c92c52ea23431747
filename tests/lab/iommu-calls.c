/*
 * How often a QEMU maps and unmaps memory for DMA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Preloaded (LD_PRELOAD) under an unmodified QEMU, ours or the base's. Three numbers lie in the
 * file that IOMMU_CALLS names: system calls of VFIO and iommufd that map, that unmap, and that
 * only say what a call is about, for everybody to look at while QEMU runs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* <linux/vfio.h> and <linux/iommufd.h>, which older systems do not have */
#define VFIO_IOMMU_MAP_DMA      _IO(';', 100 + 13)
#define VFIO_IOMMU_UNMAP_DMA    _IO(';', 100 + 14)
#define IOMMU_IOAS_MAP          _IO(';', 0x85)
#define IOMMU_IOAS_UNMAP        _IO(';', 0x86)
#define IOMMU_VFIO_IOAS         _IO(';', 0x88)
#define IOMMU_IOAS_MAP_FILE     _IO(';', 0x8f)

enum { MAP, UNMAP, OTHER, WORDS };

static uint64_t *calls;
static int (*real_ioctl)(int fd, unsigned long request, ...);

__attribute__((constructor)) static void calls_open(void)
{
    const char *path = getenv("IOMMU_CALLS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, WORDS * sizeof(*calls),
                                          PROT_READ | PROT_WRITE, MAP_SHARED,
                                          fd, 0);

    if (fd >= 0) {
        close(fd);
    }
    calls = at == MAP_FAILED ? NULL : at;
}

static void count(unsigned long request)
{
    int word;

    switch (request) {
    case VFIO_IOMMU_MAP_DMA:
    case IOMMU_IOAS_MAP:
    case IOMMU_IOAS_MAP_FILE:
        word = MAP;
        break;
    case VFIO_IOMMU_UNMAP_DMA:
    case IOMMU_IOAS_UNMAP:
        word = UNMAP;
        break;
    case IOMMU_VFIO_IOAS:
        word = OTHER;
        break;
    default:
        return;
    }
    if (calls) {
        __atomic_fetch_add(&calls[word], 1, __ATOMIC_RELAXED);
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    void *argument;

    va_start(list, request);
    argument = va_arg(list, void *);
    va_end(list);
    if (!real_ioctl) {
        real_ioctl = dlsym(RTLD_NEXT, "ioctl");
    }
    count(request);
    return real_ioctl(fd, request, argument);
}
