/*
 * Sinks for touches of private pages: many threads at once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Threads touch while others convert.  What counts is that each touch ends, and that a page
 * is the file's, and no sink, when its conversion to shared has returned.
 *
 *  1. all touch one page, which comes and goes
 *  2. all touch all pages of several memories, more than there can be sinks; each memory
 *     has a converter of its own, but one, which stays private
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/thread.h"
#include "gmem-sigbus-fixture.h"

#define TOUCHERS 4
#define MEMORIES 5
#define PAGES 64            /* of each; all of them have more than MAX_SINKS */

static Memory *memories[MEMORIES];
static bool stop;

static unsigned int rounds(void)
{
    return g_getenv("GMEM_SOAK") ? 5000 : 150;
}

static void unblock_sigbus(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* Each page of @mem, as QEMU sees it, is the file's */
static void check_no_sink(Memory *mem, uint64_t stamp)
{
    uint64_t found;
    size_t page;

    for (page = 0; page < PAGES; page++) {
        stamp += page;
        g_assert_cmpint(pwrite(mem->fd, &stamp, sizeof(stamp), page * PAGE),
                        ==, sizeof(stamp));
        g_assert_cmphex(load_word(mem, page * PAGE), ==, stamp);
        store_word(mem, page * PAGE, ~stamp);
        g_assert_cmpint(pread(mem->fd, &found, sizeof(found), page * PAGE), ==,
                        sizeof(found));
        g_assert_cmphex(found, ==, ~stamp);
    }
}

/* ---- 1. one page ---- */

static void *touch_one_page(void *opaque)
{
    Memory *mem = opaque;

    unblock_sigbus();
    while (!qatomic_read(&stop)) {
        store(mem, PAGE + 16, load(mem, PAGE + 17));
    }
    return NULL;
}

static void test_one_page(void)
{
    QemuThread threads[TOUCHERS];
    Memory *mem = memory_new(PAGES);
    unsigned int i;

    qatomic_set(&stop, false);
    for (i = 0; i < TOUCHERS; i++) {
        qemu_thread_create(&threads[i], "touch", touch_one_page, mem,
                           QEMU_THREAD_JOINABLE);
    }
    for (i = 0; i < 4 * rounds(); i++) {
        set_private(mem, 0);
        sched_yield();
        g_assert_cmpint(set_shared(mem), ==, 0);
        check_no_sink(mem, i);
    }
    qatomic_set(&stop, true);
    for (i = 0; i < TOUCHERS; i++) {
        qemu_thread_join(&threads[i]);
    }
    g_assert_cmpint(set_shared(mem), ==, 0);
    g_assert_cmpuint(mappings(NULL), ==, 1);
    memory_free(mem);
}

/* ---- 2. all pages ---- */

static void *touch_all(void *opaque)
{
    uint32_t random = GPOINTER_TO_UINT(opaque) + 1;

    unblock_sigbus();
    while (!qatomic_read(&stop)) {
        Memory *mem;
        size_t page;

        random = random * 1664525 + 1013904223;
        mem = memories[(random >> 8) % MEMORIES];
        page = (random >> 16) % PAGES;
        /* the first bytes of a page are the converters' */
        store(mem, page * PAGE + 16, load(mem, page * PAGE + 32));
    }
    return NULL;
}

static void *convert(void *opaque)
{
    Memory *mem = opaque;
    unsigned int i, n = rounds();

    unblock_sigbus();
    for (i = 0; i < n; i++) {
        unsigned int signals = qatomic_read(&nr_signals);

        set_private(mem, i % 3 ? i % PAGES : 0);
        while (i % 3 && qatomic_read(&nr_signals) == signals) {
            sched_yield();
        }
        g_assert_cmpint(set_shared(mem), ==, 0);
        check_no_sink(mem, (uint64_t)i << 32);
    }
    return NULL;
}

static void test_all_pages(void)
{
    QemuThread touchers[TOUCHERS], converters[MEMORIES];
    unsigned int i;

    qatomic_set(&stop, false);
    for (i = 0; i < MEMORIES; i++) {
        memories[i] = memory_new(PAGES);
    }
    for (i = 0; i < TOUCHERS; i++) {
        qemu_thread_create(&touchers[i], "touch", touch_all,
                           GUINT_TO_POINTER(i), QEMU_THREAD_JOINABLE);
    }
    /* the last memory stays private, so that there are always sinks to make room */
    for (i = 0; i < MEMORIES - 1; i++) {
        qemu_thread_create(&converters[i], "convert", convert, memories[i],
                           QEMU_THREAD_JOINABLE);
    }
    for (i = 0; i < MEMORIES - 1; i++) {
        qemu_thread_join(&converters[i]);
    }
    qatomic_set(&stop, true);
    for (i = 0; i < TOUCHERS; i++) {
        qemu_thread_join(&touchers[i]);
    }
    for (i = 0; i < MEMORIES; i++) {
        g_assert_cmpint(set_shared(memories[i]), ==, 0);
        memory_free(memories[i]);
    }
    g_assert_cmpuint(mappings(NULL), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    handle_sigbus(0);
    g_test_add_func("/gmem/sigbus-threads/one-page", test_one_page);
    g_test_add_func("/gmem/sigbus-threads/all-pages", test_all_pages);
    return g_test_run();
}
