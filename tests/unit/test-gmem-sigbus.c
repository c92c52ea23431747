/*
 * Sinks for touches of private pages: what one thread sees
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *  1. reads find zeros, writes vanish, and the touches are reported, of each block in turn
 *  2. what is not ours ends the process as before, and so does a thread that blocks SIGBUS
 *  3. a page that is shared again is the page of the file, with all that it was
 *  4. touches of several pages, by copies and by one instruction; the handler on its own stack
 *  5. there are never more than so many sinks, and none is left when the memory goes
 *  6. when the kernel has no room, nothing is lost
 */

#include "qemu/osdep.h"
#include "system/gmem-sigbus.h"
#include "gmem-sigbus-fixture.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* What the kernel says of the mapping at @addr, as "rd wr sh ..." */
static char *flags_at(const void *addr)
{
    FILE *smaps = fopen("/proc/self/smaps", "r");
    char line[512], *flags = NULL;
    bool here = false;

    g_assert_nonnull(smaps);
    while (!flags && fgets(line, sizeof(line), smaps)) {
        uintptr_t start, end;

        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) == 2) {
            here = start <= (uintptr_t)addr && (uintptr_t)addr < end;
        } else if (here && g_str_has_prefix(line, "VmFlags:")) {
            flags = g_strdup(line);
        }
    }
    fclose(smaps);
    g_assert_nonnull(flags);
    return flags;
}

/* The touches of @mem reported now; *offset is the last one's */
static uint64_t reported(Memory *mem, uint64_t *offset)
{
    GmemSigbusReport report;
    uint64_t touches = 0;

    while (gmem_sigbus_next_report(&report)) {
        if (report.block == mem->block) {
            touches += report.touches;
            *offset = report.offset;
        }
        gmem_block_unref(report.block);
    }
    return touches;
}

/* ---- 1. one touch ---- */

static void test_touch(void)
{
    Memory *mem = memory_new(8);
    volatile int *error = &errno;      /* the compiler sees no signal coming */
    unsigned int signals = nr_signals;
    uint64_t offset = 0;

    set_private(mem, 2);
    store(mem, 0, 'a');
    g_assert_cmpuint(nr_signals, ==, signals);
    g_assert_cmpuint(reported(mem, &offset), ==, 0);

    *error = ENOTTY;
    g_assert_cmpuint(load(mem, 3 * PAGE + 7), ==, 0);
    g_assert_cmpint(*error, ==, ENOTTY);
    g_assert_cmpuint(nr_signals, ==, signals + 1);
    store(mem, 5 * PAGE - 1, 'x');
    g_assert_cmpuint(nr_signals, ==, signals + 2);
    g_assert_cmpuint(reported(mem, &offset), ==, 2);
    g_assert_cmphex(offset, ==, 5 * PAGE - 1);
    g_assert_cmpuint(reported(mem, &offset), ==, 0);

    /* the other page of the two is as it was, and the sinks stay */
    g_assert_cmpuint(load(mem, 0), ==, 'a');
    g_assert_cmpuint(load(mem, 3 * PAGE), ==, 0);
    store(mem, 4 * PAGE, 'y');
    g_assert_cmpuint(nr_signals, ==, signals + 2);

    g_assert_cmpint(set_shared(mem), ==, 0);
    g_assert_cmpuint(load(mem, 5 * PAGE - 1), ==, 0);
    g_assert_cmpuint(load(mem, 4 * PAGE), ==, 0);
    memory_free(mem);
}

static GmemBlock *report_one(void)
{
    GmemSigbusReport report;

    g_assert(gmem_sigbus_next_report(&report));
    gmem_block_unref(report.block);
    return report.block;
}

/* One that is touched all the time does not keep the other from being told */
static void test_turns(void)
{
    Memory *one = memory_new(8), *two = memory_new(8);
    GmemBlock *told = NULL, *before;
    unsigned int page;

    store(one, 0, 'x');
    store(two, 0, 'x');
    for (page = 1; page < 8; page++) {
        before = told;
        told = report_one();
        g_assert(told != before);
        store(told == one->block ? one : two, page * PAGE, 'x');
    }
    memory_free(one);
    memory_free(two);
}

/* ---- 2. what is not ours ---- */

