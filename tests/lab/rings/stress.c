/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Packets go round without a pause while everything happens to the pages of
 * their rings, at random: for the checkers in the kernel (KASAN, lockdep) to
 * watch, and for the driver, who must get every packet back as it was sent.
 */
#define _GNU_SOURCE
#include "tests.h"
#include "world.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 1024u
#define DEVICES 3u

/* One device on each kind of memory */
static const enum kind kinds[DEVICES] = { MEMFD, ANON, GMEM };
static struct place places[DEVICES];
static struct device devices[DEVICES];
static size_t size;
static bool stop;
static unsigned seed;

struct actor {
    const char *name;
    void (*act)(struct actor *a);
    unsigned device;
    unsigned seed;
    unsigned long done;
    pthread_t thread;
};

static unsigned chance(struct actor *a, unsigned limit)
{
    return (unsigned)rand_r(&a->seed) / 7 % limit;
}

/* Some pages of the rings of some device; a thousandth of a second later */
static unsigned char *some_pages(struct actor *a, enum kind kind,
                                 size_t *length)
{
    unsigned first = chance(a, size / PAGE), d;

    usleep(chance(a, 2000));
    *length = (1 + chance(a, size / PAGE - first)) * PAGE;
    for (d = 0; kinds[d] != kind; d++) {
    }
    return places[d].base ? places[d].base + first * PAGE : NULL;
}

static void act_exchange(struct actor *a)
{
    struct device *d = &devices[a->device];

    if (places[a->device].base) {
        exchange_surely(d, 1);
    } else {
        usleep(100000);
    }
}

static void act_unmap(struct actor *a)
{
    size_t length;
    unsigned char *at = some_pages(a, MEMFD, &length);

    must(!madvise(at, length, MADV_DONTNEED));
}

static void act_unmap_gmem(struct actor *a)
{
    size_t length;
    unsigned char *at = some_pages(a, GMEM, &length);

    must(!at || !madvise(at, length, MADV_DONTNEED));
}

/* Of a private mapping the contents would be lost */
static void act_page_out(struct actor *a)
{
    size_t length;
    unsigned char *at = some_pages(a, chance(a, 2) ? ANON : MEMFD, &length);

    must(!madvise(at, length, chance(a, 2) ? MADV_PAGEOUT : MADV_COLD));
}

static void act_compact(struct actor *a)
{
    int fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);

    usleep(chance(a, 100000));
    if (fd >= 0) {
        must(write(fd, "1", 1) == 1);
        close(fd);
    }
}

/*
 * Shares our files. A device that it had for itself would outlive its end here,
 * and do the work of the next one, whose rings lie at the same place.
 */
static void act_fork(struct actor *a)
{
    unsigned lifetime = chance(a, 20000);
    pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL,
                          NULL);

    must(child >= 0);
    if (!child) {
        usleep(lifetime);
        _exit(0);
    }
    must(waitpid(child, NULL, 0) == child);
    usleep(chance(a, 50000));
}

/* Pages that no ring uses lie between the areas */
static void act_convert(struct actor *a)
{
    struct place *p = &places[DEVICES - 1];
    unsigned char *page = devices[DEVICES - 1].ring[chance(a, 2)]
                          .area[chance(a, AREAS)];
    size_t at;

    usleep(chance(a, 2000));
    if (p->base) {
        at = place_offset(p, page) - PAGE;
        /* before the first area there is none */
        at = page == p->base ? p->size - PAGE : at;
        convert_surely(p->fd, at, PAGE, PRIVATE);
        convert_surely(p->fd, at, PAGE, 0);
    }
}

static void act_switch(struct actor *a)
{
    switch_set(chance(a, 4));
    usleep(chance(a, 200000));
}

/* A device that comes and goes, in every state */
static void act_life(struct actor *a)
{
    bool early = chance(a, 2);
    struct device d;
    struct place p;

    place_open(&p, chance(a, 2) ? ANON : MEMFD, rings_bytes(ENTRIES));
    device_open(&d, ENTRIES, chance(a, 2) ? FEATURE_EVENT_IDX : 0, p.base);
    must(!device_start(&d));
    if (chance(a, 2)) {
        exchange_surely(&d, chance(a, 20));
    }
    if (early) {
        must(!munmap(p.base, p.size));
    }
    device_close(&d);
    if (!early) {
        must(!munmap(p.base, p.size));
    }
    close(p.fd);
    usleep(chance(a, 10000));
}

static struct actor actors[] = {
    { "exchange on tmpfs", act_exchange, 0 },
    { "exchange on anonymous memory", act_exchange, 1 },
    { "exchange on guest_memfd", act_exchange, 2 },
    { "unmap", act_unmap }, { "unmap guest_memfd", act_unmap_gmem },
    { "page out", act_page_out }, { "compact", act_compact },
    { "fork", act_fork }, { "convert beside", act_convert },
    { "switch", act_switch }, { "life", act_life },
};
#define ACTORS (sizeof(actors) / sizeof(*actors))

static void *play(void *argument)
{
    struct actor *a = argument;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        a->act(a);
        a->done++;
    }
    return NULL;
}

static void open_devices(void)
{
    unsigned i;

    size = rings_bytes(ENTRIES);
    for (i = 0; i < DEVICES; i++) {
        if (kinds[i] == GMEM && !in_place) {
            continue;
        }
        place_open(&places[i], kinds[i], size + PAGE);
        device_open(&devices[i], ENTRIES, i & 1 ? FEATURE_EVENT_IDX : 0,
                    places[i].base);
        must(!device_start(&devices[i]));
    }
}

static void close_devices(void)
{
    unsigned i;

    for (i = 0; i < DEVICES; i++) {
        if (places[i].base) {
            exchange_until_borrowed(&devices[i]);
            printf("# %s: %u packets\n", kind_names[kinds[i]],
                   devices[i].received);
            device_close(&devices[i]);
        }
    }
}

enum verdict stress(const void *seconds)
{
    struct counts before, after;
    bool on = switch_is_on();
    unsigned i;

    alarm(*(const unsigned *)seconds + 2 * hang());
    seed = time(NULL);
    counts_read(&before);
    open_devices();
    for (i = 0; i < ACTORS; i++) {
        actors[i].seed = seed + i;
        must(!pthread_create(&actors[i].thread, NULL, play, &actors[i]));
    }
    sleep(*(const unsigned *)seconds);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (i = 0; i < ACTORS; i++) {
        pthread_join(actors[i].thread, NULL);
        printf("# %s: %lu\n", actors[i].name, actors[i].done);
    }
    switch_set(on);
    close_devices();
    counts_wait_for_none();
    counts_read(&after);
    printf("# seed %u: mapped %lu, plain %lu, borrowed %lu, taken %lu, "
           "attached %lu\n", seed, after.mapped - before.mapped,
           after.plain - before.plain, after.borrowed - before.borrowed,
           after.taken - before.taken, after.attached - before.attached);
    fflush(stdout);
    must(!on || (after.mapped > before.mapped && after.taken > before.taken));
    return PASSED;
}
