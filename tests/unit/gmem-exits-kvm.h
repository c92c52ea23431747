/*
 * What the KVM exits need of the per-target headers, for a test that has no target
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GMEM_EXITS_KVM_H
#define GMEM_EXITS_KVM_H

struct CPUState;

int kvm_vcpu_ioctl(struct CPUState *cpu, unsigned long type, ...);

#endif
