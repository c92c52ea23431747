/*
 * RamDiscardListeners as holders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The engine and the adapter are real, the kernel and the listener are faked. The
 * listener keeps a book like an IOMMU: mapping a page twice, or unmapping
 * one that is not mapped, is an error, and so is touching a page that
 * stays as it is.
 *
 *  1. a listener learns at once what is shared, and loses all of it in the end
 *  2. a conversion takes and gives exactly the pages that change
 *  3. a listener that covers a part of the block hears of that part only
 *  4. a listener that cannot map does without, and never unmaps that
 *  5. one that maps in units of its own: what goes is unmapped with its unit, and the rest of
 *     that comes back at once; what cannot be unmapped does not go private
 *  6. one that was never added is not removed
 *  7. threads convert while listeners come and go: every book ends right, and nothing
 *     goes private that one still has, not even one that is leaving
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/lockable.h"
#include "system/memory.h"
#include "system/gmem-listener.h"

#define PAGE 4096
#define PAGES 512

typedef struct Book {
    RamDiscardListener rdl;
    DECLARE_BITMAP(mapped, PAGES);      /* by page of the block */
    bool refuse;
    unsigned int calls;
    unsigned int unmaps_to_fail;
    QLIST_ENTRY(Book) next;
} Book;

/* What has joined: no page goes private while one of these has it */
static QLIST_HEAD(, Book) books = QLIST_HEAD_INITIALIZER(books);
static QemuMutex books_lock;

/* ---- in place of the rest of QEMU ---- */

const char *memory_region_name(const MemoryRegion *mr)
{
    return "fake";
}

MemoryRegionSection *memory_region_section_new_copy(MemoryRegionSection *s)
{
    return g_memdup2(s, sizeof(*s));
}

void memory_region_section_free_copy(MemoryRegionSection *s)
{
    g_free(s);
}

static int fake_set_state(GmemBlock *block, uint64_t offset, uint64_t size,
                          GmemPageState to, uint64_t *busy)
{
    unsigned long first = offset / PAGE, end = first + size / PAGE;
    Book *book;

    QEMU_LOCK_GUARD(&books_lock);
    QLIST_FOREACH(book, &books, next) {
        if (to == GMEM_PAGE_PRIVATE) {
            g_assert_cmpuint(find_next_bit(book->mapped, end, first), >=, end);
        }
    }
    return 0;
}

static const GmemProviderOps fake_ops = {
    .name = "fake",
    .set_state = fake_set_state,
};

/* ---- the listener ---- */

static void section_range(const MemoryRegionSection *s, unsigned long *first,
                          unsigned long *count)
{
    g_assert_cmpuint(s->offset_within_region % PAGE, ==, 0);
    /* the sections below lie 1 MiB further up in the address space */
    g_assert_cmpuint(s->offset_within_address_space, ==,
                     s->offset_within_region + 0x100000);
    *first = s->offset_within_region / PAGE;
    *count = int128_get64(s->size) / PAGE;
    g_assert_cmpuint(*count, >, 0);
}

static int book_populate(RamDiscardListener *rdl, MemoryRegionSection *s)
{
    Book *book = container_of(rdl, Book, rdl);
    unsigned long first, count;

    book->calls++;
    if (book->refuse) {
        return -ENOSPC;
    }
    section_range(s, &first, &count);
    g_assert_cmpuint(find_next_bit(book->mapped, first + count, first), ==,
                     first + count);
    bitmap_set(book->mapped, first, count);
    return 0;
}

static void book_discard(RamDiscardListener *rdl, MemoryRegionSection *s)
{
    Book *book = container_of(rdl, Book, rdl);
    unsigned long first, count;

    book->calls++;
    section_range(s, &first, &count);
    g_assert_cmpuint(find_next_zero_bit(book->mapped, first + count, first),
                     ==, first + count);
    bitmap_clear(book->mapped, first, count);
}

static int book_unmap(RamDiscardListener *rdl, MemoryRegionSection *s)
{
    Book *book = container_of(rdl, Book, rdl);

    if (book->unmaps_to_fail) {
        book->unmaps_to_fail--;
        return -ENOMEM;
    }
    book_discard(rdl, s);
    return 0;
}

static int join_as(Book *book, GmemBlock *block, unsigned long first,
                   unsigned long count, const GmemListenerConfig *config)
{
    MemoryRegionSection section = {
        .offset_within_region = first * PAGE,
        .offset_within_address_space = first * PAGE + 0x100000,
        .size = int128_make64(count * PAGE),
    };

    WITH_QEMU_LOCK_GUARD(&books_lock) {
        QLIST_INSERT_HEAD(&books, book, next);
    }
    ram_discard_listener_init(&book->rdl, book_populate, book_discard, true);
    return gmem_listener_add(block, &book->rdl, &section, config);
}

