/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One row, one request. For each row:
 *  1. the pages at the edges of the range, just inside and just outside, get
 *     fresh patterns ("witnesses");
 *  2. the request is made and its return value compared;
 *  3. the witnesses are compared with the shadow, which follows the request
 *     if it was granted and stays as it is if not.
 * Rows build on each other: the states an earlier row left are meant.
 */
#include "tests.h"

#define P ATTR_PRIVATE
#define S 0

/* Expected value that depends on how the PAM registers stand. */
#define BY_PAM 1000
/* By what reads back what is written: the VGA window is RAM without VGA and SMM. */
#define BY_VGA 1001

enum anchor {
    AREA,       /* start of the area */
    ABS,        /* the offset is the address */
    LOW_END,    /* end of RAM below 4 GiB */
    HIGH,       /* 4 GiB; row skipped without RAM there */
    HIGH_END,   /* end of RAM above 4 GiB */
    BORDER,     /* each address of borders= */
};

/* Pages from the row's start up to this anchor, plus @pages. */
#define UP_TO_HIGH 1

struct row {
    const char *name;
    enum anchor at;
    int64_t off;
    uint64_t pages, attrs;
    long want;
    unsigned span;
};

static const struct row rows[] = {
    { "one-page-private",        AREA, 0x5000, 1, P, 0 },
    { "one-page-private-again",  AREA, 0x5000, 1, P, 0 },
    { "one-page-shared",         AREA, 0x5000, 1, S, 0 },
    { "one-page-shared-again",   AREA, 0x5000, 1, S, 0 },
    { "2m-private",              AREA, 0, 512, P, 0 },
    { "2m-shared",               AREA, 0, 512, S, 0 },
    { "2m-private-size-2m",      AREA, 0x200000, 512, P | 1, 0 },
    { "2m-shared-size-2m",       AREA, 0x200000, 512, S | 1, 0 },
    { "one-page-size-1g",        AREA, 0x3000, 1, P | 2, 0 },
    { "one-page-back-size-1g",   AREA, 0x3000, 1, S | 2, 0 },
    { "2m-off-by-one",           AREA, 0x1000, 512, P, 0 },
    { "odd-3-inside-private",    AREA, 0x5000, 3, S, 0 },
    { "odd-mixed-private",       AREA, 0x4000, 7, P, 0 },
    { "odd-511",                 AREA, 0x1000, 511, S, 0 },
    { "odd-513",                 AREA, 0, 513, P, 0 },
    { "odd-65-over-a-word",      AREA, 0x3f000, 65, S, 0 },
    { "odd-1-first",             AREA, 0, 1, S, 0 },
    { "odd-mixed-shared",        AREA, 0, 1025, S, 0 },
    { "keep-one-private",        AREA, 0x7000, 1, P, 0 },

    { "bad-unaligned-1",         AREA, 0x7001, 1, P, RET_KVM_EINVAL },
    { "bad-unaligned-half",      AREA, 0x7800, 1, S, RET_KVM_EINVAL },
    { "bad-zero-pages-private",  AREA, 0x8000, 0, P, RET_KVM_EINVAL },
    { "bad-zero-pages-shared",   AREA, 0x7000, 0, S, RET_KVM_EINVAL },
    { "bad-frame-overflow",      AREA, 0x8000, ~0UL, P, RET_KVM_EINVAL },
    { "bad-bytes-overflow-0",    AREA, 0x8000, 1UL << 52, P, RET_EINVAL },
    { "bad-bytes-overflow-1",    AREA, 0x8000, (1UL << 52) + 1, P,
                                 RET_EINVAL },
    { "bad-bytes-overflow-1-sh", AREA, 0x7000, (1UL << 52) + 1, S,
                                 RET_EINVAL },
    { "bad-end-overflow",        AREA, 0x8000, (1UL << 52) - 1, P,
                                 RET_EINVAL },
    { "bad-end-overflow-shared", AREA, 0x7000, (1UL << 52) - 1, S,
                                 RET_EINVAL },
    { "bad-attr-bit-5",          AREA, 0x8000, 1, P | 0x20, RET_EINVAL },
    { "bad-attr-bit-5-shared",   AREA, 0x7000, 1, S | 0x20, RET_EINVAL },
    { "bad-attr-bit-31",         AREA, 0x8000, 1, P | 1UL << 31, RET_EINVAL },
    { "bad-attr-bit-32",         AREA, 0x7000, 1, S | 1UL << 32, RET_EINVAL },
    { "bad-attr-bit-63",         AREA, 0x8000, 1, P | 1UL << 63, RET_EINVAL },
    { "bad-attr-all",            AREA, 0x8000, 1, ~0UL, RET_EINVAL },

    { "top-page-private",        ABS, -0x1000, 1, P, RET_EINVAL },
    { "beyond-private",          ABS, 1L << 45, 1, P, RET_EINVAL },
    { "beyond-shared",           ABS, 1L << 45, 1, S, 0 },
    { "ioapic-private",          ABS, 0xfec00000, 1, P, RET_EINVAL },
    { "ioapic-shared",           ABS, 0xfec00000, 1, S, 0 },
    { "apic-private",            ABS, 0xfee00000, 1, P, RET_EINVAL },
    { "apic-shared",             ABS, 0xfee00000, 1, S, 0 },
    { "rom-private",             ABS, 0xfffc0000, 1, P, RET_EINVAL },
    { "rom-shared",              ABS, 0xfffc0000, 1, S, 0 },
    { "rom-top-private",         ABS, 0xfffff000, 1, P, RET_EINVAL },
    { "rom-into-high-private",   ABS, 0xfffff000, 2, P, RET_EINVAL },
    { "rom-into-high-shared",    ABS, 0xfffff000, 2, S, 0 },
    { "vga-private",             ABS, 0xa0000, 1, P, BY_VGA },
    { "vga-shared",              ABS, 0xa0000, 1, S, 0 },
    { "ram-into-vga-private",    ABS, 0x9f000, 2, P, BY_VGA },
    { "ram-into-vga-shared",     ABS, 0x9f000, 2, S, 0 },

    { "hole-private",            LOW_END, 0, 1, P, RET_EINVAL },
    { "hole-shared",             LOW_END, 0, 1, S, 0 },
    { "low-last-page-private",   LOW_END, -0x1000, 1, P, 0 },
    { "into-hole-private",       LOW_END, -0x3000, 5, P, RET_EINVAL },
    { "into-hole-shared",        LOW_END, -0x3000, 5, S, 0 },
    { "over-hole-private",       LOW_END, -0x2000, 2, P, RET_EINVAL,
                                 UP_TO_HIGH },
    { "low-last-two-private",    LOW_END, -0x2000, 2, P, 0 },
    { "over-hole-shared",        LOW_END, -0x2000, 2, S, 0, UP_TO_HIGH },
    { "high-first-private",      HIGH, 0, 1, P, 0 },
    { "high-2m-private",         HIGH, 0, 512, P, 0 },
    { "over-hole-shared-again",  LOW_END, -0x1000, 300, S, 0, UP_TO_HIGH },
    { "high-shared",             HIGH, 0, 512, S, 0 },
    { "high-last-private",       HIGH_END, -0x1000, 1, P, 0 },
    { "high-end-private",        HIGH_END, -0x1000, 2, P, RET_EINVAL },
    { "high-last-shared",        HIGH_END, -0x1000, 2, S, 0 },

    { "border-two-private",      BORDER, -0x1000, 2, P, 0 },
    { "border-two-shared",       BORDER, -0x1000, 2, S, 0 },
    { "border-odd-private",      BORDER, -0x3000, 8, P, 0 },
    { "border-mixed-shared",     BORDER, -0x200000, 1024, S, 0 },
    { "border-4m-private",       BORDER, -0x200000, 1024, P, 0 },
    { "border-first-shared",     BORDER, 0, 1, S, 0 },
    { "border-last-shared",      BORDER, -0x1000, 1, S, 0 },
    { "border-4m-shared",        BORDER, -0x200000, 1024, S, 0 },

    { "pam-c0000-private",       ABS, 0xc0000, 4, P, BY_PAM },
    { "pam-c0000-shared",        ABS, 0xc0000, 4, S, 0 },
    { "pam-d0000-private",       ABS, 0xd0000, 4, P, BY_PAM },
    { "pam-d0000-shared",        ABS, 0xd0000, 4, S, 0 },
    { "pam-ec000-private",       ABS, 0xec000, 4, P, BY_PAM },
    { "pam-ec000-shared",        ABS, 0xec000, 4, S, 0 },
    { "pam-f0000-private",       ABS, 0xf0000, 16, P, BY_PAM },
    { "pam-f0000-shared",        ABS, 0xf0000, 16, S, 0 },
    { "vga-into-pam-private",    ABS, 0xbf000, 2, P, BY_VGA },
    { "vga-into-pam-shared",     ABS, 0xbf000, 2, S, 0 },

    { "area-two-chunks-private", AREA, 0x200000, 4096, P, 0 },
    { "everything-shared",       AREA, 0, 1UL << 34, S, 0 },

    /* Something to see for who compares the STATE lines. */
    { "final-one",               AREA, 0x9000, 1, P, 0 },
    { "final-odd",               AREA, 0x3e000, 67, P, 0 },
    { "final-odd-hole",          AREA, 0x50000, 3, S, 0 },
    { "final-2m",                AREA, 0x600000, 512, P, 0 },
    { "final-over-2m",           AREA, 0xbff000, 514, P, 0 },
    { "final-low",               LOW_END, -0x1000, 1, P, 0 },
    { "final-high",              HIGH, 0, 3, P, 0 },
};

