/*
 * A guest ends a disk's transfer while that waits for memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Memory that cannot be mapped is had here without KVM: an address where nothing is,
 * and a controller without bounce buffers.  In a VM with private memory one private page
 * does it.  For each error policy of the disk:
 *
 *  1. piix3-ide: the guest stops the bus master
 *  2. ahci: the guest resets the port, with a plain and with a queued command waiting
 *  3. the same command twice, so that a second cancellation finds a clean port
 *
 * QEMU lives on, the VM runs, the disk works.  And (4) what ahci says about memory that
 * it cannot map, it says once.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"

#define DISK "-blockdev null-co,node-name=d,size=1048576,read-zeroes=on "
#define NOWHERE 0xd0000000          /* between RAM and the devices' memory */
#define BUFFER 0x200000
#define SECTOR 512
/* Seconds; a bound against hanging */
#define PATIENCE 300

static const char *const policies[] = { "report", "ignore", "stop" };

static void config_write(QTestState *qts, int devfn, int reg, uint32_t value)
{
    qtest_outl(qts, 0xcf8, 0x80000000 | devfn << 8 | reg);
    qtest_outl(qts, 0xcfc, value);
}

static void check_running(QTestState *qts)
{
    QDict *rsp = qtest_qmp(qts, "{'execute': 'query-status'}");

    g_assert_true(qdict_get_bool(qdict_get_qdict(rsp, "return"), "running"));
    qobject_unref(rsp);
}

static void check_sector(QTestState *qts)
{
    static const uint8_t zeros[SECTOR];
    uint8_t sector[SECTOR];

    qtest_memread(qts, BUFFER, sector, sizeof(sector));
    g_assert_cmpmem(sector, SECTOR, zeros, SECTOR);
    check_running(qts);
}

/* ---- piix3-ide ---- */

#define BUSMASTER 0xc000
#define IDE 0x1f0
#define PRD 0x100000

/* Begin to read one sector into @address */
static void ide_start(QTestState *qts, uint32_t address)
{
    static const uint8_t registers[][2] = {
        { 6, 0xe0 }, { 2, 1 }, { 3, 0 }, { 4, 0 }, { 5, 0 }, { 7, 0xc8 },
    };

    qtest_memset(qts, BUFFER, 0xff, SECTOR);
    qtest_writel(qts, PRD, address);
    qtest_writel(qts, PRD + 4, 0x80000000 | SECTOR);
    qtest_outb(qts, BUSMASTER + 2, 6);
    qtest_outl(qts, BUSMASTER + 4, PRD);
    for (size_t i = 0; i < G_N_ELEMENTS(registers); i++) {
        qtest_outb(qts, IDE + registers[i][0], registers[i][1]);
    }
    qtest_outb(qts, BUSMASTER, 9);
}

static void test_ide(const void *policy)
{
    QTestState *qts = qtest_initf(
        "-machine q35 -m 64M " DISK
        "-device piix3-ide,id=p,addr=4,x-max-bounce-buffer-size=0 "
        "-device ide-hd,drive=d,bus=p.0,rerror=%s", (const char *)policy);

    config_write(qts, 4 << 3, 0x20, BUSMASTER);
    config_write(qts, 4 << 3, 0x04, 5);
    for (int i = 0; i < 2; i++) {
        ide_start(qts, NOWHERE);
        qtest_outb(qts, BUSMASTER, 0);
        g_assert_cmphex(qtest_inb(qts, IDE + 7) & 0x89, ==, 1);
        check_running(qts);
    }
    ide_start(qts, BUFFER);
    while (qtest_inb(qts, IDE + 7) & 0x88) {
        g_usleep(1000);
    }
    qtest_outb(qts, BUSMASTER, 0);
    check_sector(qts);
    qtest_quit(qts);
}

/* ---- ahci ---- */

#define ABAR 0xe0000000
#define PORT (ABAR + 0x100)
#define PX_CLB (PORT + 0x00)
#define PX_FB (PORT + 0x08)
#define PX_CMD (PORT + 0x18)
#define PX_SCTL (PORT + 0x2c)
#define PX_SACT (PORT + 0x34)
#define PX_CI (PORT + 0x38)
#define LIST 0x100000
#define FIS 0x101000
#define TABLE 0x102000

