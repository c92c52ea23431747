/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest_memfd as a file and as memory: mapping, touching, allocating,
 * punching; and what no guest_memfd offers.
 */
#define _GNU_SOURCE
#include "cases.h"
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>

#define MMAP_CASE(text, bits, from, bytes, how, errnum)                     \
    { .name = "mmap: " text, .kernels = BOTH, .type = VM_DEFAULT,           \
      .flags = bits,                                                        \
      .steps = { { .call = CALL_MMAP, .at = from, .size = bytes,            \
                   .flags = how, .error = errnum } } }

#define FILE_CASE(text, which, errnum, or_else)                             \
    { .name = "file: " text " is refused", .kernels = BOTH,                 \
      .type = VM_DEFAULT, .flags = MAPPED, .pages = "SsS",                  \
      .steps = { { .call = CALL_FILE, .number = which, .error = errnum,     \
                   .or = or_else } }, .after = "SsS" }

/* Four pages; two of them hold something */
#define FALLOCATE_CASE(text, mode, from, bytes, errnum, then)               \
    { .name = "fallocate: " text, .kernels = BOTH, .type = VM_DEFAULT,      \
      .flags = MAPPED, .pages = "SsSs",                                     \
      .steps = { { .call = CALL_FALLOCATE, .number = mode, .at = from,      \
                   .size = bytes, .error = errnum } }, .after = then }

#define ADVISE_CASE(text, advice, errnum)                                   \
    { .name = "madvise: " text, .kernels = BOTH, .type = VM_DEFAULT,        \
      .flags = MAPPED, .pages = "SsSs",                                     \
      .steps = { { .call = CALL_ADVISE, .number = advice, .size = WHOLE,    \
                   .error = errnum } }, .after = "SsSs" }

#define KEEP    FALLOC_FL_KEEP_SIZE
#define HOLE    (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)

