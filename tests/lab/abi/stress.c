/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * gmem-stress: everything at once, at random, for the checkers in the kernel
 * (KASAN, lockdep) to watch. What this program itself can tell is little: no
 * call fails in a way it must not, no vCPU loses a write, nothing hangs.
 *
 *   --seconds=N   how long (10)
 *   --seed=N      where to begin (by default at random; it is printed)
 *
 * The first half of the file is exact: nobody punches holes there, and two
 * vCPUs count in it. The second half is wild: holes, and two vCPUs that write
 * what nobody looks at.
 */
#define _GNU_SOURCE
#include "guest.h"
#include "hold.h"
#include "lockdep.h"
#include "touch.h"
#include "world.h"
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGES   256u
#define EXACT   (PAGES / 2)     /* pages of the exact half */
#define CPUS    4
#define DEVICE  "/dev/nullb0"

static struct world world;
static bool stop;
static unsigned seconds = 10, seed;

struct actor {
    const char *name;
    void (*act)(struct actor *a);   /* once; called until the end */
    unsigned seed;
    unsigned long done, refused;
    pthread_t thread;
};

static unsigned chance(struct actor *a, unsigned limit)
{
    return (unsigned)rand_r(&a->seed) / 7 % limit;
}

/* Write to a page where no vCPU counts */
static int touch_up(volatile unsigned char *page)
{
    return touch(page + 3000, true);
}

/* Count what came of a call; an error that must not be ends the test */
static void count(struct actor *a, int error, int allowed, int also)
{
    if (error && error != allowed && error != also) {
        fail("%s: %s (seed %u)", a->name, error_name(error), seed);
    }
    a->done++;
    a->refused += error != 0;
}

static void act_convert(struct actor *a)
{
    unsigned first = chance(a, PAGES);
    unsigned length = 1 + chance(a, chance(a, 8) ? 16 : PAGES - first);
    u64 to = chance(a, 2) ? PRIVATE : 0, where = ~0ull;
    int error;

    length = length > PAGES - first ? PAGES - first : length;
    error = convert(world.fd[ON_GMEM], first * PAGE, length * PAGE, to,
                    &where);
    count(a, error, to ? EAGAIN : 0, 0);
    if (error && (where < first * PAGE || where % PAGE ||
                  where >= (first + length) * PAGE)) {
        fail("EAGAIN of %u+%u names %#lx (seed %u)", first, length, where,
             seed);
    }
}

static void act_touch(struct actor *a)
{
    unsigned char copy[PAGE];
    unsigned page = chance(a, PAGES);
    int how = chance(a, 2) ? copy_page(copy, world_page(&world, page))
                           : touch_up(world_page(&world, page));

    count(a, how, TOUCH_SIGBUS, 0);
}

/*
 * Synchronous: the page is pinned for as long as the device takes. What is read
 * goes to the wild half: after direct I/O that stops at a private page, the
 * kernel reads on by way of the page cache, which does bring data.
 */
static void act_direct(struct actor *a)
{
    static __thread int fd = -1;
    unsigned page = chance(a, PAGES - 8), length = 1 + chance(a, 8);
    ssize_t done;

    if (fd < 0 && (fd = open(DEVICE, O_RDWR | O_DIRECT | O_CLOEXEC)) < 0) {
        skip("no " DEVICE);
    }
    done = page < EXACT || chance(a, 2)
        ? pwrite(fd, world_page(&world, page), length * PAGE, 0)
        : pread(fd, world_page(&world, page), length * PAGE, 0);
    count(a, done < 0 ? errno : 0, EFAULT, 0);
}

static void act_splice(struct actor *a)
{
    struct iovec part = { world_page(&world, chance(a, PAGES)), PAGE };
    int ends[2];
    ssize_t done;

    must(pipe(ends) == 0);
    done = vmsplice(ends[1], &part, 1, 0);
    count(a, done < 0 ? errno : 0, EFAULT, 0);
    usleep(chance(a, 3000));
    close(ends[0]);
    close(ends[1]);
}

static void act_punch(struct actor *a)
{
    unsigned first = EXACT + chance(a, EXACT);
    unsigned length = 1 + chance(a, PAGES - first);
    int mode = FALLOC_FL_KEEP_SIZE |
        (chance(a, 2) ? FALLOC_FL_PUNCH_HOLE : 0);

    count(a, fallocate(world.fd[ON_GMEM], mode, first * PAGE, length * PAGE)
          ? errno : 0, EINTR, 0);
    usleep(chance(a, 2000));
}

static void act_map(struct actor *a)
{
    unsigned page = chance(a, PAGES);
    unsigned char *there = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                                MAP_SHARED, world.fd[ON_GMEM], page * PAGE);

    must(there != MAP_FAILED);
    if (!chance(a, 4)) {
        mlock(there, PAGE);
    }
    count(a, chance(a, 2) ? touch_up(there) : touch(there, false),
          TOUCH_SIGBUS, 0);
    must(munmap(there, PAGE) == 0);
}

/* A process that touches what it inherited, and dies of it at times */
static void act_fork(struct actor *a)
{
    unsigned page = chance(a, PAGES - 4), i;
    volatile unsigned char *from = world_page(&world, page);
    int status;
    pid_t child = fork();

    must(child >= 0);
    if (!child) {
        for (i = 0; i < 4; i++) {
            touch_up(from + i * PAGE);
        }
        _exit(0);
    }
    must(waitpid(child, &status, 0) == child);
    count(a, status ? EIO : 0, 0, 0);
    usleep(20000);
}

