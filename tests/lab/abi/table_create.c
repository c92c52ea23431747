/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Capabilities, and which guest_memfd may be made.
 */
#include "cases.h"

#define CREATE_CASE(text, which, vm, bytes, bits, errnum)                   \
    { .name = "create: " text, .kernels = which, .type = vm,                \
      .steps = { { .call = CALL_CREATE, .on = ON_VM, .size = bytes,         \
                   .flags = bits, .error = errnum } } }

/* Bits that no kernel knows yet; bit 2 is what proposals use */
#define UNKNOWN_BITS(vm)                                                    \
    CREATE_CASE("flag bit 2", BOTH, vm, PAGE, 1 << 2, EINVAL),              \
    CREATE_CASE("flag bit 2 beside MMAP", BOTH, vm, PAGE, 5, EINVAL),       \
    CREATE_CASE("flag bit 3", BOTH, vm, PAGE, 1 << 3, EINVAL),              \
    CREATE_CASE("flag bit 31", BOTH, vm, PAGE, 1ull << 31, EINVAL),         \
    CREATE_CASE("flag bit 32", BOTH, vm, PAGE, 1ull << 32, EINVAL),         \
    CREATE_CASE("flag bit 63", BOTH, vm, PAGE, 1ull << 63, EINVAL),         \
    CREATE_CASE("all flags", BOTH, vm, PAGE, ~0ull, EINVAL)

static const struct abi_case create[] = {
    CREATE_CASE("no flags", BOTH, VM_DEFAULT, PAGE, 0, 0),
    CREATE_CASE("MMAP", BOTH, VM_DEFAULT, PAGE, GMEM_MMAP, 0),
    CREATE_CASE("INIT_SHARED", BOTH, VM_DEFAULT, PAGE, GMEM_SHARED, 0),
    CREATE_CASE("MMAP and INIT_SHARED", BOTH, VM_DEFAULT, PAGE, MAPPED, 0),
    CREATE_CASE("no flags", BOTH, VM_SW_PROTECTED, PAGE, 0, 0),
    CREATE_CASE("MMAP", BOTH, VM_SW_PROTECTED, PAGE, GMEM_MMAP, 0),
    CREATE_CASE("INIT_SHARED", ON, VM_SW_PROTECTED, PAGE, GMEM_SHARED, 0),
    CREATE_CASE("MMAP and INIT_SHARED", ON, VM_SW_PROTECTED, PAGE, MAPPED, 0),
    CREATE_CASE("INIT_SHARED", OFF, VM_SW_PROTECTED, PAGE, GMEM_SHARED,
                EINVAL),
    CREATE_CASE("MMAP and INIT_SHARED", OFF, VM_SW_PROTECTED, PAGE, MAPPED,
                EINVAL),
    UNKNOWN_BITS(VM_DEFAULT),
    UNKNOWN_BITS(VM_SW_PROTECTED),

    CREATE_CASE("no size", BOTH, VM_DEFAULT, 0, 0, EINVAL),
    CREATE_CASE("1 byte", BOTH, VM_DEFAULT, 1, 0, EINVAL),
    CREATE_CASE("a byte less than a page", BOTH, VM_DEFAULT, PAGE - 1, 0,
                EINVAL),
    CREATE_CASE("a byte more than a page", BOTH, VM_DEFAULT, PAGE + 1, 0,
                EINVAL),
    CREATE_CASE("half a page more", BOTH, VM_DEFAULT, 3 * PAGE / 2, MAPPED,
                EINVAL),
    CREATE_CASE("a negative size", BOTH, VM_DEFAULT, -PAGE, 0, EINVAL),
    CREATE_CASE("the most negative size", BOTH, VM_DEFAULT, 1ull << 63, 0,
                EINVAL),
    CREATE_CASE("all bits of size", BOTH, VM_DEFAULT, ~0ull, 0, EINVAL),
    CREATE_CASE("1 GiB", BOTH, VM_DEFAULT, GIB, MAPPED, 0),
    CREATE_CASE("1 TiB", BOTH, VM_DEFAULT, TIB, MAPPED, 0),
    CREATE_CASE("no size", BOTH, VM_SW_PROTECTED, 0, 0, EINVAL),
    CREATE_CASE("a negative size", BOTH, VM_SW_PROTECTED, -PAGE, GMEM_MMAP,
                EINVAL),
    CREATE_CASE("1 TiB", BOTH, VM_SW_PROTECTED, TIB, GMEM_MMAP, 0),
    CREATE_CASE("1 TiB, shared", ON, VM_SW_PROTECTED, TIB, MAPPED, 0),

    { .name = "create: any other flag", .kernels = BOTH, .type = VM_DEFAULT,
      .steps = { { .call = CALL_CREATE, .on = ON_VM, .size = PAGE,
                   .each_flag = ~MAPPED, .error = EINVAL } } },
    { .name = "create: no argument", .kernels = BOTH, .type = VM_DEFAULT,
      .steps = { { .call = CALL_CREATE, .on = ON_VM, .size = PAGE,
                   .address = AT_HOLE, .error = EFAULT } } },
    { .name = "create: half an argument", .kernels = BOTH, .type = VM_DEFAULT,
      .steps = { { .call = CALL_CREATE, .on = ON_VM, .size = PAGE,
                   .address = AT_EDGE, .error = EFAULT } } },
};

