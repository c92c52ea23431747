/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A private page seen through a read-only view, which is bound by host address: a PAM
 * segment with one private page goes read-only, and the guest reads the page.
 *  1. split: it sees the shared side, which is empty; the page is there again afterwards
 *  2. in place: there is nothing that KVM could show, so the guest stands still until the
 *     host makes the page shared, at MARK view/looking; then it sees what it wrote
 */
#include "tests.h"

#define SEGMENT 0xd4000UL
#define SECRET  (SEGMENT + PAGE)
#define GEN     3

static bool to_state(const char *name, bool to_private)
{
    long got = map_gpa(SECRET, 1, to_private ? ATTR_PRIVATE : 0);

    return check(got == RET_OK, name, "gpa=0x%lx expected=0 got=%ld", SECRET,
                 got);
}

static void expect_word(const char *name, uint64_t want)
{
    uint64_t got = *(volatile uint64_t *)SECRET;

    check(got == want, name, "content at 0x%lx expected=0x%lx got=0x%lx",
          SECRET, want, got);
}

void test_view(void)
{
    uint64_t written = page_word(SECRET, GEN, 0);
    bool in_place = content_rule == RULE_INPLACE;
    enum pam before;

    if (convert_is_dry() || !pam_present()) {
        skip("view", convert_is_dry() ? "the host is simulated"
                                      : "no PAM registers");
        return;
    }
    before = pam_get(SEGMENT);
    pam_set(SEGMENT, PAM_RW);
    if (to_state("view/private", true)) {
        page_fill(SECRET, GEN);
        pam_set(SEGMENT, PAM_READ);
        mark("view/looking");
        expect_word("view/readonly", in_place ? written : 0);
        pam_set(SEGMENT, PAM_RW);
        expect_word("view/writable", written);
        to_state("view/shared", false);
    }
    pam_set(SEGMENT, before);
}
