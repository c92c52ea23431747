/*
 * gmem on KVM, in a QEMU that is built without KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * There is no guest_memfd then, so no block is ever made: modes are refused, and
 * the provider, which only a RAMBlock with guest_memfd asks for, is unreachable.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/gmem-kvm.h"

static void set_error(Error **errp)
{
    error_setg(errp, "guest_memfd needs KVM, which this QEMU is built without");
    error_append_hint(errp, "Use memory-backend-memfd.\n");
}

const GmemKvmCaps *gmem_kvm_caps(void)
{
    return NULL;
}

bool gmem_kvm_mode_supported(GmemBlockMode mode, bool vm_private, Error **errp)
{
    set_error(errp);
    return false;
}

bool gmem_kvm_choose_mode(bool vm_private, GmemBlockMode *mode, Error **errp)
{
    set_error(errp);
    return false;
}

bool gmem_kvm_private_supported(void)
{
    return false;
}

int gmem_kvm_create_shared(uint64_t size, Error **errp)
{
    set_error(errp);
    return -1;
}

int gmem_kvm_create_in_place(uint64_t size, GmemPageState initial,
                             Error **errp)
{
    set_error(errp);
    return -1;
}

const GmemProviderOps *gmem_kvm_provider(GmemBlockMode mode)
{
    g_assert_not_reached();
}

void *gmem_kvm_block_new(RAMBlock *rb, GmemBlockMode mode, Error **errp)
{
    g_assert_not_reached();
}

void gmem_kvm_block_detach(GmemBlock *block)
{
    g_assert_not_reached();
}
