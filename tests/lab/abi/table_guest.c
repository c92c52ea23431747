/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the guest gets: the same bytes, whatever their state, and pre-faults.
 * A software-protected guest has no say in what is private, so no access of
 * it is ever a mismatch.
 */
#define _GNU_SOURCE
#include "cases.h"
#include <fcntl.h>

#define CASE(text, which, vm, bits, before, then, ...)                      \
    { .name = "guest: " text, .kernels = which, .type = vm, .flags = bits,  \
      .pages = before, .bound = true, .steps = { __VA_ARGS__ },             \
      .after = then }
#define SWP_CASE(text, before, then, ...) \
    CASE(text, ON, VM_SW_PROTECTED, MAPPED, before, then, __VA_ARGS__)

/* A pre-fault that must be refused, on any kernel and VM */
#define WRONG(text, address, bytes, ...)                                    \
    { .name = "guest: pre-fault " text, .kernels = BOTH,                    \
      .type = VM_DEFAULT, .flags = MAPPED, .pages = "SsSs", .bound = true,  \
      .steps = { { .call = CALL_PRE_FAULT, .gpa = address, .size = bytes,   \
                   .error = EINVAL, ##__VA_ARGS__ } }, .after = "SsSs" }

/* The first word of the slot's ordinary memory, beside the file */
#define PLAIN(word)   { .call = CALL_PLAIN, VALUE(word) }
#define FAULT(page, bits)                                                   \
    { .call = CALL_GUEST_READ, .gpa = GPA(page), .error = EFAULT,           \
      VALUE(bits) }

static const struct abi_case guest[] = {
    CASE("reads and writes a default VM's memory", BOTH, VM_DEFAULT, MAPPED,
         "SsSs", "ggSs", GUEST_READ(2, STAMP(2)), GUEST_READ(3, 0),
         GUEST_WRITE(0), GUEST_WRITE(1), GUEST_READ(0, GUEST_MARK)),
    CASE("reads zeros where a hole was punched", BOTH, VM_DEFAULT, MAPPED,
         "SSSS", "SsgS", GUEST_READ(1, STAMP(1)), GUEST_WRITE(2),
         PUNCH(1, 2), GUEST_READ(1, 0), GUEST_WRITE(2)),

    SWP_CASE("reads shared memory", "SSss", "SSss", GUEST_READ(0, STAMP(0)),
             GUEST_READ(1, STAMP(1)), GUEST_READ(2, 0)),
    SWP_CASE("reads private memory", "PPpp", "PPpp", GUEST_READ(0, STAMP(0)),
             GUEST_READ(1, STAMP(1)), GUEST_READ(2, 0)),
    SWP_CASE("writes shared memory", "SsSs", "ggSs", GUEST_WRITE(0),
             GUEST_WRITE(1)),
    SWP_CASE("writes private memory", "PpPp", "qqPp", GUEST_WRITE(0),
             GUEST_WRITE(1)),
    SWP_CASE("wrote when private, is read when shared", "PPpp", "Pgpp",
             GUEST_WRITE(1), CONVERT(1, 1, 0)),
    SWP_CASE("wrote when shared, reads when private", "SSss", "Sqss",
             GUEST_WRITE(1), CONVERT(1, 1, PRIVATE),
             GUEST_READ(1, GUEST_MARK)),
    SWP_CASE("reads before and after, there and back", "SSSS", "SSSS",
             GUEST_READ(1, STAMP(1)), CONVERT(0, 4, PRIVATE),
             GUEST_READ(1, STAMP(1)), CONVERT(0, 4, 0),
             GUEST_READ(1, STAMP(1))),
    SWP_CASE("its own mapping does not make a page busy", "SSSS", "SqqS",
             GUEST_WRITE(1), GUEST_WRITE(2), CONVERT(1, 2, PRIVATE),
             GUEST_READ(2, GUEST_MARK)),
    SWP_CASE("goes on after EAGAIN", "SSSS", "SSgS", GUEST_READ(2, STAMP(2)),
             HOLD(HOLD_SPLICE, 1),
             CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(1)),
             GUEST_READ(1, STAMP(1)), GUEST_WRITE(2)),
    SWP_CASE("reads zeros where private memory was punched", "PPPP", "PppP",
             GUEST_READ(1, STAMP(1)), PUNCH(1, 2), GUEST_READ(1, 0)),
    SWP_CASE("writes where private memory was punched", "PPPP", "PqpP",
             PUNCH(1, 2), GUEST_WRITE(1)),
    SWP_CASE("reads a slot that came back", "SPSP", "SPSP",
             GUEST_READ(1, STAMP(1)), SLOT(0, 0, 0, .flags = 0),
             SLOT(0, DATA_GPA, WHOLE), GUEST_READ(1, STAMP(1)),
             GUEST_READ(2, STAMP(2))),

    CASE("its shared memory is the file even without MMAP", ON,
         VM_SW_PROTECTED, GMEM_SHARED, "ssss", NULL, GUEST_WRITE(0),
         PLAIN(0), GUEST_READ(0, GUEST_MARK), CONVERT(0, 1, PRIVATE),
         GUEST_READ(0, GUEST_MARK)),
    CASE("its memory is the file, in a default VM too", ON, VM_DEFAULT,
         GMEM_SHARED, "ssss", NULL, GUEST_WRITE(0), PLAIN(0),
         GUEST_READ(0, GUEST_MARK)),
    CASE("a private file without MMAP is the guest's", ON, VM_SW_PROTECTED,
         0, "pppp", NULL, GUEST_WRITE(0), PLAIN(0),
         GUEST_READ(0, GUEST_MARK), CONVERT(0, 4, 0),
         GUEST_READ(0, GUEST_MARK), PLAIN(0)),
    CASE("faults where the file was closed", ON, VM_SW_PROTECTED,
         GMEM_SHARED, "ss", NULL, GUEST_WRITE(0), CLOSE(ON_GMEM),
         FAULT(0, 0), FAULT(1, 0)),
    CASE("faults where the file was closed", ON, VM_DEFAULT, GMEM_SHARED,
         "ss", NULL, CLOSE(ON_GMEM), FAULT(1, 0)),

    CASE("pre-fault of all", BOTH, VM_DEFAULT, MAPPED, "SsSs", "SsSs",
         PRE_FAULT(0, 4, 0), GUEST_READ(2, STAMP(2))),
    CASE("pre-fault beyond the slot", BOTH, VM_DEFAULT, MAPPED, "SsSs",
         "SsSs", PRE_FAULT(2, 4, 2, .error = ENOENT)),
    CASE("pre-fault where no slot is", BOTH, VM_DEFAULT, MAPPED, "SsSs",
         "SsSs", PRE_FAULT(16, 1, 1, .error = ENOENT)),
    WRONG("with flags", DATA_GPA, PAGE, .flags = 1),
    WRONG("with any flag", DATA_GPA, PAGE, .each_flag = ~0ull),
    WRONG("of nothing", DATA_GPA, 0),
    WRONG("of half a page", DATA_GPA, PAGE / 2),
    WRONG("from within a page", DATA_GPA + 8, PAGE),
    WRONG("that wraps", -PAGE, 2 * PAGE),
    SWP_CASE("pre-fault of shared memory", "SSss", "SSss",
             PRE_FAULT(0, 4, 0), GUEST_READ(1, STAMP(1))),
    SWP_CASE("pre-fault of private memory", "PPpp", "PPpp",
             PRE_FAULT(0, 4, 0), GUEST_READ(1, STAMP(1))),
    SWP_CASE("pre-fault of mixed memory", "SPsp", "SPsp",
             PRE_FAULT(0, 4, 0), GUEST_READ(0, STAMP(0)),
             GUEST_READ(1, STAMP(1))),
    SWP_CASE("pre-fault, then private", "SSss", "PPpp", PRE_FAULT(0, 4, 0),
             CONVERT(0, 4, PRIVATE), GUEST_READ(0, STAMP(0))),
    SWP_CASE("pre-fault after each conversion", "SSss", "SSss",
             CONVERT(0, 4, PRIVATE), PRE_FAULT(0, 4, 0), CONVERT(0, 4, 0),
             PRE_FAULT(0, 4, 0), GUEST_READ(1, STAMP(1))),
    SWP_CASE("pre-fault allocates, the process sees it", "ssss", "ssss",
             PRE_FAULT(0, 4, 0), TOUCH(2, .flags = 1)),
    SWP_CASE("pre-fault does not make busy", "SSSS", "PPPP",
             PRE_FAULT(0, 4, 0), CONVERT(0, 4, PRIVATE)),
    SWP_CASE("pre-fault of private memory beyond the slot", "PPPP", "PPPP",
             PRE_FAULT(2, 4, 2, .error = ENOENT)),
    SWP_CASE("pre-fault of memory that was punched", "PPPP", "pppp",
             PUNCH(0, 4), PRE_FAULT(0, 4, 0)),
};

TABLE("guest", guest);

/*
 * The interface of 7.3: private-ness belongs to the VM's guest memory, the
 * file has the private side, ordinary memory the shared one.
 */
#define SPLIT(text, ...)                                                    \
    { .name = "split: " text, .kernels = OFF, .type = VM_SW_PROTECTED,      \
      .pages = "pppp", .bound = true, .steps = { __VA_ARGS__ } }
#define SPLIT_WRONG(text, ...) \
    SPLIT(text, ATTRIBUTES(__VA_ARGS__, .error = EINVAL))

static const struct abi_case split[] = {
    SPLIT("to private and back", ATTRIBUTES(DATA_GPA, WHOLE, PRIVATE),
          ATTRIBUTES(DATA_GPA, WHOLE, 0)),
    SPLIT("one page, twice", ATTRIBUTES(DATA_GPA, PAGE, PRIVATE),
          ATTRIBUTES(DATA_GPA, PAGE, PRIVATE)),
    SPLIT("where no slot is", ATTRIBUTES(GIB, 16 * PAGE, PRIVATE)),
    SPLIT_WRONG("size 0", DATA_GPA, 0, PRIVATE),
    SPLIT_WRONG("half a page", DATA_GPA, PAGE / 2, PRIVATE),
    SPLIT_WRONG("from within a page", DATA_GPA + 1, PAGE, PRIVATE),
    SPLIT_WRONG("a sum that wraps", -PAGE, 2 * PAGE, PRIVATE),
    SPLIT_WRONG("unknown attribute", DATA_GPA, PAGE, 1),
    SPLIT_WRONG("private and executable", DATA_GPA, PAGE, PRIVATE | 4),
    SPLIT_WRONG("attribute bit 63", DATA_GPA, PAGE, 1ull << 63),
    SPLIT_WRONG("flags", DATA_GPA, PAGE, PRIVATE, .flags = 1),
    SPLIT_WRONG("any flag", DATA_GPA, PAGE, PRIVATE, .each_flag = ~0ull),
    SPLIT_WRONG("any other attribute", DATA_GPA, PAGE, PRIVATE,
                .each_attribute = ~PRIVATE),
    SPLIT("no argument", ATTRIBUTES(DATA_GPA, PAGE, PRIVATE, .error = EFAULT,
                                    .address = AT_HOLE)),
    SPLIT("half an argument", ATTRIBUTES(DATA_GPA, PAGE, PRIVATE,
                                         .error = EFAULT,
                                         .address = AT_EDGE)),
    { .name = "split: an ordinary VM", .kernels = OFF, .type = VM_DEFAULT,
      .steps = { ATTRIBUTES(DATA_GPA, PAGE, PRIVATE, .error = EINVAL) } },
    SPLIT("shared memory is the ordinary one", GUEST_WRITE(0),
          PLAIN(GUEST_MARK), GUEST_READ(0, GUEST_MARK)),
    SPLIT("private memory is the file", ATTRIBUTES(DATA_GPA, WHOLE, PRIVATE),
          GUEST_READ(0, 0), GUEST_WRITE(0), PLAIN(0),
          GUEST_READ(0, GUEST_MARK)),
    SPLIT("two memories, two contents", GUEST_WRITE(0),
          ATTRIBUTES(DATA_GPA, WHOLE, PRIVATE), GUEST_READ(0, 0),
          ATTRIBUTES(DATA_GPA, WHOLE, 0), GUEST_READ(0, GUEST_MARK)),
    SPLIT("a hole in private memory", ATTRIBUTES(DATA_GPA, WHOLE, PRIVATE),
          GUEST_WRITE(0), PUNCH(0, 1), GUEST_READ(0, 0)),
    SPLIT("pre-fault of private memory",
          ATTRIBUTES(DATA_GPA, WHOLE, PRIVATE), PRE_FAULT(0, 4, 0),
          GUEST_READ(0, 0)),
    SPLIT("pre-fault of mixed memory", ATTRIBUTES(DATA_GPA, PAGE, PRIVATE),
          PRE_FAULT(0, 4, 0)),
    SPLIT("private memory without a slot for it",
          ATTRIBUTES(GIB, PAGE, PRIVATE),
          SLOT(1, GIB, PAGE, .flags = 0, .address = AT_PLAIN),
          { .call = CALL_GUEST_READ, .gpa = GIB, .error = EFAULT,
            VALUE(PRIVATE) }),
    SPLIT("faults where the file was closed",
          ATTRIBUTES(DATA_GPA, WHOLE, PRIVATE), GUEST_WRITE(0),
          CLOSE(ON_GMEM), FAULT(0, PRIVATE)),
    { .name = "split: a mapped file serves shared memory too",
      .kernels = OFF, .type = VM_SW_PROTECTED, .flags = GMEM_MMAP,
      .pages = "pppp", .bound = true,
      .steps = { GUEST_WRITE(0), PLAIN(0), GUEST_READ(0, GUEST_MARK) },
      .after = "pppp" },
};

TABLE("split", split);
