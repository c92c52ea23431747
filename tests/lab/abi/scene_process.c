/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Several processes with one guest_memfd, and descriptors that go away.
 */
#define _GNU_SOURCE
#include "guest.h"
#include "scenes.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Wait for a child; did it end with PASSED? */
static bool passed(pid_t child)
{
    int status;

    must(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == PASSED;
}

/* Another process looks at the file through the mapping that it inherits */
static bool child_sees(struct world *w, const char *pages)
{
    pid_t child = fork();

    must(child >= 0);
    if (!child) {
        _exit(world_see(w, pages) ? PASSED : FAILED);
    }
    return passed(child);
}

static void token(int fd)
{
    must(write(fd, "", 1) == 1);
}

static void await(int fd)
{
    char byte;

    must(read(fd, &byte, 1) == 1);
}

/* The child looks when told, and says that it did */
static void look_twice(struct world *w, int command, int answer)
{
    bool good;

    good = touch(world_page(w, 1), true) == 0;
    token(answer);
    await(command);
    good = world_see(w, "SPPS") && good;
    token(answer);
    await(command);
    _exit(world_see(w, "SSSS") && good ? PASSED : FAILED);
}

bool scene_fork_before(void)
{
    int command[2], answer[2];
    struct world w;
    pid_t child;

    world_make(&w, VM_SW_PROTECTED, MAPPED, "SSSS");
    must(pipe(command) == 0 && pipe(answer) == 0);
    must((child = fork()) >= 0);
    if (!child) {
        look_twice(&w, command[0], answer[1]);
    }
    await(answer[0]);
    convert_surely(w.fd[ON_GMEM], PAGE, 2 * PAGE, PRIVATE);
    token(command[1]);
    await(answer[0]);
    convert_surely(w.fd[ON_GMEM], PAGE, 2 * PAGE, 0);
    token(command[1]);
    return passed(child);
}

bool scene_fork_after(void)
{
    struct world w;

    world_make(&w, VM_SW_PROTECTED, MAPPED, "SPPS");
    return child_sees(&w, "SPPS") && child_sees(&w, "SPPS") &&
        world_check(&w, "SPPS") && child_sees(&w, "SSSS");
}

static void send_fd(int socket, int fd)
{
    char room[CMSG_SPACE(sizeof(fd))] = { 0 }, byte = 0;
    struct iovec part = { &byte, 1 };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1,
        .msg_control = room, .msg_controllen = sizeof(room),
    };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(head), &fd, sizeof(fd));
    must(sendmsg(socket, &message, 0) == 1);
}

static int receive_fd(int socket)
{
    char room[CMSG_SPACE(sizeof(int))], byte;
    struct iovec part = { &byte, 1 };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1,
        .msg_control = room, .msg_controllen = sizeof(room),
    };
    int fd;

    must(recvmsg(socket, &message, 0) == 1);
    must(CMSG_FIRSTHDR(&message) != NULL);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
}

/* A process that knew neither VM nor file when it began */
static void stranger(int socket)
{
    int fd = receive_fd(socket);
    volatile unsigned char *window = mmap(NULL, 4 * PAGE,
                                          PROT_READ | PROT_WRITE, MAP_SHARED,
                                          fd, 0);

    must(window != MAP_FAILED);
    must(stamped((unsigned char *)window + PAGE, 1, 'S'));
    convert_surely(fd, PAGE, PAGE, PRIVATE);
    must(touch(window + PAGE, false) == TOUCH_SIGBUS);
    token(socket);
    await(socket);
    convert_surely(fd, PAGE, PAGE, 0);
    _exit(stamped((unsigned char *)window + PAGE, 1, 'S') ? PASSED : FAILED);
}

bool scene_pass_fd(void)
{
    int ends[2];
    struct world w;
    pid_t child;
    bool good;

    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    must((child = fork()) >= 0);
    if (!child) {
        stranger(ends[1]);
    }
    /* its end is its own: reading ends when it dies */
    close(ends[1]);
    world_make(&w, VM_SW_PROTECTED, MAPPED, "SSSS");
    send_fd(ends[0], w.fd[ON_GMEM]);
    await(ends[0]);
    good = world_see(&w, "SPSS");
    token(ends[0]);
    return passed(child) && world_check(&w, "SSSS") && good;
}

