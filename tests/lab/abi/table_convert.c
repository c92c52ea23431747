/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Conversions that succeed, and what memory is like afterwards: for the
 * process that maps it, and for the kernel on that process' behalf.
 */
#define _GNU_SOURCE
#include "cases.h"
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>

#define CASE(text, before, then, ...)                                       \
    { .name = "convert: " text, .kernels = ON, .type = VM_SW_PROTECTED,     \
      .flags = MAPPED, .pages = before, .steps = { __VA_ARGS__ },           \
      .after = then }

/* A file that starts private */
#define PRIVATE_CASE(text, before, then, ...)                               \
    { .name = "convert a private file: " text, .kernels = ON,               \
      .type = VM_SW_PROTECTED, .flags = GMEM_MMAP, .pages = before,         \
      .steps = { __VA_ARGS__ }, .after = then }

/* A file that cannot be mapped: nobody looks, but it must work */
#define UNMAPPED_CASE(text, bits, ...)                                      \
    { .name = "convert an unmapped file: " text, .kernels = ON,             \
      .type = VM_SW_PROTECTED, .flags = bits, .steps = { __VA_ARGS__ } }

/* Page 0 shared, page 1 private; the kernel gets at them in some way */
#define ACCESS_CASE(text, way, errnum)                                      \
    { .name = "access: " text, .kernels = ON, .type = VM_SW_PROTECTED,      \
      .flags = MAPPED, .pages = "SP",                                       \
      .steps = { PAGE_CALL(way, 0), PAGE_CALL(way, 1, .error = errnum),     \
                 PAGE_CALL(way, 0) }, .after = "SP" }
#define HOLD_CASE(text, kind, errnum)                                       \
    { .name = "access: " text, .kernels = ON, .type = VM_SW_PROTECTED,      \
      .flags = MAPPED, .pages = "SP",                                       \
      .steps = { HOLD(kind, 0), HOLD(kind, 1, .error = errnum), RELEASE },  \
      .after = "SP" }

