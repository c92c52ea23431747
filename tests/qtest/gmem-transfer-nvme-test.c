/*
 * A guest takes an NVMe queue away while its requests wait for memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Memory that cannot be mapped is had here without KVM: an address where nothing is, and
 * too few bounce buffers.  A request waits for it when
 *
 *  1. its queue is deleted: both end, and the guest is told
 *  2. it is aborted: the same
 *  3. the controller is reset, just when a bounce buffer is free again: nothing goes on in
 *     the memory of the queue, which is freed
 *
 * The controller works afterwards, and QEMU prints nothing about it.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "standard-headers/linux/pci_regs.h"

#define DEVFN (5 << 3)
#define BAR 0xe0000000
#define NOWHERE 0xd0000000          /* between RAM and the devices' memory */
#define PAGE 4096
#define BUFFER 0x200000
#define ENTRIES 8
/* Seconds; a bound against hanging */
#define PATIENCE 300

enum { DELETE_SQ = 0, CREATE_SQ = 1, READ = 2, CREATE_CQ = 5, ABORT = 8 };

/* One submission queue, and its completion queue */
typedef struct Queue {
    unsigned int id;
    unsigned int tail;
    unsigned int head;
    uint64_t sq;
    uint64_t cq;
} Queue;

typedef struct Nvme {
    QTestState *qts;
    char *errors;               /* file with what QEMU printed */
    Queue admin;
    Queue io;
} Nvme;

static Queue queue_at(Nvme *n, unsigned int id)
{
    uint64_t at = 0x100000 + id * 2 * PAGE;

    qtest_memset(n->qts, at, 0, 2 * PAGE);
    return (Queue) { .id = id, .sq = at, .cq = at + PAGE };
}

static void submit(Nvme *n, Queue *q, uint8_t opcode, uint64_t prp1,
                   uint32_t dw10, uint32_t dw11)
{
    uint64_t at = q->sq + q->tail % ENTRIES * 64;

    qtest_memset(n->qts, at, 0, 64);
    qtest_writel(n->qts, at, opcode | q->tail << 16);
    qtest_writel(n->qts, at + 4, q->id);            /* namespace 1 */
    qtest_writeq(n->qts, at + 24, prp1);
    qtest_writel(n->qts, at + 40, dw10);
    qtest_writel(n->qts, at + 44, dw11);
    qtest_writel(n->qts, at + 48, PAGE / 512 - 1);  /* for a read */
    q->tail++;
    qtest_writel(n->qts, BAR + 0x1000 + 8 * q->id, q->tail % ENTRIES);
}

/* The status of the next request to end; the first round of the queue only */
static unsigned int complete(Nvme *n, Queue *q)
{
    uint64_t at = q->cq + q->head * 16 + 12;
    uint32_t word;

    g_assert_cmpuint(q->head, <, ENTRIES);
    while (!((word = qtest_readl(n->qts, at)) & 1 << 16)) {
        g_usleep(1000);
    }
    q->head++;
    return word >> 17;
}

