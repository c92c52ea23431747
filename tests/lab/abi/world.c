/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Making and checking the VM and the guest_memfd that a test works on.
 */
#define _GNU_SOURCE
#include "world.h"
#include "guest.h"
#include "touch.h"
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

bool in_place;

int call(int fd, unsigned long request, void *argument)
{
    int value;

    do {
        value = ioctl(fd, request, argument);
    } while (value < 0 && errno == EINTR);
    return value;
}

static int capability(int fd, unsigned long number)
{
    return call(fd, KVM_CHECK_EXTENSION, (void *)number);
}

unsigned world_probe(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;
    unsigned types;

    if (kvm < 0) {
        return 0;
    }
    /* kernels that cannot tell have the one type */
    types = capability(kvm, CAP_VM_TYPES);
    types = types ? types : 1;
    if (types & (1 << VM_SW_PROTECTED)) {
        vm = call(kvm, KVM_CREATE_VM, (void *)(long)VM_SW_PROTECTED);
        in_place = vm >= 0 &&
            capability(vm, CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES) > 0;
        close(vm);
    }
    close(kvm);
    return types;
}

int gmem_create(int vm, u64 size, u64 flags)
{
    struct abi_create_gmem request = { .size = size, .flags = flags };

    return call(vm, ABI_CREATE_GUEST_MEMFD, &request);
}

int convert(int gmem, u64 offset, u64 size, u64 attributes, u64 *where)
{
    struct abi_attributes2 request = {
        .offset = offset, .size = size, .attributes = attributes,
        .error_offset = where ? *where : 0,
    };
    int error = call(gmem, ABI_SET_MEMORY_ATTRIBUTES2, &request) ? errno : 0;

    if (where) {
        *where = request.error_offset;
    }
    return error;
}

void convert_surely(int gmem, u64 offset, u64 size, u64 attributes)
{
    int error;

    /* A fault under way holds its page for an instant; its time ends the rest */
    while ((error = convert(gmem, offset, size, attributes, NULL)) == EAGAIN) {
        sched_yield();
    }
    if (error) {
        fail("converting %#lx+%#lx to %lu: %s", offset, size, attributes,
             error_name(error));
    }
}

int slot_set(int vm, unsigned slot, unsigned flags, u64 gpa, u64 size,
             const void *host, int gmem, u64 offset)
{
    struct abi_region2 region = {
        .slot = slot, .flags = flags, .gpa = gpa, .size = size,
        .host = (uintptr_t)host, .gmem = gmem, .gmem_offset = offset,
    };

    return call(vm, ABI_SET_USER_MEMORY_REGION2, &region) ? errno : 0;
}

void world_open(struct world *w, unsigned type, u64 flags, u64 size)
{
    int i;

    *w = (struct world) {
        .type = type, .flags = flags, .size = size, .pages = size / PAGE,
        .foreign_vm = -1,
    };
    for (i = 0; i < OBJECTS; i++) {
        w->fd[i] = -1;
    }
    must((w->fd[ON_KVM] = open("/dev/kvm", O_RDWR | O_CLOEXEC)) >= 0);
    w->fd[ON_VM] = call(w->fd[ON_KVM], KVM_CREATE_VM, (void *)(long)type);
    must(w->fd[ON_VM] >= 0);
    must((w->fd[ON_GMEM] = gmem_create(w->fd[ON_VM], size, flags)) >= 0);
    w->plain = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(w->plain != MAP_FAILED);
    if (flags & GMEM_MMAP) {
        /* some room behind, to look beyond the end of the file */
        w->window = mmap(NULL, size + 4 * PAGE, PROT_READ | PROT_WRITE,
                         MAP_SHARED, w->fd[ON_GMEM], 0);
        must(w->window != MAP_FAILED);
    }
}

static void to_each(struct world *w, const char *pages, const char *which,
                    u64 attributes)
{
    size_t i;

    for (i = 0; pages[i]; i++) {
        if (strchr(which, pages[i])) {
            convert_surely(w->fd[ON_GMEM], i * PAGE, PAGE, attributes);
        }
    }
}

void world_make(struct world *w, unsigned type, u64 flags, const char *pages)
{
    bool shared = flags & GMEM_SHARED;
    size_t i;

    world_open(w, type, flags, strlen(pages) * PAGE);
    if (!shared && strpbrk(pages, "sSP")) {
        to_each(w, pages, "sSP", 0);
    }
    for (i = 0; pages[i]; i++) {
        if (strchr("SP", pages[i])) {
            stamp(world_page(w, i), i);
        }
    }
    to_each(w, pages, shared ? "pP" : "P", PRIVATE);
}

