/*
 * The memory of a vhost-user back end, as holders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Engine, sections and session are real.  The kernel, the memory map and the
 * back end are faked: the back end keeps a book of what it has mapped, and the
 * kernel takes no page that is in it.  A thread plays the main loop.
 *
 *  1. a table has what is shared of all sections, and what does not convert,
 *     but nothing of memory that converts and has huge pages
 *  2. a request of many runs costs one round, to private and back; what was
 *     shared is with the back end when the request is over
 *  3. requests under way: the conversion ends with its time, names us, and has
 *     changed nothing; later ones go through, also where the device went on
 *     meanwhile
 *  4. the device is not started: all is taken from the back end, also by the
 *     main thread alone, which nobody can wake; nothing is held afterwards
 *  5. a section that the map has lost is kept until the back end has let go of
 *     it, and what it covers converts meanwhile
 *  6. a page that somebody else does not let go of is left out by the round of
 *     another one, and is with the back end again when that is over, though
 *     nobody asked us for it
 *  7. threads convert, while sections come and go and the device starts and
 *     stops
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "hw/virtio/gmem-vhost-refuse.h"
#include "hw/virtio/gmem-vhost-sections.h"
#include "hw/virtio/gmem-vhost-user.h"
#include "system/gmem-ram.h"

#define PAGE 4096u
#define PAGES 256u
#define OTHER_PAGES 4u
#define HOST UINT64_C(0x7f0000000000)
#define OTHER_HOST UINT64_C(0x7e0000000000)
#define GPA_LOW 0x100000u
#define GPA_HIGH UINT64_C(0x100000000)
#define OTHER_GPA UINT64_C(0x200000000)

/* What QEMU and the back end are, of which there is one at a time */
static struct {
    GmemBlock *block;
    MemoryRegion mr, other_mr;      /* their RAMBlock is only a name */
    int refs;                       /* to mr */
    MemoryRegionSection map[3];
    struct vhost_dev dev;
    GmemVhostSections sections;
    GmemVhostSession session;
    uint8_t mapped[PAGES];          /* of the block; atomic */
    unsigned int others;            /* pieces besides */
    bool huge;                      /* pages of the block */
    bool running, done, resumes;    /* the latter two are atomic */
    unsigned int rounds;
    QemuMutex bql;
    QemuThread loop;
    bool looping, ends;             /* there is a main loop; atomic: it ends */
} vm;

/* ---- in place of the rest of QEMU ---- */

GmemBlock *gmem_from_ramblock(const RAMBlock *rb)
{
    return rb == (RAMBlock *)&vm ? vm.block : NULL;
}

const char *memory_region_name(const MemoryRegion *mr)
{
    return "mr";
}

bool gmem_vhost_takes(RAMBlock *rb)
{
    return !vm.huge;
}

void memory_region_ref(MemoryRegion *mr)
{
    vm.refs += mr == &vm.mr;
}

void memory_region_unref(MemoryRegion *mr)
{
    vm.refs -= mr == &vm.mr;
    g_assert_cmpint(vm.refs, >=, 0);
}

void *memory_region_get_ram_ptr(MemoryRegion *mr)
{
    return (void *)(uintptr_t)(mr == &vm.mr ? HOST : OTHER_HOST);
}

static int64_t clock_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

void gmem_vhost_user_schedule(void)
{
    /* the loop comes by anyway */
}

void gmem_vhost_user_have_step(void)
{
    if (!vm.looping) {
        gmem_vhost_session_step(&vm.session, clock_ms());
    }
}

static int fake_set_state(GmemBlock *block, uint64_t offset, uint64_t size,
                          GmemPageState to, uint64_t *busy)
{
    unsigned int page = offset / PAGE, end = page + size / PAGE;

    for (; to == GMEM_PAGE_PRIVATE && page < end; page++) {
        g_assert_false(qatomic_read(&vm.mapped[page]));
    }
    return 0;
}

static const GmemProviderOps fake_ops = {
    .name = "fake",
    .set_state = fake_set_state,
};

/* ---- the back end ---- */

static bool link_is_open(void *opaque)
{
    return true;
}

