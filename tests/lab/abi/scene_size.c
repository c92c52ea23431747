/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sizes: a file far greater than memory, ranges that nobody touched, and the
 * memory that pages and their states take.
 */
#define _GNU_SOURCE
#include "guest.h"
#include "scenes.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* kB of a line of /proc/meminfo */
static long meminfo(const char *name)
{
    FILE *f = fopen("/proc/meminfo", "re");
    size_t length = strlen(name);
    char line[128];
    long kb = -1;

    must(f != NULL);
    while (kb < 0 && fgets(line, sizeof(line), f)) {
        if (!strncmp(line, name, length) && line[length] == ':') {
            kb = atol(line + length + 1);
        }
    }
    fclose(f);
    must(kb >= 0);
    return kb;
}

/*
 * Wait until a line of meminfo is no greater than that. What the kernel frees
 * after a grace period, or counts in batches, comes in time; a leak ends with
 * the test's time.
 */
static void wait_below(const char *name, long kb)
{
    long now = meminfo(name), told = -1;

    while (now > kb) {
        if (now != told) {
            say("%s: %ld kB, waiting for %ld", name, now, kb);
            told = now;
        }
        usleep(200000);
        now = meminfo(name);
    }
}

bool scene_sparse(void)
{
    long before = meminfo("Slab");
    u64 last = TIB - PAGE, where = 0;
    struct world w;
    bool good;
    int gmem;

    world_open(&w, VM_SW_PROTECTED, MAPPED, TIB);
    gmem = w.fd[ON_GMEM];
    stamp(w.window, 0);
    stamp(w.window + last, last / PAGE);
    convert_surely(gmem, 0, TIB, PRIVATE);
    wait_below("Slab", before + 4096);
    good = touch(w.window, false) == TOUCH_SIGBUS &&
        touch(w.window + TIB / 2, true) == TOUCH_SIGBUS &&
        touch(w.window + last, false) == TOUCH_SIGBUS;
    convert_surely(gmem, last, PAGE, 0);
    convert_surely(gmem, TIB / 2, GIB, 0);
    good = touch(w.window + TIB / 2 - PAGE, true) == TOUCH_SIGBUS &&
        touch(w.window + TIB / 2 + GIB, true) == TOUCH_SIGBUS &&
        stamped(w.window + TIB / 2 + GIB - PAGE, 0, 's') && good;
    must(hold(&w, HOLD_SPLICE, last / PAGE) == 0);
    must(convert(gmem, 0, TIB, PRIVATE, &where) == EAGAIN && where == last);
    hold_release(&w);
    convert_surely(gmem, 0, TIB, PRIVATE);
    convert_surely(gmem, 0, TIB, 0);
    return stamped(w.window, 0, 'S') &&
        stamped(w.window + last, last / PAGE, 'S') && good;
}

/* The greatest file there can be, and its last page */
#define GREATEST   ((1ull << 63) - PAGE)
#define LAST       (GREATEST - PAGE)

static unsigned char *map_at(int gmem, u64 offset)
{
    unsigned char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                               gmem, offset);

    must(page != MAP_FAILED);
    return page;
}

/*
 * Single pages get the other state and lose it again with the whole file: more
 * chunks of anything than a kernel can go through within the time of a test.
 */
static bool greatest(u64 flags)
{
    bool shared = flags & GMEM_SHARED;
    u64 other = shared ? PRIVATE : 0, first = other ^ PRIVATE, where = ~0ull;
    int before = shared ? 0 : TOUCH_SIGBUS, after = before ^ TOUCH_SIGBUS;
    unsigned char *low, *high;
    struct world w;
    bool good;
    int gmem;

    world_open(&w, VM_SW_PROTECTED, 0, PAGE);
    must((gmem = gmem_create(w.fd[ON_VM], GREATEST, flags)) >= 0);
    low = map_at(gmem, 0);
    high = map_at(gmem, LAST);
    must(convert(gmem, 0, GREATEST, other, &where) == ENOMEM && where == 0);
    good = touch(low, true) == before && touch(high, true) == before;
    convert_surely(gmem, 0, PAGE, other);
    convert_surely(gmem, GREATEST / 2 / PAGE * PAGE, PAGE, other);
    convert_surely(gmem, LAST, PAGE, other);
    good = touch(low, true) == after && touch(high, true) == after && good;
    convert_surely(gmem, 0, GREATEST, first);
    return touch(low, true) == before && touch(high, true) == before && good;
}

bool scene_greatest(void)
{
    return greatest(MAPPED) && greatest(GMEM_MMAP);
}

bool scene_gigabyte(void)
{
    long before = meminfo("Slab");
    unsigned i, n = rounds(100);
    struct world w;

    world_open(&w, VM_SW_PROTECTED, MAPPED, GIB);
    world_bind(&w);
    for (i = 0; i < n; i++) {
        convert_surely(w.fd[ON_GMEM], 0, GIB, i & 1 ? 0 : PRIVATE);
    }
    wait_below("Slab", before + 4096);
    convert_surely(w.fd[ON_GMEM], PAGE, GIB - 2 * PAGE, PRIVATE);
    return touch(w.window, true) == 0 &&
        touch(w.window + PAGE, true) == TOUCH_SIGBUS &&
        touch(w.window + GIB - 2 * PAGE, true) == TOUCH_SIGBUS &&
        touch(w.window + GIB - PAGE, true) == 0;
}

/* Memory of files, gmem among them, in kB */
static long file_memory(void)
{
    return meminfo("Cached") + meminfo("Buffers");
}

