/*
 * sw-protected-guest: KVM's software-protected virtual machines
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A guest without any protection that nevertheless has private
 * memory: KVM takes a page's private-ness from an attribute that QEMU sets, and the
 * guest asks for changes with a plain hypercall.  It exists so that everything
 * about private memory can be developed and tested on any machine.
 *
 * require_guest_memfd stays false: it would turn firmware and option ROMs into
 * RAM of the engine; they are plain read-only slots here.  RAM is gmem all the same
 * (gmem_machine_has_private_memory()), and starts shared.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "hw/i386/x86.h"
#include "migration/blocker.h"
#include "qom/object_interfaces.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "standard-headers/linux/kvm_para.h"
#include "kvm_i386.h"
#include "sw-protected.h"

OBJECT_DEFINE_SIMPLE_TYPE_WITH_INTERFACES(SwProtectedGuest, sw_protected_guest,
                                          SW_PROTECTED_GUEST,
                                          X86_CONFIDENTIAL_GUEST,
                                          { TYPE_USER_CREATABLE }, { NULL })

static int sw_protected_kvm_type(X86ConfidentialGuest *cg)
{
    Error *err = NULL;

    if (!kvm_is_vm_type_supported(KVM_X86_SW_PROTECTED_VM)) {
        error_setg(&err, "sw-protected-guest: this kernel's KVM offers no "
                   "software-protected virtual machines");
        error_append_hint(&err, "It needs CONFIG_KVM_SW_PROTECTED_VM and "
                          "two-dimensional paging (EPT or NPT).\n");
        error_report_err(err);
        exit(1);
    }
    return KVM_X86_SW_PROTECTED_VM;
}

/* Only x86's machines make the VM of the type that the guest asks for */
static bool check_machine(Error **errp)
{
    MachineState *machine = current_machine;

    if (object_dynamic_cast(OBJECT(machine), TYPE_X86_MACHINE)) {
        return true;
    }
    error_setg(errp, "sw-protected-guest: machine '%s' is no PC, and KVM made "
               "an ordinary virtual machine for it",
               MACHINE_GET_CLASS(machine)->name);
    error_append_hint(errp, "Use -machine q35-swp.\n");
    return false;
}

/* KVM has one address space only where memory can be private: none for SMM */
static bool disable_smm(Error **errp)
{
    X86MachineState *x86ms = X86_MACHINE(qdev_get_machine());

    if (x86ms->smm == ON_OFF_AUTO_ON) {
        error_setg(errp, "sw-protected-guest: smm=on is not possible, KVM has "
                   "no SMM for virtual machines with private memory");
        error_append_hint(errp, "Leave smm out, or use smm=off.\n");
        return false;
    }
    x86ms->smm = ON_OFF_AUTO_OFF;
    return true;
}

static bool block_migration(SwProtectedGuest *guest, Error **errp)
{
    error_setg(&guest->migration_blocker, "a machine with sw-protected-guest "
               "cannot be migrated or saved: its private memory cannot be "
               "read, and KVM tracks no writes to it");
    return !migrate_add_blocker(&guest->migration_blocker, errp);
}

static bool enable_hypercall(Error **errp)
{
    if (kvm_enable_hypercall(BIT_ULL(KVM_HC_MAP_GPA_RANGE))) {
        return true;
    }
    error_setg(errp, "sw-protected-guest: this kernel's KVM does not hand "
               "over KVM_HC_MAP_GPA_RANGE, by which a guest asks for "
               "conversions");
    return false;
}

static int sw_protected_kvm_init(ConfidentialGuestSupport *cgs, Error **errp)
{
    SwProtectedGuest *guest = SW_PROTECTED_GUEST(cgs);

    if (!check_machine(errp) || !disable_smm(errp) ||
        !sw_protected_engine_check(errp) || !enable_hypercall(errp) ||
        !block_migration(guest, errp) ||
        !sw_protected_engine_init(guest, errp)) {
        return -EINVAL;
    }
    cgs->ready = true;
    return 0;
}

/* The VM was made by it; the machine would keep a nameless one */
static bool sw_protected_can_be_deleted(UserCreatable *uc)
{
    return !CONFIDENTIAL_GUEST_SUPPORT(uc)->ready;
}

static int sw_protected_get_on_fault(Object *obj, Error **errp)
{
    return SW_PROTECTED_GUEST(obj)->on_fault;
}

static void sw_protected_set_on_fault(Object *obj, int value, Error **errp)
{
    SW_PROTECTED_GUEST(obj)->on_fault = value;
}

static void sw_protected_guest_class_init(ObjectClass *oc, const void *data)
{
    CONFIDENTIAL_GUEST_SUPPORT_CLASS(oc)->kvm_init = sw_protected_kvm_init;
    X86_CONFIDENTIAL_GUEST_CLASS(oc)->kvm_type = sw_protected_kvm_type;
    USER_CREATABLE_CLASS(oc)->can_be_deleted = sw_protected_can_be_deleted;

    object_class_property_add_enum(oc, "on-fault", "GmemOnFault",
                                   &GmemOnFault_lookup,
                                   sw_protected_get_on_fault,
                                   sw_protected_set_on_fault);
    object_class_property_set_description(oc, "on-fault",
        "What to do about a memory fault that cannot be resolved "
        "(this guest gives no protection: for development and tests)");
}

static void sw_protected_guest_init(Object *obj)
{
}

static void sw_protected_guest_finalize(Object *obj)
{
    migrate_del_blocker(&SW_PROTECTED_GUEST(obj)->migration_blocker);
}
