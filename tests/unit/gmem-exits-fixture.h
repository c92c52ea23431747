/*
 * Fixture of the tests of KVM exits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The handlers are the real ones; the engine and KVM are faked by functions
 * that record what they are asked and answer what a test has set.
 */

#ifndef TESTS_GMEM_EXITS_FIXTURE_H
#define TESTS_GMEM_EXITS_FIXTURE_H

#include "hw/core/cpu.h"
#include "system/gmem-kvm.h"
#include "system/hostmem-gmem.h"

#include <linux/kvm.h>

#define PRIVATE_ATTR (1 << 4)

typedef struct FakeExits {
    /* what the handlers are answered */
    int convert_ret;
    bool no_private_memory;
    bool software_protected;
    bool no_blocks;
    bool kick_in_pre_fault;
    GmemOnFault on_fault;

    /* what they asked for */
    unsigned int converts;
    uint64_t gpa, size;
    bool to_private;
    int64_t started_ns;
    unsigned int pre_faults;
    uint64_t pre_fault_size;
    unsigned int runs;
    bool ran_guest;
    uint64_t ret_at_run;
    unsigned int notified, poisoned, stops, shutdowns;
} FakeExits;

extern FakeExits fake;
/* the one vCPU, and what KVM tells of it */
extern CPUState *cpu;
extern struct kvm_run *run;
/* what KVM offers; who changes it changes it back */
extern GmemKvmCaps caps;

/* Before anything else, and once */
void fixture_init(void);
/* Before each test: nothing was asked yet, and all goes well */
void set_up(void);

/* The vCPU makes the hypercall for @pages pages; returns what the run loop is told */
int hypercall(uint64_t gpa, uint64_t pages, uint64_t attributes);
/* KVM_RUN ends with -errno @run_ret and a memory fault; the same */
int fault(uint64_t gpa, uint64_t flags, int run_ret);

#endif
