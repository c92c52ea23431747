/*
 * gmem on KVM: the section in which memory slots stay as they are
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model.  A change of memory slots holds the BQL and waits for the one instant
 * in which no ioctl is running; it keeps nobody out as long as there is one.  vCPUs
 * leave such an instant, because KVM_RUN does not let them in again.  Other threads,
 * those of gmem-convert, convert one range after the other, and several whose
 * sections overlap would put the instant off for as long as they run.  So they take
 * turns.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "hw/core/cpu.h"
#include "system/accel-blocker.h"
#include "gmem-slots.h"

static QemuMutex turn;

static void __attribute__((constructor)) turn_init(void)
{
    qemu_mutex_init(&turn);
}

/* With the BQL there is no section to enter, so nobody who has it waits here */
static bool takes_turns(void)
{
    return !current_cpu && !bql_locked();
}

void gmem_kvm_section_enter(GmemBlock *block)
{
    if (takes_turns()) {
        qemu_mutex_lock(&turn);
    }
    accel_ioctl_begin();
}

void gmem_kvm_section_leave(GmemBlock *block)
{
    accel_ioctl_end();
    if (takes_turns()) {
        qemu_mutex_unlock(&turn);
    }
}