static int link_lay_out(void *opaque, GmemVhostTable *table, bool empty)
{
    gmem_vhost_table_begin(table, PAGES, NULL, 0);
    gmem_vhost_sections_lay_out(&vm.sections, &vm.dev, table, empty);
    g_assert_true(gmem_vhost_table_end(table));
    return 0;
}

static int link_park(void *opaque)
{
    return 0;
}

static int link_unpark(void *opaque)
{
    return 0;
}

static int link_change(void *opaque, const GmemPiece *piece, bool add)
{
    unsigned int page, count = piece->size / PAGE;

    g_assert_false(vm.running);
    if (piece->file == &vm.other_mr) {
        g_assert_cmphex(piece->gpa, ==, OTHER_GPA);
        g_assert_cmphex(piece->host, ==, OTHER_HOST);
        vm.others += add ? 1 : -1;
        return 0;
    }
    g_assert_cmpint(vm.refs, >, 0);
    page = (piece->host - HOST) / PAGE;
    g_assert_cmphex(piece->gpa, ==, page < PAGES / 2 ? GPA_LOW + page * PAGE :
                                    GPA_HIGH + (page - PAGES / 2) * PAGE);
    for (; count--; page++) {
        g_assert_cmpint(qatomic_read(&vm.mapped[page]), ==, !add);
        qatomic_set(&vm.mapped[page], add);
    }
    return 0;
}

static void link_changed(void *opaque)
{
    gmem_vhost_sections_sweep(&vm.sections);
}

static void link_gone(void *opaque)
{
    gmem_vhost_sections_destroy(&vm.sections);
}

static int link_hold(void *opaque, const GmemVhostTable *had)
{
    return 0;
}

static bool link_is_still(void *opaque, const GmemVhostTable *had)
{
    return true;
}

static bool link_is_moving(void *opaque, const GmemVhostTable *had)
{
    return true;
}

static int link_unhold(void *opaque, const GmemVhostTable *had)
{
    g_assert_not_reached();
}

static int link_stop(void *opaque)
{
    vm.running = false;
    return 0;
}

static bool link_is_done(void *opaque, const GmemVhostTable *had)
{
    return vm.done;
}

static bool link_rings_fit(void *opaque, const GmemVhostTable *table)
{
    return true;
}

static bool link_may_resume(void *opaque, const GmemVhostTable *had)
{
    return qatomic_read(&vm.resumes);
}

static int link_start(void *opaque, const GmemVhostTable *had)
{
    vm.running = true;
    vm.rounds++;
    return 0;
}

static void link_let_go(void *opaque, const GmemVhostTable *had)
{
}

static void link_cut(void *opaque)
{
    g_assert_not_reached();
}

static const GmemVhostLink fake_link = {
    .is_open = link_is_open, .lay_out = link_lay_out, .park = link_park,
    .unpark = link_unpark, .change = link_change, .changed = link_changed,
    .gone = link_gone, .hold = link_hold,
    .is_still = link_is_still, .is_moving = link_is_moving,
    .unhold = link_unhold, .stop = link_stop, .is_done = link_is_done,
    .rings_fit = link_rings_fit, .may_resume = link_may_resume,
    .start = link_start, .let_go = link_let_go, .cut = link_cut,
};

/* ---- the VM ---- */

static MemoryRegionSection section(MemoryRegion *mr, unsigned int first,
                                   unsigned int count, uint64_t gpa)
{
    return (MemoryRegionSection) {
        .mr = mr,
        .offset_within_region = first * PAGE,
        .offset_within_address_space = gpa,
        .size = int128_make64(count * PAGE),
    };
}

static void start(void)
{
    QEMU_LOCK_GUARD(&vm.bql);
    g_assert_cmpint(gmem_vhost_session_send(&vm.session), ==, 0);
    vm.running = true;
    gmem_vhost_session_started(&vm.session);
}

static void stop(void)
{
    QEMU_LOCK_GUARD(&vm.bql);
    gmem_vhost_session_stopping(&vm.session);
    vm.running = false;
    gmem_vhost_session_stopped(&vm.session, clock_ms());
}

