/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pages that somebody holds: EAGAIN, where, and that nothing has changed; and
 * what does not make a page busy.
 */
#define _GNU_SOURCE
#include "cases.h"
#include <fcntl.h>

#define CASE(text, before, then, ...)                                       \
    { .name = "busy: " text, .kernels = ON, .type = VM_SW_PROTECTED,        \
      .flags = MAPPED, .pages = before, .steps = { __VA_ARGS__ },           \
      .after = then }

/* Each kind of holder, alone with one page of four */
#define HOLDER(text, kind)                                                  \
    CASE(text ": all or nothing", "SSSS", "SSSS", HOLD(kind, 2),            \
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(2))),   \
    CASE(text ": then it lets go", "SSSS", "PPPP", HOLD(kind, 2),           \
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(2)),    \
         RELEASE, CONVERT(0, 4, PRIVATE, .patient = true)),                 \
    CASE(text ": its neighbours convert", "SSSS", "PPSP", HOLD(kind, 2),    \
         CONVERT(0, 2, PRIVATE), CONVERT(3, 1, PRIVATE),                    \
         CONVERT(2, 1, PRIVATE, .error = EAGAIN, .first_busy = BUSY(2)))

/* Who only maps a page does not keep it */
#define HARMLESS(text, kind)                                                \
    CASE(text " does not make busy", "SSSS", "SPPS", HOLD(kind, 1),         \
         HOLD(kind, 2), CONVERT(1, 2, PRIVATE))

static const struct abi_case busy[] = {
    HOLDER("direct I/O", HOLD_DIRECT),
    HOLDER("vmsplice", HOLD_SPLICE),
    HOLDER("io_uring buffer", HOLD_RING),
    HOLDER("another process' vmsplice", HOLD_CHILD_SPLICE),
    HARMLESS("mlock", HOLD_LOCK),
    HARMLESS("a further mapping", HOLD_MAP),
    HARMLESS("another process' mapping", HOLD_CHILD_MAP),

    CASE("the first of two is named", "SSSSSS", "SSSSSS",
         HOLD(HOLD_SPLICE, 4), HOLD(HOLD_SPLICE, 1),
         CONVERT(0, 6, PRIVATE, .error = EAGAIN, .first_busy = BUSY(1))),
    CASE("the one before the range is not", "SSSSSS", "SSSSSS",
         HOLD(HOLD_SPLICE, 4), HOLD(HOLD_SPLICE, 1),
         CONVERT(2, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(4))),
    CASE("the first page of the range", "SSSS", "SSSS", HOLD(HOLD_SPLICE, 1),
         CONVERT(1, 3, PRIVATE, .error = EAGAIN, .first_busy = BUSY(1))),
    CASE("the last page of the range", "SSSS", "SSSS", HOLD(HOLD_SPLICE, 3),
         CONVERT(1, 3, PRIVATE, .error = EAGAIN, .first_busy = BUSY(3))),
    CASE("just before the range", "SSSS", "SSPP", HOLD(HOLD_SPLICE, 1),
         CONVERT(2, 2, PRIVATE)),
    CASE("just behind the range", "SSSS", "PPSS", HOLD(HOLD_SPLICE, 2),
         CONVERT(0, 2, PRIVATE)),
    CASE("held twice, let go at once", "SSSS", "PPPP", HOLD(HOLD_SPLICE, 0),
         HOLD(HOLD_RING, 0),
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(0)),
         RELEASE, CONVERT(0, 4, PRIVATE, .patient = true)),
    CASE("in a range that is private in part", "SPSP", "SPSP",
         HOLD(HOLD_SPLICE, 2),
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(2))),
    CASE("in a range with pages never touched", "ssSs", "ssSs",
         HOLD(HOLD_SPLICE, 2),
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(2))),
    CASE("a page of zeros", "ssss", "ssss", HOLD(HOLD_SPLICE, 3),
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(3))),
    CASE("again and again", "SSSS", "SSSS", HOLD(HOLD_SPLICE, 1),
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(1)),
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(1)),
         CONVERT(1, 1, PRIVATE, .error = EAGAIN, .first_busy = BUSY(1))),

    CASE("shared already, and held: nothing to do", "SSPP", "SSPP",
         HOLD(HOLD_SPLICE, 0), HOLD(HOLD_SPLICE, 1), CONVERT(0, 2, 0)),
    CASE("to shared, with held pages between", "SPSP", "SSSS",
         HOLD(HOLD_SPLICE, 0), HOLD(HOLD_RING, 2), CONVERT(0, 4, 0)),
    CASE("held from before it was private and back", "SSSS", "SPPS",
         HOLD(HOLD_SPLICE, 1), RELEASE,
         CONVERT(1, 2, PRIVATE, .patient = true), CONVERT(1, 2, 0),
         HOLD(HOLD_SPLICE, 1),
         CONVERT(1, 2, PRIVATE, .error = EAGAIN, .first_busy = BUSY(1)),
         RELEASE, CONVERT(1, 2, PRIVATE, .patient = true)),
    CASE("a hole is punched beneath the holder", "SSSS", "SppS",
         HOLD(HOLD_SPLICE, 1), PUNCH(1, 2), CONVERT(1, 2, PRIVATE)),
    CASE("the holder keeps the page that was punched", "SSSS", "SssS",
         HOLD(HOLD_SPLICE, 1), PUNCH(1, 2), CONVERT(1, 2, PRIVATE),
         CONVERT(1, 2, 0), TOUCH(1, .flags = 1), RELEASE),
    CASE("mapped again after EAGAIN, then converted", "SSSS", "PPPP",
         HOLD(HOLD_SPLICE, 1),
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(1)),
         TOUCH(0), TOUCH(3, .flags = 1), RELEASE,
         CONVERT(0, 4, PRIVATE, .patient = true)),
    CASE("in a slot", "SSSS", "SSSS", SLOT(0, DATA_GPA, WHOLE),
         HOLD(HOLD_SPLICE, 2),
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(2))),
    CASE("another file's holder", "SSSS", "PPPP", HOLD(HOLD_SPLICE, 1),
         CONVERT(0, 4, PRIVATE, .on = ON_SECOND),
         CONVERT(0, 4, PRIVATE, .error = EAGAIN, .first_busy = BUSY(1)),
         RELEASE, CONVERT(0, 4, PRIVATE, .patient = true)),
};

TABLE("busy", busy);
