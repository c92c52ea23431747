/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Threads of one process at one guest_memfd: some convert, others touch, punch
 * or map it at the same time.
 */
#define _GNU_SOURCE
#include "scenes.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#define PAGES  16
#define SIDES  2        /* threads beside the one that converts */

struct race {
    struct world w;
    bool stop;
    struct side {
        struct race *race;
        unsigned index;
        bool good;
        bool met[2];            /* shared memory, private memory */
        u32 last[PAGES];        /* what it wrote where, last */
    } side[SIDES];
};

static bool running(const struct race *r)
{
    return !__atomic_load_n(&r->stop, __ATOMIC_RELAXED);
}

static bool met_both(const struct race *r)
{
    unsigned i;

    for (i = 0; i < SIDES; i++) {
        if (!__atomic_load_n(&r->side[i].met[0], __ATOMIC_RELAXED) ||
            !__atomic_load_n(&r->side[i].met[1], __ATOMIC_RELAXED)) {
            return false;
        }
    }
    return true;
}

static void meet(struct side *s, int how)
{
    __atomic_store_n(&s->met[how == TOUCH_SIGBUS], true, __ATOMIC_RELAXED);
}

/* Convert ranges at random, at least n, until every side has met both states */
static void convert_about(struct race *r, unsigned n, bool both)
{
    unsigned i, first, count, seed = 4711;

    for (i = 0; i < n || (both && !met_both(r)); i++) {
        first = chance(&seed, PAGES);
        count = 1 + chance(&seed, PAGES - first);
        convert_surely(r->w.fd[ON_GMEM], first * PAGE, count * PAGE,
                       i & 1 ? PRIVATE : 0);
    }
    __atomic_store_n(&r->stop, true, __ATOMIC_RELAXED);
}

/* Run so many threads with fn beside the conversions; did all end well? */
static bool race(struct race *r, void *(*fn)(void *), unsigned n, bool both)
{
    pthread_t thread[SIDES];
    bool good = true;
    unsigned i;

    for (i = 0; i < SIDES; i++) {
        r->side[i] = (struct side) { .race = r, .index = i, .good = true };
        must(pthread_create(&thread[i], NULL, fn, &r->side[i]) == 0);
    }
    convert_about(r, n, both);
    for (i = 0; i < SIDES; i++) {
        pthread_join(thread[i], NULL);
        good = r->side[i].good && good;
    }
    return good;
}

static void *reads(void *argument)
{
    struct side *s = argument;
    struct world *w = &s->race->w;
    unsigned char copy[PAGE] __attribute__((aligned(8)));
    unsigned page = s->index;
    int how;

    while (running(s->race) && s->good) {
        how = copy_page(copy, world_page(w, page));
        s->good = how == TOUCH_SIGBUS ||
            (!how && stamped(copy, page, 'S'));
        if (how == TOUCH_OTHER) {
            say("a touch gave %s", touch_name(how));
        }
        meet(s, how);
        page = (page + 1) % PAGES;
    }
    return NULL;
}

bool scene_readers(void)
{
    static struct race r;

    world_make(&r.w, VM_SW_PROTECTED, MAPPED, "SSSSSSSSSSSSSSSS");
    return race(&r, reads, rounds(1000), true);
}

static u32 *own_word(struct side *s, unsigned page)
{
    return (u32 *)world_page(&s->race->w, page) + 16 * s->index;
}

/* Words that only this thread writes: what it wrote last must be there */
static void *writes(void *argument)
{
    struct side *s = argument;
    u32 n = 0, found;
    unsigned page = 0;
    int how;

    while (running(s->race) && s->good) {
        page = (page + 1) % PAGES;
        how = peek(own_word(s, page), &found);
        if (!how && found != s->last[page]) {
            say("page %u: wrote %u, found %u", page, s->last[page], found);
            s->good = false;
        }
        meet(s, how);
        how = poke(own_word(s, page), ++n);
        s->last[page] = how ? s->last[page] : n;
    }
    return NULL;
}

static bool last_words(struct race *r)
{
    unsigned i, page;
    bool good = true;
    u32 found;

    for (i = 0; i < SIDES; i++) {
        for (page = 0; page < PAGES; page++) {
            must(peek(own_word(&r->side[i], page), &found) == 0);
            good = found == r->side[i].last[page] && good;
        }
    }
    return good;
}

bool scene_writers(void)
{
    static struct race r;
    bool good;

    world_make(&r.w, VM_SW_PROTECTED, MAPPED, "ssssssssssssssss");
    good = race(&r, writes, rounds(1000), true);
    convert_surely(r.w.fd[ON_GMEM], 0, r.w.size, 0);
    if (good && !last_words(&r)) {
        say("a write was lost at the end");
        return false;
    }
    return good;
}

/* Converts [first, first + count) in each round of a pair */
struct pair {
    struct world w;
    pthread_barrier_t barrier;
    unsigned rounds;
    struct half {
        struct pair *pair;
        unsigned first, count, seed;
    } half[2];
};

