/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Scenes: what a table cannot say, because several act at the same time.
 */
#ifndef ABI_SCENES_H
#define ABI_SCENES_H

#include "cases.h"

struct scene {
    const char *name;
    unsigned kernels, type;
    bool (*run)(void);      /* in a process of its own; false, explained */
};

/* Ends with one that has no name */
extern const struct scene scenes[];

/* How often a scene does what it does; more in a soak */
unsigned rounds(unsigned usual);

/* A number below limit, from a seed of the thread's own */
unsigned chance(unsigned *seed, unsigned limit);

/* scene_process.c: other processes and descriptors */
bool scene_fork_before(void), scene_fork_after(void), scene_pass_fd(void);
bool scene_holder_dies(void), scene_close_file(void), scene_close_vm(void);
bool scene_killed(void);
/* scene_race.c: threads of one process */
bool scene_readers(void), scene_writers(void), scene_same_range(void);
bool scene_overlap(void), scene_punch(void), scene_remap(void);
/* scene_guest.c: vCPUs that run meanwhile */
bool scene_count(void), scene_count_all(void), scene_count_busy(void);
bool scene_pre_fault(void), scene_slot(void);
/* scene_size.c: sizes, and the memory that states take */
bool scene_sparse(void), scene_greatest(void), scene_gigabyte(void);
bool scene_large(void), scene_alternate(void), scene_no_memory(void);

#endif
