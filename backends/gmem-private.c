/*
 * Does this machine have private memory?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  It is the machine's confidential guest that tells, and nothing
 * else; it is linked to the machine before the first memory backend is made.
 */

#include "qemu/osdep.h"
#include "hw/boards.h"
#include "system/confidential-guest-support.h"
#include "system/hostmem-gmem.h"

static bool sw_protected(const ConfidentialGuestSupport *cgs)
{
    return object_dynamic_cast(OBJECT(cgs), TYPE_SW_PROTECTED_GUEST);
}

bool gmem_machine_has_private_memory(const MachineState *machine)
{
    ConfidentialGuestSupport *cgs = machine ? machine->cgs : NULL;

    /* sw-protected guests leave require_guest_memfd false: firmware is ROM */
    return cgs && (cgs->require_guest_memfd || sw_protected(cgs));
}

bool gmem_machine_is_launched(const MachineState *machine)
{
    return machine && machine->cgs && machine->cgs->require_guest_memfd;
}

bool gmem_machine_measures_kernel(const MachineState *machine)
{
    return machine && machine->cgs && !sw_protected(machine->cgs);
}

GmemPageState gmem_machine_initial(const MachineState *machine)
{
    return gmem_machine_is_launched(machine) ? GMEM_PAGE_PRIVATE
                                             : GMEM_PAGE_SHARED;
}

GmemOnFault gmem_machine_on_fault(const MachineState *machine)
{
    Object *guest = machine ? OBJECT(machine->cgs) : NULL;
    int value;

    if (!guest || !object_property_find(guest, "on-fault")) {
        return GMEM_ON_FAULT_RETRY;
    }
    value = object_property_get_enum(guest, "on-fault", "GmemOnFault", NULL);
    return value < 0 ? GMEM_ON_FAULT_RETRY : value;
}

const char *gmem_machine_guest_name(const MachineState *machine)
{
    if (!machine || !machine->cgs) {
        return "an ordinary guest";
    }
    return object_get_typename(OBJECT(machine->cgs));
}

const char *gmem_machine_accelerators(const MachineState *machine)
{
    return gmem_machine_has_private_memory(machine) ? "kvm" : NULL;
}