static void *half_main(void *argument)
{
    struct half *h = argument;
    int gmem = h->pair->w.fd[ON_GMEM], error;
    unsigned i;

    for (i = 0; i < h->pair->rounds; i++) {
        pthread_barrier_wait(&h->pair->barrier);
        error = convert(gmem, h->first * PAGE, h->count * PAGE,
                        chance(&h->seed, 2) ? PRIVATE : 0, NULL);
        if (error && error != EAGAIN) {
            fail("converting: %s", error_name(error));
        }
        pthread_barrier_wait(&h->pair->barrier);
    }
    return NULL;
}

/* A conversion is one: no page of the range differs from the others */
static bool uniform(struct world *w, unsigned first, unsigned count)
{
    int how = touch(world_page(w, first), true);
    unsigned i;

    for (i = first; i < first + count; i++) {
        if (touch(world_page(w, i), true) != how) {
            say("pages %u and %u differ", first, i);
            return false;
        }
    }
    return true;
}

/* Two threads, each with its range; pages that both or neither have agree */
static bool pair_run(unsigned first0, unsigned first1, unsigned count)
{
    static struct pair p;
    pthread_t thread[2];
    bool good = true;
    unsigned i;

    world_make(&p.w, VM_SW_PROTECTED, MAPPED, "SSSSSSSSSSSSSSSS");
    p.rounds = rounds(400);
    p.half[0] = (struct half) { &p, first0, count, 1 };
    p.half[1] = (struct half) { &p, first1, count, 2 };
    pthread_barrier_init(&p.barrier, NULL, 3);
    for (i = 0; i < 2; i++) {
        must(!pthread_create(&thread[i], NULL, half_main, &p.half[i]));
    }
    for (i = 0; i < p.rounds; i++) {
        pthread_barrier_wait(&p.barrier);
        pthread_barrier_wait(&p.barrier);
        /* the threads wait for us at the next barrier */
        good = (first1 == first0 || uniform(&p.w, first0, first1 - first0)) &&
            uniform(&p.w, first1, first0 + count - first1) &&
            (first1 == first0 ||
             uniform(&p.w, first0 + count, first1 - first0)) && good;
    }
    pthread_join(thread[0], NULL);
    pthread_join(thread[1], NULL);
    convert_surely(p.w.fd[ON_GMEM], 0, p.w.size, 0);
    return world_check(&p.w, "SSSSSSSSSSSSSSSS") && good;
}

bool scene_same_range(void)
{
    return pair_run(0, 0, PAGES);
}

bool scene_overlap(void)
{
    return pair_run(2, 6, 8);
}

/* Punch, allocate and read: each word is the stamp's, or zero */
static void *punches(void *argument)
{
    struct side *s = argument;
    struct world *w = &s->race->w;
    u64 copy[PAGE / 8], whole[PAGE / 8];
    unsigned page, i, seed = s->index;
    int how;

    while (running(s->race) && s->good) {
        page = chance(&seed, PAGES);
        stamp((unsigned char *)whole, page);
        how = copy_page(copy, world_page(w, page));
        for (i = 0; !how && i < PAGE / 8; i++) {
            s->good = (!copy[i] || copy[i] == whole[i]) && s->good;
        }
        meet(s, how);
        if (chance(&seed, 2)) {
            s->good = fill_page(world_page(w, page), whole) != TOUCH_OTHER &&
                s->good;
        }
        must(fallocate(w->fd[ON_GMEM], FALLOC_FL_KEEP_SIZE |
                       (chance(&seed, 2) ? FALLOC_FL_PUNCH_HOLE : 0),
                       page * PAGE, PAGE) == 0);
    }
    return NULL;
}

bool scene_punch(void)
{
    static struct race r;

    world_make(&r.w, VM_SW_PROTECTED, MAPPED, "SSSSSSSSSSSSSSSS");
    return race(&r, punches, rounds(1000), true);
}

static void *remaps(void *argument)
{
    struct side *s = argument;
    struct world *w = &s->race->w;
    unsigned page, seed = s->index;
    unsigned char *window;

    while (running(s->race)) {
        page = chance(&seed, PAGES);
        window = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                      w->fd[ON_GMEM], page * PAGE);
        must(window != MAP_FAILED);
        meet(s, touch(window, chance(&seed, 2)));
        must(munmap(window, PAGE) == 0);
    }
    return NULL;
}

bool scene_remap(void)
{
    static struct race r;
    bool good;

    world_make(&r.w, VM_SW_PROTECTED, MAPPED, "SSSSSSSSSSSSSSSS");
    good = race(&r, remaps, rounds(1000), true);
    convert_surely(r.w.fd[ON_GMEM], 0, r.w.size, 0);
    return world_check(&r.w, "SSSSSSSSSSSSSSSS") && good;
}
