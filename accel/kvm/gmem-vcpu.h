/*
 * gmem on KVM: what a vCPU is in the middle of (accel/kvm only)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_KVM_GMEM_VCPU_H
#define ACCEL_KVM_GMEM_VCPU_H

#include "hw/core/cpu.h"

struct kvm_run;

/* KVM does not say where the guest faulted; no address, as it is not aligned */
#define GMEM_FAULT_SOMEWHERE UINT64_MAX

/* The last memory fault of a vCPU, to notice that it comes back */
typedef struct GmemFault {
    uint64_t gpa;
    uint64_t flags;
    int64_t seen_ns;
    unsigned int repeats;       /* of the same fault, in a row */
    unsigned int delay_ms;      /* the next one waits this long */
} GmemFault;

/*
 * Has somebody asked this vCPU to leave what it is doing?  GmemRequest.kicked;
 * @opaque is the CPUState.
 */
bool gmem_vcpu_kicked(void *opaque);
/* Answer a kick: the value that makes the run loop leave */
int gmem_vcpu_leave(CPUState *cpu);

/*
 * KVM_EXIT_MEMORY_FAULT.  @run_errno is what KVM_RUN failed with beside the
 * usual EFAULT, or 0.  Returns 0 to run on, EXCP_* to leave the run loop.
 */
int gmem_fault_handle(CPUState *cpu, struct kvm_run *run, int run_errno);

#endif
