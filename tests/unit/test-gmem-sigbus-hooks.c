/*
 * SIGBUS in QEMU's threads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Signals, threads, main loop, engine and preallocation are the real ones; the rest of the
 * base's handler is faked.  Memory that is private is a memfd mapped behind its end.
 *
 *  1. an ordinary VM: the main loop reads SIGBUS as ever, also about memory that failed
 *  2. a thread of QEMU does not block SIGBUS, nor does the main thread of an in-place VM
 *  3. about memory that failed, the base's handler hears in the main loop only
 *  4. what is a vCPU's, and what is no touch of ours, goes straight to it
 *  5. touches in any thread are survived, and reported by the main loop, which goes on
 *  6. preallocation has a handler of its own: its threads fail, other threads are saved
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/madvise.h"
#include "qemu/thread.h"
#include "system/gmem-ram.h"
#include "system/gmem-sigbus.h"
#include "system/ramblock.h"
#include "gmem-fake.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PAGE 4096
#define PAGES 16
#define MAX_NOTICES 16      /* system/gmem-sigbus-hooks.c */

/* ---- in place of the rest of QEMU ---- */

__thread CPUState *current_cpu;

static RAMBlock ram;
static int ram_fd;

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return rb->gmem;
}

/* What the base's handler has seen */
static unsigned int nr_seen;
static struct {
    int code;
    uintptr_t addr;
    bool in_main_loop;
} seen[64];
static bool in_main_loop;
static void (*while_seeing)(void);

static void base_handler(int n, siginfo_t *info, void *context)
{
    if (gmem_sigbus(info)) {
        return;
    }
    if (nr_seen < ARRAY_SIZE(seen)) {
        seen[nr_seen].code = info->si_code;
        seen[nr_seen].addr = (uintptr_t)info->si_addr;
        seen[nr_seen].in_main_loop = in_main_loop;
    }
    nr_seen++;
    if (while_seeing) {
        while_seeing();
    }
}

static void handle_sigbus(void)
{
    struct sigaction action = {
        .sa_sigaction = base_handler, .sa_flags = SA_SIGINFO,
    };

    g_assert_cmpint(sigaction(SIGBUS, &action, NULL), ==, 0);
}

static unsigned int nr_denied;
static char *denied_who;
static void (*while_told)(void);

static void on_denied(GmemBlock *block, uint64_t offset, uint64_t size,
                      const char *who, uint64_t times)
{
    g_assert(block == ram.gmem);
    g_assert(in_main_loop);
    nr_denied += times;
    g_free(denied_who);
    denied_who = g_strdup(who);
    if (while_told) {
        while_told();
    }
}

static const GmemObserver observer = {
    .denied = on_denied,
};

/* ---- helpers ---- */

static void run_main_loop(void)
{
    int i;

    in_main_loop = true;
    for (i = 0; i < 4; i++) {
        main_loop_wait(true);
    }
    in_main_loop = false;
}

/* As the kernel sends it to this thread */
static void send_sigbus(int code, uintptr_t addr)
{
    siginfo_t info = { .si_signo = SIGBUS, .si_code = code };

    info.si_addr = (void *)addr;
    g_assert_cmpint(syscall(SYS_rt_tgsigqueueinfo, getpid(),
                            qemu_get_thread_id(), SIGBUS, &info), ==, 0);
}

static bool is_blocked(void)
{
    sigset_t set;

    g_assert_cmpint(pthread_sigmask(SIG_BLOCK, NULL, &set), ==, 0);
    return sigismember(&set, SIGBUS);
}

static void *run_in_thread(void *opaque)
{
    void (*fn)(void) = opaque;

    fn();
    return NULL;
}

static void in_thread(void (*fn)(void))
{
    QemuThread thread;

    qemu_thread_create(&thread, "test", run_in_thread, fn,
                       QEMU_THREAD_JOINABLE);
    qemu_thread_join(&thread);
}

