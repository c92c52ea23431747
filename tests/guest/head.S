/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The way into 64-bit mode. The boot processor arrives by the PVH entry point
 * (32 bit, flat, no paging, EBX = start info); the others arrive by SIPI in
 * the page that smp.c copies the trampoline to. Both meet in enter_long.
 */
#include "layout.h"

        .section .note.pvh, "a", @note
        .balign 4
        .long   4, 8, 18                /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz  "Xen"
        .quad   pvh_start

        .section .text.head, "ax"
        .code32
        .globl  pvh_start
pvh_start:
        cli
        cld
        lgdt    boot_gdtr
        ljmp    $SEL_CODE32, $1f
1:      mov     $SEL_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        /* The loader clears .bss only the first time, not after a reset. */
        mov     $bss_start, %edi
        mov     $bss_end, %ecx
        sub     %edi, %ecx
        shr     $2, %ecx
        xor     %eax, %eax
        rep stosl
        call    build_tables
        mov     %ebx, %esi
        xor     %edi, %edi
        movl    $1, cpu_tickets
        jmp     enter_long

        /* Identity map of the first 4 GiB with 2 MiB pages. */
build_tables:
        movl    $(boot_pdpt + PTE_RW), boot_pml4
        mov     $(boot_pds + PTE_RW), %eax
        xor     %ecx, %ecx
1:      mov     %eax, boot_pdpt(, %ecx, 8)
        add     $4096, %eax
        inc     %ecx
        cmp     $4, %ecx
        jne     1b
        mov     $PTE_LARGE, %eax
        xor     %ecx, %ecx
2:      mov     %eax, boot_pds(, %ecx, 8)
        add     $0x200000, %eax
        inc     %ecx
        cmp     $2048, %ecx
        jne     2b
        ret

        /* EDI = index of this CPU, ESI = argument; goes on in cpu_main(). */
enter_long:
        mov     %cr4, %eax
        or      $0x20, %eax             /* PAE */
        mov     %eax, %cr4
        mov     $boot_pml4, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x100, %eax            /* EFER.LME */
        wrmsr
        mov     $0x80000011, %eax       /* PG, ET, PE */
        mov     %eax, %cr0
        ljmp    $SEL_CODE64, $long_mode

        .code64
long_mode:
        mov     $SEL_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     %edi, %edi
        mov     %esi, %esi
        lea     1(%rdi), %rax
        imul    $STACK_SIZE, %rax, %rax
        lea     stacks(%rax), %rsp
        xor     %ebp, %ebp
        call    cpu_main
1:      cli
        hlt
        jmp     1b

        .code32
ap_start32:
        mov     $SEL_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $1, %edi
        lock xadd %edi, cpu_tickets
        xor     %esi, %esi
        cmp     $MAX_CPUS, %edi
        jb      enter_long
1:      hlt
        jmp     1b

        .code16
        .globl  ap_trampoline, ap_trampoline_end
ap_trampoline:
        cli
        cld
        xor     %ax, %ax
        mov     %ax, %ds
        lgdtl   AP_PAGE + (ap_gdtr - ap_trampoline)
        mov     %cr0, %eax
        or      $1, %eax
        mov     %eax, %cr0
        ljmpl   $SEL_CODE32, $ap_start32
        .balign 4
ap_gdtr:
        .word   boot_gdt_end - boot_gdt - 1
        .long   boot_gdt
ap_trampoline_end:

        .section .data
        .balign 8
boot_gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      /* SEL_CODE32 */
        .quad   0x00cf93000000ffff      /* SEL_DATA */
        .quad   0x00af9b000000ffff      /* SEL_CODE64 */
boot_gdt_end:
boot_gdtr:
        .word   boot_gdt_end - boot_gdt - 1
        .long   boot_gdt

        .section .bss
        .balign 4096
        .globl  boot_pml4, boot_pdpt, cpu_tickets
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pds:  .skip 4 * 4096
stacks:    .skip MAX_CPUS * STACK_SIZE
cpu_tickets: .long 0

        .section .note.GNU-stack, "", @progbits