static uint64_t anchor_gpa(const struct row *r, uint64_t border)
{
    switch (r->at) {
    case AREA:
        return area(32 * MiB).start;
    case LOW_END:
        return low_end();
    case HIGH:
        return GIB4;
    case HIGH_END:
        return high_end();
    case BORDER:
        return border;
    default:
        return 0;
    }
}

static const char *why_skip(const struct row *r, uint64_t gpa, uint64_t pages)
{
    bool high = high_end() > GIB4;

    if (!high && (r->at == HIGH || r->at == HIGH_END || r->span)) {
        return "no RAM above 4 GiB";
    }
    if (r->want == BY_PAM && !pam_present()) {
        return "no PAM registers";
    }
    /* Never the guest itself: a small machine's area may reach too far. */
    if (r->want == 0 && r->attrs & P &&
        (gpa < CONVERTIBLE || !shadow(gpa + (pages - 1) * PAGE))) {
        return "machine too small";
    }
    return NULL;
}

static long wanted(const struct row *r, uint64_t gpa)
{
    uint64_t last = gpa + (r->pages - 1) * PAGE;
    bool ok = true;

    if (r->want != BY_PAM && r->want != BY_VGA) {
        return r->want;
    }
    if (r->want == BY_VGA) {
        ok = reads_back(VGA_WINDOW);
    }
    if (r->want == BY_VGA && last >= PAM_BASE) {
        /* one page; RAM may stand before a segment (KVM's vapic) */
        ok = ok && reads_back(last & -PAGE);
    } else if (last >= PAM_BASE) {
        ok = pam_present() && pam_get(last) == PAM_RW;
    }
    return ok ? RET_OK : RET_EINVAL;
}

