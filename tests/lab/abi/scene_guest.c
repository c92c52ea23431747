/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vCPUs that run while their memory is converted. Each adds to a word of its
 * own in every page, over and over; a software-protected VM keeps contents,
 * so that in the end each word must tell how often.
 */
#define _GNU_SOURCE
#include "guest.h"
#include "scenes.h"
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#define PAGES  16
#define CPUS   4
#define FILE_OF_ZEROS  "ssssssssssssssss"

struct party {
    struct world w;
    unsigned cpus;
    bool stop;
    struct cpu {
        struct party *party;
        unsigned index;
        struct vcpu *vcpu;
        pthread_t thread;
        u32 rounds;
        int error;
    } cpu[CPUS];
};

/* vCPUs write apart from each other, in one cache line */
static u64 word_of(unsigned cpu, unsigned page)
{
    return page * PAGE + 4 * cpu;
}

static void *counts(void *argument)
{
    struct cpu *c = argument;

    c->rounds = vcpu_count(c->vcpu, DATA_GPA + word_of(c->index, 0), PAGES);
    return NULL;
}

static void party_make(struct party *p, unsigned cpus)
{
    unsigned i;

    world_make(&p->w, VM_SW_PROTECTED, MAPPED, FILE_OF_ZEROS);
    world_bind(&p->w);
    p->cpus = cpus;
    p->stop = false;
    for (i = 0; i < cpus; i++) {
        p->cpu[i] = (struct cpu) { .party = p, .index = i };
        p->cpu[i].vcpu = vcpu_new(p->w.fd[ON_VM], i);
    }
}

static void party_start(struct party *p)
{
    unsigned i;

    for (i = 0; i < p->cpus; i++) {
        must(!pthread_create(&p->cpu[i].thread, NULL, counts, &p->cpu[i]));
    }
}

/* A word of the guest's, where the host may look: it only ever grows */
static bool word_grows(struct party *p, unsigned cpu, unsigned page, u32 *last)
{
    u32 found;
    int how = peek((u32 *)(p->w.window + word_of(cpu, page)), &found);

    if (!how && found < *last) {
        say("CPU %u, page %u: %u, and before that %u", cpu, page, found,
            *last);
        return false;
    }
    *last = how ? *last : found;
    return how != TOUCH_OTHER;
}

/* Everything shared: did each vCPU find every word as it had left it? */
static bool party_end(struct party *p)
{
    unsigned i, page;
    bool good = true;
    u32 found;

    for (i = 0; i < p->cpus; i++) {
        vcpu_stop(p->cpu[i].vcpu);
    }
    for (i = 0; i < p->cpus; i++) {
        pthread_join(p->cpu[i].thread, NULL);
        good = p->cpu[i].rounds && good;
    }
    convert_surely(p->w.fd[ON_GMEM], 0, p->w.size, 0);
    for (i = 0; i < p->cpus; i++) {
        for (page = 0; page < PAGES; page++) {
            must(!peek((u32 *)(p->w.window + word_of(i, page)), &found));
            if (found != p->cpu[i].rounds) {
                say("CPU %u, page %u: %u in memory, %u rounds, %u faults", i,
                    page, found, p->cpu[i].rounds,
                    vcpu_faults(p->cpu[i].vcpu));
                good = false;
            }
        }
    }
    return good;
}

/* Convert ranges at random and look at the guest's words in between */
static bool convert_about(struct party *p, unsigned n)
{
    static u32 last[CPUS][PAGES];
    unsigned i, first, count, cpu, seed = 815;
    bool good = true;

    for (i = 0; i < n && good; i++) {
        first = chance(&seed, PAGES);
        count = 1 + chance(&seed, PAGES - first);
        convert_surely(p->w.fd[ON_GMEM], first * PAGE, count * PAGE,
                       chance(&seed, 2) ? PRIVATE : 0);
        cpu = chance(&seed, p->cpus);
        good = word_grows(p, cpu, first, &last[cpu][first]);
    }
    return good;
}

static bool count_with(unsigned cpus)
{
    static struct party p;
    bool good;

    party_make(&p, cpus);
    party_start(&p);
    good = convert_about(&p, rounds(500));
    return party_end(&p) && good;
}

bool scene_count(void)
{
    return count_with(1);
}

bool scene_count_all(void)
{
    return count_with(CPUS);
}

