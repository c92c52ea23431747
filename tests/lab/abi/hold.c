/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Holders of pages. Kernel interfaces are used directly: what is tested is
 * what the kernel does with a page, not what a library makes of it.
 */
#define _GNU_SOURCE
#include "hold.h"
#include "touch.h"
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEVICE "/dev/nullb0"

struct holder {
    enum hold_kind kind;
    unsigned char *page;
    aio_context_t io;
    bool ended;             /* the I/O, as seen by reap() */
    int fd[2];              /* pipe or ring */
    pid_t child;
    struct holder *next;
};

/* Take the end of the I/O, if it has ended or when it ends. Its errno. */
static int reap(struct holder *h, bool wait)
{
    struct io_event event;
    struct timespec now = { 0 };
    long n;

    if (h->ended) {
        return 0;
    }
    do {
        n = syscall(SYS_io_getevents, h->io, wait, 1, &event,
                    wait ? NULL : &now);
    } while (n < 0 && errno == EINTR);
    must(n >= 0);
    h->ended = n == 1;
    return n == 1 && event.res < 0 ? -event.res : 0;
}

static int hold_direct(struct holder *h)
{
    struct iocb request = {
        .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_buf = (uintptr_t)h->page,
        .aio_nbytes = PAGE,
    }, *list = &request;

    h->fd[0] = open(DEVICE, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (h->fd[0] < 0) {
        skip("no " DEVICE " (a null_blk device whose I/O takes seconds)");
    }
    request.aio_fildes = h->fd[0];
    must(syscall(SYS_io_setup, 1, &h->io) == 0);
    if (syscall(SYS_io_submit, h->io, 1, &list) != 1) {
        return errno;
    }
    return reap(h, false);
}

static int hold_splice(struct holder *h)
{
    struct iovec part = { h->page, PAGE };

    must(pipe(h->fd) == 0);
    return vmsplice(h->fd[1], &part, 1, 0) == (ssize_t)PAGE ? 0 : errno;
}

static int hold_ring(struct holder *h)
{
    struct io_uring_params parameters = { 0 };
    struct iovec buffer = { h->page, PAGE };

    h->fd[0] = syscall(SYS_io_uring_setup, 2, &parameters);
    if (h->fd[0] < 0) {
        skip("io_uring: %s", error_name(errno));
    }
    return syscall(SYS_io_uring_register, h->fd[0], IORING_REGISTER_BUFFERS,
                   &buffer, 1) ? errno : 0;
}

/* The other process: do it, tell how it went, and stay */
static void child_main(struct holder *h, int report)
{
    int error;

    if (h->kind == HOLD_CHILD_SPLICE) {
        error = hold_splice(h);
    } else {
        error = touch(h->page, true);
    }
    must(write(report, &error, sizeof(error)) == sizeof(error));
    for (;;) {
        pause();
    }
}

static int hold_child(struct holder *h)
{
    int report[2], error = 0;

    must(pipe(report) == 0);
    must((h->child = fork()) >= 0);
    if (!h->child) {
        child_main(h, report[1]);
    }
    close(report[1]);
    must(read(report[0], &error, sizeof(error)) == sizeof(error));
    close(report[0]);
    return error;
}

static int hold_map(struct world *w, struct holder *h)
{
    h->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                   w->fd[ON_GMEM], h->page - w->window);
    must(h->page != MAP_FAILED);
    return touch(h->page, true);
}

int hold(struct world *w, enum hold_kind kind, size_t page)
{
    struct holder *h = calloc(1, sizeof(*h));

    *h = (struct holder) {
        .kind = kind, .page = world_page(w, page), .fd = { -1, -1 },
        .next = w->holders,
    };
    w->holders = h;
    switch (kind) {
    case HOLD_DIRECT:
        return hold_direct(h);
    case HOLD_SPLICE:
        return hold_splice(h);
    case HOLD_RING:
        return hold_ring(h);
    case HOLD_LOCK:
        return mlock(h->page, PAGE) ? errno : 0;
    case HOLD_MAP:
        return hold_map(w, h);
    default:
        return hold_child(h);
    }
}

bool hold_lapsed(const struct world *w)
{
    struct holder *h;

    for (h = w->holders; h; h = h->next) {
        if (h->kind == HOLD_DIRECT) {
            reap(h, false);
            if (h->ended) {
                return true;
            }
        }
    }
    return false;
}

static void release(struct holder *h)
{
    if (h->kind == HOLD_DIRECT) {
        reap(h, true);
    } else if (h->kind == HOLD_RING) {
        syscall(SYS_io_uring_register, h->fd[0], IORING_UNREGISTER_BUFFERS,
                NULL, 0);
    } else if (h->kind == HOLD_LOCK) {
        must(munlock(h->page, PAGE) == 0);
    } else if (h->kind == HOLD_MAP) {
        must(munmap(h->page, PAGE) == 0);
    } else if (h->child) {
        kill(h->child, SIGKILL);
        must(waitpid(h->child, NULL, 0) == h->child);
    }
    close(h->fd[0]);
    close(h->fd[1]);
}

void hold_release(struct world *w)
{
    struct holder *h;

    while ((h = w->holders)) {
        w->holders = h->next;
        release(h);
        free(h);
    }
}
