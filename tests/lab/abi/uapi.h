/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The numbers and structures of guest_memfd that a distribution's
 * <linux/kvm.h> may be too old to have. They are the kernel's interface, and
 * what these tests hold it to, so they stand here on their own: a header that
 * changed would otherwise change the test with it.
 */
#ifndef ABI_UAPI_H
#define ABI_UAPI_H

#include <linux/kvm.h>
#include <stdint.h>

typedef uint64_t u64;
typedef uint32_t u32;

#define PAGE 4096ull
#define MIB  (1ull << 20)
#define GIB  (1ull << 30)
#define TIB  (1ull << 40)

enum {
    VM_DEFAULT = 0,
    VM_SW_PROTECTED = 1,
};

enum {
    CAP_USER_MEMORY2 = 231,
    CAP_MEMORY_FAULT_INFO = 232,
    CAP_MEMORY_ATTRIBUTES = 233,
    CAP_GUEST_MEMFD = 234,
    CAP_VM_TYPES = 235,
    CAP_PRE_FAULT_MEMORY = 236,
    CAP_GUEST_MEMFD_FLAGS = 244,
    CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES = 252,
};

#define ABI_SET_USER_MEMORY_REGION2   0x40A0AE49u
#define ABI_SET_MEMORY_ATTRIBUTES     0x4020AED2u   /* of the VM, until 7.3 */
#define ABI_SET_MEMORY_ATTRIBUTES2    0xC080AED2u   /* of the gmem */
#define ABI_CREATE_GUEST_MEMFD        0xC040AED4u
#define ABI_PRE_FAULT_MEMORY          0xC040AED5u

#define PRIVATE        (1ull << 3)  /* attribute, and flag of a memory fault */
#define GMEM_MMAP      (1ull << 0)
#define GMEM_SHARED    (1ull << 1)  /* INIT_SHARED */
#define SLOT_LOG       (1u << 0)
#define SLOT_READONLY  (1u << 1)
#define SLOT_GMEM      (1u << 2)
#define EXIT_MEMORY_FAULT 39

struct abi_region2 {
    u32 slot, flags;
    u64 gpa, size, host, gmem_offset;
    u32 gmem, pad1;
    u64 pad2[14];
};

struct abi_attributes {
    u64 address, size, attributes, flags;
};

struct abi_attributes2 {
    u64 offset, size, attributes, flags, error_offset, reserved[11];
};

struct abi_create_gmem {
    u64 size, flags, reserved[6];
};

struct abi_pre_fault {
    u64 gpa, size, flags, padding[5];
};

/* What struct kvm_run carries when exit_reason is EXIT_MEMORY_FAULT */
struct abi_memory_fault {
    u64 flags, gpa, size;
};

#define ABI_SIZE(request) (((request) >> 16) & 0x3fff)
_Static_assert(sizeof(struct abi_region2) ==
               ABI_SIZE(ABI_SET_USER_MEMORY_REGION2), "region");
_Static_assert(sizeof(struct abi_attributes) ==
               ABI_SIZE(ABI_SET_MEMORY_ATTRIBUTES), "attributes");
_Static_assert(sizeof(struct abi_attributes2) ==
               ABI_SIZE(ABI_SET_MEMORY_ATTRIBUTES2), "attributes2");
_Static_assert(sizeof(struct abi_create_gmem) ==
               ABI_SIZE(ABI_CREATE_GUEST_MEMFD), "create");
_Static_assert(sizeof(struct abi_pre_fault) ==
               ABI_SIZE(ABI_PRE_FAULT_MEMORY), "pre-fault");

#endif