static void enable(Nvme *n)
{
    n->admin = queue_at(n, 0);
    n->io = queue_at(n, 1);
    qtest_writel(n->qts, BAR + 0x24, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    qtest_writeq(n->qts, BAR + 0x28, n->admin.sq);
    qtest_writeq(n->qts, BAR + 0x30, n->admin.cq);
    qtest_writel(n->qts, BAR + 0x14, 4 << 20 | 6 << 16 | 1);
    while (!(qtest_readl(n->qts, BAR + 0x1c) & 1)) {
        g_usleep(1000);
    }
    submit(n, &n->admin, CREATE_CQ, n->io.cq, (ENTRIES - 1) << 16 | 1, 1);
    g_assert_cmphex(complete(n, &n->admin), ==, 0);
    submit(n, &n->admin, CREATE_SQ, n->io.sq, (ENTRIES - 1) << 16 | 1,
           1 << 16 | 1);
    g_assert_cmphex(complete(n, &n->admin), ==, 0);
}

static Nvme *nvme_start(unsigned int bounce, uint64_t latency_ns)
{
    Nvme *n = g_new0(Nvme, 1);

    close(g_file_open_tmp("gmem-nvme-XXXXXX", &n->errors, NULL));
    n->qts = qtest_initf("-machine q35 -m 64M -device nvme,serial=s,drive=d,"
                         "addr=5,x-max-bounce-buffer-size=%u -blockdev null-co,"
                         "node-name=d,size=1048576,read-zeroes=on,latency-ns=%" PRIu64
                         " 2>%s", bounce, latency_ns, n->errors);
    for (int i = 0; i < 2; i++) {
        static const uint32_t values[][2] = {
            { PCI_BASE_ADDRESS_0, BAR },
            { PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER },
        };

        qtest_outl(n->qts, 0xcf8, 0x80000000 | DEVFN << 8 | values[i][0]);
        qtest_outl(n->qts, 0xcfc, values[i][1]);
    }
    enable(n);
    return n;
}

static void check_read(Nvme *n)
{
    static const uint8_t zeros[PAGE];
    uint8_t page[PAGE];

    qtest_memset(n->qts, BUFFER, 0xff, PAGE);
    submit(n, &n->io, READ, BUFFER, 0, 0);
    g_assert_cmphex(complete(n, &n->io), ==, 0);
    qtest_memread(n->qts, BUFFER, page, PAGE);
    g_assert_cmpmem(page, PAGE, zeros, PAGE);
}

static void nvme_stop(Nvme *n)
{
    g_autofree char *text = NULL;

    qtest_quit(n->qts);
    g_assert_true(g_file_get_contents(n->errors, &text, NULL, NULL));
    if (strstr(text, "failed")) {
        g_test_message("QEMU printed: %s", text);
        g_test_fail();
    }
    unlink(n->errors);
    g_free(n->errors);
    g_free(n);
}

/* A request of the admin queue ends after those before it were looked at */
static void wait_looked_at(Nvme *n)
{
    submit(n, &n->admin, ABORT, 0, 1 | 0xffff << 16, 0);
    complete(n, &n->admin);
}

static void test_delete(void)
{
    Nvme *n = nvme_start(0, 0);

    submit(n, &n->io, READ, NOWHERE, 0, 0);
    submit(n, &n->io, READ, NOWHERE, 0, 0);
    wait_looked_at(n);
    submit(n, &n->admin, DELETE_SQ, 0, 1, 0);
    g_assert_cmphex(complete(n, &n->admin), ==, 0);
    g_assert_cmphex(complete(n, &n->io), !=, 0);
    g_assert_cmphex(complete(n, &n->io), !=, 0);
    n->io = queue_at(n, 1);
    nvme_stop(n);
}

static void test_abort(void)
{
    Nvme *n = nvme_start(0, 0);

    for (int i = 0; i < 2; i++) {
        submit(n, &n->io, READ, NOWHERE, 0, 0);
        wait_looked_at(n);
        submit(n, &n->admin, ABORT, 0, 1 | (n->io.tail - 1) << 16, 0);
        g_assert_cmphex(complete(n, &n->admin), ==, 0);
        g_assert_cmphex(complete(n, &n->io), !=, 0);
    }
    check_read(n);
    nvme_stop(n);
}

static void test_reset(void)
{
    /* long enough that the reset comes while the first request is under way */
    Nvme *n = nvme_start(PAGE, 1000 * 1000 * 1000);

    for (int i = 0; i < 4; i++) {
        submit(n, &n->io, READ, NOWHERE, 0, 0);
    }
    wait_looked_at(n);
    qtest_writel(n->qts, BAR + 0x14, 0);
    g_assert_cmphex(qtest_readl(n->qts, BAR + 0x1c), ==, 0);
    enable(n);
    check_read(n);
    nvme_stop(n);
}

/* QEMU hangs; libqtest ends it when the test aborts */
static void give_up(int number)
{
    abort();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGALRM, give_up);
    alarm(PATIENCE);
    /* What is used after it was freed is seen */
    g_setenv("MALLOC_PERTURB_", "165", true);
    qtest_add_func("gmem/transfer/nvme/delete", test_delete);
    qtest_add_func("gmem/transfer/nvme/abort", test_abort);
    qtest_add_func("gmem/transfer/nvme/reset", test_reset);
    return g_test_run();
}