#define WITNESSES 6

/* Edges of the range, as far as the shadow follows them. */
static unsigned pick_witnesses(uint64_t gpa, uint64_t pages, uint64_t *w)
{
    uint64_t base = gpa & -PAGE;
    uint64_t last = base + (pages - 1) * PAGE;
    const uint64_t all[WITNESSES] = {
        base - PAGE, base, base + PAGE, base + (pages / 2) * PAGE, last,
        last + PAGE,
    };
    unsigned n = 0;

    for (unsigned i = 0; i < WITNESSES; i++) {
        if (shadow(all[i])) {
            w[n++] = all[i];
        }
    }
    return n;
}

static void run_row(const struct row *r, uint64_t gpa, uint64_t pages,
                    const char *name)
{
    static unsigned gen;
    uint64_t w[WITNESSES];
    unsigned n = pick_witnesses(gpa, pages, w);
    struct mismatch m;
    long want = wanted(r, gpa), got;

    gen = gen % GEN_MAX + 1;
    for (unsigned i = 0; i < n; i++) {
        page_fill(w[i], gen);
    }
    got = map_gpa(gpa, pages, r->attrs);
    if (got == RET_OK) {
        shadow_convert(gpa, pages, r->attrs & P);
    }
    if (got != want) {
        fail(name, "gpa=0x%lx pages=0x%lx attrs=0x%lx expected=%ld got=%ld",
             gpa, pages, r->attrs, want, got);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        if (!page_check(w[i], false, &m)) {
            fail(name, "gpa=0x%lx pages=0x%lx attrs=0x%lx ret=%ld content at "
                 "0x%lx expected=0x%lx got=0x%lx", gpa, pages, r->attrs, got,
                 m.gpa, m.expected, m.got);
            return;
        }
    }
    pass(name);
}

static void place_row(const struct row *r, uint64_t border)
{
    uint64_t gpa = anchor_gpa(r, border) + r->off;
    uint64_t pages = r->pages;
    const char *reason;
    char name[80];

    if (r->span == UP_TO_HIGH) {
        pages += (GIB4 - gpa) / PAGE;
    }
    if (r->at == BORDER) {
        format(name, sizeof(name), "table/%s@0x%lx", r->name, border);
    } else {
        format(name, sizeof(name), "table/%s", r->name);
    }
    reason = why_skip(r, gpa, pages);
    if (reason) {
        skip(name, reason);
    } else {
        run_row(r, gpa, pages, name);
    }
}

void test_table(void)
{
    struct extent a = area(32 * MiB);
    uint64_t borders[8], pages = (a.end - a.start) / PAGE;
    unsigned nr_borders = arg_list("borders", borders, ARRAY_SIZE(borders));
    struct mismatch m = { 0, 0, 0 };
    bool ok;

    if (a.end - a.start < 32 * MiB) {
        skip("table", "the area is smaller than 32M");
        return;
    }
    say("# table vga_window_is_ram=%d pam c0000=%u d0000=%u ec000=%u "
        "f0000=%u", reads_back(VGA_WINDOW), pam_get(0xc0000), pam_get(0xd0000),
        pam_get(0xec000), pam_get(0xf0000));
    if (!area_reset("table/reset", a, 1)) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].at != BORDER) {
            place_row(&rows[i], 0);
            continue;
        }
        for (unsigned b = 0; b < nr_borders; b++) {
            place_row(&rows[i], borders[b]);
        }
        if (!nr_borders) {
            skip(rows[i].name, "no borders= given");
        }
    }
    ok = range_check(a.start, pages, true, &m);
    check(ok, "table/area-at-end", "content at 0x%lx expected=0x%lx got=0x%lx",
          m.gpa, m.expected, m.got);
    check_states("table/states", a);
}
