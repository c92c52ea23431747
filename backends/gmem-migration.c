/*
 * What gmem cannot do for migration, snapshots and dirty tracking
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  Private memory cannot be read, and KVM tracks no writes to it; so a
 * machine that has some cannot be saved, loaded or measured.  A machine whose
 * gmem is all shared migrates like any other, except where userfaultfd is
 * needed: the kernel has none for guest_memfd.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-types-migration.h"
#include "hw/boards.h"
#include "system/hostmem-gmem.h"
#include "system/runstate.h"

/* Name of a gmem backend, or NULL; stops at the first */
static int find_gmem(Object *obj, void *opaque)
{
    const char **name = opaque;

    if (!object_dynamic_cast(obj, TYPE_MEMORY_BACKEND_GMEM)) {
        return 0;
    }
    *name = object_get_canonical_path_component(obj);
    return 1;
}

static const char *gmem_backend_in_use(void)
{
    const char *name = NULL;

    object_child_foreach(object_get_objects_root(), find_gmem, &name);
    return name;
}

bool gmem_migration_caps_check(const bool *caps, Error **errp)
{
    const char *what, *name;

    if (caps[MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT]) {
        what = "background-snapshot";
    } else if (caps[MIGRATION_CAPABILITY_POSTCOPY_RAM] &&
               runstate_check(RUN_STATE_INMIGRATE)) {
        /* only the destination handles faults; the source may be gmem */
        what = "postcopy-ram";
    } else {
        return true;
    }
    name = gmem_backend_in_use();
    if (!name) {
        return true;
    }
    error_setg(errp, "%s is not possible with memory-backend-gmem '%s': the "
               "kernel has no userfaultfd for guest_memfd", what, name);
    error_append_hint(errp, "Use precopy migration.\n");
    return false;
}

bool gmem_dirty_tracking_check(Error **errp)
{
    if (!gmem_machine_has_private_memory(current_machine)) {
        return true;
    }
    error_setg(errp, "writes of a machine with %s cannot be tracked: KVM has "
               "no dirty log for guest_memfd",
               gmem_machine_guest_name(current_machine));
    return false;
}

bool gmem_incoming_check(Error **errp)
{
    if (!gmem_machine_has_private_memory(current_machine)) {
        return true;
    }
    error_setg(errp, "a machine with %s cannot load a saved or migrated "
               "state: its private memory cannot be written from outside",
               gmem_machine_guest_name(current_machine));
    return false;
}
