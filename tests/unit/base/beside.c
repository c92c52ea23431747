/*
 * The same tests for the engine and for the base
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * beside TEST [SECONDS]: exits with 0 when the implementation it is linked with passes, with 1
 * and a sentence when it does not, with 77 when the machine cannot tell.
 *
 * lost-update     two threads, each with pages of its own in the same 64: each finds its
 *                 pages as it left them, for SECONDS or until one is lost
 * listener-leaves a listener that has left is not running any more
 * bounded-scan    converting 2 MiB of 1 TiB does not look at the rest of the map
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/thread.h"
#include <signal.h>
#include "impl.h"

#define EXIT_CANNOT_TELL 77
#define PAGE_SIZE_4K UINT64_C(4096)

static G_GNUC_PRINTF(1, 2) int fails(const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s: ", impl_name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

/* ---- lost updates ---- */

typedef struct Neighbour {
    Ram *ram;
    uint64_t offset;
    gint64 until;
    bool *lost;
    unsigned int rounds;
} Neighbour;

static void *neighbour_main(void *opaque)
{
    Neighbour *n = opaque;
    uint64_t size = 8 * PAGE_SIZE_4K;

    for (; !qatomic_read(n->lost); n->rounds++) {
        bool to_private = n->rounds & 1;

        impl_convert(n->ram, n->offset, size, to_private);
        if (impl_is_shared(n->ram, n->offset, size) == to_private) {
            qatomic_set(n->lost, true);
        }
        if (!(n->rounds % 1000) && g_get_monotonic_time() > n->until) {
            break;
        }
    }
    return NULL;
}

static int test_lost_update(unsigned int seconds)
{
    Ram *ram = impl_ram_new(64 * PAGE_SIZE_4K);
    QemuThread threads[2];
    Neighbour n[2];
    bool lost = false;
    int i;

    if (g_get_num_processors() < 2) {
        fails("one processor: two threads seldom meet in a word");
        return EXIT_CANNOT_TELL;
    }
    for (i = 0; i < 2; i++) {
        n[i] = (Neighbour) {
            .ram = ram,
            .offset = i * 32 * PAGE_SIZE_4K,
            .until = g_get_monotonic_time() + seconds * G_USEC_PER_SEC,
            .lost = &lost,
        };
        qemu_thread_create(&threads[i], "neighbour", neighbour_main, &n[i],
                           QEMU_THREAD_JOINABLE);
    }
    for (i = 0; i < 2; i++) {
        qemu_thread_join(&threads[i]);
    }
    if (lost) {
        return fails("a conversion was lost after %u rounds",
                     MIN(n[0].rounds, n[1].rounds));
    }
    impl_ram_free(ram);
    return 0;
}

/* ---- a listener that leaves ---- */

static QemuSemaphore entered, proceed;
static bool gone;

static void linger(void *opaque, bool to_private)
{
    if (to_private) {
        qemu_sem_post(&entered);
        qemu_sem_wait(&proceed);
    }
}

static void *private_main(void *opaque)
{
    impl_convert(opaque, 0, PAGE_SIZE_4K, true);
    return NULL;
}

typedef struct Leaver {
    Ram *ram;
    Listener *listener;
} Leaver;

static void *leaver_main(void *opaque)
{
    Leaver *leaver = opaque;

    impl_unlisten(leaver->ram, leaver->listener);
    qatomic_set(&gone, true);
    return NULL;
}

/*
 * The leaver gets a second to return before its time; if it has to wait, as it should,
 * the second passes.  On a slow machine the base may then pass, but ours never fails.
 */
static int test_listener_leaves(void)
{
    Ram *ram = impl_ram_new(64 * PAGE_SIZE_4K);
    Leaver leaver = { ram, impl_listen(ram, linger, NULL) };
    QemuThread converter, thread;
    bool early;
    int i;

    qemu_sem_init(&entered, 0);
    qemu_sem_init(&proceed, 0);
    impl_convert(ram, 0, PAGE_SIZE_4K, false);
    qemu_thread_create(&converter, "private", private_main, ram,
                       QEMU_THREAD_JOINABLE);
    qemu_sem_wait(&entered);
    qemu_thread_create(&thread, "leaver", leaver_main, &leaver,
                       QEMU_THREAD_JOINABLE);
    for (i = 0; i < 1000 && !qatomic_read(&gone); i++) {
        g_usleep(1000);
    }
    early = qatomic_read(&gone);
    qemu_sem_post(&proceed);
    if (early) {
        _exit(fails("it was gone while it was still being called"));
    }
    qemu_thread_join(&converter);
    qemu_thread_join(&thread);
    impl_ram_free(ram);
    return 0;
}

/* ---- scans ---- */

static void on_fault(int sig)
{
    _exit(fails("looked at the map outside of the range"));
}

static int test_bounded_scan(void)
{
    Ram *ram = impl_ram_new(UINT64_C(1) << 40);
    uint64_t offset = UINT64_C(1) << 39, size = UINT64_C(2) << 20;

    signal(SIGSEGV, on_fault);
    impl_fence(ram, offset);
    impl_convert(ram, offset, size, false);
    if (!impl_is_shared(ram, offset, size)) {
        return fails("the range was not converted");
    }
    impl_convert(ram, offset, size, true);
    return 0;
}

int main(int argc, char **argv)
{
    const char *test = argc >= 2 ? argv[1] : "";

    if (!strcmp(test, "lost-update")) {
        return test_lost_update(argc > 2 ? atoi(argv[2]) : 3);
    } else if (!strcmp(test, "listener-leaves")) {
        return test_listener_leaves();
    } else if (!strcmp(test, "bounded-scan")) {
        return test_bounded_scan();
    }
    fprintf(stderr, "usage: %s lost-update [SECONDS]|listener-leaves|"
            "bounded-scan\n", argv[0]);
    return 2;
}
