/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Entries for the 32 exceptions and the wake-up interrupt, and guarded():
 * a call that comes back with the vector when its callee faults.
 */
#include "layout.h"

        .text
        /* struct frame in cpu.h is this stack, lowest address first. */
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
vector\n:
        .if     !(\n == 8 || (\n >= 10 && \n <= 14) || \n == 17 || \n == 21 || \n == 29 || \n == 30)
        push    $0
        .endif
        push    $\n
        jmp     exception_common
        .endr

exception_common:
        push    %rax
        push    %rcx
        push    %rdx
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        cld
        mov     %rsp, %rdi
        call    exception
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rdx
        pop     %rcx
        pop     %rax
        add     $16, %rsp
        iretq

        .globl  wake_vector, watchdog_vector, spurious_vector
watchdog_vector:
        push    $0
        push    $VECTOR_WATCHDOG
        jmp     exception_common

wake_vector:
        push    %rax
        mov     $0xfee000b0, %eax       /* end of interrupt */
        movl    $0, (%rax)
        pop     %rax
spurious_vector:                        /* wants no end of interrupt */
        iretq

        /* int guarded(void (*fn)(void *), void *arg, uint64_t *slot) */
        .globl  guarded, guarded_fault
guarded:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        push    %rdx
        push    (%rdx)
        mov     %rsp, (%rdx)
        sub     $8, %rsp
        mov     %rdi, %rax
        mov     %rsi, %rdi
        call    *%rax
        add     $8, %rsp
        xor     %eax, %eax
guarded_fault:                          /* RSP = *slot, EAX = vector + 1 */
        pop     %rcx
        pop     %rdx
        mov     %rcx, (%rdx)
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret

        .section .rodata
        .balign 8
        .globl  vector_table
vector_table:
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        .quad   vector\n
        .endr

        .section .note.GNU-stack, "", @progbits
