/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A DIMM that leaves while its pages are private. The host acts at each WAIT
 * and then sends a byte:
 *  1. WAIT hotplug/plug: plug a DIMM (where: dimm=gpa,size, or the hot-plug
 *     slots are asked). It is shared: making it shared keeps its content.
 *  2. All of it private, compared and filled.
 *  3. WAIT hotplug/unplug: request the unplug; the guest ejects it. To-private
 *     of the range is then refused, as for any hole.
 *  4. WAIT hotplug/replug: plug a DIMM at the same place. It must be shared
 *     again, and in split mode read as zeros.
 *  5. It is converted once more and left shared. WAIT hotplug/end.
 */
#include "tests.h"

#define EJECT_TRIES 600
#define EJECT_MS    50

static uint64_t gpa, pages;

static bool find_dimm(void)
{
    uint64_t where[2], slots = arg_u64("slots", 8);
    struct dimm d;

    if (arg_list("dimm", where, 2) == 2) {
        gpa = where[0];
        pages = where[1] / PAGE;
        return gpa % PAGE == 0 && pages > 0;
    }
    for (unsigned i = 0; i < slots; i++) {
        if (dimm_get(i, &d) && d.enabled) {
            dimm_ack_insert(i);
            gpa = d.gpa;
            pages = d.size / PAGE;
            return true;
        }
    }
    return false;
}

static bool dimm_here(const char *name)
{
    bool found = find_dimm();

    if (!check(found && is_mapped(gpa, pages * PAGE), name,
               "no DIMM that the guest can reach")) {
        return false;
    }
    say("# DIMM gpa=0x%lx size=0x%lx", gpa, pages * PAGE);
    return true;
}

/* First word of each page against pattern @gen (0: zeros). */
static bool words_are(const char *name, unsigned gen)
{
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t at = gpa + i * PAGE;
        uint64_t got = *(volatile uint64_t *)at;

        if (got != page_word(at, gen, 0)) {
            fail(name, "content at 0x%lx expected=0x%lx got=0x%lx", at,
                 page_word(at, gen, 0), got);
            return false;
        }
    }
    pass(name);
    return true;
}

static void fill_words(unsigned gen)
{
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t at = gpa + i * PAGE;

        *(volatile uint64_t *)at = page_word(at, gen, 0);
    }
}

static bool expect(const char *name, bool to_private, long want)
{
    long got = map_gpa(gpa, pages, to_private ? ATTR_PRIVATE : 0);

    return check(got == want, name, "gpa=0x%lx pages=%lu attrs=0x%x "
                 "expected=%ld got=%ld", gpa, pages,
                 to_private ? ATTR_PRIVATE : 0, want, got);
}

/* A request for the state it has leaves content alone, whatever the rule. */
static void check_shared(const char *name)
{
    char request[64];

    fill_words(7);
    format(request, sizeof(request), "%s-request", name);
    if (expect(request, false, RET_OK)) {
        words_are(name, 7);
    }
}

static bool eject(void)
{
    uint64_t slots = arg_u64("slots", 8);
    struct dimm d;

    for (unsigned t = 0; t < EJECT_TRIES; t++) {
        for (unsigned i = 0; i < slots; i++) {
            if (dimm_get(i, &d) && d.gpa == gpa && d.removing) {
                dimm_eject(i);
                return !dimm_get(i, &d) || !d.enabled;
            }
        }
        delay_ms(EJECT_MS);
    }
    return false;
}

static unsigned kept(unsigned gen)
{
    return content_rule == RULE_SPLIT ? GEN_ZERO : gen;
}

void test_hotplug(void)
{
    mark_and_wait("hotplug/plug");
    if (!dimm_here("hotplug/plugged")) {
        return;
    }
    check_shared("hotplug/starts-shared");
    if (!expect("hotplug/private", true, RET_OK) ||
        !words_are("hotplug/private-content", kept(7))) {
        return;
    }
    fill_words(8);
    mark_and_wait("hotplug/unplug");
    if (!check(eject(), "hotplug/ejected", "no removal was requested, or the "
               "host kept the DIMM")) {
        return;
    }
    expect("hotplug/gone", true, RET_EINVAL);
    mark_and_wait("hotplug/replug");
    if (!dimm_here("hotplug/replugged")) {
        return;
    }
    if (content_rule == RULE_SPLIT) {
        words_are("hotplug/replugged-zero", GEN_ZERO);
    }
    check_shared("hotplug/replugged-shared");
    if (expect("hotplug/private-again", true, RET_OK)) {
        words_are("hotplug/private-again-content", kept(7));
    }
    expect("hotplug/shared-at-end", false, RET_OK);
    mark_and_wait("hotplug/end");
}
