/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The table: what a kernel must answer to each call, in each state. A case is
 * data. It names the kernels that it is about, the VM, the file and its pages
 * beforehand, the calls with what each must answer, and the pages afterwards.
 */
#ifndef ABI_CASES_H
#define ABI_CASES_H

#include "hold.h"
#include "touch.h"
#include "world.h"
#include <errno.h>

/* Kernels that a case is about */
#define ON    1     /* in-place conversion is on */
#define OFF   2     /* it is off or unknown: the interface of 7.3 */
#define BOTH  (ON | OFF)

/*
 * Calls. Beside each: the fields of struct step that it uses; "at" is a byte
 * offset in the file, "size" bytes, "on" the object that is called.
 */
enum call {
    CALL_END,           /* no further step */
    CALL_CHECK,         /* on, number: KVM_CHECK_EXTENSION, "value" answers */
    CALL_CREATE,        /* on, size, flags, address */
    CALL_MMAP,          /* on, at, size, flags; unmapped again */
    CALL_TOUCH,         /* at, flags (1: write) through the window */
    CALL_READ_FROM,     /* at: write(2) that page to a pipe */
    CALL_READ_INTO,     /* at: read(2) its own stamp into that page */
    CALL_PEEK,          /* at: read that page from /proc/self/mem */
    CALL_POKE,          /* at: write its own stamp to /proc/self/mem */
    CALL_FILE,          /* number: enum file_call, on the gmem */
    CALL_FALLOCATE,     /* number (mode), at, size */
    CALL_ADVISE,        /* number (advice), at, size: madvise() */
    CALL_POLICY,        /* number (mode), at, size: mbind() to node 0 */
    CALL_CONVERT,       /* on, at, size, attributes, flags, index, address */
    CALL_ATTRIBUTES,    /* on, at (gpa), size, attributes, flags: of the VM */
    CALL_IOCTL,         /* on, number: with a zeroed argument */
    CALL_SLOT,          /* on (file), number, flags, gpa, size, at, address */
    CALL_PRE_FAULT,     /* gpa, size, flags; "value" remains to be done */
    CALL_GUEST_READ,    /* gpa; "value" is what is there, or fault flags */
    CALL_GUEST_WRITE,   /* gpa: the mark; "value" are fault flags */
    CALL_PLAIN,         /* "value": the first word of the ordinary memory */
    CALL_HOLD,          /* at, number: enum hold_kind */
    CALL_RELEASE,       /* all holders let go */
    CALL_CLOSE,         /* on */
};

/* File operations that a guest_memfd has not */
enum file_call {
    FILE_READ, FILE_WRITE, FILE_PREAD, FILE_PWRITE, FILE_TRUNCATE, FILE_GROW,
    FILE_SPLICE_FROM, FILE_SPLICE_INTO, FILE_SENDFILE, FILE_COPY_RANGE,
};

/* Where an ioctl's argument is, and CALL_SLOT's host memory */
enum place {
    AT_WINDOW,          /* where it should; (slots) the file's mapping */
    AT_PLAIN,           /* (slots) ordinary memory */
    AT_NULL,
    AT_HOLE,            /* an address without memory */
    AT_EDGE,            /* half of the argument is in a hole */
    AT_READ_ONLY,       /* (CALL_CONVERT) all is there, for reading */
    AT_ODD,             /* (slots) not at a page's beginning */
};

struct step {
    enum call call;
    enum object on;
    u64 at, size, attributes, flags, gpa;
    unsigned long number;
    unsigned index;         /* which reserved word is not 0, from 1 */
    enum place address;
    int error;              /* what must come back; 0: success */
    int or;                 /* an errno that is as good */
    u64 value;              /* what must come back, if compare is set */
    bool compare;
    unsigned first_busy;    /* BUSY(page): where error_offset points */
    bool patient;           /* EAGAIN is tried again */
    u64 each_flag;          /* the step is done with each of these bits */
    u64 each_attribute;     /* the same in attributes */
};

struct abi_case {
    const char *name;
    unsigned kernels, type;
    u64 flags;              /* of the guest_memfd */
    const char *pages;
    bool bound;             /* in a slot at DATA_GPA */
    struct step steps[12];   /* ends with CALL_END */
    const char *after;      /* NULL: not looked at */
};

/* Terms of the table */
#define WHOLE         (~0ull)           /* as size: all of the file */
#define GPA(page)     (DATA_GPA + (page) * PAGE)
#define BUSY(page)    ((page) + 1)
#define VALUE(v)      .value = (v), .compare = true
#define CHECK(object, cap, answer)                                          \
    { .call = CALL_CHECK, .on = object, .number = cap, VALUE(answer) }
#define CONVERT(page, count, to, ...)                                       \
    { .call = CALL_CONVERT, .at = (page) * PAGE, .size = (count) * PAGE,    \
      .attributes = to, ##__VA_ARGS__ }
#define ATTRIBUTES(address, bytes, to, ...)                                 \
    { .call = CALL_ATTRIBUTES, .on = ON_VM, .at = address, .size = bytes,   \
      .attributes = to, ##__VA_ARGS__ }
#define TOUCH(page, ...)                                                    \
    { .call = CALL_TOUCH, .at = (page) * PAGE, ##__VA_ARGS__ }
#define PAGE_CALL(what, page, ...)                                          \
    { .call = what, .at = (page) * PAGE, ##__VA_ARGS__ }
#define HOLD(kind, page, ...)                                               \
    { .call = CALL_HOLD, .number = kind, .at = (page) * PAGE, ##__VA_ARGS__ }
#define RELEASE       { .call = CALL_RELEASE }
#define CLOSE(object) { .call = CALL_CLOSE, .on = object }
#define PUNCH(page, count)                                                  \
    { .call = CALL_FALLOCATE, .at = (page) * PAGE, .size = (count) * PAGE,  \
      .number = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE }
#define ALLOCATE(page, count)                                               \
    { .call = CALL_FALLOCATE, .at = (page) * PAGE, .size = (count) * PAGE,  \
      .number = FALLOC_FL_KEEP_SIZE }
#define SLOT(id, address, bytes, ...)                                       \
    { .call = CALL_SLOT, .number = id, .gpa = address, .size = bytes,       \
      .flags = SLOT_GMEM, ##__VA_ARGS__ }
#define PRE_FAULT(page, count, left, ...)                                   \
    { .call = CALL_PRE_FAULT, .gpa = GPA(page), .size = (count) * PAGE,     \
      VALUE((left) * PAGE), ##__VA_ARGS__ }
#define GUEST_READ(page, word)                                              \
    { .call = CALL_GUEST_READ, .gpa = GPA(page), VALUE(word) }
#define GUEST_WRITE(page)                                                   \
    { .call = CALL_GUEST_WRITE, .gpa = GPA(page) }
/* The first four bytes of a stamped page */
#define STAMP(page)   ((page) << 16)
/* Makes an array of cases the table that other files know */
#define TABLE(title, array)                                                 \
    const struct table table_##array = {                                    \
        title, array, sizeof(array) / sizeof((array)[0])                    \
    }

struct table {
    const char *name;
    const struct abi_case *cases;
    unsigned count;
};

extern const struct table table_create, table_capability, table_file;
extern const struct table table_slot, table_refuse, table_convert, table_busy;
extern const struct table table_guest, table_split;

/* Do a step and compare what comes back. False, explained. */
bool step_run(struct world *w, const struct step *s);

#endif