/* A second file, from its making to its end, in a slot for a while */
static void act_life(struct actor *a)
{
    unsigned i, size = 8;
    unsigned char *there;
    int fd = gmem_create(world.fd[ON_VM], size * PAGE, MAPPED), error;

    must(fd >= 0);
    there = mmap(NULL, size * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                 0);
    must(there != MAP_FAILED);
    error = slot_set(world.fd[ON_VM], 1, SLOT_GMEM, DATA_GPA + GIB,
                     size * PAGE, there, fd, 0);
    count(a, error, 0, 0);
    for (i = 0; i < 6; i++) {
        touch(there + chance(a, size) * PAGE, true);
        count(a, convert(fd, chance(a, size) * PAGE, PAGE,
                         chance(a, 2) ? PRIVATE : 0, NULL), EAGAIN, 0);
    }
    /* sometimes the slot outlives the file */
    if (chance(a, 2)) {
        slot_set(world.fd[ON_VM], 1, 0, 0, 0, NULL, -1, 0);
    }
    close(fd);
    munmap(there, size * PAGE);
    slot_set(world.fd[ON_VM], 1, 0, 0, 0, NULL, -1, 0);
}

static struct actor actors[] = {
    { "convert", act_convert }, { "convert too", act_convert },
    { "touch", act_touch }, { "touch too", act_touch },
    { "direct I/O", act_direct }, { "direct I/O too", act_direct },
    { "splice", act_splice }, { "punch", act_punch }, { "map", act_map },
    { "fork", act_fork }, { "life", act_life },
};
#define ACTORS (sizeof(actors) / sizeof(*actors))

static void *play(void *argument)
{
    struct actor *a = argument;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        a->act(a);
    }
    return NULL;
}

static struct cpu {
    struct vcpu *vcpu;
    pthread_t thread;
    u32 rounds;
} cpus[CPUS];

static bool exact(unsigned i)
{
    return i < CPUS / 2;
}

static void *runs(void *argument)
{
    struct cpu *c = argument;
    unsigned i = c - cpus;

    /* this thread only: guests take a small part of what the others leave of the CPUs */
    must(nice(10) != -1);
    c->rounds = vcpu_count(c->vcpu, DATA_GPA + 4 * i +
                           (exact(i) ? 0 : EXACT * PAGE), EXACT);
    return NULL;
}

/* Every word of the exact half tells how often its vCPU was there */
static bool check_counts(void)
{
    unsigned i, page;
    bool good = true;
    u32 found;

    convert_surely(world.fd[ON_GMEM], 0, world.size, 0);
    for (i = 0; i < CPUS; i++) {
        if (!cpus[i].rounds) {
            say("CPU %u did not get through once", i);
            return false;
        }
        for (page = 0; exact(i) && page < EXACT; page++) {
            must(!peek((u32 *)world_page(&world, page) + i, &found));
            if (found != cpus[i].rounds) {
                say("CPU %u: %u rounds, but page %u has %u", i,
                    cpus[i].rounds, page, found);
                good = false;
            }
        }
    }
    return good;
}

static void tell(void)
{
    unsigned i;

    for (i = 0; i < ACTORS; i++) {
        printf("# %s: %lu, of them refused %lu\n", actors[i].name,
               actors[i].done, actors[i].refused);
    }
    for (i = 0; i < CPUS; i++) {
        printf("# vCPU %u: %u rounds, %u faults\n", i, cpus[i].rounds,
               vcpu_faults(cpus[i].vcpu));
    }
    fflush(stdout);
}

/* Has something come of every actor that was not refused? */
static bool all_acted(void)
{
    unsigned i;

    for (i = 0; i < ACTORS; i++) {
        if (__atomic_load_n(&actors[i].done, __ATOMIC_RELAXED) <=
            __atomic_load_n(&actors[i].refused, __ATOMIC_RELAXED)) {
            return false;
        }
    }
    return true;
}

static enum verdict run(const void *arg)
{
    unsigned i;

    (void)arg;
    alarm(seconds + 2 * hang());
    world_open(&world, VM_SW_PROTECTED, MAPPED, PAGES * PAGE);
    world_bind(&world);
    for (i = 0; i < CPUS; i++) {
        cpus[i].vcpu = vcpu_new(world.fd[ON_VM], i);
        must(!pthread_create(&cpus[i].thread, NULL, runs, &cpus[i]));
    }
    for (i = 0; i < ACTORS; i++) {
        actors[i].seed = seed + i;
        must(!pthread_create(&actors[i].thread, NULL, play, &actors[i]));
    }
    /* a slow machine takes longer until everybody has had a turn */
    sleep(seconds);
    while (!all_acted()) {
        sleep(1);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (i = 0; i < ACTORS; i++) {
        pthread_join(actors[i].thread, NULL);
    }
    for (i = 0; i < CPUS; i++) {
        vcpu_stop(cpus[i].vcpu);
        pthread_join(cpus[i].thread, NULL);
    }
    tell();
    return check_counts() ? PASSED : FAILED;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        { "seconds", required_argument, NULL, 's' },
        { "seed", required_argument, NULL, 'n' },
        { 0 }
    };
    int letter;

    must(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (letter == 's') {
            seconds = strtoul(optarg, NULL, 0);
        } else if (letter == 'n') {
            seed = strtoul(optarg, NULL, 0);
        } else {
            return 2;
        }
    }
    world_probe();
    printf("# seed %u\n", seed);
    if (!in_place) {
        printf("1..0 # SKIP this KVM does not convert in place\n");
        return 0;
    }
    tap_run("everything at once", run, NULL);
    tap_run("the kernel's locks were watched to the end", check_lockdep, NULL);
    return tap_done();
}
