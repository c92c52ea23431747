/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One step of a case: make the call, compare the answer. What a call answers
 * is an errno (0 for success; a SIGBUS counts as one), and for some a value.
 */
#define _GNU_SOURCE
#include "cases.h"
#include "filecalls.h"
#include "guest.h"
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* A value that no kernel writes, to see whether error_offset was written */
#define UNTOUCHED 0x5a5a5a5a5a5a5a5aull

struct answer {
    int error;
    u64 value;
    u64 error_offset;
};

static u64 size_of(const struct world *w, const struct step *s)
{
    return s->size == WHOLE ? w->size : s->size;
}

/* size bytes that are not all there, or shall not be written to */
static void *bad_place(enum place place, size_t size)
{
    unsigned char *two;

    if (place == AT_NULL) {
        return NULL;
    }
    two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(two != MAP_FAILED && munmap(two + PAGE, PAGE) == 0);
    if (place == AT_READ_ONLY) {
        return two;
    }
    return place == AT_HOLE ? two + PAGE : two + PAGE - size / 2;
}

/* As much of the argument as there is room for */
static void fill_place(enum place place, void *argument, const void *good,
                       size_t size)
{
    if (place == AT_EDGE) {
        memcpy(argument, good, size / 2);
    } else if (place == AT_READ_ONLY) {
        memcpy(argument, good, size);
        /* it is at the beginning of a page */
        must(mprotect(argument, PAGE, PROT_READ) == 0);
    }
}

static void do_check(struct world *w, const struct step *s, struct answer *a)
{
    int value = call(world_fd(w, s->on), KVM_CHECK_EXTENSION,
                     (void *)s->number);

    a->error = value < 0 ? errno : 0;
    a->value = value;
}

static void do_create(struct world *w, const struct step *s, struct answer *a)
{
    struct abi_create_gmem good = { .size = s->size, .flags = s->flags };
    void *argument = s->address == AT_WINDOW
        ? &good : bad_place(s->address, sizeof(good));
    int fd = call(world_fd(w, s->on), ABI_CREATE_GUEST_MEMFD, argument);

    a->error = fd < 0 ? errno : 0;
    close(fd);
}

static void do_convert(struct world *w, const struct step *s, struct answer *a)
{
    struct abi_attributes2 good = {
        .offset = s->at, .size = size_of(w, s), .attributes = s->attributes,
        .flags = s->flags, .error_offset = UNTOUCHED,
    }, *argument = &good;
    int fd = world_fd(w, s->on);

    if (s->index) {
        good.reserved[s->index - 1] = 1ull << (s->index * 5);
    }
    if (s->address != AT_WINDOW) {
        argument = bad_place(s->address, sizeof(good));
        fill_place(s->address, argument, &good, sizeof(good));
    }
    do {
        a->error = call(fd, ABI_SET_MEMORY_ATTRIBUTES2, argument) ? errno : 0;
    } while (a->error == EAGAIN && s->patient);
    a->error_offset = s->patient ? UNTOUCHED : good.error_offset;
}

static void do_attributes(struct world *w, const struct step *s,
                          struct answer *a)
{
    struct abi_attributes request = {
        .address = s->at, .size = size_of(w, s),
        .attributes = s->attributes, .flags = s->flags,
    };
    void *argument = s->address == AT_WINDOW
        ? &request : bad_place(s->address, sizeof(request));

    a->error = call(world_fd(w, s->on), ABI_SET_MEMORY_ATTRIBUTES, argument)
        ? errno : 0;
}

static void do_ioctl(struct world *w, const struct step *s, struct answer *a)
{
    unsigned char zeros[4096] = { 0 };

    a->error = call(world_fd(w, s->on), s->number, zeros) < 0 ? errno : 0;
}

static void do_slot(struct world *w, const struct step *s, struct answer *a)
{
    unsigned char *host = s->address == AT_PLAIN || !w->window
        ? w->plain : w->window;

    if (s->address == AT_NULL) {
        host = NULL;
    } else if (s->address == AT_ODD) {
        host += 1;
    }
    a->error = slot_set(world_fd(w, ON_VM), s->number, s->flags, s->gpa,
                        size_of(w, s), host, world_fd(w, s->on), s->at);
}

static void do_pre_fault(struct world *w, const struct step *s,
                         struct answer *a)
{
    struct abi_pre_fault request = {
        .gpa = s->gpa, .size = s->size, .flags = s->flags,
    };
    int fd = world_fd(w, ON_VCPU);

    /* a signal may end it in the middle; it goes on from there */
    do {
        a->error = call(fd, ABI_PRE_FAULT_MEMORY, &request) ? errno : 0;
    } while (a->error == EAGAIN || (!a->error && request.size));
    a->value = request.size;
}

