/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a lie is, for the table (lies.c) and for what tells them (liar.c).
 */
#ifndef ABI_LIES_H
#define ABI_LIES_H

#include "uapi.h"

#define ANY        (-1)         /* whatever the kernel answered */
#define CONVERT    ABI_SET_MEMORY_ATTRIBUTES2
#define CREATE     ABI_CREATE_GUEST_MEMFD
#define SLOT       ABI_SET_USER_MEMORY_REGION2
#define PRE_FAULT  ABI_PRE_FAULT_MEMORY
#define CHECK      KVM_CHECK_EXTENSION
#define FALLOCATE  1ul          /* no ioctl's numbers */
#define MMAP       2ul
#define MADVISE    3ul

/* What becomes of the call */
enum trick {
    ANSWER,         /* another errno: value */
    OFFSET,         /* error_offset moves by value */
    OFFSET_IS,      /* error_offset is value */
    OFFSET_START,   /* error_offset is where the range begins */
    OFFSET_OF_RANGE,    /* error_offset counts from there */
    PAGE_NUMBER,    /* error_offset counts pages */
    IDLE,           /* nothing is done, and success claimed */
    RANGE,          /* it begins "from" and ends "value" bytes later */
    WHOLE_FILE,
    INVERT,         /* to shared when private is asked for, and back */
    BEFORE_BUSY,    /* EAGAIN, yet what lies before that page is converted */
    BEHIND_BUSY,    /* the same with what lies behind it */
    FORGET,         /* contents are lost: of the last "value" bytes, 0: all */
    EVERY_FILE,     /* all files of the process are converted */
    FLAGS,          /* these flags are overlooked */
    ATTRIBUTES,     /* these attributes are overlooked */
    RESERVED,       /* this reserved word is overlooked */
    ROUND,          /* offset and size are made whole pages */
    CLAMP,          /* what is beyond the end is overlooked */
    FLAGS_ADDED,    /* (create) these flags are thought to be there */
    VALUE,          /* (capability "from") value is answered */
    DEFAULT_STATE,  /* punched memory is shared again */
};

struct lie {
    const char *name;
    const char *only;   /* the cases that are to notice: part of their names */
    unsigned long call;
    int to;             /* conversions: PRIVATE, 0 or ANY */
    int answered;       /* the errno that the kernel gave, or ANY */
    enum trick trick;
    long long value, from;
};

/* Ends with one that has no name */
extern const struct lie lies[] __attribute__((visibility("hidden")));

#endif