static const struct abi_case file[] = {
    MMAP_CASE("all of it", MAPPED, 0, WHOLE, MAP_SHARED, 0),
    MMAP_CASE("its last page", MAPPED, 3 * PAGE, PAGE, MAP_SHARED, 0),
    MMAP_CASE("more than there is", MAPPED, 0, 16 * PAGE, MAP_SHARED, 0),
    MMAP_CASE("what lies beyond", MAPPED, 8 * PAGE, PAGE, MAP_SHARED, 0),
    MMAP_CASE("from within a page", MAPPED, 100, PAGE, MAP_SHARED, EINVAL),
    MMAP_CASE("nothing", MAPPED, 0, 0, MAP_SHARED, EINVAL),
    MMAP_CASE("copy on write", MAPPED, 0, WHOLE, MAP_PRIVATE, EINVAL),
    MMAP_CASE("not shared from the start", GMEM_MMAP, 0, WHOLE, MAP_SHARED, 0),
    MMAP_CASE("without the flag", 0, 0, WHOLE, MAP_SHARED, ENODEV),
    MMAP_CASE("without the flag, shared", GMEM_SHARED, 0, WHOLE, MAP_SHARED,
              ENODEV),
    MMAP_CASE("copy on write without the flag", 0, 0, PAGE, MAP_PRIVATE,
              ENODEV),

    { .name = "touch: shared pages", .kernels = BOTH, .type = VM_DEFAULT,
      .flags = MAPPED, .pages = "ss",
      .steps = { TOUCH(0), TOUCH(1, .flags = 1) }, .after = "ss" },
    { .name = "touch: beyond the end", .kernels = BOTH, .type = VM_DEFAULT,
      .flags = MAPPED, .pages = "Ss",
      .steps = { TOUCH(2, .error = TOUCH_SIGBUS),
                 TOUCH(3, .error = TOUCH_SIGBUS, .flags = 1) },
      .after = "Ss" },
    { .name = "touch: a default VM's private pages", .kernels = BOTH,
      .type = VM_DEFAULT, .flags = GMEM_MMAP, .pages = "pp",
      .steps = { TOUCH(0, .error = TOUCH_SIGBUS),
                 TOUCH(1, .error = TOUCH_SIGBUS, .flags = 1) } },
    { .name = "touch: private pages", .kernels = BOTH,
      .type = VM_SW_PROTECTED, .flags = GMEM_MMAP, .pages = "pp",
      .steps = { TOUCH(0, .error = TOUCH_SIGBUS),
                 TOUCH(1, .error = TOUCH_SIGBUS, .flags = 1) },
      .after = "pp" },
    { .name = "touch: private pages with memory behind", .kernels = BOTH,
      .type = VM_SW_PROTECTED, .flags = GMEM_MMAP, .pages = "pp",
      .steps = { ALLOCATE(0, 2), TOUCH(0, .error = TOUCH_SIGBUS),
                 TOUCH(1, .error = TOUCH_SIGBUS, .flags = 1) },
      .after = "pp" },

    FILE_CASE("read", FILE_READ, EINVAL, 0),
    FILE_CASE("write", FILE_WRITE, EINVAL, 0),
    FILE_CASE("pread", FILE_PREAD, ESPIPE, EINVAL),
    FILE_CASE("pwrite", FILE_PWRITE, ESPIPE, EINVAL),
    FILE_CASE("ftruncate to nothing", FILE_TRUNCATE, EINVAL, 0),
    FILE_CASE("ftruncate to more", FILE_GROW, EINVAL, 0),
    FILE_CASE("splice from it", FILE_SPLICE_FROM, EINVAL, 0),
    FILE_CASE("splice into it", FILE_SPLICE_INTO, EINVAL, 0),
    FILE_CASE("sendfile", FILE_SENDFILE, EINVAL, 0),
    FILE_CASE("copy_file_range", FILE_COPY_RANGE, EINVAL, EXDEV),

    FALLOCATE_CASE("allocate all", KEEP, 0, WHOLE, 0, "SsSs"),
    FALLOCATE_CASE("allocate the last page", KEEP, 3 * PAGE, PAGE, 0, "SsSs"),
    FALLOCATE_CASE("punch all", HOLE, 0, WHOLE, 0, "ssss"),
    FALLOCATE_CASE("punch one page", HOLE, 2 * PAGE, PAGE, 0, "Ssss"),
    { .name = "fallocate: punch between pages that stay", .kernels = BOTH,
      .type = VM_DEFAULT, .flags = MAPPED, .pages = "SSSSSS",
      .steps = { PUNCH(1, 1), PUNCH(3, 2) }, .after = "SsSssS" },
    FALLOCATE_CASE("punch beyond the end", HOLE, 4 * PAGE, PAGE, 0, "SsSs"),
    FALLOCATE_CASE("punch across the end", HOLE, 2 * PAGE, 4 * PAGE, 0,
                   "Ssss"),
    FALLOCATE_CASE("allocate beyond the end", KEEP, 4 * PAGE, PAGE, EINVAL,
                   "SsSs"),
    FALLOCATE_CASE("allocate across the end", KEEP, 2 * PAGE, 4 * PAGE,
                   EINVAL, "SsSs"),
    FALLOCATE_CASE("grow", 0, 0, WHOLE, EOPNOTSUPP, "SsSs"),
    FALLOCATE_CASE("punch without KEEP_SIZE", FALLOC_FL_PUNCH_HOLE, 0, PAGE,
                   EOPNOTSUPP, "SsSs"),
    FALLOCATE_CASE("zero a range", KEEP | FALLOC_FL_ZERO_RANGE, 0, PAGE,
                   EOPNOTSUPP, "SsSs"),
    FALLOCATE_CASE("collapse", FALLOC_FL_COLLAPSE_RANGE, 0, PAGE, EOPNOTSUPP,
                   "SsSs"),
    FALLOCATE_CASE("allocate from within a page", KEEP, 1, PAGE, EINVAL,
                   "SsSs"),
    FALLOCATE_CASE("allocate half a page", KEEP, 0, PAGE / 2, EINVAL, "SsSs"),
    FALLOCATE_CASE("punch from within a page", HOLE, PAGE - 1, PAGE, EINVAL,
                   "SsSs"),
    FALLOCATE_CASE("punch half a page", HOLE, 0, PAGE / 2, EINVAL, "SsSs"),
    FALLOCATE_CASE("punch a page and a byte", HOLE, 0, PAGE + 1, EINVAL,
                   "SsSs"),
    FALLOCATE_CASE("punch nothing", HOLE, 0, 0, EINVAL, "SsSs"),
    FALLOCATE_CASE("a negative offset", HOLE, -PAGE, PAGE, EINVAL, "SsSs"),

    ADVISE_CASE("POPULATE_READ", MADV_POPULATE_READ, 0),
    ADVISE_CASE("POPULATE_WRITE", MADV_POPULATE_WRITE, 0),
    ADVISE_CASE("DONTNEED", MADV_DONTNEED, 0),
    ADVISE_CASE("DONTDUMP", MADV_DONTDUMP, 0),
    ADVISE_CASE("DONTFORK", MADV_DONTFORK, 0),
    ADVISE_CASE("HUGEPAGE", MADV_HUGEPAGE, 0),
    ADVISE_CASE("FREE is refused", MADV_FREE, EINVAL),

    { .name = "mbind: before allocation", .kernels = BOTH, .type = VM_DEFAULT,
      .flags = MAPPED, .pages = "ssss",
      .steps = { { .call = CALL_POLICY, .number = MPOL_BIND, .size = WHOLE },
                 TOUCH(0, .flags = 1), ALLOCATE(0, 4) }, .after = "ssss" },
    { .name = "mbind: one page after another", .kernels = BOTH,
      .type = VM_DEFAULT, .flags = MAPPED, .pages = "SsSs",
      .steps = {
          { .call = CALL_POLICY, .number = MPOL_INTERLEAVE, .size = PAGE },
          { .call = CALL_POLICY, .number = MPOL_BIND, .at = PAGE,
            .size = 2 * PAGE },
          { .call = CALL_POLICY, .number = MPOL_DEFAULT, .size = WHOLE },
          { .call = CALL_POLICY, .number = 999, .size = PAGE,
            .error = EINVAL } }, .after = "SsSs" },
};

TABLE("file", file);