static void join(Book *book, GmemBlock *block, unsigned long first,
                 unsigned long count)
{
    g_assert_cmpint(join_as(book, block, first, count, NULL), ==, 0);
}

static void leave(Book *book)
{
    gmem_listener_remove(&book->rdl);
    WITH_QEMU_LOCK_GUARD(&books_lock) {
        QLIST_REMOVE(book, next);
    }
    g_assert_true(bitmap_empty(book->mapped, PAGES));
}

/* Of [first, first+count), the listener has what is shared, and nothing else */
static void check(Book *book, GmemBlock *block, unsigned long first,
                  unsigned long count)
{
    unsigned long page;

    for (page = 0; page < PAGES; page++) {
        bool shared = gmem_block_range_is(block, page * PAGE, PAGE,
                                          GMEM_PAGE_SHARED);
        bool inside = page >= first && page < first + count;

        g_assert_cmpint(test_bit(page, book->mapped), ==, shared && inside);
    }
}

static GmemBlock *new_block(GmemPageState initial)
{
    GmemBlockConfig config = {
        .id = "ram", .mode = GMEM_BLOCK_MODE_SPLIT, .size = PAGES * PAGE,
        .initial = initial, .timeout_ms = 60000, .ops = &fake_ops,
    };

    return gmem_block_new(&config);
}

static void drop(GmemBlock *block)
{
    gmem_block_retire(block);
    gmem_block_unref(block);
}

static void convert(GmemBlock *block, unsigned long first, unsigned long count,
                    GmemPageState to)
{
    GmemSegment segment = { block, first * PAGE, count * PAGE };
    GmemRequest req = { .segments = &segment, .nr_segments = 1, .to = to };

    g_assert_cmpint(gmem_convert_request(&req), ==, 0);
    g_free(req.stalled_holder);
}

/* To private, in vain */
static void stall(GmemBlock *block, unsigned long first, unsigned long count)
{
    GmemSegment segment = { block, first * PAGE, count * PAGE };
    GmemRequest req = { .segments = &segment, .nr_segments = 1,
                        .to = GMEM_PAGE_PRIVATE, .timeout_ms = 1 };

    g_assert_cmpint(gmem_convert_request(&req), ==, -EAGAIN);
    g_assert_cmpstr(req.stalled_holder, ==, "vfio");
    g_free(req.stalled_holder);
}

/* ---- tests ---- */

static void test_join(void)
{
    GmemBlock *block = new_block(GMEM_PAGE_PRIVATE);
    Book book = { };

    join(&book, block, 0, PAGES);
    g_assert_cmpuint(book.calls, ==, 0);
    leave(&book);

    convert(block, 3, 5, GMEM_PAGE_SHARED);
    convert(block, 100, 64, GMEM_PAGE_SHARED);
    join(&book, block, 0, PAGES);
    g_assert_cmpuint(book.calls, ==, 2);
    check(&book, block, 0, PAGES);
    leave(&book);
    drop(block);
}

static void test_exact(void)
{
    GmemBlock *block = new_block(GMEM_PAGE_SHARED);
    Book book = { };

    join(&book, block, 0, PAGES);
    convert(block, 10, 1, GMEM_PAGE_PRIVATE);
    convert(block, 12, 1, GMEM_PAGE_PRIVATE);
    check(&book, block, 0, PAGES);

    /* what is private already, and what stays shared around it, is left alone */
    book.calls = 0;
    convert(block, 9, 5, GMEM_PAGE_PRIVATE);
    g_assert_cmpuint(book.calls, ==, 3);
    check(&book, block, 0, PAGES);
    book.calls = 0;
    convert(block, 9, 5, GMEM_PAGE_PRIVATE);
    g_assert_cmpuint(book.calls, ==, 0);
    convert(block, 0, PAGES, GMEM_PAGE_SHARED);
    g_assert_cmpuint(book.calls, ==, 1);
    check(&book, block, 0, PAGES);
    leave(&book);
    drop(block);
}

static void test_part(void)
{
    GmemBlock *block = new_block(GMEM_PAGE_SHARED);
    Book book = { };

    join(&book, block, 64, 128);
    check(&book, block, 64, 128);
    book.calls = 0;
    convert(block, 0, 64, GMEM_PAGE_PRIVATE);
    convert(block, 192, 64, GMEM_PAGE_PRIVATE);
    g_assert_cmpuint(book.calls, ==, 0);
    convert(block, 60, 8, GMEM_PAGE_PRIVATE);
    convert(block, 190, 4, GMEM_PAGE_PRIVATE);
    check(&book, block, 64, 128);
    convert(block, 0, PAGES, GMEM_PAGE_SHARED);
    check(&book, block, 64, 128);
    leave(&book);
    drop(block);
}

