/*
 * sw-protected-guest: what its files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  sw-protected.c is the object, the same for both engines.  What has to
 * be set up for the engine that is built in stands in sw-protected-gmem.c, or, for
 * the comparison binary, in sw-protected-base.c.
 */

#ifndef TARGET_I386_KVM_SW_PROTECTED_H
#define TARGET_I386_KVM_SW_PROTECTED_H

#include "qapi/qapi-types-qom.h"
#include "system/hostmem-gmem.h"
#include "target/i386/confidential-guest.h"

OBJECT_DECLARE_SIMPLE_TYPE(SwProtectedGuest, SW_PROTECTED_GUEST)

struct SwProtectedGuest {
    X86ConfidentialGuest parent_obj;

    GmemOnFault on_fault;
    Error *migration_blocker;
};

/* Can the kernel keep private pages as the engine needs it?  Called as below, but before */
bool sw_protected_engine_check(Error **errp);
/*
 * Prepare the engine for this VM: called once, when KVM's VM exists and has the
 * right type, before there is any RAM.  False with @errp set.
 */
bool sw_protected_engine_init(SwProtectedGuest *guest, Error **errp);

#endif