/* The signal that ended a child in which @fn ran; 0 if none */
static int ended_by(void (*fn)(Memory *mem), Memory *mem)
{
    const struct rlimit no_core = { 0, 0 };
    int status;
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (!pid) {
        setrlimit(RLIMIT_CORE, &no_core);
        fn(mem);
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void touch_first(Memory *mem)
{
    load(mem, 0);
}

static void touch_blocked(Memory *mem)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    load(mem, 0);
}

static void touch_removed(Memory *mem)
{
    gmem_sigbus_remove(mem->block);
    load(mem, 0);
}

static void test_foreign(void)
{
    Memory *mem = memory_new(4);

    g_assert(!gmem_sigbus_recover(NULL));
    g_assert(!gmem_sigbus_recover(mem->host - 1));
    g_assert(!gmem_sigbus_recover(mem->host + mem->size));
    /* a page that can be touched needs nothing but to be touched again */
    g_assert_cmpint(set_shared(mem), ==, 0);
    g_assert(gmem_sigbus_recover(mem->host));
    g_assert_cmpuint(mappings(NULL), ==, 1);

    set_private(mem, 0);
    g_assert_cmpint(ended_by(touch_first, mem), ==, 0);
    g_assert_cmpint(ended_by(touch_blocked, mem), ==, SIGBUS);
    g_assert_cmpint(ended_by(touch_removed, mem), ==, SIGBUS);
    memory_free(mem);
}

/* ---- 3. shared again ---- */

static void test_restore(void)
{
    Memory *mem = memory_new(8);
    uint8_t byte;
    size_t page;

    for (page = 0; page < 8; page++) {
        store(mem, page * PAGE, 'x');
    }
    g_assert_cmpint(ftruncate(mem->fd, mem->size), ==, 0);

    /* only where it is asked for */
    g_assert_cmpint(gmem_sigbus_restore(mem->host + 2 * PAGE, 3 * PAGE), ==, 0);
    for (page = 0; page < 8; page++) {
        g_assert_cmpuint(load(mem, page * PAGE), ==,
                         page >= 2 && page < 5 ? 0 : 'x');
    }
    g_assert_cmpint(gmem_sigbus_restore(mem->host, mem->size), ==, 0);
    for (page = 0; page < 8; page++) {
        store(mem, page * PAGE, 'a' + page);
        g_assert_cmpint(pread(mem->fd, &byte, 1, page * PAGE), ==, 1);
        g_assert_cmpuint(byte, ==, 'a' + page);
    }
    g_assert_cmpuint(mappings(mem), ==, 1);
    g_assert_cmpuint(mappings(NULL), ==, 1);
    memory_free(mem);
}

static void test_advice(void)
{
    Memory *mem = memory_new(8);
    g_autofree char *before = NULL, *after = NULL;

    g_assert_cmpint(madvise(mem->host, mem->size, MADV_DONTDUMP), ==, 0);
    g_assert_cmpint(madvise(mem->host, mem->size, MADV_DONTFORK), ==, 0);
    g_assert_cmpint(madvise(mem->host, mem->size, MADV_RANDOM), ==, 0);
    before = flags_at(mem->host);
    g_assert_nonnull(strstr(before, " dd"));
    store(mem, 3 * PAGE, 'x');
    store(mem, 4 * PAGE, 'x');
    g_assert_cmpint(set_shared(mem), ==, 0);
    after = flags_at(mem->host + 3 * PAGE);
    g_assert_cmpstr(before, ==, after);
    g_assert_cmpuint(mappings(mem), ==, 1);
    memory_free(mem);
}

/* -overcommit mem-lock=on */
static void test_locked(void)
{
    Memory *mem = memory_new(8);
    g_autofree char *there = NULL, *beside = NULL;

    g_assert_cmpint(set_shared(mem), ==, 0);
    /* sanitizers make a dummy of mlock() */
    g_assert_cmpint(syscall(SYS_mlock, mem->host, mem->size), ==, 0);
    set_private(mem, 0);
    store(mem, 3 * PAGE, 'x');
    g_assert_cmpint(set_shared(mem), ==, 0);
    g_assert_cmpuint(load(mem, 3 * PAGE), ==, 0);
    there = flags_at(mem->host + 3 * PAGE);
    g_assert_nonnull(strstr(there, " lo"));
    /* Linux before 7.0 or so unlocks all that is mapped with a page that moves */
    beside = flags_at(mem->host);
    if (strstr(beside, " lo")) {
        g_assert_cmpuint(mappings(mem), ==, 1);
    } else {
        g_test_message("this kernel loses locks: %s", beside);
    }
    memory_free(mem);
}

/* ---- 4. more than one page ---- */

static void touch_several(Memory *mem)
{
    uint8_t *buffer = g_malloc(mem->size);
    uint64_t word;

    /* over a border: both pages must have a sink before it is done */
    memcpy(&word, mem->host + PAGE - 3, sizeof(word));
    g_assert_cmphex(word, ==, 0);
    memcpy(mem->host + 2 * PAGE - 3, &word, sizeof(word));
    /* from one sink to another, and all of it */
    memmove(mem->host + 5 * PAGE + 8, mem->host + 3 * PAGE, PAGE);
    memset(buffer, 'b', mem->size);
    memcpy(buffer, mem->host, mem->size);
    g_assert(!buffer[0] && !memcmp(buffer, buffer + 1, mem->size - 1));
    memset(mem->host, 'z', mem->size);
    g_free(buffer);
    g_assert_cmpint(set_shared(mem), ==, 0);
    g_assert_cmpuint(load(mem, mem->size - 1), ==, 0);
}

static void test_several(void)
{
    Memory *mem = memory_new(64);

    touch_several(mem);
    memory_free(mem);
}

static void test_own_stack(void)
{
    stack_t none = { .ss_flags = SS_DISABLE };
    stack_t stack = {
        .ss_size = 256 * 1024, .ss_sp = g_malloc(256 * 1024),
    }, old;
    Memory *mem = memory_new(64);

    g_assert_cmpint(sigaltstack(&stack, &old), ==, 0);
    handle_sigbus(SA_ONSTACK);
    touch_several(mem);
    handle_sigbus(0);
    g_assert_cmpint(sigaltstack(old.ss_sp ? &old : &none, NULL), ==, 0);
    g_free(stack.ss_sp);
    memory_free(mem);
}

/* ---- 5. bounds ---- */

static void test_bound(void)
{
    unsigned int pages = 3 * MAX_SINKS, page;
    Memory *mem = memory_new(pages);
    uint64_t offset = 0;

    for (page = 0; page < pages; page++) {
        store(mem, (size_t)page * PAGE, 'x');
        /* parked ones, and what is between the sinks */
        g_assert_cmpuint(mappings(NULL), <=, 2 * MAX_SINKS + 1);
    }
    g_assert_cmpuint(reported(mem, &offset), ==, pages);
    /* the oldest are gone, the youngest are there */
    g_assert_cmpuint(load(mem, (size_t)(pages - 1) * PAGE), ==, 'x');
    g_assert_cmpuint(load(mem, (size_t)(pages - MAX_SINKS) * PAGE), ==, 'x');
    g_assert_cmpuint(reported(mem, &offset), ==, 0);
    g_assert_cmpuint(load(mem, 0), ==, 0);
    g_assert_cmpuint(reported(mem, &offset), ==, 1);

    g_assert_cmpint(set_shared(mem), ==, 0);
    g_assert_cmpuint(mappings(NULL), ==, 1);
    memory_free(mem);
}

/* Pages that come back in any order, as a guest likes it */
static void test_scattered(void)
{
    Memory *mem = memory_new(2 * MAX_SINKS);
    unsigned int round, page;

    for (round = 0; round < 4; round++) {
        set_private(mem, 0);
        for (page = round % 2; page < 2 * MAX_SINKS; page += 2) {
            store(mem, (size_t)page * PAGE, 'x');
        }
        g_assert_cmpint(ftruncate(mem->fd, mem->size), ==, 0);
        for (page = 0; page < 2 * MAX_SINKS; page += 3) {
            g_assert_cmpint(gmem_sigbus_restore(mem->host +
                                                (size_t)page * PAGE, PAGE),
                            ==, 0);
        }
        g_assert_cmpint(set_shared(mem), ==, 0);
        g_assert_cmpuint(mappings(NULL), ==, 1);
        for (page = 0; page < 2 * MAX_SINKS; page++) {
            g_assert_cmpuint(load(mem, (size_t)page * PAGE), ==, 0);
        }
    }
    memory_free(mem);
}

static void test_remove(void)
{
    Memory *one = memory_new(8), *two = memory_new(8);
    size_t page;

    /* downwards, for those that are parked in the order of the file become one */
    for (page = 8; page-- > 0;) {
        store(one, page * PAGE, '1');
        store(two, page * PAGE, '2');
    }
    g_assert_cmpuint(mappings(NULL), ==, 16);
    memory_free(one);
    /* what held the file would hold the memory */
    g_assert_cmpuint(mappings(NULL), ==, 8);
    g_assert_cmpuint(load(two, 0), ==, '2');
    g_assert_cmpint(set_shared(two), ==, 0);
    g_assert_cmpuint(mappings(NULL), ==, 1);
    memory_free(two);
    g_assert_cmpuint(mappings(NULL), ==, 0);
}

/* ---- 6. no room ---- */

static enum { MREMAP_WORKS, MREMAP_FAILS, MREMAP_FAILS_LATE } mremap_answer;

void *__real_mremap(void *old, size_t old_size, size_t new_size, int flags,
                    ...);
void *__wrap_mremap(void *old, size_t old_size, size_t new_size, int flags,
                    ...);

/* The kernel is out of memory, or the process of mappings */
void *__wrap_mremap(void *old, size_t old_size, size_t new_size, int flags,
                    ...)
{
    va_list ap;
    void *to;

    va_start(ap, flags);
    to = va_arg(ap, void *);
    va_end(ap);
    if (mremap_answer == MREMAP_WORKS) {
        return __real_mremap(old, old_size, new_size, flags, to);
    }
    if (mremap_answer == MREMAP_FAILS_LATE) {
        munmap(to, new_size);
    }
    errno = ENOMEM;
    return MAP_FAILED;
}

static void test_no_room(gconstpointer answer)
{
    Memory *mem = memory_new(8);
    uint64_t offset = 0;

    store(mem, 0, 'x');
    mremap_answer = GPOINTER_TO_INT(answer);
    g_assert(!gmem_sigbus_recover(mem->host + PAGE));
    g_assert_cmpint(set_shared(mem), ==, -ENOMEM);
    mremap_answer = MREMAP_WORKS;
    g_assert_cmpuint(reported(mem, &offset), ==, 1);

    /* the sink is still there; what it held may be lost */
    g_assert_cmpuint(load(mem, 0), ==,
                     GPOINTER_TO_INT(answer) == MREMAP_FAILS ? 'x' : 0);
    store(mem, 0, 'y');
    /* all is well when it is asked again */
    set_private(mem, 0);
    g_assert_cmpuint(load(mem, PAGE), ==, 0);
    g_assert_cmpint(set_shared(mem), ==, 0);
    g_assert_cmpuint(load(mem, 0), ==, 0);
    g_assert_cmpuint(mappings(NULL), ==, 1);
    memory_free(mem);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    handle_sigbus(0);
    g_test_add_func("/gmem/sigbus/touch", test_touch);
    g_test_add_func("/gmem/sigbus/turns", test_turns);
    g_test_add_func("/gmem/sigbus/foreign", test_foreign);
    g_test_add_func("/gmem/sigbus/restore", test_restore);
    g_test_add_func("/gmem/sigbus/advice", test_advice);
    g_test_add_func("/gmem/sigbus/locked", test_locked);
    g_test_add_func("/gmem/sigbus/several", test_several);
    g_test_add_func("/gmem/sigbus/own-stack", test_own_stack);
    g_test_add_func("/gmem/sigbus/bound", test_bound);
    g_test_add_func("/gmem/sigbus/scattered", test_scattered);
    g_test_add_func("/gmem/sigbus/remove", test_remove);
    g_test_add_data_func("/gmem/sigbus/no-room",
                         GINT_TO_POINTER(MREMAP_FAILS), test_no_room);
    g_test_add_data_func("/gmem/sigbus/no-room-late",
                         GINT_TO_POINTER(MREMAP_FAILS_LATE), test_no_room);
    return g_test_run();
}