#define CAPABILITY_CASE(text, which, vm, object, cap, answer)               \
    { .name = "capability: " text, .kernels = which, .type = vm,            \
      .steps = { CHECK(object, cap, answer) } }

static const struct abi_case capability[] = {
    CAPABILITY_CASE("233, attributes of the VM", ON, VM_SW_PROTECTED, ON_VM,
                    CAP_MEMORY_ATTRIBUTES, 0),
    CAPABILITY_CASE("233, attributes of the VM", OFF, VM_SW_PROTECTED, ON_VM,
                    CAP_MEMORY_ATTRIBUTES, PRIVATE),
    CAPABILITY_CASE("233, attributes of the VM", BOTH, VM_DEFAULT, ON_VM,
                    CAP_MEMORY_ATTRIBUTES, 0),
    CAPABILITY_CASE("233 of /dev/kvm", ON, VM_SW_PROTECTED, ON_KVM,
                    CAP_MEMORY_ATTRIBUTES, 0),
    CAPABILITY_CASE("233 of /dev/kvm", OFF, VM_SW_PROTECTED, ON_KVM,
                    CAP_MEMORY_ATTRIBUTES, PRIVATE),
    CAPABILITY_CASE("252, attributes of the file", ON, VM_SW_PROTECTED, ON_VM,
                    CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, PRIVATE),
    CAPABILITY_CASE("252, attributes of the file", ON, VM_DEFAULT, ON_VM,
                    CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, 0),
    CAPABILITY_CASE("252, attributes of the file", OFF, VM_SW_PROTECTED,
                    ON_VM, CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, 0),
    CAPABILITY_CASE("252, attributes of the file", OFF, VM_DEFAULT, ON_VM,
                    CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, 0),
    CAPABILITY_CASE("244, flags", ON, VM_SW_PROTECTED, ON_VM,
                    CAP_GUEST_MEMFD_FLAGS, MAPPED),
    CAPABILITY_CASE("244, flags", OFF, VM_SW_PROTECTED, ON_VM,
                    CAP_GUEST_MEMFD_FLAGS, GMEM_MMAP),
    CAPABILITY_CASE("244, flags", BOTH, VM_DEFAULT, ON_VM,
                    CAP_GUEST_MEMFD_FLAGS, MAPPED),
    CAPABILITY_CASE("244 of /dev/kvm", BOTH, VM_DEFAULT, ON_KVM,
                    CAP_GUEST_MEMFD_FLAGS, MAPPED),
    CAPABILITY_CASE("234, guest_memfd", BOTH, VM_DEFAULT, ON_VM,
                    CAP_GUEST_MEMFD, 1),
    CAPABILITY_CASE("234, guest_memfd", BOTH, VM_SW_PROTECTED, ON_VM,
                    CAP_GUEST_MEMFD, 1),
    CAPABILITY_CASE("231, slots with a file", BOTH, VM_DEFAULT, ON_VM,
                    CAP_USER_MEMORY2, 1),
    CAPABILITY_CASE("232, memory faults", BOTH, VM_DEFAULT, ON_VM,
                    CAP_MEMORY_FAULT_INFO, 1),
    CAPABILITY_CASE("236, pre-faults", BOTH, VM_DEFAULT, ON_VM,
                    CAP_PRE_FAULT_MEMORY, 1),
    CAPABILITY_CASE("236, pre-faults", BOTH, VM_SW_PROTECTED, ON_VM,
                    CAP_PRE_FAULT_MEMORY, 1),
};

TABLE("create", create);
TABLE("capability", capability);