void world_bind(struct world *w)
{
    errno = slot_set(w->fd[ON_VM], DATA_SLOT, SLOT_GMEM, DATA_GPA, w->size,
                     w->window ? w->window : w->plain, w->fd[ON_GMEM], 0);
    must(errno == 0);
}

static int open_foreign(struct world *w)
{
    w->foreign_vm = call(w->fd[ON_KVM], KVM_CREATE_VM,
                         (void *)(long)w->type);
    must(w->foreign_vm >= 0);
    return gmem_create(w->foreign_vm, w->size, w->flags);
}

static int open_object(struct world *w, enum object object)
{
    int ends[2];

    switch (object) {
    case ON_VCPU:
        w->vcpu = vcpu_new(w->fd[ON_VM], 0);
        return vcpu_fd(w->vcpu);
    case ON_DUP:
        return dup(w->fd[ON_GMEM]);
    case ON_SECOND:
        return gmem_create(w->fd[ON_VM], w->size, w->flags);
    case ON_FOREIGN:
        return open_foreign(w);
    case ON_MEMFD:
        ends[0] = memfd_create("plain", MFD_CLOEXEC);
        must(ftruncate(ends[0], w->size) == 0);
        return ends[0];
    case ON_PIPE:
        must(pipe(ends) == 0);
        return ends[1];
    case ON_EVENTFD:
        return eventfd(0, EFD_CLOEXEC);
    default:
        fail("object %d is not there any more", object);
    }
}

int world_fd(struct world *w, enum object object)
{
    if (object != ON_NOTHING && w->fd[object] < 0) {
        must((w->fd[object] = open_object(w, object)) >= 0);
    }
    return w->fd[object];
}

unsigned char *world_page(const struct world *w, size_t page)
{
    if (!w->window) {
        fail("this guest_memfd is not mapped");
    }
    return w->window + page * PAGE;
}

static u64 stamp_word(size_t page, size_t word)
{
    return 0x5700000000000000ull | (u64)page << 16 | word;
}

void stamp(unsigned char *memory, size_t page)
{
    volatile u64 *words = (volatile u64 *)memory;
    size_t i;

    for (i = 0; i < PAGE / 8; i++) {
        words[i] = stamp_word(page, i);
    }
}

bool stamped(const unsigned char *memory, size_t page, char content)
{
    const volatile u64 *words = (const volatile u64 *)memory;
    u64 wanted;
    size_t i;

    if (content == 'g' && *(const volatile u32 *)memory != GUEST_MARK) {
        say("page %zu begins with %#x, not with the guest's mark", page,
            *(const volatile u32 *)memory);
        return false;
    }
    for (i = content == 'g'; i < PAGE / 8; i++) {
        wanted = content == 's' ? 0 : stamp_word(page, i);
        /* the mark may lie on zeros or on a stamp */
        if (words[i] != wanted && !(content == 'g' && words[i] == 0)) {
            say("page %zu holds %#lx at word %zu, not %#lx", page,
                (unsigned long)words[i], i, (unsigned long)wanted);
            return false;
        }
    }
    return true;
}

/* Who may touch the page? Then, for a shared one, what is in it? */
static bool check_page(struct world *w, size_t page, char letter)
{
    bool private = strchr("pPq", letter);
    int how = touch(world_page(w, page), false);

    if (how != (private ? TOUCH_SIGBUS : 0)) {
        say("page %zu should be %s: a touch gives %s", page,
            private ? "private" : "shared", touch_name(how));
        return false;
    }
    return private || stamped(world_page(w, page), page, letter);
}

/* The content of what was private: it is shared now */
static bool check_content(struct world *w, size_t page, char letter)
{
    char content = letter == 'p' ? 's' : letter == 'P' ? 'S' : 'g';

    return stamped(world_page(w, page), page, content);
}

bool world_see(struct world *w, const char *pages)
{
    bool good = true;
    size_t i;

    for (i = 0; pages[i]; i++) {
        good = (pages[i] == '?' || check_page(w, i, pages[i])) && good;
    }
    return good;
}

bool world_check(struct world *w, const char *pages)
{
    int gmem = w->fd[w->fd[ON_DUP] < 0 ? ON_GMEM : ON_DUP];
    bool good = world_see(w, pages);
    size_t i;

    /* without conversion private pages are out of reach for good */
    if (!good || !strpbrk(pages, "pPq") || !in_place) {
        return good;
    }
    errno = convert(gmem, 0, w->size, 0, NULL);
    must(errno == 0);
    for (i = 0; pages[i]; i++) {
        good = (!strchr("pPq", pages[i]) || check_content(w, i, pages[i]))
            && good;
    }
    return good;
}
