/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A stand-in for the host, for checking the test guest itself where nothing
 * converts. dry=ok behaves; the other values of dry= each break one promise,
 * which the tests then have to notice. A DIMM's pages have no state here.
 *   stale    split: the side left behind is not freed, its content comes back
 *   spill    a conversion takes one page more than asked for
 *   partial  a refused request has converted its first pages
 *   lax      unknown attribute bits are accepted
 *   wrap     pages times 4096 is allowed to overflow
 *   lost     now and then a page of a conversion is left out
 */
#include "convert.h"
#include "cpu.h"

#define SIM_PAGES (8 * GiB / PAGE)

static Lock sim_lock;
static uint64_t is_private[SIM_PAGES / 64];
static unsigned calls;

static bool broken(const char *how)
{
    return !strcmp(arg_str("dry", ""), how);
}

/* The end of the plugged DIMM at @gpa, 0 if there is none. */
static uint64_t dimm_end(uint64_t gpa)
{
    struct dimm d;

    for (unsigned i = 0; i < arg_u64("slots", 8); i++) {
        if (dimm_get(i, &d) && d.enabled && gpa >= d.gpa &&
            gpa - d.gpa < d.size) {
            return d.gpa + d.size;
        }
    }
    return 0;
}

static bool convertible(uint64_t gpa)
{
    if (gpa >= PAM_BASE && gpa < PAM_END) {
        return pam_present() &&
               (pam_get(gpa) == PAM_RW || reads_back(gpa & -PAGE));
    }
    if (gpa >= VGA_WINDOW && gpa < PAM_BASE) {
        return reads_back(VGA_WINDOW);
    }
    return is_ram(gpa);
}

static void set_page(uint64_t gpa, bool to_private)
{
    uint64_t n = gpa / PAGE, bit = 1UL << n % 64;

    if (n >= SIM_PAGES || !!(is_private[n / 64] & bit) == to_private) {
        return;
    }
    is_private[n / 64] ^= bit;
    if (content_rule == RULE_SPLIT && gpa >= PAM_BASE && !broken("stale")) {
        memset((void *)gpa, 0, PAGE);
    }
}

static void set_range(uint64_t gpa, uint64_t pages, bool to_private)
{
    if (broken("spill")) {
        pages++;
    }
    lock(&sim_lock);
    calls++;
    for (uint64_t i = 0; i < pages && gpa + i * PAGE < high_end(); i++) {
        if (broken("lost") && i == 1 && calls % 16 == 0) {
            continue;
        }
        if (convertible(gpa + i * PAGE)) {
            set_page(gpa + i * PAGE, to_private);
        }
    }
    unlock(&sim_lock);
}

long sim_map_gpa(uint64_t gpa, uint64_t pages, uint64_t attrs)
{
    bool to_private = attrs & ATTR_PRIVATE;
    uint64_t size, end;

    if (gpa % PAGE || !pages || gpa / PAGE + pages < pages) {
        return RET_KVM_EINVAL;
    }
    if (attrs & ~0x1fUL && !broken("lax")) {
        return RET_EINVAL;
    }
    if (__builtin_mul_overflow(pages, PAGE, &size) && !broken("wrap")) {
        return RET_EINVAL;
    }
    if (__builtin_add_overflow(gpa, size, &end)) {
        return RET_EINVAL;
    }
    if (gpa >= high_end() && end <= dimm_end(gpa)) {
        return RET_OK;      /* hotplug asks for no more than that */
    }
    for (uint64_t p = gpa; to_private && p < end; p += PAGE) {
        if (!convertible(p)) {
            if (broken("partial")) {
                set_range(gpa, (p - gpa) / PAGE, true);
            }
            return RET_EINVAL;
        }
    }
    set_range(gpa, size / PAGE, to_private);
    return RET_OK;
}