static void test_refuse(void)
{
    GmemBlock *block = new_block(GMEM_PAGE_PRIVATE);
    Book book = { .refuse = true };

    join(&book, block, 0, PAGES);
    leave(&book);
    convert(block, 16, 16, GMEM_PAGE_SHARED);
    g_assert_cmpint(join_as(&book, block, 0, PAGES, NULL), ==, -ENOSPC);
    convert(block, 16, 16, GMEM_PAGE_PRIVATE);
    convert(block, 0, 16, GMEM_PAGE_SHARED);
    g_assert_true(bitmap_empty(book.mapped, PAGES));
    convert(block, 0, 8, GMEM_PAGE_PRIVATE);

    /* what it could not have is not offered again before it changes */
    book.refuse = false;
    convert(block, 0, 8, GMEM_PAGE_SHARED);
    g_assert_cmpuint(bitmap_count_one(book.mapped, PAGES), ==, 8);
    leave(&book);
    drop(block);
}

static const GmemListenerOps book_ops = {
    .map = book_populate,
    .unmap = book_unmap,
};

static void test_units(void)
{
    const GmemListenerConfig config = { .ops = &book_ops, .unit = 16 * PAGE };
    GmemBlock *block = new_block(GMEM_PAGE_SHARED);
    Book book = { };

    g_assert_cmpint(join_as(&book, block, 0, 64, &config), ==, 0);
    g_assert_cmpuint(book.calls, ==, 4);
    book.calls = 0;
    convert(block, 20, 4, GMEM_PAGE_PRIVATE);
    g_assert_cmpuint(book.calls, ==, 3);
    check(&book, block, 0, 64);

    /* tried again, as the conversion has time */
    book.unmaps_to_fail = 3;
    convert(block, 40, 20, GMEM_PAGE_PRIVATE);
    g_assert_cmpuint(book.unmaps_to_fail, ==, 0);
    check(&book, block, 0, 64);

    book.unmaps_to_fail = UINT_MAX;
    stall(block, 0, 64);
    check(&book, block, 0, 64);
    book.unmaps_to_fail = 0;
    convert(block, 0, 64, GMEM_PAGE_PRIVATE);
    check(&book, block, 0, 64);
    leave(&book);
    drop(block);
}

static void test_stranger(void)
{
    RamDiscardListener rdl = { };

    gmem_listener_remove(&rdl);
}

typedef struct Worker {
    GmemBlock *block;
    unsigned int seed;
    unsigned int *left;         /* conversions, for all workers */
} Worker;

static void *work(void *opaque)
{
    Worker *worker = opaque;
    GRand *rand = g_rand_new_with_seed(worker->seed);

    while ((int)qatomic_fetch_dec(worker->left) > 0) {
        unsigned long first = g_rand_int_range(rand, 0, PAGES);
        unsigned long count = g_rand_int_range(rand, 1, PAGES - first + 1);

        convert(worker->block, first, count, g_rand_boolean(rand));
    }
    g_rand_free(rand);
    return NULL;
}

static void test_race(void)
{
    GmemBlock *block = new_block(GMEM_PAGE_SHARED);
    Worker workers[8];
    QemuThread threads[ARRAY_SIZE(workers)];
    Book stays = { };
    unsigned int left = 20000, joins;
    size_t i;

    join(&stays, block, 0, PAGES);
    for (i = 0; i < ARRAY_SIZE(workers); i++) {
        workers[i] = (Worker) { block, i, &left };
        qemu_thread_create(&threads[i], "convert", work, &workers[i],
                           QEMU_THREAD_JOINABLE);
    }
    for (joins = 0; (int)qatomic_read(&left) > 0; joins++) {
        Book book = { };

        join(&book, block, joins % 7, PAGES - 2 * (joins % 7));
        leave(&book);
    }
    for (i = 0; i < ARRAY_SIZE(workers); i++) {
        qemu_thread_join(&threads[i]);
    }
    check(&stays, block, 0, PAGES);
    leave(&stays);
    drop(block);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qemu_mutex_init(&books_lock);
    g_test_add_func("/gmem/listener/join", test_join);
    g_test_add_func("/gmem/listener/exact", test_exact);
    g_test_add_func("/gmem/listener/part", test_part);
    g_test_add_func("/gmem/listener/refuse", test_refuse);
    g_test_add_func("/gmem/listener/units", test_units);
    g_test_add_func("/gmem/listener/stranger", test_stranger);
    g_test_add_func("/gmem/listener/race", test_race);
    return g_test_run();
}
