/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Steps on a guest_memfd as a file and as memory, without KVM.
 */
#define _GNU_SOURCE
#include "filecalls.h"
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 0 or errno of a call that returns a negative number for failure */
static int outcome(long result)
{
    return result < 0 ? errno : 0;
}

static int map(struct world *w, const struct step *s)
{
    u64 size = s->size == WHOLE ? w->size : s->size;
    void *there = mmap(NULL, size, PROT_READ | PROT_WRITE, s->flags,
                       world_fd(w, s->on), s->at);

    if (there == MAP_FAILED) {
        return errno;
    }
    return outcome(munmap(there, size));
}

/* The kernel reads the page on our behalf, and writes it to a pipe */
static int read_from(struct world *w, const struct step *s)
{
    int ends[2], error;

    must(pipe(ends) == 0);
    error = outcome(write(ends[1], w->window + s->at, PAGE));
    close(ends[0]);
    close(ends[1]);
    return error;
}

/* The kernel writes to the page on our behalf: the stamp that is its own */
static int read_into(struct world *w, const struct step *s)
{
    unsigned char own[PAGE];
    int ends[2], error;

    stamp(own, s->at / PAGE);
    must(pipe(ends) == 0);
    must(write(ends[1], own, PAGE) == (ssize_t)PAGE);
    error = outcome(read(ends[0], w->window + s->at, PAGE));
    close(ends[0]);
    close(ends[1]);
    return error;
}

/* The kernel gets at the page as for a debugger, which goes by the mapping */
static int by_debugger(struct world *w, const struct step *s)
{
    int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC), error;
    off_t at = (uintptr_t)w->window + s->at;
    unsigned char own[PAGE];

    must(memory >= 0);
    stamp(own, s->at / PAGE);
    error = outcome(s->call == CALL_PEEK ? pread(memory, own, PAGE, at)
                                         : pwrite(memory, own, PAGE, at));
    close(memory);
    return error;
}

static int file_call(struct world *w, int gmem, enum file_call number)
{
    unsigned char data[64] = { 0 };
    int memfd = world_fd(w, ON_MEMFD), ends[2];

    must(pipe(ends) == 0);
    must(write(ends[1], data, sizeof(data)) == sizeof(data));
    switch (number) {
    case FILE_READ:
        return outcome(read(gmem, data, sizeof(data)));
    case FILE_WRITE:
        return outcome(write(gmem, data, sizeof(data)));
    case FILE_PREAD:
        return outcome(pread(gmem, data, sizeof(data), 0));
    case FILE_PWRITE:
        return outcome(pwrite(gmem, data, sizeof(data), 0));
    case FILE_TRUNCATE:
        return outcome(ftruncate(gmem, 0));
    case FILE_GROW:
        return outcome(ftruncate(gmem, w->size + PAGE));
    case FILE_SPLICE_FROM:
        return outcome(splice(gmem, NULL, ends[1], NULL, PAGE, 0));
    case FILE_SPLICE_INTO:
        return outcome(splice(ends[0], NULL, gmem, NULL, PAGE, 0));
    case FILE_SENDFILE:
        return outcome(sendfile(ends[1], gmem, NULL, PAGE));
    case FILE_COPY_RANGE:
        return outcome(copy_file_range(gmem, NULL, memfd, NULL, PAGE, 0));
    }
    fail("file call %d", number);
}

static int policy(struct world *w, const struct step *s)
{
    unsigned long node = 1;
    u64 size = s->size == WHOLE ? w->size : s->size;

    return outcome(syscall(SYS_mbind, w->window + s->at, size, s->number,
                           s->number == MPOL_DEFAULT ? NULL : &node,
                           s->number == MPOL_DEFAULT ? 0 : 64, 0));
}

int file_step(struct world *w, const struct step *s)
{
    u64 size = s->size == WHOLE ? w->size : s->size;
    int gmem = world_fd(w, s->on);

    switch (s->call) {
    case CALL_MMAP:
        return map(w, s);
    case CALL_READ_FROM:
        return read_from(w, s);
    case CALL_READ_INTO:
        return read_into(w, s);
    case CALL_PEEK:
    case CALL_POKE:
        return by_debugger(w, s);
    case CALL_FILE:
        return file_call(w, gmem, s->number);
    case CALL_FALLOCATE:
        return outcome(fallocate(gmem, s->number, s->at, size));
    case CALL_ADVISE:
        return outcome(madvise(w->window + s->at, size, s->number));
    case CALL_POLICY:
        return policy(w, s);
    default:
        fail("step %d is no file operation", s->call);
    }
}
