/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest: three routines of a few instructions, entered by setting
 * registers, left by a write to a port.
 */
#define _GNU_SOURCE
#include "guest.h"
#include "tap.h"
#include "world.h"
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define CODE_GPA   0x100000ull
#define CODE_SLOT  30
#define CODE_SIZE  (4 * PAGE)
#define STOP_GPA   (CODE_GPA + 2 * PAGE)    /* a word per vCPU */
#define PORT       0x5a

/*
 * eax carries the value, edx the port, ebx the address of the memory; for
 * counting also ecx the pages and ebp the address of the stop word. Counting
 * uses one instruction per word, so that a page which changes its state in
 * between makes the CPU repeat it whole.
 */
asm(".pushsection .rodata\n"
    ".code32\n"
    ".globl guest_code, guest_read, guest_write, guest_count, guest_end\n"
    "guest_code:\n"
    "guest_read:\n"
    "    movl (%ebx), %eax\n"
    "    outl %eax, %dx\n"
    "    jmp guest_read\n"
    "guest_write:\n"
    "    movl %eax, (%ebx)\n"
    "    outl %eax, %dx\n"
    "    jmp guest_write\n"
    "guest_count:\n"
    "    movl %ebx, %edi\n"
    "    movl %ecx, %esi\n"
    "1:  incl (%edi)\n"
    "    addl $4096, %edi\n"
    "    decl %esi\n"
    "    jnz 1b\n"
    "    incl %eax\n"
    "    cmpl $0, (%ebp)\n"
    "    je guest_count\n"
    "    outl %eax, %dx\n"
    "    jmp guest_count\n"
    "guest_end:\n"
    ".code64\n"
    ".popsection\n");
extern const char guest_code[], guest_read[], guest_write[], guest_count[];
extern const char guest_end[];

struct vcpu {
    int fd;
    unsigned index;
    struct kvm_run *run;
    unsigned char *code;
    struct abi_memory_fault fault;
    u32 faults;
};

/* The memory of CODE_SLOT: one per process is enough, tests have one VM */
static unsigned char *code_memory(int vm)
{
    unsigned char *code = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    must(code != MAP_FAILED);
    memcpy(code, guest_code, guest_end - guest_code);
    errno = slot_set(vm, CODE_SLOT, 0, CODE_GPA, CODE_SIZE, code, 0, 0);
    must(errno == 0);
    return code;
}

/* Protected mode, flat segments, no paging */
static void set_mode(struct vcpu *v)
{
    struct kvm_segment data = {
        .limit = ~0u, .selector = 16, .type = 3, .present = 1, .db = 1,
        .s = 1, .g = 1,
    };
    struct kvm_sregs sregs;

    must(call(v->fd, KVM_GET_SREGS, &sregs) == 0);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cs = data;
    sregs.cs.selector = 8;
    sregs.cs.type = 11;
    sregs.cr0 |= 1;
    must(call(v->fd, KVM_SET_SREGS, &sregs) == 0);
}

struct vcpu *vcpu_new(int vm, unsigned index)
{
    static unsigned char *code;
    struct vcpu *v = calloc(1, sizeof(*v));

    if (!index) {
        code = code_memory(vm);
    }
    *v = (struct vcpu) { .index = index, .code = code };
    v->fd = call(vm, KVM_CREATE_VCPU, (void *)(long)index);
    must(v->fd >= 0);
    /* run, and the page with the data of port accesses */
    v->run = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    must(v->run != MAP_FAILED);
    set_mode(v);
    return v;
}

int vcpu_fd(const struct vcpu *v)
{
    return v->fd;
}

const struct abi_memory_fault *vcpu_fault(const struct vcpu *v)
{
    return &v->fault;
}

/* Put the vCPU at the beginning of a routine */
static void enter(struct vcpu *v, const char *routine, struct kvm_regs *regs)
{
    regs->rip = CODE_GPA + (routine - guest_code);
    regs->rdx = PORT;
    regs->rflags = 2;
    must(call(v->fd, KVM_SET_REGS, regs) == 0);
}

/* Run until the routine is left, or cannot go on: an errno */
static int leave(struct vcpu *v, struct kvm_regs *regs)
{
    if (call(v->fd, KVM_RUN, NULL)) {
        int error = errno;

        if (v->run->exit_reason != EXIT_MEMORY_FAULT) {
            fail("KVM_RUN: %s with exit reason %u", error_name(error),
                 v->run->exit_reason);
        }
        memcpy(&v->fault, v->run->padding, sizeof(v->fault));
        return error;
    }
    if (v->run->exit_reason != KVM_EXIT_IO || v->run->io.port != PORT) {
        fail("the guest left with exit reason %u", v->run->exit_reason);
    }
    must(call(v->fd, KVM_GET_REGS, regs) == 0);
    return 0;
}

static int run(struct vcpu *v, const char *routine, struct kvm_regs *regs)
{
    enter(v, routine, regs);
    return leave(v, regs);
}

int vcpu_read(struct vcpu *v, u64 gpa, u32 *value)
{
    struct kvm_regs regs = { .rbx = gpa };
    int error = run(v, guest_read, &regs);

    *value = error ? 0 : regs.rax;
    return error;
}

int vcpu_write(struct vcpu *v, u64 gpa, u32 value)
{
    struct kvm_regs regs = { .rbx = gpa, .rax = value };

    return run(v, guest_write, &regs);
}

static volatile u32 *stop_word(const struct vcpu *v)
{
    return (volatile u32 *)(v->code + STOP_GPA - CODE_GPA) + v->index;
}

u32 vcpu_count(struct vcpu *v, u64 gpa, u32 pages)
{
    struct kvm_regs regs = {
        .rbx = gpa, .rcx = pages, .rbp = STOP_GPA + 4 * v->index,
    };

    enter(v, guest_count, &regs);
    while (leave(v, &regs)) {
        v->faults++;
    }
    return regs.rax;
}

u32 vcpu_faults(const struct vcpu *v)
{
    return v->faults;
}

void vcpu_stop(struct vcpu *v)
{
    *stop_word(v) = 1;
}
