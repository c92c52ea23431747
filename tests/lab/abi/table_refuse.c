/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What KVM_SET_MEMORY_ATTRIBUTES2 refuses, and which refusal comes first when
 * there are two reasons: absent, no argument, wrong argument, nothing to do,
 * busy. EINVAL is one errno for many reasons, so that among them no order can
 * be seen.
 */
#define _GNU_SOURCE
#include "cases.h"
#include <fcntl.h>

#define STATE  "SsPp"

/* The call must fail and change nothing: each page's state and content */
#define REFUSED(text, errnum, ...)                                          \
    { .name = "refused: " text, .kernels = ON, .type = VM_SW_PROTECTED,     \
      .flags = MAPPED, .pages = STATE,                                      \
      .steps = { { .call = CALL_CONVERT, .size = WHOLE, .error = errnum,    \
                   ##__VA_ARGS__ } }, .after = STATE }
#define WRONG(text, ...) \
    REFUSED(text, EINVAL, .attributes = PRIVATE, ##__VA_ARGS__)
#define RESERVED(n) \
    WRONG("reserved[" #n "]", .index = (n) + 1)

/* The same of a page that has the state already: no excuse */
#define SAME_STATE(text, ...)                                               \
    { .name = "refused although nothing is to do: " text, .kernels = ON,    \
      .type = VM_SW_PROTECTED, .flags = MAPPED, .pages = STATE,             \
      .steps = { { .call = CALL_CONVERT, .at = 2 * PAGE, .size = 2 * PAGE,  \
                   .attributes = PRIVATE, .error = EINVAL,                  \
                   ##__VA_ARGS__ } }, .after = STATE }

/* The same while a page is busy: the argument is looked at first */
#define WHILE_BUSY(text, errnum, ...)                                       \
    { .name = "refused before busy: " text, .kernels = ON,                  \
      .type = VM_SW_PROTECTED, .flags = MAPPED, .pages = "SSSS",            \
      .steps = { HOLD(HOLD_SPLICE, 1),                                      \
                 { .call = CALL_CONVERT, .size = WHOLE,                     \
                   .attributes = PRIVATE, .error = errnum, ##__VA_ARGS__ }, \
                 RELEASE }, .after = "SSSS" }

/* A VM that has no private memory */
#define NO_PRIVATE(text, errnum, ...)                                       \
    { .name = "refused: " text, .kernels = ON, .type = VM_DEFAULT,          \
      .flags = MAPPED, .pages = "Ss",                                       \
      .steps = { { .call = CALL_CONVERT, .size = WHOLE, .error = errnum,    \
                   ##__VA_ARGS__ } }, .after = "Ss" }

/* Where the ioctl is switched off, it is not there at all */
#define ABSENT(text, vm, ...)                                               \
    { .name = "absent: " text, .kernels = OFF, .type = vm,                  \
      .steps = { { .call = CALL_CONVERT, .size = WHOLE, .error = ENOTTY,    \
                   ##__VA_ARGS__ } } }

#define NUMBER(text, object, which, errnum, or_else)                        \
    { .name = "number: " text, .kernels = ON, .type = VM_SW_PROTECTED,      \
      .flags = MAPPED, .pages = STATE,                                      \
      .steps = { { .call = CALL_IOCTL, .on = object, .number = which,       \
                   .error = errnum, .or = or_else } }, .after = STATE }

static const struct abi_case refuse[] = {
    ABSENT("of a VM with private memory", VM_SW_PROTECTED,
           .attributes = PRIVATE),
    ABSENT("to shared", VM_SW_PROTECTED),
    ABSENT("the probe with size 0", VM_SW_PROTECTED, .size = 0),
    ABSENT("with flags", VM_SW_PROTECTED, .flags = 1),
    ABSENT("without an argument", VM_SW_PROTECTED, .address = AT_HOLE),
    ABSENT("of an ordinary VM", VM_DEFAULT, .attributes = PRIVATE),

    REFUSED("a VM", ENOTTY, .on = ON_VM, .attributes = PRIVATE),
    REFUSED("a memfd", ENOTTY, .on = ON_MEMFD, .attributes = PRIVATE),
    REFUSED("a pipe", ENOTTY, .on = ON_PIPE, .attributes = PRIVATE),
    REFUSED("an eventfd", ENOTTY, .on = ON_EVENTFD, .attributes = PRIVATE),
    REFUSED("no descriptor", EBADF, .on = ON_NOTHING),
    REFUSED("a memfd, before the argument", ENOTTY, .on = ON_MEMFD,
            .address = AT_HOLE),
    REFUSED("a VM, before the argument", ENOTTY, .on = ON_VM,
            .address = AT_HOLE),
    NUMBER("KVM_SET_MEMORY_ATTRIBUTES of the file", ON_GMEM,
           ABI_SET_MEMORY_ATTRIBUTES, ENOTTY, 0),
    NUMBER("KVM_CREATE_GUEST_MEMFD of the file", ON_GMEM,
           ABI_CREATE_GUEST_MEMFD, ENOTTY, 0),
    NUMBER("KVM_GET_API_VERSION of the file", ON_GMEM, KVM_GET_API_VERSION,
           ENOTTY, 0),
    NUMBER("a shorter structure", ON_GMEM,
           ABI_SET_MEMORY_ATTRIBUTES2 - (8 << 16), ENOTTY, 0),
    NUMBER("a longer structure", ON_GMEM,
           ABI_SET_MEMORY_ATTRIBUTES2 + (8 << 16), ENOTTY, 0),
    NUMBER("the structure going in only", ON_GMEM,
           ABI_SET_MEMORY_ATTRIBUTES2 & ~(1u << 31), ENOTTY, 0),
    NUMBER("KVM_SET_MEMORY_ATTRIBUTES of the VM", ON_VM,
           ABI_SET_MEMORY_ATTRIBUTES, ENOTTY, EINVAL),

    REFUSED("argument at 0", EFAULT, .address = AT_NULL),
    REFUSED("argument where nothing is", EFAULT, .address = AT_HOLE),
    REFUSED("argument half there", EFAULT, .address = AT_EDGE),
    REFUSED("argument half there, its flags wrong", EFAULT,
            .address = AT_EDGE, .flags = 1),
    REFUSED("argument half there, size 0", EFAULT, .address = AT_EDGE,
            .size = 0),
    WHILE_BUSY("argument half there", EFAULT, .address = AT_EDGE),
    WHILE_BUSY("argument where error_offset cannot be written", EFAULT,
               .address = AT_READ_ONLY),

    WRONG("flag bit 0", .flags = 1),
    WRONG("flag bit 1", .flags = 1 << 1),
    WRONG("flag bit 2", .flags = 1 << 2),
    WRONG("flag bit 3", .flags = 1 << 3),
    WRONG("flag bit 31", .flags = 1ull << 31),
    WRONG("flag bit 32", .flags = 1ull << 32),
    WRONG("flag bit 63", .flags = 1ull << 63),
    WRONG("any flag", .each_flag = ~0ull),
    RESERVED(0), RESERVED(1), RESERVED(2), RESERVED(3), RESERVED(4),
    RESERVED(5), RESERVED(6), RESERVED(7), RESERVED(8), RESERVED(9),
    RESERVED(10),
    REFUSED("attribute bit 0", EINVAL, .attributes = 1),
    REFUSED("attribute bit 1", EINVAL, .attributes = 1 << 1),
    REFUSED("attribute bit 2", EINVAL, .attributes = 1 << 2),
    REFUSED("attribute bit 4", EINVAL, .attributes = 1 << 4),
    REFUSED("attribute bit 63", EINVAL, .attributes = 1ull << 63),
    REFUSED("any attribute but one", EINVAL, .each_attribute = ~PRIVATE),
    WRONG("any attribute beside it", .each_attribute = ~PRIVATE),
    REFUSED("private and readable", EINVAL, .attributes = PRIVATE | 1),
    REFUSED("all attributes", EINVAL, .attributes = ~0ull),
    WRONG("size 0", .size = 0),
    WRONG("size 0 at the end", .at = 4 * PAGE, .size = 0),
    REFUSED("size 0, to shared", EINVAL, .size = 0),
    WRONG("size 1", .size = 1),
    WRONG("a byte less than a page", .size = PAGE - 1),
    WRONG("a byte more than a page", .size = PAGE + 1),
    WRONG("offset 1", .at = 1, .size = PAGE),
    WRONG("offset a byte before a page", .at = PAGE - 1, .size = PAGE),
    WRONG("offset and size both odd", .at = 512, .size = PAGE - 512),
    WRONG("sum wraps to the first page", .at = -PAGE, .size = 2 * PAGE),
    WRONG("sum wraps to 0", .at = -PAGE, .size = PAGE),
    WRONG("a size that is negative", .at = PAGE, .size = -PAGE),
    WRONG("halves of all there is", .at = 1ull << 63, .size = 1ull << 63),
    WRONG("sum wraps, size not", .at = PAGE, .size = ~0ull - PAGE),
    WRONG("behind the file", .at = 4 * PAGE, .size = PAGE),
    WRONG("far behind the file", .at = TIB, .size = PAGE),
    WRONG("beyond what a file can be", .at = 1ull << 63, .size = PAGE),
    WRONG("a page too many", .size = 5 * PAGE),
    WRONG("across the end", .at = 3 * PAGE, .size = 2 * PAGE),
    WRONG("much too many", .size = TIB),
    REFUSED("behind the file, to shared", EINVAL, .at = 4 * PAGE,
            .size = PAGE),

    NO_PRIVATE("an ordinary VM, to private", EINVAL, .attributes = PRIVATE),
    NO_PRIVATE("an ordinary VM, to shared", EINVAL),
    NO_PRIVATE("an ordinary VM, size 0", EINVAL, .size = 0),
    NO_PRIVATE("an ordinary VM, no argument", EFAULT, .address = AT_HOLE),

    SAME_STATE("flags", .flags = 1),
    SAME_STATE("reserved[0]", .index = 1),
    SAME_STATE("reserved[10]", .index = 11),
    SAME_STATE("size", .size = PAGE + 1),
    SAME_STATE("offset", .at = 2 * PAGE + 1, .size = PAGE),
    SAME_STATE("the end", .size = 3 * PAGE),

    WHILE_BUSY("flags", EINVAL, .flags = 1),
    WHILE_BUSY("reserved[0]", EINVAL, .index = 1),
    WHILE_BUSY("reserved[10]", EINVAL, .index = 11),
    WHILE_BUSY("unknown attribute", EINVAL, .attributes = PRIVATE | 1),
    WHILE_BUSY("size 0", EINVAL, .size = 0),
    WHILE_BUSY("offset", EINVAL, .at = 1),
    WHILE_BUSY("the end", EINVAL, .size = 5 * PAGE),
    WHILE_BUSY("overflow", EINVAL, .at = PAGE, .size = -PAGE),
};

TABLE("refuse", refuse);
