/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The lies: one defect each that a kernel could have. Most change an answer
 * by as little as can be, since great lies are easily noticed.
 */
#define _GNU_SOURCE
#include "lies.h"
#include <errno.h>
#include <sys/mman.h>

/* By the cases that are to notice */
#define ROW(name, only, ...)   { name, only, __VA_ARGS__ }
#define BUSY(name, ...) \
    ROW(name, "busy: vmsplice", CONVERT, ANY, EAGAIN, __VA_ARGS__)
#define REFUSED(name, text, error, ...) \
    ROW(name, "refused: " text, CONVERT, ANY, error, __VA_ARGS__)
#define DONE(name, to, ...) \
    ROW(name, "convert: ", CONVERT, to, 0, __VA_ARGS__)
#define CAPABILITY(name, number, value) \
    ROW(name, "capability: " #number, CHECK, ANY, 0, VALUE, value, number)
#define MAKE(name, text, error, ...) \
    ROW(name, "create: " text, CREATE, ANY, error, __VA_ARGS__)
#define BIND(name, text, error, ...) \
    ROW(name, "slot: " text, SLOT, ANY, error, __VA_ARGS__)
#define FAULT_IN(name, text, error, ...) \
    ROW(name, "guest: pre-fault " text, PRE_FAULT, ANY, error, __VA_ARGS__)
#define ALLOCATE(name, text, error, ...) \
    ROW(name, "fallocate: " text, FALLOCATE, ANY, error, __VA_ARGS__)

const struct lie lies[] = {
    /* another answer */
    REFUSED("invalid-is-absent", "size 0", EINVAL, ANSWER, ENOTTY),
    REFUSED("invalid-is-fault", "size 0", EINVAL, ANSWER, EFAULT),
    REFUSED("invalid-is-done", "size 0", EINVAL, ANSWER, 0),
    REFUSED("fault-is-invalid", "argument", EFAULT, ANSWER, EINVAL),
    REFUSED("fault-is-done", "argument", EFAULT, ANSWER, 0),
    REFUSED("absent-is-invalid", "a memfd", ENOTTY, ANSWER, EINVAL),
    REFUSED("absent-is-done", "a memfd", ENOTTY, ANSWER, 0),
    REFUSED("closed-is-absent", "no descriptor", EBADF, ANSWER, ENOTTY),
    BUSY("busy-is-ebusy", ANSWER, EBUSY),
    BUSY("busy-is-invalid", ANSWER, EINVAL),
    BUSY("busy-is-done", ANSWER, 0),
    DONE("done-is-invalid", ANY, ANSWER, EINVAL),
    DONE("done-is-busy", PRIVATE, ANSWER, EAGAIN),
    DONE("shared-is-invalid", 0, ANSWER, EINVAL),

    /* error_offset */
    BUSY("busy-a-page-later", OFFSET, PAGE),
    BUSY("busy-a-page-earlier", OFFSET, -PAGE),
    BUSY("busy-a-byte-later", OFFSET, 1),
    BUSY("busy-at-the-start", OFFSET_START),
    BUSY("busy-counted-from-the-start", OFFSET_OF_RANGE),
    BUSY("busy-counted-in-pages", PAGE_NUMBER),
    BUSY("busy-somewhere", OFFSET_IS, 0),
    REFUSED("offset-of-invalid", "size 0", EINVAL, OFFSET_IS, PAGE),
    DONE("offset-of-done", ANY, OFFSET_IS, PAGE),

    /* another effect */
    DONE("private-not-done", PRIVATE, IDLE),
    DONE("shared-not-done", 0, IDLE),
    DONE("last-page-left-out", ANY, RANGE, -PAGE),
    DONE("first-page-left-out", ANY, RANGE, 0, PAGE),
    DONE("a-page-more", ANY, RANGE, PAGE),
    DONE("a-page-before", ANY, RANGE, 0, -PAGE),
    DONE("a-page-later", ANY, RANGE, PAGE, PAGE),
    DONE("private-all-of-it", PRIVATE, WHOLE_FILE),
    DONE("shared-all-of-it", 0, WHOLE_FILE),
    DONE("inverted", ANY, INVERT),
    BUSY("half-done-before-busy", BEFORE_BUSY),
    BUSY("half-done-behind-busy", BEHIND_BUSY),
    DONE("private-forgets", PRIVATE, FORGET),
    DONE("shared-forgets", 0, FORGET),
    DONE("private-forgets-a-page", PRIVATE, FORGET, PAGE),
    DONE("shared-forgets-a-page", 0, FORGET, PAGE),
    { "every-file", "another file", CONVERT, ANY, 0, EVERY_FILE },

    /* wrong arguments are taken */
    REFUSED("flag-0", "flag bit 0", EINVAL, FLAGS, 1),
    REFUSED("flag-5", "any flag", EINVAL, FLAGS, 1 << 5),
    REFUSED("flag-40", "any flag", EINVAL, FLAGS, 1ll << 40),
    REFUSED("attribute-0", "attribute bit 0", EINVAL, ATTRIBUTES, 1),
    REFUSED("attribute-7", "any attribute", EINVAL, ATTRIBUTES, 1 << 7),
    REFUSED("attribute-33", "any attribute", EINVAL, ATTRIBUTES, 1ll << 33),
    REFUSED("reserved-0", "reserved[0]", EINVAL, RESERVED, 0),
    REFUSED("reserved-6", "reserved[6]", EINVAL, RESERVED, 6),
    REFUSED("reserved-10", "reserved[10]", EINVAL, RESERVED, 10),
    REFUSED("part-of-a-page", "size 1", EINVAL, ROUND),
    REFUSED("beyond-the-end", "a page too many", EINVAL, CLAMP),

    /* other calls */
    CAPABILITY("capability-252-more", 252, 9),
    CAPABILITY("capability-252-none", 252, 0),
    CAPABILITY("capability-252-everywhere", 252, 8),
    CAPABILITY("capability-233", 233, 8),
    CAPABILITY("capability-244-more", 244, 7),
    CAPABILITY("capability-244-less", 244, 1),
    CAPABILITY("capability-234-none", 234, 0),
    MAKE("create-flag-2", "flag bit 2", EINVAL, FLAGS, 4),
    MAKE("create-flag-17", "any other flag", EINVAL, FLAGS, 1 << 17),
    MAKE("create-odd-size", "1 byte", EINVAL, ROUND),
    MAKE("create-invalid-is-other", "flag bit 2", EINVAL, ANSWER, EOPNOTSUPP),
    { "create-starts-private", "touch: ", CREATE, ANY, 0, FLAGS, GMEM_SHARED },
    { "create-starts-shared", "touch: ", CREATE, ANY, 0, FLAGS_ADDED,
      GMEM_SHARED },
    { "create-can-be-mapped", "mmap: without", CREATE, ANY, 0, FLAGS_ADDED,
      GMEM_MMAP },
    BIND("slot-bound-twice", "a range bound twice", EEXIST, ANSWER, 0),
    BIND("slot-twice-is-invalid", "a range bound twice", EEXIST, ANSWER,
         EINVAL),
    BIND("slot-invalid-is-done", "offset", EINVAL, ANSWER, 0),
    BIND("slot-invalid-is-twice", "offset", EINVAL, ANSWER, EEXIST),
    BIND("slot-read-only", "read-only", EINVAL, FLAGS, SLOT_READONLY),
    BIND("slot-logged", "logged", EINVAL, FLAGS, SLOT_LOG),
    BIND("slot-flag-9", "any unknown flag", EINVAL, FLAGS, 1 << 9),
    { "slot-not-set", "guest: reads", SLOT, ANY, 0, IDLE },
    FAULT_IN("pre-fault-flag-0", "with flags", EINVAL, FLAGS, 1),
    FAULT_IN("pre-fault-flag-20", "with any flag", EINVAL, FLAGS, 1 << 20),
    FAULT_IN("pre-fault-absent-is-fault", "beyond the slot", ENOENT, ANSWER,
             EFAULT),
    ALLOCATE("punch-not-done", "punch", 0, IDLE),
    ALLOCATE("punch-short", "punch", 0, RANGE, -PAGE),
    ALLOCATE("punch-long", "punch", 0, RANGE, PAGE),
    { "punch-shares", "states stay", FALLOCATE, ANY, 0, DEFAULT_STATE },
    ALLOCATE("fallocate-invalid-is-done", "allocate beyond", EINVAL, ANSWER, 0),
    ALLOCATE("fallocate-unknown-is-invalid", "grow", EOPNOTSUPP, ANSWER,
             EINVAL),
    { "map-copy-on-write", "mmap: copy", MMAP, ANY, EINVAL, FLAGS,
      MAP_PRIVATE },
    { "map-refused-otherwise", "mmap: without", MMAP, ANY, ENODEV, ANSWER,
      EACCES },
    { "advise-refused-is-done", "madvise: FREE", MADVISE, ANY, EINVAL, ANSWER,
      0 },
    { 0 }
};