static void do_guest(struct world *w, const struct step *s, struct answer *a)
{
    u32 value = GUEST_MARK;

    world_fd(w, ON_VCPU);
    a->error = s->call == CALL_GUEST_READ
        ? vcpu_read(w->vcpu, s->gpa, &value)
        : vcpu_write(w->vcpu, s->gpa, value);
    a->value = a->error ? vcpu_fault(w->vcpu)->flags : value;
    if (a->error && (vcpu_fault(w->vcpu)->gpa != s->gpa ||
                     vcpu_fault(w->vcpu)->size != PAGE)) {
        fail("the fault is at %#lx+%#lx", vcpu_fault(w->vcpu)->gpa,
             vcpu_fault(w->vcpu)->size);
    }
}

static void do_plain(struct world *w, const struct step *s, struct answer *a)
{
    (void)s;
    a->value = *(volatile u32 *)w->plain;
}

static void do_touch(struct world *w, const struct step *s, struct answer *a)
{
    must(w->window != NULL);
    a->error = touch(w->window + s->at, s->flags);
}

static void do_hold(struct world *w, const struct step *s, struct answer *a)
{
    a->error = hold(w, s->number, s->at / PAGE);
}

static void do_close(struct world *w, const struct step *s, struct answer *a)
{
    a->error = close(world_fd(w, s->on)) ? errno : 0;
    /* not opened again: whoever uses it afterwards uses a closed one */
    w->fd[s->on] = OBJECTS + 1000;
}

static void do_step(struct world *w, const struct step *s, struct answer *a)
{
    static void (*const calls[])(struct world *, const struct step *,
                                 struct answer *) = {
        [CALL_CHECK] = do_check, [CALL_CREATE] = do_create,
        [CALL_CONVERT] = do_convert, [CALL_ATTRIBUTES] = do_attributes,
        [CALL_IOCTL] = do_ioctl, [CALL_SLOT] = do_slot,
        [CALL_PRE_FAULT] = do_pre_fault, [CALL_GUEST_READ] = do_guest,
        [CALL_GUEST_WRITE] = do_guest, [CALL_TOUCH] = do_touch,
        [CALL_PLAIN] = do_plain, [CALL_HOLD] = do_hold, [CALL_CLOSE] = do_close,
    };

    if (s->call == CALL_RELEASE) {
        hold_release(w);
    } else if (s->call < sizeof(calls) / sizeof(*calls) && calls[s->call]) {
        calls[s->call](w, s, a);
    } else {
        a->error = file_step(w, s);
    }
}

static const char *call_name(enum call call)
{
    static const char *const names[] = {
        "end", "KVM_CHECK_EXTENSION", "KVM_CREATE_GUEST_MEMFD", "mmap",
        "a touch", "write(2) from it", "read(2) into it", "a debugger's read",
        "a debugger's write", "a file operation", "fallocate", "madvise",
        "mbind", "KVM_SET_MEMORY_ATTRIBUTES2", "KVM_SET_MEMORY_ATTRIBUTES",
        "an ioctl", "KVM_SET_USER_MEMORY_REGION2", "KVM_PRE_FAULT_MEMORY",
        "a guest's read", "a guest's write", "ordinary memory",
        "a holder", "release", "close",
    };

    return names[call];
}

/*
 * EAGAIN tells where; of success and other errors error_offset is the caller's
 * own. A kernel that clears it on success is no worse for that.
 */
static bool offset_good(const struct step *s, const struct answer *a)
{
    if (s->call != CALL_CONVERT || s->address != AT_WINDOW) {
        return true;
    }
    if (s->first_busy) {
        return a->error_offset == (s->first_busy - 1) * PAGE;
    }
    return a->error_offset == UNTOUCHED || (!a->error && !a->error_offset);
}

static const char *error_text(int error)
{
    return error ? touch_name(error) : "success";
}

static bool run_one(struct world *w, const struct step *s)
{
    struct answer a = { .error_offset = UNTOUCHED };

    do_step(w, s, &a);
    if (a.error != s->error && !(s->or && a.error == s->or)) {
        say("%s gave %s, not %s", call_name(s->call), error_text(a.error),
            error_text(s->error));
        return false;
    }
    if (s->compare && a.value != s->value) {
        say("%s: %#lx came back, not %#lx", call_name(s->call), a.value,
            s->value);
        return false;
    }
    if (!offset_good(s, &a)) {
        say("%s: error_offset is %#lx", call_name(s->call), a.error_offset);
        return false;
    }
    return true;
}

bool step_run(struct world *w, const struct step *s)
{
    struct step with;
    u64 bit;

    if (!s->each_flag && !s->each_attribute) {
        return run_one(w, s);
    }
    for (bit = 1; bit; bit <<= 1) {
        with = *s;
        with.flags |= bit & s->each_flag;
        with.attributes |= bit & s->each_attribute;
        if (((s->each_flag | s->each_attribute) & bit) && !run_one(w, &with)) {
            say("with bit %#lx", bit);
            return false;
        }
    }
    return true;
}