bool scene_large(void)
{
    struct world w;
    long before, filled;
    size_t i;

    before = file_memory();
    world_open(&w, VM_SW_PROTECTED, MAPPED, 64 * MIB);
    world_bind(&w);
    for (i = 0; i < w.pages; i++) {
        stamp(world_page(&w, i), i);
    }
    filled = file_memory();
    if (filled < before + 56 * 1024) {
        say("%ld kB were %ld kB before 64 MiB were written", filled, before);
        return false;
    }
    convert_surely(w.fd[ON_GMEM], 0, w.size, PRIVATE);
    wait_below("Cached", filled + 8192);
    convert_surely(w.fd[ON_GMEM], 8 * MIB, 16 * MIB, 0);
    for (i = 0; i < w.pages; i++) {
        bool shared = i >= 8 * MIB / PAGE && i < 24 * MIB / PAGE;

        must(touch(world_page(&w, i), false) == (shared ? 0 : TOUCH_SIGBUS));
    }
    convert_surely(w.fd[ON_GMEM], 0, w.size, 0);
    for (i = 0; i < w.pages && stamped(world_page(&w, i), i, 'S'); i++) {
    }
    wait_below("Cached", filled + 8192);
    return i == w.pages;
}

/* Every other page, there one by one and back at once */
static void alternate(struct world *w)
{
    size_t i;

    for (i = 0; i < w->pages; i += 2) {
        convert_surely(w->fd[ON_GMEM], i * PAGE, PAGE, PRIVATE);
    }
    convert_surely(w->fd[ON_GMEM], 0, w->size, 0);
}

bool scene_alternate(void)
{
    unsigned i, n = rounds(8);
    struct world w;
    long before;

    world_open(&w, VM_SW_PROTECTED, MAPPED, 32 * MIB);
    world_bind(&w);
    /* the first time fills what the kernel keeps */
    alternate(&w);
    before = meminfo("Slab");
    for (i = 0; i < n; i++) {
        alternate(&w);
    }
    /* 8192 states are some 100 kB; as much again and again would be more */
    wait_below("Slab", before + 512);
    return touch(world_page(&w, 0), true) == 0;
}

#define FAILSLAB   "/sys/kernel/debug/failslab/"
#define FAIL_PAGE  "/sys/kernel/debug/fail_page_alloc/"

static void write_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        skip("no fault injection: %s: %s", path, error_name(errno));
    }
    must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* The file that makes the nth allocation of this thread fail */
static int fail_nth;

/* Let it fail from now on; 0 stops that. The write itself allocates nothing. */
static void set_fail_nth(unsigned n)
{
    char text[16];
    int length = snprintf(text, sizeof(text), "%u", n);

    must(pwrite(fail_nth, text, length, 0) == length);
}

/* Is the failure still to come? */
static bool to_come(void)
{
    char text[16] = { 0 };

    must(pread(fail_nth, text, sizeof(text) - 1, 0) > 0);
    return atoi(text) != 0;
}

/* A range whose ends are in the midst of whatever units states are kept in */
#define FIRST  5
#define COUNT  (32 * MIB / PAGE)
#define END    (FIRST + COUNT)

/* Are the range's pages private, or shared, and those around it shared? */
static bool seen(struct world *w, bool private)
{
    static const size_t inside[] = { FIRST, FIRST + COUNT / 2, END - 1 };
    int how = private ? TOUCH_SIGBUS : 0;
    bool good = !touch(world_page(w, FIRST - 1), true) &&
        !touch(world_page(w, END), true);
    size_t i;

    for (i = 0; i < sizeof(inside) / sizeof(*inside); i++) {
        good = touch(world_page(w, inside[i]), true) == how && good;
    }
    return good;
}

/* A conversion whose nth allocation fails. Done: it needed fewer. */
static bool without_memory(unsigned n, unsigned *refused)
{
    u64 where = ~0ull;
    struct world w;
    bool left;
    int error;

    world_open(&w, VM_SW_PROTECTED, MAPPED, 64 * MIB);
    must(seen(&w, false));
    set_fail_nth(n);
    error = convert(w.fd[ON_GMEM], FIRST * PAGE, COUNT * PAGE, PRIVATE,
                    &where);
    left = to_come();
    set_fail_nth(0);
    if (error) {
        must(error == ENOMEM && where == FIRST * PAGE);
        must(seen(&w, false));
        convert_surely(w.fd[ON_GMEM], FIRST * PAGE, COUNT * PAGE, PRIVATE);
        *refused += 1;
    }
    must(seen(&w, true));
    must(munmap(w.window, w.size + 4 * PAGE) == 0);
    must(munmap(w.plain, w.size) == 0);
    close(w.fd[ON_GMEM]);
    close(w.fd[ON_VM]);
    close(w.fd[ON_KVM]);
    return left;
}

bool scene_no_memory(void)
{
    unsigned n, refused = 0;

    fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
    if (fail_nth < 0) {
        skip("this kernel has no fault injection");
    }
    write_to(FAILSLAB "ignore-gfp-wait", "N");
    write_to(FAILSLAB "verbose", "0");
    write_to(FAIL_PAGE "ignore-gfp-wait", "N");
    write_to(FAIL_PAGE "min-order", "0");
    write_to(FAIL_PAGE "verbose", "0");
    for (n = 1; !without_memory(n, &refused); n++) {
    }
    say("%u allocations, %u of them refused the conversion", n - 1, refused);
    write_to(FAILSLAB "ignore-gfp-wait", "Y");
    write_to(FAIL_PAGE "ignore-gfp-wait", "Y");
    return refused > 0;
}