static const struct abi_case conv[] = {
    CASE("one page", "SSSS", "SPSS", CONVERT(1, 1, PRIVATE)),
    CASE("the first page", "SSSS", "PSSS", CONVERT(0, 1, PRIVATE)),
    CASE("the last page", "SSSS", "SSSP", CONVERT(3, 1, PRIVATE)),
    CASE("two pages in the middle", "SSSS", "SPPS", CONVERT(1, 2, PRIVATE)),
    CASE("the whole file", "SSSS", "PPPP", CONVERT(0, 4, PRIVATE)),
    CASE("a file of one page", "S", "P", CONVERT(0, 1, PRIVATE)),
    CASE("one page back", "PPPP", "PPSP", CONVERT(2, 1, 0)),
    CASE("the whole file back", "PPPP", "SSSS", CONVERT(0, 4, 0)),
    CASE("there and back", "SSSS", "SSSS", CONVERT(0, 4, PRIVATE),
         CONVERT(0, 4, 0)),
    CASE("there and back, twice", "SsSs", "SsSs", CONVERT(0, 4, PRIVATE),
         CONVERT(0, 4, 0), CONVERT(1, 2, PRIVATE), CONVERT(0, 3, 0)),
    CASE("page by page", "SSSS", "PPPP", CONVERT(2, 1, PRIVATE),
         CONVERT(0, 1, PRIVATE), CONVERT(3, 1, PRIVATE),
         CONVERT(1, 1, PRIVATE)),
    CASE("every other page", "SSSSSSSS", "PSPSPSPS", CONVERT(0, 1, PRIVATE),
         CONVERT(2, 1, PRIVATE), CONVERT(4, 1, PRIVATE),
         CONVERT(6, 1, PRIVATE)),
    CASE("a hole in what is private", "PPPPPP", "PPSSPP", CONVERT(2, 2, 0)),

    CASE("what is private already", "PPSS", "PPSS", CONVERT(0, 2, PRIVATE)),
    CASE("what is shared already", "PPSS", "PPSS", CONVERT(2, 2, 0)),
    CASE("twice the same", "SSSS", "SPPS", CONVERT(1, 2, PRIVATE),
         CONVERT(1, 2, PRIVATE)),
    CASE("what is private in part", "SPSP", "PPPP", CONVERT(0, 4, PRIVATE)),
    CASE("what is shared in part", "SPSP", "SSSS", CONVERT(0, 4, 0)),
    CASE("part of a mixed range", "SPSPSP", "SPPPSP",
         CONVERT(1, 3, PRIVATE)),
    CASE("overlapping ranges", "SSSSSS", "PPPPPS", CONVERT(0, 3, PRIVATE),
         CONVERT(2, 3, PRIVATE)),
    CASE("overlapping ranges back", "PPPPPP", "SSSSSP", CONVERT(0, 3, 0),
         CONVERT(2, 3, 0)),

    CASE("pages never touched", "ssss", "pppp", CONVERT(0, 4, PRIVATE)),
    CASE("some touched, some not", "SssS", "PppP", CONVERT(0, 4, PRIVATE)),
    CASE("pages never touched, there and back", "ssss", "ssss",
         CONVERT(0, 4, PRIVATE), CONVERT(0, 4, 0)),
    CASE("allocated, never mapped", "ssss", "spps", ALLOCATE(0, 4),
         CONVERT(1, 2, PRIVATE)),
    CASE("allocated while private", "ssss", "pppp", CONVERT(0, 4, PRIVATE),
         ALLOCATE(0, 4)),
    CASE("refaulted before and after", "SSSS", "SPSS", TOUCH(1, .flags = 1),
         CONVERT(1, 1, PRIVATE), TOUCH(0, .flags = 1),
         TOUCH(1, .error = TOUCH_SIGBUS)),

    CASE("a hole is punched in private memory", "PPPP", "PppP", PUNCH(1, 2)),
    CASE("a hole is punched in shared memory", "SSSS", "SssS", PUNCH(1, 2)),
    CASE("all is punched, states stay", "SPSP", "spsp", PUNCH(0, 4)),
    CASE("punched, then private", "SSSS", "SppS", PUNCH(1, 2),
         CONVERT(1, 2, PRIVATE)),
    CASE("private, then punched, then shared", "SSSS", "SssS",
         CONVERT(1, 2, PRIVATE), PUNCH(1, 2), CONVERT(1, 2, 0)),
    CASE("punched while half is private", "SSPP", "SspP", PUNCH(1, 2)),

    CASE("through a duplicate", "SSSS", "SPPS",
         CONVERT(1, 2, PRIVATE, .on = ON_DUP)),
    CASE("through a duplicate, the first one closed", "SSSS", "SPPS",
         CONVERT(0, 4, PRIVATE, .on = ON_DUP), CLOSE(ON_GMEM),
         CONVERT(0, 1, 0, .on = ON_DUP), CONVERT(3, 1, 0, .on = ON_DUP)),
    CASE("after the VM was closed", "SSSS", "SPPS", CLOSE(ON_VM),
         CONVERT(1, 2, PRIVATE)),
    CASE("another file of the VM is another file", "SSSS", "SSSS",
         CONVERT(0, 4, PRIVATE, .on = ON_SECOND)),
    CASE("another VM's file", "SSSS", "SSSS",
         CONVERT(0, 4, PRIVATE, .on = ON_FOREIGN)),

    CASE("in a slot", "SSSS", "SPPS", SLOT(0, DATA_GPA, WHOLE),
         CONVERT(1, 2, PRIVATE)),
    CASE("in two slots at once", "SSSS", "SPPS", SLOT(0, DATA_GPA, 2 * PAGE),
         SLOT(1, DATA_GPA + GIB, 2 * PAGE, .at = 2 * PAGE),
         CONVERT(1, 2, PRIVATE)),
    CASE("half of it in a slot", "SSSS", "PPPP", SLOT(0, DATA_GPA, 2 * PAGE),
         CONVERT(0, 4, PRIVATE)),
    CASE("before there is a slot", "SSSS", "SPPS", CONVERT(1, 2, PRIVATE),
         SLOT(0, DATA_GPA, WHOLE)),
    CASE("the slot goes, the state stays", "SSSS", "SPPS",
         SLOT(0, DATA_GPA, WHOLE), CONVERT(1, 2, PRIVATE),
         SLOT(0, 0, 0, .flags = 0), SLOT(1, DATA_GPA + GIB, WHOLE)),

    CASE("memory with a policy", "SsSs", "PpPp",
         { .call = CALL_POLICY, .number = MPOL_BIND, .size = WHOLE },
         CONVERT(0, 4, PRIVATE)),
    CASE("a policy for private memory", "SPsp", "SPsp",
         { .call = CALL_POLICY, .number = MPOL_BIND, .size = WHOLE },
         ALLOCATE(0, 4)),
    CASE("after DONTNEED", "SSSS", "SPPS",
         { .call = CALL_ADVISE, .number = MADV_DONTNEED, .size = WHOLE },
         CONVERT(1, 2, PRIVATE)),
    CASE("POPULATE_WRITE of private memory", "SPPS", "SPPS",
         { .call = CALL_ADVISE, .number = MADV_POPULATE_WRITE, .at = PAGE,
           .size = 2 * PAGE, .error = EFAULT }),
    CASE("POPULATE_READ of private memory", "SPPS", "SPPS",
         { .call = CALL_ADVISE, .number = MADV_POPULATE_READ, .at = PAGE,
           .size = 2 * PAGE, .error = EFAULT }),
    CASE("mapping private memory", "SPPS", "SPPS",
         { .call = CALL_MMAP, .at = PAGE, .size = 2 * PAGE,
           .flags = MAP_SHARED }),

    PRIVATE_CASE("one page", "pppp", "pspp", CONVERT(1, 1, 0)),
    PRIVATE_CASE("all", "pppp", "ssss", CONVERT(0, 4, 0)),
    PRIVATE_CASE("there and back", "pppp", "pppp", CONVERT(0, 4, 0),
                 CONVERT(0, 4, PRIVATE)),
    PRIVATE_CASE("nothing to do", "pppp", "pppp", CONVERT(0, 4, PRIVATE)),
    PRIVATE_CASE("content there and back", "SPsp", "PSps",
                 CONVERT(0, 1, PRIVATE), CONVERT(1, 1, 0),
                 CONVERT(2, 1, PRIVATE), CONVERT(3, 1, 0)),
    PRIVATE_CASE("punched, state stays", "SPSP", "spsp", PUNCH(0, 4)),

    UNMAPPED_CASE("private from the start", 0, CONVERT(0, 4, 0),
                  CONVERT(0, 4, PRIVATE), CONVERT(0, 4, PRIVATE)),
    UNMAPPED_CASE("shared from the start", GMEM_SHARED,
                  CONVERT(0, 4, PRIVATE), CONVERT(1, 2, 0)),
    UNMAPPED_CASE("allocated", 0, ALLOCATE(0, 4), CONVERT(0, 4, 0),
                  CONVERT(0, 4, PRIVATE)),
    UNMAPPED_CASE("behind the end", 0, CONVERT(4, 1, 0, .error = EINVAL)),

    ACCESS_CASE("the kernel reads (write(2) to a pipe)", CALL_READ_FROM,
                EFAULT),
    ACCESS_CASE("the kernel writes (read(2) from a pipe)", CALL_READ_INTO,
                EFAULT),
    ACCESS_CASE("a debugger reads", CALL_PEEK, EIO),
    ACCESS_CASE("a debugger writes", CALL_POKE, EIO),
    HOLD_CASE("direct I/O", HOLD_DIRECT, EFAULT),
    HOLD_CASE("vmsplice", HOLD_SPLICE, EFAULT),
    HOLD_CASE("io_uring registers it", HOLD_RING, EFAULT),
    HOLD_CASE("mlock", HOLD_LOCK, ENOMEM),
    HOLD_CASE("a further mapping", HOLD_MAP, TOUCH_SIGBUS),
    HOLD_CASE("another process", HOLD_CHILD_MAP, TOUCH_SIGBUS),
};

const struct table table_convert = {
    "convert", conv, sizeof(conv) / sizeof(conv[0])
};