static void *loop(void *opaque)
{
    while (!qatomic_read(&vm.ends)) {
        WITH_QEMU_LOCK_GUARD(&vm.bql) {
            gmem_vhost_session_step(&vm.session, clock_ms());
        }
        g_usleep(200);
    }
    return NULL;
}

/* @opaque: with a main loop */
static void setup(gconstpointer *x, gconstpointer opaque)
{
    memset(&vm, 0, sizeof(vm));
    vm.block = gmem_block_new(&(GmemBlockConfig) {
        .id = "ram", .mode = GMEM_BLOCK_MODE_SPLIT, .size = PAGES * PAGE,
        .initial = GMEM_PAGE_SHARED, .ops = &fake_ops,
    });
    vm.mr.ram_block = (RAMBlock *)&vm;
    vm.map[0] = section(&vm.mr, 0, PAGES / 2, GPA_LOW);
    vm.map[1] = section(&vm.mr, PAGES / 2, PAGES / 2, GPA_HIGH);
    vm.map[2] = section(&vm.other_mr, 0, OTHER_PAGES, OTHER_GPA);
    vm.dev.mem_sections = vm.map;
    vm.dev.n_mem_sections = ARRAY_SIZE(vm.map);
    vm.done = true;
    vm.sections.session = &vm.session;
    gmem_vhost_session_init(&vm.session, &fake_link, NULL);
    qemu_mutex_init(&vm.bql);
    vm.looping = opaque;
    if (vm.looping) {
        qemu_thread_create(&vm.loop, "loop", loop, NULL, QEMU_THREAD_JOINABLE);
    }
}

static void teardown(gconstpointer *x, gconstpointer opaque)
{
    qatomic_set(&vm.ends, true);
    if (vm.looping) {
        qemu_thread_join(&vm.loop);
    }
    stop();
    gmem_vhost_session_end(&vm.session);
    gmem_vhost_sections_destroy(&vm.sections);
    g_assert_cmpint(vm.refs, ==, 0);
    g_assert_cmpuint(vm.others, ==, 0);
    gmem_vhost_session_destroy(&vm.session);
    qemu_mutex_destroy(&vm.bql);
    gmem_block_retire(vm.block);
    gmem_block_unref(vm.block);
}

static int convert(unsigned int first, unsigned int count, GmemPageState to,
                   uint32_t ms, char **stalled)
{
    GmemSegment segment = { vm.block, first * PAGE, count * PAGE };
    GmemRequest req = {
        .segments = &segment, .nr_segments = 1, .to = to, .timeout_ms = ms,
    };
    int ret = gmem_convert_request(&req);

    if (stalled) {
        *stalled = req.stalled_holder;
    } else {
        g_free(req.stalled_holder);
    }
    return ret;
}

/* It has what is shared of the first @count pages, and nothing else */
static void check(unsigned int count)
{
    unsigned int page;

    QEMU_LOCK_GUARD(&vm.bql);
    for (page = 0; page < PAGES; page++) {
        bool shared = gmem_block_range_is(vm.block, page * PAGE, PAGE,
                                          GMEM_PAGE_SHARED);

        g_assert_cmpint(vm.mapped[page], ==, shared && page < count);
    }
    g_assert_cmpuint(vm.others, ==, !!count);
}

/* ---- tests ---- */

static void test_table(gconstpointer *x, gconstpointer opaque)
{
    g_assert_cmpint(convert(10, 5, GMEM_PAGE_PRIVATE, 0, NULL), ==, 0);
    start();
    check(PAGES);
    g_assert_cmpint(vm.refs, ==, 2);
    g_assert_cmpint(convert(100, 100, GMEM_PAGE_PRIVATE, 0, NULL), ==, 0);
    check(PAGES);
    g_assert_cmpuint(vm.rounds, ==, 1);
}