/* The signal that ended a child in which @fn ran; 0 if none */
static int ended_by(void (*fn)(void))
{
    const struct rlimit no_core = { 0, 0 };
    int status;
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (!pid) {
        setrlimit(RLIMIT_CORE, &no_core);
        fn();
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void set_shared(bool shared)
{
    g_assert_cmpint(ftruncate(ram_fd, shared ? PAGES * PAGE : 0), ==, 0);
    if (shared) {
        g_assert_cmpint(gmem_sigbus_restore(ram.host, PAGES * PAGE), ==, 0);
    }
}

static void make_ram(void)
{
    GmemBlockConfig config = {
        .id = "ram", .mode = GMEM_BLOCK_MODE_IN_PLACE, .ops = &gmem_fake_ops,
        .initial = GMEM_PAGE_PRIVATE, .size = PAGES * PAGE,
    };

    ram_fd = memfd_create("ram", MFD_CLOEXEC);
    g_assert_cmpint(ram_fd, >=, 0);
    ram.max_length = config.size;
    ram.host = mmap(NULL, config.size, PROT_READ | PROT_WRITE, MAP_SHARED,
                    ram_fd, 0);
    g_assert(ram.host != MAP_FAILED);
    ram.gmem = gmem_block_new(&config);
}

static void touch(void)
{
    qatomic_set(ram.host + 3 * PAGE, qatomic_read(ram.host + 5 * PAGE) + 1);
}

/* ---- 1. an ordinary VM ---- */

static void die_of_failed_memory(void)
{
    send_sigbus(BUS_MCEERR_AR, 0x1000);
}

static void die_in_thread(void)
{
    in_thread(die_of_failed_memory);
}

static void assert_unblocked(void)
{
    g_assert(!is_blocked());
}

static void test_ordinary(void)
{
    nr_seen = 0;
    g_assert(is_blocked());
    send_sigbus(BUS_MCEERR_AO, 0x1000);
    g_assert_cmpuint(nr_seen, ==, 0);
    run_main_loop();
    g_assert_cmpuint(nr_seen, ==, 1);
    g_assert_cmpint(seen[0].code, ==, BUS_MCEERR_AO);
    g_assert_cmphex(seen[0].addr, ==, 0x1000);
    g_assert(seen[0].in_main_loop);

    in_thread(assert_unblocked);
    g_assert_cmpint(ended_by(die_in_thread), ==, SIGBUS);
}

/* ---- 2. from the first in-place block on ---- */

static void test_arm(void)
{
    struct rlimit limit, none;
    Error *err = NULL;

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    none = limit;
    none.rlim_cur = 0;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
    g_assert(!gmem_sigbus_watch(&ram, &err));
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    g_assert(g_str_has_prefix(error_get_pretty(err), "cannot watch for touches "
                              "of private memory"));
    error_free(err);
    g_assert(is_blocked());
    g_assert(gmem_sigbus_watch(&ram, &error_abort));
    g_assert(!is_blocked());
    in_thread(assert_unblocked);
}

/* ---- 3. memory that failed ---- */

static void test_notices(void)
{
    unsigned int i;

    nr_seen = 0;
    send_sigbus(BUS_MCEERR_AO, 0x1000);
    send_sigbus(BUS_MCEERR_AO, 0x2000);
    g_assert_cmpuint(nr_seen, ==, 0);
    run_main_loop();
    g_assert_cmpuint(nr_seen, ==, 2);
    g_assert_cmphex(seen[0].addr, ==, 0x1000);
    g_assert_cmphex(seen[1].addr, ==, 0x2000);
    g_assert(seen[0].in_main_loop && seen[1].in_main_loop);
    g_assert_cmpint(seen[1].code, ==, BUS_MCEERR_AO);
    run_main_loop();
    g_assert_cmpuint(nr_seen, ==, 2);

    /* more than are kept: the first of them come, and later ones as well */
    nr_seen = 0;
    for (i = 0; i < 2 * MAX_NOTICES; i++) {
        send_sigbus(BUS_MCEERR_AO, (i + 1) * PAGE);
    }
    run_main_loop();
    g_assert_cmpuint(nr_seen, ==, MAX_NOTICES);
    for (i = 0; i < MAX_NOTICES; i++) {
        g_assert_cmphex(seen[i].addr, ==, (i + 1) * PAGE);
    }
    send_sigbus(BUS_MCEERR_AO, 0x1000);
    run_main_loop();
    g_assert_cmpuint(nr_seen, ==, MAX_NOTICES + 1);
}

static void send_another(void)
{
    unsigned int before = nr_seen;

    while_seeing = NULL;
    send_sigbus(BUS_MCEERR_AO, 0x2000);
    g_assert_cmpuint(nr_seen, ==, before);
}

/* One that arrives while the base's handler is at work, and must not interrupt it */
static void test_notice_between(void)
{
    nr_seen = 0;
    while_seeing = send_another;
    send_sigbus(BUS_MCEERR_AO, 0x1000);
    run_main_loop();
    g_assert_null(while_seeing);
    g_assert_cmpuint(nr_seen, ==, 2);
    g_assert_cmphex(seen[1].addr, ==, 0x2000);
    g_assert(seen[1].in_main_loop);
    g_assert_cmpint(ended_by(die_of_failed_memory), ==, SIGBUS);
}

/* ---- 4. the base's own ---- */

static void test_base(void)
{
    uint8_t cpu;

    nr_seen = 0;
    current_cpu = (CPUState *)&cpu;     /* only looked at whether it is there */
    send_sigbus(BUS_MCEERR_AO, 0x1000);
    send_sigbus(BUS_MCEERR_AR, 0x2000);
    current_cpu = NULL;
    g_assert_cmpuint(nr_seen, ==, 2);
    g_assert_cmpint(seen[0].code, ==, BUS_MCEERR_AO);
    g_assert_cmpint(seen[1].code, ==, BUS_MCEERR_AR);
    g_assert_cmphex(seen[1].addr, ==, 0x2000);

    send_sigbus(BUS_ADRERR, 0x1000);
    send_sigbus(BUS_ADRALN, (uintptr_t)ram.host);
    send_sigbus(SI_QUEUE, (uintptr_t)ram.host);
    raise(SIGBUS);
    g_assert_cmpuint(nr_seen, ==, 6);
    g_assert(!seen[2].in_main_loop);
    run_main_loop();
    g_assert_cmpuint(nr_seen, ==, 6);
}

/* ---- 5. touches ---- */

static void test_touches(void)
{
    unsigned int before = nr_denied;
    GmemBlockStats stats;

    nr_seen = 0;
    set_shared(false);
    touch();
    in_thread(touch);
    g_assert_cmpuint(nr_denied, ==, before);
    run_main_loop();
    /* the thread found the sinks of the first one */
    g_assert_cmpuint(nr_denied, ==, before + 2);
    g_assert_cmpstr(denied_who, ==, "kept-pointer");

    set_shared(true);
    g_assert_cmpuint(ram.host[3 * PAGE], ==, 0);
    set_shared(false);
    in_thread(touch);
    run_main_loop();
    g_assert_cmpuint(nr_denied, ==, before + 4);
    gmem_block_get_stats(ram.gmem, &stats);
    g_assert_cmpuint(stats.denied, ==, nr_denied);
    g_assert_cmpuint(nr_seen, ==, 0);
    set_shared(true);
}

static void touch_again(void)
{
    set_shared(true);
    set_shared(false);
    touch();
    if (nr_denied > 1000) {
        while_told = NULL;
    }
}

/* A device that touches faster than the main loop tells: other things get their turn */
static void test_endless(void)
{
    unsigned int before;

    set_shared(false);
    in_thread(touch);
    while_told = touch_again;
    do {
        before = nr_denied;
        in_main_loop = true;
        main_loop_wait(true);
        in_main_loop = false;
        g_assert_cmpuint(nr_denied, <=, before + 100);
    } while (while_told);
    run_main_loop();
    before = nr_denied;
    run_main_loop();
    g_assert_cmpuint(nr_denied, ==, before);
    set_shared(true);
}

/* ---- 6. preallocation ---- */

static bool is_preallocating;
static void (*while_preallocating)(void);

int __real_qemu_madvise(void *addr, size_t len, int advice);
int __wrap_qemu_madvise(void *addr, size_t len, int advice);
void *__real_qemu_thread_join(QemuThread *thread);
void *__wrap_qemu_thread_join(QemuThread *thread);

/* A mapping that has to be preallocated by touching it */
int __wrap_qemu_madvise(void *addr, size_t len, int advice)
{
    if (is_preallocating && advice == QEMU_MADV_POPULATE_WRITE) {
        errno = EINVAL;
        return -1;
    }
    return __real_qemu_madvise(addr, len, advice);
}

/* It waits for its threads with its handler in force */
void *__wrap_qemu_thread_join(QemuThread *thread)
{
    if (is_preallocating && while_preallocating) {
        while_preallocating();
    }
    return __real_qemu_thread_join(thread);
}

static bool preallocate(int fd, void *area, Error **errp)
{
    bool ok;

    is_preallocating = true;
    ok = qemu_prealloc_mem(fd, area, PAGES * PAGE, 1, NULL, false, errp);
    is_preallocating = false;
    return ok;
}

static void test_prealloc(void)
{
    unsigned int before = nr_denied;
    Error *err = NULL;
    uint8_t *other;
    int fd = memfd_create("other", MFD_CLOEXEC);

    /* its own threads: pages that it cannot have are an error, and get no sink */
    nr_seen = 0;
    set_shared(false);
    g_assert(!preallocate(ram_fd, ram.host, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "preallocating memory"));
    error_free(err);
    run_main_loop();
    g_assert_cmpuint(nr_denied, ==, before);

    /* others */
    g_assert_cmpint(ftruncate(fd, PAGES * PAGE), ==, 0);
    other = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(other != MAP_FAILED);
    while_preallocating = touch;
    g_assert(preallocate(fd, other, &error_abort));
    while_preallocating = NULL;
    run_main_loop();
    g_assert_cmpuint(nr_denied, ==, before + 2);
    g_assert_cmpuint(nr_seen, ==, 0);

    set_shared(true);
    munmap(other, PAGES * PAGE);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qemu_init_main_loop(&error_abort);
    handle_sigbus();
    gmem_set_observer(&observer);
    make_ram();
    g_test_add_func("/gmem/sigbus-hooks/ordinary", test_ordinary);
    /* all that follow need this one */
    g_test_add_func("/gmem/sigbus-hooks/arm", test_arm);
    g_test_add_func("/gmem/sigbus-hooks/notices", test_notices);
    g_test_add_func("/gmem/sigbus-hooks/notice-between", test_notice_between);
    g_test_add_func("/gmem/sigbus-hooks/base", test_base);
    g_test_add_func("/gmem/sigbus-hooks/touches", test_touches);
    g_test_add_func("/gmem/sigbus-hooks/endless", test_endless);
    g_test_add_func("/gmem/sigbus-hooks/prealloc", test_prealloc);
    return g_test_run();
}
