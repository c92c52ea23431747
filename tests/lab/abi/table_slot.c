/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which slots a guest_memfd may be in. Each case has a file of four pages.
 */
#include "cases.h"

#define SLOT_CASE(text, which, vm, bits, ...)                               \
    { .name = "slot: " text, .kernels = which, .type = vm, .flags = bits,   \
      .steps = { __VA_ARGS__ } }

/* A slot that must be refused, of a VM of the ordinary type */
#define REFUSED(text, errnum, ...)                                          \
    SLOT_CASE(text, BOTH, VM_DEFAULT, MAPPED,                               \
              SLOT(0, DATA_GPA, WHOLE, .error = errnum, ##__VA_ARGS__))

#define FIRST  SLOT(0, DATA_GPA, WHOLE)

static const struct abi_case slot[] = {
    SLOT_CASE("all of a file", BOTH, VM_DEFAULT, MAPPED, FIRST),
    SLOT_CASE("all of a file", BOTH, VM_SW_PROTECTED, 0, FIRST),
    SLOT_CASE("of a file with MMAP", BOTH, VM_SW_PROTECTED, GMEM_MMAP, FIRST),
    SLOT_CASE("of a shared file", ON, VM_SW_PROTECTED, MAPPED, FIRST),
    SLOT_CASE("of a file without MMAP", BOTH, VM_DEFAULT, GMEM_SHARED, FIRST),
    SLOT_CASE("beside ordinary memory", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, WHOLE, .address = AT_PLAIN)),
    SLOT_CASE("without host memory", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, WHOLE, .address = AT_NULL)),
    SLOT_CASE("the mapping alone", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, WHOLE, .flags = 0)),
    SLOT_CASE("the mapping alone, read-only", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, WHOLE, .flags = SLOT_READONLY)),
    SLOT_CASE("the mapping alone, logged", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, WHOLE, .flags = SLOT_LOG)),
    SLOT_CASE("the mapping alone, twice", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, WHOLE, .flags = 0),
              SLOT(1, DATA_GPA + GIB, WHOLE, .flags = 0)),
    SLOT_CASE("the mapping beside the file", BOTH, VM_DEFAULT, MAPPED,
              FIRST, SLOT(1, DATA_GPA + GIB, WHOLE, .flags = 0)),
    SLOT_CASE("the last page", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, PAGE, .at = 3 * PAGE)),
    SLOT_CASE("two halves", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, 2 * PAGE),
              SLOT(1, DATA_GPA + 2 * PAGE, 2 * PAGE, .at = 2 * PAGE)),
    SLOT_CASE("two files", BOTH, VM_DEFAULT, MAPPED, FIRST,
              SLOT(1, DATA_GPA + GIB, WHOLE, .on = ON_SECOND)),
    SLOT_CASE("through a duplicate", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, WHOLE, .on = ON_DUP)),

    REFUSED("read-only", EINVAL, .flags = SLOT_GMEM | SLOT_READONLY),
    REFUSED("logged", EINVAL, .flags = SLOT_GMEM | SLOT_LOG),
    REFUSED("read-only and logged", EINVAL,
            .flags = SLOT_GMEM | SLOT_LOG | SLOT_READONLY),
    REFUSED("unknown flag", EINVAL, .flags = SLOT_GMEM | 1u << 31),
    REFUSED("any unknown flag", EINVAL,
            .each_flag = ~0u & ~(SLOT_GMEM | SLOT_LOG | SLOT_READONLY)),
    REFUSED("offset within a page", EINVAL, .at = 1),
    REFUSED("offset at the end", EINVAL, .at = 4 * PAGE),
    REFUSED("offset beyond the end", EINVAL, .at = GIB),
    REFUSED("more than is left", EINVAL, .at = PAGE),
    REFUSED("an offset that wraps", EINVAL, .at = -PAGE),
    REFUSED("a negative offset", EINVAL, .at = 1ull << 63),
    REFUSED("the greatest offset", EINVAL, .at = (1ull << 63) - PAGE),
    REFUSED("host memory within a page", EINVAL, .address = AT_ODD),
    REFUSED("no descriptor", EBADF, .on = ON_NOTHING),
    REFUSED("a memfd", EINVAL, .on = ON_MEMFD),
    REFUSED("a pipe", EINVAL, .on = ON_PIPE),
    REFUSED("the VM itself", EINVAL, .on = ON_VM),
    REFUSED("another VM's file", EINVAL, .on = ON_FOREIGN),
    SLOT_CASE("guest address within a page", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA + 1, WHOLE, .error = EINVAL)),
    SLOT_CASE("half a page", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, PAGE / 2, .error = EINVAL)),
    SLOT_CASE("bytes more than a page", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, PAGE + 8, .error = EINVAL)),
    SLOT_CASE("a byte too many pages", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, 5 * PAGE, .error = EINVAL)),
    SLOT_CASE("a slot that is not there is deleted", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, 0, .error = EINVAL)),

    SLOT_CASE("a range bound twice", BOTH, VM_DEFAULT, MAPPED, FIRST,
              SLOT(1, DATA_GPA + GIB, WHOLE, .error = EEXIST)),
    SLOT_CASE("a part bound twice", BOTH, VM_DEFAULT, MAPPED, FIRST,
              SLOT(1, DATA_GPA + GIB, PAGE, .at = 3 * PAGE,
                   .error = EEXIST)),
    SLOT_CASE("overlapping parts", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, 3 * PAGE),
              SLOT(1, DATA_GPA + GIB, 2 * PAGE, .at = 2 * PAGE,
                   .error = EEXIST),
              SLOT(1, DATA_GPA + GIB, PAGE, .at = 3 * PAGE)),
    SLOT_CASE("bound twice through a duplicate", BOTH, VM_DEFAULT, MAPPED,
              FIRST,
              SLOT(1, DATA_GPA + GIB, WHOLE, .on = ON_DUP, .error = EEXIST)),
    SLOT_CASE("bound twice without MMAP", BOTH, VM_SW_PROTECTED, 0, FIRST,
              SLOT(1, DATA_GPA + GIB, WHOLE, .error = EEXIST)),
    SLOT_CASE("over another slot", BOTH, VM_DEFAULT, MAPPED, FIRST,
              SLOT(1, DATA_GPA + PAGE, WHOLE, .on = ON_SECOND,
                   .error = EEXIST)),
    SLOT_CASE("bound again after it was deleted", BOTH, VM_DEFAULT, MAPPED,
              FIRST, SLOT(0, 0, 0, .flags = 0),
              SLOT(1, DATA_GPA + GIB, WHOLE)),

    SLOT_CASE("the same again", BOTH, VM_DEFAULT, MAPPED, FIRST,
              SLOT(0, DATA_GPA, WHOLE, .error = EINVAL)),
    SLOT_CASE("moved", BOTH, VM_DEFAULT, MAPPED, FIRST,
              SLOT(0, DATA_GPA + GIB, WHOLE, .error = EINVAL)),
    SLOT_CASE("made ordinary", BOTH, VM_DEFAULT, MAPPED, FIRST,
              SLOT(0, DATA_GPA, WHOLE, .flags = 0, .error = EINVAL)),
    SLOT_CASE("logging switched on", BOTH, VM_DEFAULT, MAPPED, FIRST,
              SLOT(0, DATA_GPA, WHOLE, .flags = SLOT_LOG, .error = EINVAL)),
    SLOT_CASE("made shorter", BOTH, VM_SW_PROTECTED, 0, FIRST,
              SLOT(0, DATA_GPA, PAGE, .error = EINVAL)),
    SLOT_CASE("an ordinary one given a file", BOTH, VM_DEFAULT, MAPPED,
              SLOT(0, DATA_GPA, WHOLE, .flags = 0),
              SLOT(0, DATA_GPA, WHOLE, .error = EINVAL)),
    SLOT_CASE("deleted", BOTH, VM_SW_PROTECTED, 0, FIRST,
              SLOT(0, 0, 0, .flags = 0), FIRST),
    SLOT_CASE("deleted with the flag", BOTH, VM_SW_PROTECTED, 0, FIRST,
              SLOT(0, 0, 0), FIRST),
    SLOT_CASE("deleted after the file was closed", BOTH, VM_SW_PROTECTED, 0,
              FIRST, CLOSE(ON_GMEM),
              SLOT(0, 0, 0, .flags = 0, .on = ON_NOTHING)),
    SLOT_CASE("of a file that was closed", BOTH, VM_DEFAULT, MAPPED,
              CLOSE(ON_GMEM), SLOT(0, DATA_GPA, WHOLE, .error = EBADF)),
};

TABLE("slot", slot);
