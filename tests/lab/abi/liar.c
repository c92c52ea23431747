/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A kernel that lies: preloaded under gmem-abi, this changes what one kind of
 * call answers or does, as $LIE says. A table that does not notice would not
 * notice a kernel with that defect either.
 *
 *   LD_PRELOAD=DIR/liar.so LIE=NAME DIR/gmem-abi --only=TEXT
 *   LD_PRELOAD=DIR/liar.so LIE=list /bin/true  each name, and what notices it
 *
 * Lies about answers wait for the kernel's. Lies about effects do not: they
 * change what the kernel is asked, if that is a conversion that could be.
 */
#define _GNU_SOURCE
#include "lies.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct lie *lie;
static int files[16];           /* the guest_memfds of this process */
static unsigned count;

static int real(int fd, unsigned long request, void *argument)
{
    return syscall(SYS_ioctl, fd, request, argument);
}

static int convert(int fd, u64 offset, u64 size, u64 attributes)
{
    struct abi_attributes2 request = {
        .offset = offset, .size = size, .attributes = attributes,
    };

    return size ? real(fd, CONVERT, &request) : 0;
}

static int punch(int fd, off_t offset, off_t size)
{
    return syscall(SYS_fallocate, fd,
                   FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, size);
}

static u64 file_size(int fd)
{
    struct stat st;

    return fstat(fd, &st) ? 0 : st.st_size;
}

/* The errno of a result, or 0 */
static int outcome(long result)
{
    return result < 0 ? errno : 0;
}

static int answer(int error, int value)
{
    errno = error;
    return error ? -1 : value;
}

/* Whole pages of the file? */
static bool inside(int fd, u64 offset, u64 size)
{
    u64 all = file_size(fd);

    return size && !((offset | size) % PAGE) && offset < all &&
        size <= all - offset;
}

/* Could the kernel do this? Then lies about effects may begin. */
static bool plausible(int fd, const struct abi_attributes2 *r)
{
    return !r->flags && !(r->attributes & ~PRIVATE) &&
        inside(fd, r->offset, r->size) &&
        (lie->to == ANY || r->attributes == (u64)lie->to);
}

/* Move the ends of a range as the lie says, if they stay in the file */
static void move(int fd, u64 *offset, u64 *size)
{
    u64 end = *offset + *size + lie->value, first = *offset + lie->from;

    if ((*offset || lie->from >= 0) && end <= file_size(fd) && first < end) {
        *offset = first;
        *size = end - first;
    }
}

/* The request is changed, or answered: false */
static bool change_effect(int fd, struct abi_attributes2 *r)
{
    unsigned i;

    switch (lie->trick) {
    case IDLE:
        return false;
    case RANGE:
        move(fd, &r->offset, &r->size);
        return true;
    case WHOLE_FILE:
        r->offset = 0;
        r->size = file_size(fd);
        return true;
    case INVERT:
        r->attributes ^= PRIVATE;
        return true;
    case EVERY_FILE:
        for (i = 0; i < count; i++) {
            convert(files[i], r->offset, r->size, r->attributes);
        }
        return true;
    default:
        return true;
    }
}

/* Wrong arguments, made right */
static bool overlook(int fd, struct abi_attributes2 *r)
{
    u64 size = file_size(fd), end = r->offset + r->size;

    switch (lie->trick) {
    case FLAGS:
        r->flags &= ~lie->value;
        return true;
    case ATTRIBUTES:
        r->attributes &= ~lie->value;
        return true;
    case RESERVED:
        r->reserved[lie->value] = 0;
        return true;
    case ROUND:
        r->offset &= -PAGE;
        r->size = ((end + PAGE - 1) & -PAGE) - r->offset;
        return true;
    case CLAMP:
        r->size = r->offset < size && end > size ? size - r->offset : r->size;
        return true;
    default:
        return false;
    }
}

/* What becomes of a conversion that the kernel refused because of a page */
static void lie_about_busy(int fd, struct abi_attributes2 *r)
{
    u64 busy = r->error_offset, end = r->offset + r->size;

    switch (lie->trick) {
    case OFFSET:
        r->error_offset += lie->value;
        break;
    case OFFSET_START:
        r->error_offset = r->offset;
        break;
    case OFFSET_OF_RANGE:
        r->error_offset -= r->offset;
        break;
    case PAGE_NUMBER:
        r->error_offset /= PAGE;
        break;
    case BEFORE_BUSY:
        convert(fd, r->offset, busy - r->offset, r->attributes);
        break;
    case BEHIND_BUSY:
        convert(fd, busy + PAGE, end - busy - PAGE, r->attributes);
        break;
    default:
        break;
    }
}

/* The kernel has answered, and with what the lie is about; @r is null when it cannot be read */
static int lie_about_answer(int fd, struct abi_attributes2 *r, int error)
{
    struct abi_attributes2 other;
    u64 forgotten;

    if (!r || error == EFAULT) {
        return answer(lie->trick == ANSWER ? lie->value : error, 0);
    }
    other = *r;
    if (overlook(fd, &other)) {
        return real(fd, CONVERT, &other);
    }
    if (lie->trick == OFFSET_IS) {
        r->error_offset = lie->value;
    } else if (error == EAGAIN) {
        lie_about_busy(fd, r);
    } else if (lie->trick == FORGET) {
        forgotten = lie->value ? lie->value : (long long)r->size;
        punch(fd, r->offset + r->size - forgotten, forgotten);
    }
    return answer(lie->trick == ANSWER ? lie->value : error, 0);
}

static bool about(unsigned long call, int to)
{
    return lie && lie->call == call && (lie->to == ANY || lie->to == to);
}