/* Nobody gets any of it, and it converts */
static void test_huge(gconstpointer *x, gconstpointer opaque)
{
    unsigned int page;

    vm.huge = true;
    start();
    QEMU_LOCK_GUARD(&vm.bql);
    for (page = 0; page < PAGES; page++) {
        g_assert_false(vm.mapped[page]);
    }
    g_assert_cmpuint(vm.others, ==, 1);
    g_assert_cmpint(convert(0, PAGES, GMEM_PAGE_PRIVATE, 0, NULL), ==, 0);
}

static void test_runs(gconstpointer *x, gconstpointer opaque)
{
    unsigned int page;

    for (page = 1; page < PAGES; page += 2) {
        g_assert_cmpint(convert(page, 1, GMEM_PAGE_PRIVATE, 0, NULL), ==, 0);
    }
    start();
    check(PAGES);
    g_assert_cmpint(convert(0, PAGES, GMEM_PAGE_PRIVATE, 0, NULL), ==, 0);
    g_assert_cmpuint(vm.rounds, ==, 1);
    check(PAGES);
    g_assert_cmpint(convert(0, PAGES, GMEM_PAGE_SHARED, 60000, NULL), ==, 0);
    g_assert_cmpuint(vm.rounds, >, 1);
    g_assert_cmpuint(vm.rounds, <=, 3);
    check(PAGES);
}

static void test_under_way(gconstpointer *x, gconstpointer opaque)
{
    g_autofree char *stalled = NULL;

    start();
    qatomic_set(&vm.done, false);
    g_assert_cmpint(convert(7, 1, GMEM_PAGE_PRIVATE, 100, &stalled), ==,
                    -EAGAIN);
    g_assert_cmpstr(stalled, ==, "vhost-user");
    check(PAGES);
    g_assert_cmpuint(vm.rounds, ==, 0);
    qatomic_set(&vm.done, true);
    g_assert_cmpint(convert(7, 1, GMEM_PAGE_PRIVATE, 60000, NULL), ==, 0);
    check(PAGES);
    g_assert_cmpuint(vm.rounds, >, 0);
}

/* A request that is not answered: its device goes on, with what it has */
static void test_resumes(gconstpointer *x, gconstpointer opaque)
{
    bool runs = false;

    start();
    qatomic_set(&vm.done, false);
    qatomic_set(&vm.resumes, true);
    g_assert_cmpint(convert(7, 1, GMEM_PAGE_PRIVATE, 300, NULL), ==, -EAGAIN);
    while (!runs) {
        g_usleep(200);
        QEMU_LOCK_GUARD(&vm.bql);
        runs = vm.running;
    }
    check(PAGES);
    qatomic_set(&vm.done, true);
    g_assert_cmpint(convert(7, 1, GMEM_PAGE_PRIVATE, 60000, NULL), ==, 0);
    check(PAGES);
}

static void test_off(gconstpointer *x, gconstpointer opaque)
{
    start();
    stop();
    check(PAGES);
    g_assert_cmpint(convert(0, PAGES, GMEM_PAGE_PRIVATE, 60000, NULL), ==, 0);
    check(0);
    g_assert_cmpint(vm.refs, ==, 0);
    g_assert_cmpint(convert(3, 3, GMEM_PAGE_SHARED, 60000, NULL), ==, 0);
    check(0);
    g_assert_cmpuint(vm.rounds, ==, 0);
    start();
    check(PAGES);
}

static void test_lost(gconstpointer *x, gconstpointer opaque)
{
    start();
    WITH_QEMU_LOCK_GUARD(&vm.bql) {
        vm.map[1] = vm.map[2];
        vm.dev.n_mem_sections = 2;
    }
    g_assert_cmpint(vm.refs, ==, 2);
    g_assert_cmpint(convert(PAGES - 8, 8, GMEM_PAGE_PRIVATE, 60000, NULL),
                    ==, 0);
    check(PAGES / 2);
    g_assert_cmpint(vm.refs, ==, 1);
    g_assert_cmpint(convert(0, 8, GMEM_PAGE_PRIVATE, 60000, NULL), ==, 0);
    check(PAGES / 2);
}

/*
 * Lets go of all pages but STUCK; as soon as that is marked, another one goes
 */
#define STUCK 50u

