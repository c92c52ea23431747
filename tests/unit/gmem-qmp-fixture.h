/*
 * Fixture of the tests of gmem's monitor layer
 *
 * The real engine and the real commands; the kernel is a fake provider, and
 * what QEMU would know about RAM and the kind of VM is said by the test.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GMEM_QMP_FIXTURE_H
#define TESTS_GMEM_QMP_FIXTURE_H

#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qapi/qapi-commands-gmem.h"
#include "system/gmem-qmp.h"

typedef struct FakeKernel {
    int fail_from;          /* calls from this one on fail; 0: none does */
    int fail_with;          /* with this -errno */
    bool gate;              /* calls wait while this is set (atomic) */
    int calls;              /* made so far (atomic) */
} FakeKernel;

extern FakeKernel fake_kernel;
/* gmem_qmp_host_may_convert() refuses, as for SNP and TDX */
extern bool fake_destroying_guest;

void fixture_init(void);

/* A registered block in mode split, all shared */
GmemBlock *fixture_block(const char *id, uint64_t size);
GmemBlock *fixture_block_none(const char *id, uint64_t size);
/* Drop it, and reset the fake kernel and the events */
void fixture_drop(GmemBlock *block);

/* gmem-convert with all its arguments, in a coroutine, to its answer */
typedef struct ConvertArgs {
    const char *id;
    uint64_t offset;
    uint64_t size;
    GmemState state;
    bool has_timeout;
    uint32_t timeout;
    bool no_wait;           /* does not say, which means the same */
} ConvertArgs;

GmemConversionInfo *fixture_convert(const ConvertArgs *args, Error **errp);
/* The same for block "ram0", which has to succeed to the end */
void fixture_convert_ok(uint64_t offset, uint64_t size, GmemState state);
/* Fails the test unless @err says @want; frees @err */
void fixture_assert_message(Error *err, const char *want);

/* Run the main loop until @done(opaque) */
void fixture_poll_until(bool (*done)(void *opaque), void *opaque);
/* Run what is ready now */
void fixture_poll(void);

/* Events since the fixture was reset: how many of @name, and the last one's data */
unsigned int fixture_events(const char *name);
QDict *fixture_last_event(const char *name);
/* Sum of the member "count" over them */
uint64_t fixture_event_sum(const char *name);

#endif
