/*
 * gmem: the memory of a vhost-user back end, as holders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The model is in hw/virtio/gmem-vhost-sections.h.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "hw/virtio/gmem-vhost-refuse.h"
#include "hw/virtio/gmem-vhost-sections.h"
#include "hw/virtio/gmem-vhost-user.h"
#include "system/gmem-ram.h"

/* A holder sleeps no longer */
#define SLICE_MS 10

typedef struct GmemVhostSection {
    GmemHolder holder;
    bool holds;                     /* its memory converts: holder is one */
    bool there;                     /* at the last layout */
    GmemVhostSession *session;
    MemoryRegionSection section;
    QLIST_ENTRY(GmemVhostSection) next;
} Section;

/* ---- holders ---- */

/*
 * What of a range of the block is in @s, as [*gpa, *gpa + *size); false:
 * nothing
 */
static bool section_range(const Section *s, uint64_t offset, uint64_t *gpa,
                          uint64_t *size)
{
    MemoryRegionSection part = s->section;

    if (!memory_region_section_intersect_range(&part, offset, *size)) {
        return false;
    }
    *gpa = part.offset_within_address_space;
    *size = int128_get64(part.size);
    return *size;
}

static int section_begin(GmemHolder *holder, uint64_t offset, uint64_t size,
                         int64_t deadline_ns)
{
    const Section *s = container_of(holder, Section, holder);
    GmemVhostSession *session = s->session;
    unsigned int moves = gmem_vhost_session_moves(session);
    uint64_t gpa;

    if (!section_range(s, offset, &gpa, &size) ||
        gmem_vhost_session_lets_go(session, gpa, size)) {
        return 0;
    }
    gmem_vhost_user_have_step();
    gmem_vhost_session_wait(session, moves, SLICE_MS);
    return gmem_vhost_session_lets_go(session, gpa, size) ? 0 : -EAGAIN;
}

static void section_end(GmemHolder *holder, uint64_t offset, uint64_t size,
                        GmemPageState state)
{
    const Section *s = container_of(holder, Section, holder);
    uint64_t gpa;

    if (state == GMEM_PAGE_SHARED && section_range(s, offset, &gpa, &size) &&
        gmem_vhost_session_shared(s->session)) {
        gmem_vhost_user_schedule();
    }
}

static int section_settle(GmemHolder *holder, uint64_t *number)
{
    const Section *s = container_of(holder, Section, holder);
    GmemVhostSession *session = s->session;
    unsigned int moves = gmem_vhost_session_moves(session);

    if (gmem_vhost_session_knows(session, number)) {
        return 0;
    }
    gmem_vhost_user_have_step();
    gmem_vhost_session_wait(session, moves, SLICE_MS);
    return gmem_vhost_session_knows(session, number) ? 0 : -EAGAIN;
}

static const GmemHolderOps section_ops = {
    .begin = section_begin,
    .end = section_end,
    .settle = section_settle,
};

/* ---- sections; BQL ---- */

/* The block of memory that converts, else NULL */
static GmemBlock *block_of(const MemoryRegion *mr)
{
    GmemBlock *block = gmem_from_ramblock(mr->ram_block);

    return block && gmem_block_mode(block) != GMEM_BLOCK_MODE_NONE ?
           block : NULL;
}

static Section *find_section(GmemVhostSections *all,
                             MemoryRegionSection *wanted)
{
    Section *s;

    QLIST_FOREACH(s, &all->list, next) {
        if (MemoryRegionSection_eq(&s->section, wanted)) {
            return s;
        }
    }
    return NULL;
}

static Section *add_section(GmemVhostSections *all,
                            const MemoryRegionSection *section)
{
    Section *s = g_new0(Section, 1);
    GmemBlock *block = block_of(section->mr);

    s->session = all->session;
    s->section = *section;
    memory_region_ref(section->mr);
    QLIST_INSERT_HEAD(&all->list, s, next);
    if (block) {
        s->holds = true;
        s->holder.ops = &section_ops;
        s->holder.name = "vhost-user";
        gmem_holder_add(block, &s->holder);
    }
    return s;
}

static void remove_section(Section *s)
{
    QLIST_REMOVE(s, next);
    if (s->holds) {
        gmem_holder_remove(&s->holder);
    }
    memory_region_unref(s->section.mr);
    g_free(s);
}

/* ---- the table ---- */

static void add_piece(GmemVhostTable *table, const MemoryRegionSection *section,
                      uint64_t offset, uint64_t size, bool pinned)
{
    uint64_t host = (uintptr_t)memory_region_get_ram_ptr(section->mr);
    GmemPiece piece = {
        .gpa = section->offset_within_address_space +
               (offset - section->offset_within_region),
        .size = size,
        .host = host + offset,
        .file = section->mr,
        .pinned = pinned,
    };

    gmem_vhost_table_add(table, &piece);
}

/*
 * What of @section is shared and not converting; all of it, if it does not
 * convert
 */
static void add_shared(GmemVhostTable *table,
                       const MemoryRegionSection *section)
{
    GmemBlock *block = block_of(section->mr);
    uint64_t start = section->offset_within_region, run, size;
    uint64_t end = start + int128_get64(section->size);

    if (!block) {
        add_piece(table, section, start, end - start, true);
        return;
    }
    if (!gmem_vhost_takes(section->mr->ram_block)) {
        warn_report_once("vhost-user: memory '%s' has huge pages, and is out "
                         "of reach of devices",
                         memory_region_name(section->mr));
        return;
    }
    while (gmem_block_next_usable(block, start, end, &run, &size)) {
        add_piece(table, section, run, size, false);
        start = run + size;
    }
}

static void note_sections(GmemVhostSections *all, const struct vhost_dev *dev,
                          bool empty)
{
    Section *s;
    int i;

    QLIST_FOREACH(s, &all->list, next) {
        s->there = false;
    }
    for (i = 0; i < dev->n_mem_sections && !empty; i++) {
        s = find_section(all, &dev->mem_sections[i]) ?:
            add_section(all, &dev->mem_sections[i]);
        s->there = true;
    }
}

void gmem_vhost_sections_lay_out(GmemVhostSections *all,
                                 const struct vhost_dev *dev,
                                 GmemVhostTable *table, bool empty)
{
    int i;

    /* who holds says so first, and looks at what is shared afterwards */
    note_sections(all, dev, empty);
    for (i = 0; i < dev->n_mem_sections && !empty; i++) {
        add_shared(table, &dev->mem_sections[i]);
    }
}

/*
 * Taking a holder away waits, with the BQL, for calls that run.  Of these only
 * the main thread's takes the BQL (gmem_vhost_user_have_step()), and then
 * nobody else sweeps: it converts in a reset, with the vCPUs paused
 */
void gmem_vhost_sections_sweep(GmemVhostSections *all)
{
    Section *s, *following;

    QLIST_FOREACH_SAFE(s, &all->list, next, following) {
        if (!s->there) {
            remove_section(s);
        }
    }
}

void gmem_vhost_sections_destroy(GmemVhostSections *all)
{
    while (!QLIST_EMPTY(&all->list)) {
        remove_section(QLIST_FIRST(&all->list));
    }
}
