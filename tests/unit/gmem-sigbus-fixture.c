/*
 * Fixture of the tests of touches of private pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "system/gmem-sigbus.h"
#include "gmem-fake.h"
#include "gmem-sigbus-fixture.h"

#include <sys/mman.h>

#define NAME "gmem-sigbus-test"

unsigned int nr_signals;

static void on_sigbus(int n, siginfo_t *info, void *context)
{
    qatomic_inc(&nr_signals);
    if (info->si_code != BUS_ADRERR || !gmem_sigbus_recover(info->si_addr)) {
        signal(SIGBUS, SIG_DFL);
        raise(SIGBUS);
    }
}

void handle_sigbus(int flags)
{
    struct sigaction action = {
        .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | flags,
    };

    g_assert_cmpint(sigaction(SIGBUS, &action, NULL), ==, 0);
}

void set_private(Memory *mem, unsigned int page)
{
    g_assert_cmpint(ftruncate(mem->fd, (off_t)page * PAGE), ==, 0);
}

int set_shared(Memory *mem)
{
    g_assert_cmpint(ftruncate(mem->fd, mem->size), ==, 0);
    return gmem_sigbus_restore(mem->host, mem->size);
}

Memory *memory_new(unsigned int pages)
{
    Memory *mem = g_new0(Memory, 1);
    GmemBlockConfig config = {
        .id = "ram", .mode = GMEM_BLOCK_MODE_IN_PLACE, .ops = &gmem_fake_ops,
        .initial = GMEM_PAGE_PRIVATE, .size = (uint64_t)pages * PAGE,
    };
    uint8_t *room;

    mem->size = config.size;
    mem->fd = memfd_create(NAME, MFD_CLOEXEC);
    g_assert_cmpint(mem->fd, >=, 0);
    /* Two mappings of the file never become one: a page is free on both sides */
    room = mmap(NULL, mem->size + 2 * PAGE, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert(room != MAP_FAILED);
    mem->host = mmap(room + PAGE, mem->size, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_FIXED, mem->fd, 0);
    g_assert(mem->host != MAP_FAILED);
    mem->block = gmem_block_new(&config);
    g_assert_cmpint(gmem_sigbus_add(mem->block, mem->host, mem->size), ==, 0);
    return mem;
}

void memory_free(Memory *mem)
{
    gmem_sigbus_remove(mem->block);
    munmap(mem->host - PAGE, mem->size + 2 * PAGE);
    close(mem->fd);
    gmem_block_retire(mem->block);
    gmem_block_unref(mem->block);
    g_free(mem);
}

/* ThreadSanitizer takes the mmap() of a sink for a write to what is touched */
#define TOUCH __attribute__((noinline, no_sanitize("thread")))

TOUCH uint8_t load(Memory *mem, size_t offset)
{
    return *(volatile uint8_t *)(mem->host + offset);
}

TOUCH void store(Memory *mem, size_t offset, uint8_t value)
{
    *(volatile uint8_t *)(mem->host + offset) = value;
}

TOUCH uint64_t load_word(Memory *mem, size_t offset)
{
    return *(volatile uint64_t *)(mem->host + offset);
}

TOUCH void store_word(Memory *mem, size_t offset, uint64_t value)
{
    *(volatile uint64_t *)(mem->host + offset) = value;
}

unsigned int mappings(Memory *mem)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned int found = 0;
    char line[512];

    g_assert_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        uintptr_t start, end;

        g_assert_cmpint(sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end),
                        ==, 2);
        if (mem ? start < (uintptr_t)mem->host + mem->size &&
                  end > (uintptr_t)mem->host
                : !!strstr(line, NAME)) {
            found++;
        }
    }
    fclose(maps);
    return found;
}
