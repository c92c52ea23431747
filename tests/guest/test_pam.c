/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A range that comes and goes: one 16 KiB PAM segment, four pages.
 *  1. writable: page 1 is made private, pages 0, 2 and 3 stay shared;
 *  2. read-only: to-private is refused with +22, shared pages read as written;
 *  3. writable again: nothing is lost, so page 1 came back as private;
 *  4. the same with the segment switched off instead of read-only;
 *  5. the private page becomes shared, under the content rule.
 * The private page is not touched while its segment is read-only: that view
 * is bound by host address only.
 */
#include "tests.h"

#define SEGMENT 0xd0000UL
#define PAGES   4
#define SECRET  1       /* the page that is private */

static bool expect(const char *name, uint64_t gpa, uint64_t pages,
                   uint64_t attrs, long want)
{
    long got = map_gpa(gpa, pages, attrs);

    return check(got == want, name,
                 "gpa=0x%lx pages=%lu attrs=0x%lx pam=%u expected=%ld got=%ld",
                 gpa, pages, attrs, pam_get(gpa), want, got);
}

/* The shadow does not follow memory this low; @gen says what must be there. */
static void expect_pages(const char *name, const unsigned gen[PAGES],
                         bool with_secret)
{
    struct mismatch m;

    for (unsigned i = 0; i < PAGES; i++) {
        if ((with_secret || i != SECRET) &&
            !page_is(SEGMENT + i * PAGE, gen[i], false, &m)) {
            fail(name, "content at 0x%lx expected=0x%lx got=0x%lx", m.gpa,
                 m.expected, m.got);
            return;
        }
    }
    pass(name);
}

static void away_and_back(const char *how, enum pam pam,
                          const unsigned gen[PAGES])
{
    char name[64];

    pam_set(SEGMENT, pam);
    format(name, sizeof(name), "pam/%s-to-private-refused", how);
    expect(name, SEGMENT + 2 * PAGE, 1, ATTR_PRIVATE, RET_EINVAL);
    format(name, sizeof(name), "pam/%s-all-to-private-refused", how);
    expect(name, SEGMENT, PAGES, ATTR_PRIVATE, RET_EINVAL);
    if (pam == PAM_READ) {
        format(name, sizeof(name), "pam/%s-shared-pages-readable", how);
        expect_pages(name, gen, false);
    }
    pam_set(SEGMENT, PAM_RW);
    format(name, sizeof(name), "pam/%s-and-back", how);
    expect_pages(name, gen, true);
}

void test_pam(void)
{
    unsigned gen[PAGES] = { 1, 2, 3, 4 };
    enum pam before;

    if (!pam_present()) {
        skip("pam", "no PAM registers");
        return;
    }
    before = pam_get(SEGMENT);
    pam_set(SEGMENT, PAM_RW);
    for (unsigned i = 0; i < PAGES; i++) {
        page_fill(SEGMENT + i * PAGE, gen[i]);
    }
    if (!expect("pam/private", SEGMENT + SECRET * PAGE, 1, ATTR_PRIVATE, 0)) {
        pam_set(SEGMENT, before);
        return;
    }
    if (content_rule == RULE_SPLIT) {
        gen[SECRET] = GEN_ZERO;
    }
    expect_pages("pam/content-private", gen, true);
    gen[SECRET] = 5;
    page_fill(SEGMENT + SECRET * PAGE, gen[SECRET]);
    for (unsigned round = 0; round < 3; round++) {
        away_and_back("readonly", PAM_READ, gen);
        away_and_back("off", PAM_OFF, gen);
    }
    expect("pam/shared", SEGMENT, PAGES, 0, 0);
    if (content_rule == RULE_SPLIT) {
        gen[SECRET] = GEN_ZERO;
    }
    expect_pages("pam/content-shared", gen, true);
    pam_set(SEGMENT, before);
}