/* One attempt; a busy page must be one that is held */
static void attempt(struct party *p, unsigned held, unsigned page)
{
    u64 where = 0;
    int error = convert(p->w.fd[ON_GMEM], 0, p->w.size, PRIVATE, &where);

    must(error == EAGAIN);
    /* the vCPU's own fault may hold an earlier page for an instant */
    must(where <= held * PAGE);
    error = convert(p->w.fd[ON_GMEM], page * PAGE, PAGE, PRIVATE, NULL);
    must(page == held ? error == EAGAIN : !error || error == EAGAIN);
    convert_surely(p->w.fd[ON_GMEM], 0, p->w.size, 0);
}

bool scene_count_busy(void)
{
    static struct party p;
    unsigned i, held, seed = 3;

    party_make(&p, 2);
    party_start(&p);
    for (i = 0; i < rounds(60); i++) {
        held = chance(&seed, PAGES);
        must(hold(&p.w, HOLD_SPLICE, held) == 0);
        attempt(&p, held, chance(&seed, PAGES));
        hold_release(&p.w);
        convert_surely(p.w.fd[ON_GMEM], held * PAGE, PAGE, PRIVATE);
        convert_surely(p.w.fd[ON_GMEM], held * PAGE, PAGE, 0);
    }
    return party_end(&p);
}

static bool going_on(struct party *p)
{
    return !__atomic_load_n(&p->stop, __ATOMIC_RELAXED);
}

/*
 * Pre-fault again and again. Without a slot there is nothing to be had
 * (ENOENT); a conversion may come in between (EFAULT, see vcpu_count()).
 */
static void *pre_faults(void *argument)
{
    struct cpu *c = argument;
    struct abi_pre_fault all;

    while (going_on(c->party)) {
        all = (struct abi_pre_fault) { .gpa = DATA_GPA,
                                       .size = PAGES * PAGE };
        if (call(vcpu_fd(c->vcpu), ABI_PRE_FAULT_MEMORY, &all) &&
            errno != ENOENT && errno != EAGAIN && errno != EFAULT) {
            c->error = errno;
            break;
        }
        c->rounds++;
    }
    return NULL;
}

static void leave(struct party *p)
{
    __atomic_store_n(&p->stop, true, __ATOMIC_RELAXED);
}

bool scene_pre_fault(void)
{
    static struct party p;
    struct cpu *other = &p.cpu[1];
    bool good;

    party_make(&p, 2);
    p.cpus = 1;
    party_start(&p);
    must(!pthread_create(&other->thread, NULL, pre_faults, other));
    good = convert_about(&p, rounds(400));
    leave(&p);
    pthread_join(other->thread, NULL);
    if (other->error || !other->rounds) {
        say("pre-fault: %s after %u", error_name(other->error),
            other->rounds);
        good = false;
    }
    return party_end(&p) && good;
}

/* The file has the state, whatever slots there are */
static void *slot_comes_and_goes(void *argument)
{
    struct cpu *c = argument;
    struct world *w = &c->party->w;

    while (going_on(c->party) && !c->error) {
        c->error = slot_set(w->fd[ON_VM], DATA_SLOT, 0, 0, 0, NULL, -1, 0);
        c->error = c->error ? c->error
            : slot_set(w->fd[ON_VM], DATA_SLOT, SLOT_GMEM, DATA_GPA, w->size,
                       w->window, w->fd[ON_GMEM], 0);
        c->rounds++;
    }
    return NULL;
}

bool scene_slot(void)
{
    static struct party p;
    unsigned i;
    bool good;
    u32 word;

    party_make(&p, 2);
    for (i = 0; i < PAGES; i++) {
        stamp(world_page(&p.w, i), i);
    }
    must(!pthread_create(&p.cpu[0].thread, NULL, pre_faults, &p.cpu[0]));
    must(!pthread_create(&p.cpu[1].thread, NULL, slot_comes_and_goes,
                         &p.cpu[1]));
    for (i = 0; i < rounds(200); i++) {
        convert_surely(p.w.fd[ON_GMEM], i % PAGES * PAGE, PAGE,
                       i / PAGES & 1 ? 0 : PRIVATE);
    }
    leave(&p);
    pthread_join(p.cpu[0].thread, NULL);
    pthread_join(p.cpu[1].thread, NULL);
    must(!p.cpu[0].error && !p.cpu[1].error);
    convert_surely(p.w.fd[ON_GMEM], 0, p.w.size / 2, PRIVATE);
    convert_surely(p.w.fd[ON_GMEM], p.w.size / 2, p.w.size / 2, 0);
    good = vcpu_read(p.cpu[0].vcpu, GPA(3), &word) == 0 && word == STAMP(3);
    return world_check(&p.w, "PPPPPPPPSSSSSSSS") && good;
}