static void *waits(void *argument)
{
    struct world *w = argument;

    convert_surely(w->fd[ON_GMEM], 0, w->size, PRIVATE);
    return NULL;
}

bool scene_holder_dies(void)
{
    pthread_t waiter;
    struct world w;

    world_make(&w, VM_SW_PROTECTED, MAPPED, "SSSS");
    must(hold(&w, HOLD_CHILD_SPLICE, 2) == 0);
    must(convert(w.fd[ON_GMEM], 0, w.size, PRIVATE, NULL) == EAGAIN);
    must(pthread_create(&waiter, NULL, waits, &w) == 0);
    sched_yield();
    hold_release(&w);
    pthread_join(waiter, NULL);
    return world_check(&w, "PPPP");
}

/* Convert there and back until the descriptor is gone */
static void *until_closed(void *argument)
{
    int fd = *(int *)argument, error;
    u64 to = PRIVATE;

    do {
        error = convert(fd, 0, 16 * PAGE, to, NULL);
        to ^= PRIVATE;
    } while (!error || error == EAGAIN);
    return (void *)(long)error;
}

bool scene_close_file(void)
{
    unsigned i, seed = 1, n = rounds(20);
    pthread_t converter;
    struct world w;
    void *error;
    int fd;

    world_make(&w, VM_SW_PROTECTED, MAPPED, "s");
    for (i = 0; i < n; i++) {
        must((fd = gmem_create(w.fd[ON_VM], 16 * PAGE, MAPPED)) >= 0);
        must(pthread_create(&converter, NULL, until_closed, &fd) == 0);
        usleep(chance(&seed, 2000));
        close(fd);
        pthread_join(converter, &error);
        if ((long)error != EBADF) {
            say("the last conversion ended with %s",
                error_name((long)error));
            return false;
        }
    }
    return true;
}

bool scene_close_vm(void)
{
    struct world w;
    u32 word;

    world_make(&w, VM_SW_PROTECTED, MAPPED, "SPSP");
    world_bind(&w);
    world_fd(&w, ON_VCPU);
    must(vcpu_read(w.vcpu, GPA(1), &word) == 0 && word == STAMP(1));
    close(w.fd[ON_VM]);
    convert_surely(w.fd[ON_GMEM], 0, w.size, PRIVATE);
    must(vcpu_read(w.vcpu, GPA(2), &word) == 0 && word == STAMP(2));
    close(w.fd[ON_VCPU]);
    close(w.fd[ON_KVM]);
    convert_surely(w.fd[ON_GMEM], PAGE, PAGE, 0);
    return world_check(&w, "PSPP");
}

/* kB of memory that could be had */
static long available(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    long kb = -1;

    must(f != NULL);
    while (kb < 0 && fgets(line, sizeof(line), f)) {
        sscanf(line, "MemAvailable: %ld kB", &kb);
    }
    fclose(f);
    return kb;
}

/* Fill much memory, and convert it until the end comes */
static void converts_for_ever(int ready)
{
    struct world w;
    size_t i;

    world_open(&w, VM_SW_PROTECTED, MAPPED, 32 * MIB);
    for (i = 0; i < w.pages; i++) {
        *(volatile unsigned char *)world_page(&w, i) = 1;
    }
    must(hold(&w, HOLD_SPLICE, 100) == 0);
    token(ready);
    for (i = 0;; i++) {
        convert(w.fd[ON_GMEM], i % 64 * PAGE, 32 * PAGE,
                i & 1 ? PRIVATE : 0, NULL);
    }
}

bool scene_killed(void)
{
    long before = available();
    unsigned i, seed = 1, n = rounds(8);
    int ready[2];
    pid_t child;

    for (i = 0; i < n; i++) {
        must(pipe(ready) == 0);
        must((child = fork()) >= 0);
        if (!child) {
            converts_for_ever(ready[1]);
        }
        await(ready[0]);
        usleep(chance(&seed, 5000));
        kill(child, SIGKILL);
        must(!passed(child));
        close(ready[0]);
        close(ready[1]);
    }
    /* What they had comes back: eight times 32 MiB; its time ends a leak */
    while (available() < before - 128 * 1024) {
        usleep(100000);
    }
    return true;
}
