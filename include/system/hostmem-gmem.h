/*
 * memory-backend-gmem, and what a machine with private memory asks of RAM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A machine *has private memory* when its guest can hide pages from
 * the host: SNP, TDX and sw-protected guests.  On such a machine every RAM
 * backend is gmem: memory-backend-gmem, and memory-backend-ram and -memfd, which
 * get a guest_memfd beside their own memory (mode split) or in its place (mode
 * in-place, where the kernel offers it).  On any other
 * machine memory-backend-gmem is one all-shared guest_memfd (mode none), which
 * the rest of QEMU sees as RAM from a file descriptor.
 *
 * The backend only decides; the RAMBlock's guest_memfd and its GmemBlock are
 * made by whoever adds the RAMBlock, and ask gmem_ram_config() here how.
 */

#ifndef SYSTEM_HOSTMEM_GMEM_H
#define SYSTEM_HOSTMEM_GMEM_H

#include "qapi/qapi-types-qom.h"
#include "system/gmem.h"
#include "system/hostmem.h"

#define TYPE_MEMORY_BACKEND_GMEM "memory-backend-gmem"
#define TYPE_SW_PROTECTED_GUEST "sw-protected-guest"

/* ---- the machine (backends/gmem-private.c) ---- */

/*
 * Can the guest of @machine have private memory?  Known once the machine's
 * options are parsed, so before any memory backend exists.  Any thread.
 */
bool gmem_machine_has_private_memory(const MachineState *machine);
/*
 * Is the guest launched from an image that becomes private before it runs (SNP, TDX)?
 * Firmware is gmem then as well.  Known as early.
 */
bool gmem_machine_is_launched(const MachineState *machine);
/*
 * Does the firmware of @machine measure the file given with -kernel?  Nothing is written into it
 * then.  Any other firmware finds command line and initramfs by what is written there.
 */
bool gmem_machine_measures_kernel(const MachineState *machine);
/* The state that RAM of @machine starts in, unless its backend says otherwise */
GmemPageState gmem_machine_initial(const MachineState *machine);
/* What to do when a memory fault of the guest cannot be resolved; any thread */
GmemOnFault gmem_machine_on_fault(const MachineState *machine);
/*
 * The accelerators to use when the user names none: "kvm" for a machine that has
 * private memory, NULL (QEMU's default) for all others
 */
const char *gmem_machine_accelerators(const MachineState *machine);
/* What the machine's confidential guest is called, for messages; never NULL */
const char *gmem_machine_guest_name(const MachineState *machine);

/* ---- RAM of such a machine (backends/gmem-machine.c) ---- */

/*
 * How the engine shall treat the memory of @mr: fills mode, size, initial,
 * timeout_ms, shared_limit and dma_granularity of @config, and its id with the region's name (which
 * lives as long as @mr).  @mr has a guest_memfd.  Leaves ops and opaque alone.
 */
void gmem_ram_config(MemoryRegion *mr, GmemBlockConfig *config);

/*
 * First thing when any memory backend is completed: refuses a backend that a
 * machine with private memory cannot use.  False with @errp set then.
 */
bool gmem_backend_check(HostMemoryBackend *backend, Error **errp);
/* Adds the guest-memfd property to memory backends */
void gmem_backend_class_properties(ObjectClass *oc);

/* ---- memory that comes and goes (backends/gmem-unplug.c) ---- */

/*
 * A device took @backend into use, or (@mapped false) let it go: then a thread gives its
 * memory its initial state.  It takes conversions when it has that, and is used.
 * BQL held; never waits.
 */
void gmem_backend_set_mapped(HostMemoryBackend *backend, bool mapped);
/*
 * A DIMM is about to use @backend (NULL: none is set): its memory must have its initial
 * state.  If it has not, a thread gives it that, and this is false with @errp set.
 * BQL held; never waits.
 */
bool gmem_backend_check_plug(HostMemoryBackend *backend, Error **errp);
/* May virtio-mem have @backend, whose memory exists?  BQL held */
bool gmem_backend_check_virtio_mem(HostMemoryBackend *backend, Error **errp);

/* ---- preallocation (backends/gmem-prealloc.c) ---- */

/*
 * In place of qemu_prealloc_mem() for memory backends: allocates each page
 * once, on the side of its initial state.  @area is the start of a RAMBlock.
 * Same arguments, result and callers; the private side is never asynchronous.
 */
bool gmem_prealloc_mem(int fd, char *area, size_t size, int max_threads,
                       ThreadContext *tc, bool async, Error **errp);

/* ---- what gmem cannot do for migration (backends/gmem-migration.c) ---- */

/* @caps is indexed by MigrationCapability.  False with @errp set. */
bool gmem_migration_caps_check(const bool *caps, Error **errp);
/* May the pages that the guest writes be tracked?  False with @errp set. */
bool gmem_dirty_tracking_check(Error **errp);
/* May a VM state be loaded into this machine?  False with @errp set. */
bool gmem_incoming_check(Error **errp);

#endif
