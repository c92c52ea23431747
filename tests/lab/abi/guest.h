/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vCPU that touches guest memory for a test: 32-bit code without paging, so
 * that a guest-physical address is an address. Code and stop words lie in a
 * slot of ordinary memory, which is always shared.
 */
#ifndef ABI_GUEST_H
#define ABI_GUEST_H

#include "uapi.h"

struct vcpu;

/* A new vCPU; the first of a VM (index 0) brings the slot with the code. */
struct vcpu *vcpu_new(int vm, unsigned index);
int vcpu_fd(const struct vcpu *v);

/*
 * Read or write four bytes of guest memory. 0, or the errno of KVM_RUN when
 * it came with EXIT_MEMORY_FAULT; any other exit fails the test.
 */
int vcpu_read(struct vcpu *v, u64 gpa, u32 *value);
int vcpu_write(struct vcpu *v, u64 gpa, u32 value);

/*
 * Add 1 to a word of each of so many pages, over and over, until another
 * thread calls vcpu_stop(). Returns how often each word was increased.
 *
 * KVM first finds out whether a page is private and then faults it in. When a
 * conversion comes in between, KVM_RUN leaves with EXIT_MEMORY_FAULT, and
 * succeeds when it is called again; vcpu_faults() tells how often that was.
 */
u32 vcpu_count(struct vcpu *v, u64 gpa, u32 pages);
u32 vcpu_faults(const struct vcpu *v);
void vcpu_stop(struct vcpu *v);

/* The fault of the last run that gave an errno */
const struct abi_memory_fault *vcpu_fault(const struct vcpu *v);

#endif
