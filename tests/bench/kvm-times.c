/*
 * Where a QEMU spends the time of a conversion, and when its guest first runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Preloaded (LD_PRELOAD) under an unmodified QEMU, ours or the base's. A vCPU's thread
 * leaves KVM_RUN with the guest's request (KVM_HC_MAP_GPA_RANGE) and enters it again
 * with the answer; what lies between is `outside`, and of that the parts are timed
 * that are the kernel's work: changing the attributes, freeing the side left behind, and
 * mapping the new one ahead of the guest's first touch.
 * The rest of `outside` is QEMU's own. What the guest waits beyond `outside` is the way
 * from guest to QEMU and back.
 *
 * The sums lie in the file that GMEM_BENCH_TIMES names, for everybody to look at while
 * QEMU runs (tests/bench/kvmtimes.py has the same structure).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SET_ATTRIBUTES  0x4020aed2UL    /* VM: address, size, attributes, flags */
#define SET_ATTRIBUTES2 0xc080aed2UL    /* the same numbers first, on the guest_memfd */
#define PRE_FAULT_MEMORY 0xc040aed5UL
#define HC_MAP_GPA_RANGE 12
#define ENCRYPTED       0x10
#define MAX_FD          1024
#define MAGIC           UINT64_C(0x31656d69746d6b67)

enum { OUTSIDE, ATTRIBUTES, FREE, PRE_FAULT, PARTS };
enum { PRIVATE, SHARED, DIRECTIONS, NONE = DIRECTIONS };

typedef struct Sum {
    uint64_t count, ns;
} Sum;

typedef struct Times {
    uint64_t magic;
    uint64_t first_run;     /* CLOCK_MONOTONIC, ns: entry of the first useful KVM_RUN */
    uint64_t first_exit;    /* and its end */
    Sum sums[DIRECTIONS][PARTS];
} Times;

static Times *times;
static struct kvm_run *run_of[MAX_FD];
static _Thread_local unsigned int direction = NONE;
static _Thread_local uint64_t left_at;

static int (*real_ioctl)(int fd, unsigned long request, ...);
static int (*real_fallocate)(int fd, int mode, off_t offset, off_t size);
static int (*real_madvise)(void *at, size_t size, int advice);
static void *(*real_mmap)(void *at, size_t size, int prot, int flags, int fd,
                          off_t offset);

static void give_up(const char *what)
{
    perror(what);
    _exit(1);
}

/* Other libraries' constructors call these functions, perhaps before ours */
static void find_real(void)
{
    if (!real_mmap) {
        real_ioctl = dlsym(RTLD_NEXT, "ioctl");
        real_fallocate = dlsym(RTLD_NEXT, "fallocate64");
        real_madvise = dlsym(RTLD_NEXT, "madvise");
        real_mmap = dlsym(RTLD_NEXT, "mmap64");
    }
}

__attribute__((constructor)) static void times_open(void)
{
    const char *path = getenv("GMEM_BENCH_TIMES");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

    find_real();
    if (fd < 0 || ftruncate(fd, sizeof(*times)) < 0) {
        give_up("kvm-times: GMEM_BENCH_TIMES");
    }
    times = real_mmap(NULL, sizeof(*times), PROT_READ | PROT_WRITE, MAP_SHARED,
                      fd, 0);
    if (times == MAP_FAILED) {
        give_up("kvm-times: mmap");
    }
    close(fd);
    times->magic = MAGIC;
}

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

/* Which part of a conversion a request of ioctl() is; PARTS for all others */
static unsigned int part_of(unsigned long request)
{
    switch (request) {
    case SET_ATTRIBUTES:
    case SET_ATTRIBUTES2:
        return ATTRIBUTES;
    case PRE_FAULT_MEMORY:
        return PRE_FAULT;
    default:
        return PARTS;
    }
}

static void add(unsigned int part, uint64_t since)
{
    Sum *sum = &times->sums[direction][part];

    __atomic_fetch_add(&sum->count, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&sum->ns, now() - since, __ATOMIC_RELAXED);
}

/* The structure shared with KVM is found by the descriptor it was mapped from */
static void *map(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    void *mapped;

    find_real();
    mapped = real_mmap(at, size, prot, flags, fd, offset);
    if (mapped != MAP_FAILED && fd >= 0 && fd < MAX_FD && flags & MAP_SHARED &&
        !offset) {
        __atomic_store_n(&run_of[fd], mapped, __ATOMIC_RELEASE);
    }
    return mapped;
}

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    return map(at, size, prot, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    return map(at, size, prot, flags, fd, offset);
}

static void note_first(uint64_t entry)
{
    uint64_t none = 0;

    if (!__atomic_load_n(&times->first_run, __ATOMIC_RELAXED) &&
        __atomic_compare_exchange_n(&times->first_run, &none, entry, 0,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        times->first_exit = now();
    }
}

/* What this exit asks for: the direction of a conversion, or NONE */
static unsigned int asked_for(const struct kvm_run *run)
{
    if (!run || run->exit_reason != KVM_EXIT_HYPERCALL ||
        run->hypercall.nr != HC_MAP_GPA_RANGE) {
        return NONE;
    }
    return run->hypercall.args[2] & ENCRYPTED ? PRIVATE : SHARED;
}

static int run_vcpu(int fd, void *argument)
{
    uint64_t entry;
    int ret, error;

    if (direction != NONE) {
        add(OUTSIDE, left_at);
        direction = NONE;
    }
    entry = now();
    ret = real_ioctl(fd, KVM_RUN, argument);
    error = errno;
    if (!ret) {
        note_first(entry);
        direction = asked_for(fd < MAX_FD ? run_of[fd] : NULL);
        left_at = direction == NONE ? 0 : now();
    }
    errno = error;
    return ret;
}

int ioctl(int fd, unsigned long request, ...)
{
    unsigned int part = part_of(request);
    uint64_t since;
    void *argument;
    va_list list;
    int ret, error;

    va_start(list, request);
    argument = va_arg(list, void *);
    va_end(list);
    find_real();
    if (request == KVM_RUN) {
        return run_vcpu(fd, argument);
    }
    if (direction == NONE || part == PARTS) {
        return real_ioctl(fd, request, argument);
    }
    since = now();
    ret = real_ioctl(fd, request, argument);
    error = errno;
    add(part, since);
    errno = error;
    return ret;
}

static int allocate(int fd, int mode, off_t offset, off_t size)
{
    uint64_t since = now();
    int ret, error;

    find_real();
    ret = real_fallocate(fd, mode, offset, size);
    error = errno;
    if (direction != NONE) {
        add(FREE, since);
    }
    errno = error;
    return ret;
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return allocate(fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off_t offset, off_t size)
{
    return allocate(fd, mode, offset, size);
}

int madvise(void *at, size_t size, int advice)
{
    uint64_t since = now();
    int ret, error;

    find_real();
    ret = real_madvise(at, size, advice);
    error = errno;
    if (direction != NONE) {
        add(FREE, since);
    }
    errno = error;
    return ret;
}
