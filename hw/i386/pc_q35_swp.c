/*
 * pc-q35-swp: a Q35 machine with a software-protected guest and gmem RAM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  The latest versioned Q35 machine with other defaults: it has a
 * sw-protected-guest unless the user links another confidential guest, and RAM from
 * -m alone is a memory-backend-gmem.  Such a machine cannot be migrated or saved, so it
 * needs no versions of its own.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "hw/i386/pc.h"
#include "qom/object_interfaces.h"
#include "system/confidential-guest-support.h"
#include "system/hostmem-gmem.h"

#define TYPE_PC_Q35_SWP MACHINE_TYPE_NAME("pc-q35-swp")
#define PARENT_NAME \
    "pc-q35-" stringify(QEMU_VERSION_MAJOR) "." stringify(QEMU_VERSION_MINOR)

/* In the place of -object ...,size=,id= and -machine memory-backend= */
static bool create_default_gmem(MachineState *machine, const char *path,
                                Error **errp)
{
    MachineClass *mc = MACHINE_GET_CLASS(machine);
    g_autoptr(Object) ram = NULL;

    if (path) {
        error_setg(errp, "-mem-path %s is not possible: the guest's private "
                   "pages must lie in a guest_memfd", path);
        error_append_hint(errp, "For shared pages on huge pages, use "
                          "-object memory-backend-gmem,shared-hugetlb=on.\n");
        return false;
    }
    ram = object_new(TYPE_MEMORY_BACKEND_GMEM);
    if (!object_property_set_int(ram, "size", machine->ram_size, errp)) {
        return false;
    }
    object_property_add_child(object_get_objects_root(), mc->default_ram_id,
                              ram);
    return user_creatable_complete(USER_CREATABLE(ram), errp) &&
           object_property_set_link(OBJECT(machine), "memory-backend", ram,
                                    errp);
}

/*
 * An explicit confidential-guest-support= comes later, and wins.  The machine has
 * no path yet by which the link could be set as a property; it takes the reference
 * just the same, as the link is a strong one.
 */
static void pc_q35_swp_instance_init(Object *obj)
{
    Object *guest = object_new(TYPE_SW_PROTECTED_GUEST);

    object_property_add_child(obj, "default-guest", guest);
    MACHINE(obj)->cgs = CONFIDENTIAL_GUEST_SUPPORT(guest);
}

/* QOM copies the parent's class, but each machine class has its own list */
static void inherit_compat_props(MachineClass *mc, ObjectClass *parent)
{
    GPtrArray *props = MACHINE_CLASS(parent)->compat_props;

    for (guint i = 0; i < props->len; i++) {
        g_ptr_array_add(mc->compat_props, g_ptr_array_index(props, i));
    }
}

static void pc_q35_swp_class_init(ObjectClass *oc, const void *data)
{
    MachineClass *mc = MACHINE_CLASS(oc);

    inherit_compat_props(mc, object_class_get_parent(oc));
    mc->alias = "q35-swp";
    mc->is_default = false;
    mc->desc = "Q35 PC with a software-protected guest "
               "(no protection; for development and tests)";
    mc->create_default_memdev = create_default_gmem;
}

static const TypeInfo pc_q35_swp_types[] = {
    {
        .name = TYPE_PC_Q35_SWP,
        .parent = MACHINE_TYPE_NAME(PARENT_NAME),
        .instance_init = pc_q35_swp_instance_init,
        .class_init = pc_q35_swp_class_init,
    },
};

DEFINE_TYPES(pc_q35_swp_types)