static QTestState *ahci_init(const char *policy, const char *more)
{
    QTestState *qts = qtest_initf(
        "-machine q35 -m 64M " DISK
        "-global ich9-ahci.x-max-bounce-buffer-size=0 "
        "-device ide-hd,drive=d,bus=ide.0,rerror=%s %s", policy, more);

    config_write(qts, 0x1f << 3 | 2, 0x24, ABAR);
    config_write(qts, 0x1f << 3 | 2, 0x04, 6);
    qtest_writel(qts, ABAR + 4, 0x80000000);
    qtest_writel(qts, PX_CLB, LIST);
    qtest_writel(qts, PX_FB, FIS);
    return qts;
}

/* Begin to read one sector into @address, in slot 0 */
static void ahci_start(QTestState *qts, bool queued, uint64_t address)
{
    uint8_t fis[20] = { 0x27, 0x80, 0x25, [7] = 0x40, [12] = 1 };

    if (queued) {
        fis[2] = 0x60;
        fis[3] = 1;
        fis[12] = 0;
        qtest_writel(qts, PX_SACT, 1);
    }
    qtest_memset(qts, BUFFER, 0xff, SECTOR);
    qtest_writel(qts, LIST, 1 << 16 | sizeof(fis) / 4);
    qtest_writel(qts, LIST + 4, 0);
    qtest_writeq(qts, LIST + 8, TABLE);
    qtest_memwrite(qts, TABLE, fis, sizeof(fis));
    qtest_writeq(qts, TABLE + 0x80, address);
    qtest_writeq(qts, TABLE + 0x88, (uint64_t)(SECTOR - 1) << 32);
    qtest_writel(qts, PX_CI, 1);
}

static void check_ahci(const char *policy, bool queued)
{
    QTestState *qts = ahci_init(policy, "");

    qtest_writel(qts, PX_CMD, 0x11);
    for (int i = 0; i < 2; i++) {
        qtest_writel(qts, PX_SCTL, 1);
        ahci_start(qts, queued, NOWHERE);
        qtest_writel(qts, PX_SCTL, 0);
        check_running(qts);
    }
    ahci_start(qts, queued, BUFFER);
    while (qtest_readl(qts, queued ? PX_SACT : PX_CI)) {
        g_usleep(1000);
    }
    check_sector(qts);
    qtest_quit(qts);
}

static void test_ahci(const void *policy)
{
    check_ahci(policy, false);
}

static void test_ahci_queued(const void *policy)
{
    check_ahci(policy, true);
}

static unsigned int count(const char *text, const char *what)
{
    unsigned int n = 0;

    while ((text = strstr(text, what))) {
        text += strlen(what);
        n++;
    }
    return n;
}

static void test_messages(void)
{
    g_autofree char *name = NULL, *more = NULL, *text = NULL;
    QTestState *qts;

    close(g_file_open_tmp("gmem-transfer-XXXXXX", &name, NULL));
    more = g_strdup_printf("2>%s", name);
    qts = ahci_init("report", more);
    for (int i = 0; i < 20; i++) {
        qtest_writel(qts, PX_CLB, NOWHERE);
        qtest_writel(qts, PX_FB, FIS);
        qtest_writel(qts, PX_CMD, 0x11);
        g_assert_cmphex(qtest_readl(qts, PX_CMD) & 1, ==, 0);
        qtest_writel(qts, PX_CMD, 0);
        qtest_writel(qts, PX_CLB, LIST);
        qtest_writel(qts, PX_FB, NOWHERE);
        qtest_writel(qts, PX_CMD, 0x11);
        qtest_writel(qts, PX_CMD, 0);
    }
    qtest_quit(qts);
    g_assert_true(g_file_get_contents(name, &text, NULL, NULL));
    unlink(name);
    g_assert_cmpuint(count(text, "Failed to start DMA engine"), ==, 1);
    g_assert_cmpuint(count(text, "Failed to start FIS receive engine"), ==, 1);
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
    for (size_t i = 0; i < G_N_ELEMENTS(policies); i++) {
        g_autofree char *ide = g_strdup_printf("gmem/transfer/ide/%s",
                                               policies[i]);
        g_autofree char *ahci = g_strdup_printf("gmem/transfer/ahci/%s",
                                                policies[i]);
        g_autofree char *ncq = g_strdup_printf("gmem/transfer/ahci-queued/%s",
                                               policies[i]);

        qtest_add_data_func(ide, policies[i], test_ide);
        qtest_add_data_func(ahci, policies[i], test_ahci);
        qtest_add_data_func(ncq, policies[i], test_ahci_queued);
    }
    qtest_add_func("gmem/transfer/messages", test_messages);
    return g_test_run();
}