/* An argument that is half there stays as it is: only the kernel can tell */
static bool readable(const void *argument, size_t size)
{
    int ends[2];
    bool good;

    if (pipe(ends)) {
        return false;
    }
    good = write(ends[1], argument, size) == (ssize_t)size;
    close(ends[0]);
    close(ends[1]);
    return good;
}

static int on_convert(int fd, struct abi_attributes2 *r)
{
    bool there = readable(r, sizeof(*r));
    struct abi_attributes2 changed;
    int error;

    if (there && !about(CONVERT, r->attributes)) {
        return real(fd, CONVERT, r);
    }
    if (there && lie->answered == 0 && plausible(fd, r)) {
        changed = *r;
        if (!change_effect(fd, &changed)) {
            return 0;
        }
        error = outcome(real(fd, CONVERT, &changed));
        r->error_offset = changed.error_offset;
    } else {
        error = outcome(real(fd, CONVERT, r));
    }
    return lie->answered == error || lie->answered == ANY
        ? lie_about_answer(fd, there ? r : NULL, error) : answer(error, 0);
}

static int on_create(int fd, struct abi_create_gmem *r)
{
    struct abi_create_gmem changed;
    int file;

    if (about(CREATE, ANY) && readable(r, sizeof(*r))) {
        changed = *r;
        if (lie->trick == FLAGS) {
            changed.flags &= ~lie->value;
        } else if (lie->trick == FLAGS_ADDED) {
            changed.flags |= lie->value;
        } else if (lie->trick == ROUND) {
            changed.size = (r->size + PAGE - 1) & -PAGE;
        }
        file = real(fd, CREATE, &changed);
        if (outcome(file) == lie->answered && lie->trick == ANSWER) {
            return answer(lie->value, -1);
        }
    } else {
        file = real(fd, CREATE, r);
    }
    if (file >= 0 && count < sizeof(files) / sizeof(*files)) {
        files[count++] = file;
    }
    return file;
}

/* The call with some of the flags overlooked */
static int without_flags(int fd, unsigned long request, void *argument)
{
    struct abi_region2 *slot = argument;
    struct abi_pre_fault *pre_fault = argument;
    u64 kept = request == SLOT ? slot->flags : pre_fault->flags;
    int value;

    if (request == SLOT) {
        slot->flags &= ~lie->value;
        value = real(fd, request, argument);
        slot->flags = kept;
    } else {
        pre_fault->flags &= ~lie->value;
        value = real(fd, request, argument);
        pre_fault->flags = kept;
    }
    return value;
}

/* Calls on slots, and pre-faults */
static int on_other(int fd, unsigned long request, void *argument)
{
    int value = real(fd, request, argument), error = outcome(value);

    if (error == lie->answered && lie->trick == ANSWER) {
        return answer(lie->value, 0);
    }
    if (error == lie->answered && lie->trick == FLAGS) {
        return without_flags(fd, request, argument);
    }
    return answer(error, value);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *argument;

    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);
    if (request == CONVERT && lie && lie->call == CONVERT) {
        return on_convert(fd, argument);
    }
    if (request == CREATE) {
        return on_create(fd, argument);
    }
    if (about(CHECK, ANY) && request == CHECK &&
        (unsigned long)argument == (unsigned long)lie->from) {
        return lie->value;
    }
    if (about(request, ANY) && (request == SLOT || request == PRE_FAULT)) {
        if (lie->trick == IDLE && ((struct abi_region2 *)argument)->flags) {
            return 0;
        }
        return on_other(fd, request, argument);
    }
    return real(fd, request, argument);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    bool hole = mode == (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE);
    u64 from = offset, bytes = size;
    int error;

    if (!about(FALLOCATE, ANY)) {
        return syscall(SYS_fallocate, fd, mode, offset, size);
    }
    if (hole && lie->trick == IDLE) {
        return 0;
    }
    if (hole && lie->trick == RANGE && inside(fd, offset, size)) {
        move(fd, &from, &bytes);
    }
    error = outcome(syscall(SYS_fallocate, fd, mode, from, bytes));
    if (!error && hole && lie->trick == DEFAULT_STATE) {
        convert(fd, offset, size, 0);
    }
    return answer(error == lie->answered && lie->trick == ANSWER
                  ? (int)lie->value : error, 0);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd,
           off_t offset)
{
    long there = syscall(SYS_mmap, address, size, protection, flags, fd,
                         offset);

    if (there == -1 && about(MMAP, ANY) && errno == lie->answered) {
        if (lie->trick == FLAGS && (flags & lie->value)) {
            there = syscall(SYS_mmap, address, size, protection,
                            (flags & ~lie->value) | MAP_SHARED, fd, offset);
        } else if (lie->trick == ANSWER) {
            errno = lie->value;
        }
    }
    return (void *)there;
}

int madvise(void *address, size_t size, int advice)
{
    int error = outcome(syscall(SYS_madvise, address, size, advice));

    return answer(about(MADVISE, ANY) && error == lie->answered
                  ? (int)lie->value : error, 0);
}

static void __attribute__((constructor)) choose(void)
{
    const char *name = getenv("LIE");
    const struct lie *l;

    if (!name || !*name) {
        return;
    }
    for (l = lies; l->name; l++) {
        if (!strcmp(name, "list")) {
            printf("%s\t%s\n", l->name, l->only);
        } else if (!strcmp(name, l->name)) {
            lie = l;
            return;
        }
    }
    fflush(stdout);
    if (strcmp(name, "list")) {
        fprintf(stderr, "liar: no lie %s\n", name);
    }
    _exit(strcmp(name, "list") ? 2 : 0);
}
