/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The list of scenes.
 */
#define _GNU_SOURCE
#include "scenes.h"
#include <stdlib.h>

#define SCENE(text, function) { text, ON, VM_SW_PROTECTED, function }

const struct scene scenes[] = {
    SCENE("a child from before a conversion gets SIGBUS", scene_fork_before),
    SCENE("a child from after a conversion gets SIGBUS", scene_fork_after),
    SCENE("another process converts through a descriptor that it was sent",
          scene_pass_fd),
    SCENE("who waits for a busy page converts it when its holder dies",
          scene_holder_dies),
    SCENE("the file is closed while it is converted", scene_close_file),
    SCENE("the VM and its vCPU go, the file converts on", scene_close_vm),
    SCENE("a process is killed while it converts", scene_killed),

    SCENE("readers find content or SIGBUS, nothing else", scene_readers),
    SCENE("no write is lost that did not get SIGBUS", scene_writers),
    SCENE("two threads convert one range, both ways", scene_same_range),
    SCENE("two threads convert overlapping ranges", scene_overlap),
    SCENE("holes are punched meanwhile", scene_punch),
    SCENE("the file is mapped and unmapped meanwhile", scene_remap),

    SCENE("a vCPU loses no write while its memory is converted",
          scene_count),
    SCENE("four vCPUs lose no write", scene_count_all),
    SCENE("a vCPU loses no write while pages are busy", scene_count_busy),
    SCENE("memory is pre-faulted meanwhile", scene_pre_fault),
    SCENE("a slot comes and goes meanwhile", scene_slot),

    SCENE("a file of 1 TiB", scene_sparse),
    SCENE("the greatest file there can be", scene_greatest),
    SCENE("1 GiB never touched, in a slot", scene_gigabyte),
    SCENE("64 MiB, allocated once whatever its state", scene_large),
    SCENE("the states of alternate pages take no memory for ever",
          scene_alternate),
    SCENE("every allocation of a conversion fails once", scene_no_memory),
    { 0 }
};

unsigned rounds(unsigned usual)
{
    return usual * (soak() ? SOAK_FACTOR : 1);
}

unsigned chance(unsigned *seed, unsigned limit)
{
    return (unsigned)rand_r(seed) / 7 % limit;
}