static int elder_begin(GmemHolder *holder, uint64_t offset, uint64_t size,
                       int64_t deadline_ns)
{
    static unsigned int other = 100;

    if (offset != STUCK * PAGE) {
        return 0;
    }
    if (qatomic_read(&vm.mapped[other])) {
        g_assert_cmpint(convert(other, 1, GMEM_PAGE_PRIVATE, 60000, NULL), ==,
                        0);
        g_assert_false(qatomic_read(&vm.mapped[STUCK]));
    }
    return -EAGAIN;
}

static void elder_end(GmemHolder *holder, uint64_t offset, uint64_t size,
                      GmemPageState state)
{
}

static const GmemHolderOps elder_ops = {
    .begin = elder_begin,
    .end = elder_end,
};

static void test_left_out(gconstpointer *x, gconstpointer opaque)
{
    GmemHolder elder = { .ops = &elder_ops, .name = "elder" };
    g_autofree char *stalled = NULL;
    uint64_t number = 0;

    gmem_holder_add(vm.block, &elder);
    start();
    g_assert_cmpint(convert(STUCK, 1, GMEM_PAGE_PRIVATE, 100, &stalled), ==,
                    -EAGAIN);
    g_assert_cmpstr(stalled, ==, "elder");
    /* the request may not have had the time */
    while (!gmem_vhost_session_knows(&vm.session, &number)) {
        g_usleep(200);
    }
    check(PAGES);
    gmem_holder_remove(&elder);
}

#define THREADS 4u
#define CONVERSIONS 100u

static void *converter(void *left)
{
    unsigned int i;

    for (i = 0; i < CONVERSIONS; i++) {
        unsigned int first = g_random_int_range(0, PAGES);
        unsigned int count = g_random_int_range(1, PAGES - first + 1);

        g_assert_cmpint(convert(first, count, i % 2 ? GMEM_PAGE_SHARED :
                                                      GMEM_PAGE_PRIVATE,
                                60000, NULL), ==, 0);
    }
    qatomic_dec((unsigned int *)left);
    return NULL;
}

/* Something happens to the device, or to the map */
static void disturb(bool *started)
{
    bool whole = g_random_int_range(0, 2);

    if (g_random_int_range(0, 2)) {
        *started ? stop() : start();
        *started = !*started;
        return;
    }
    QEMU_LOCK_GUARD(&vm.bql);
    vm.map[1] = whole ? section(&vm.mr, PAGES / 2, PAGES / 2, GPA_HIGH) :
                        section(&vm.other_mr, 0, OTHER_PAGES, OTHER_GPA);
    vm.map[2] = section(&vm.other_mr, 0, OTHER_PAGES, OTHER_GPA);
    vm.dev.n_mem_sections = whole ? 3 : 2;
    gmem_vhost_session_remap(&vm.session);
}

static void test_threads(gconstpointer *x, gconstpointer opaque)
{
    QemuThread threads[THREADS];
    unsigned int i, left = THREADS;
    bool started = false;

    for (i = 0; i < THREADS; i++) {
        qemu_thread_create(&threads[i], "converter", converter, &left,
                           QEMU_THREAD_JOINABLE);
    }
    while (qatomic_read(&left)) {
        disturb(&started);
        g_usleep(g_random_int_range(0, 5000));
    }
    for (i = 0; i < THREADS; i++) {
        qemu_thread_join(&threads[i]);
    }
    if (started) {
        stop();
    }
    start();
    check(vm.dev.n_mem_sections == 3 ? PAGES : PAGES / 2);
}

#define ADD(name, loop, fn) \
    g_test_add("/gmem/vhost-sections/" name, gconstpointer, \
               GINT_TO_POINTER(loop), setup, fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("table", true, test_table);
    ADD("huge", true, test_huge);
    ADD("runs", true, test_runs);
    ADD("under-way", true, test_under_way);
    ADD("resumes", true, test_resumes);
    ADD("off/loop", true, test_off);
    ADD("off/main-thread", false, test_off);
    ADD("lost", true, test_lost);
    ADD("left-out", true, test_left_out);
    ADD("threads", true, test_threads);
    return g_test_run();
}
