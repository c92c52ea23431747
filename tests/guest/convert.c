/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Issuing conversions, and learning whether and how the host does them.
 */
#include "convert.h"
#include "cpu.h"

#define KVM_LEAF    0x40000000

static bool use_vmmcall, dry;
static const char *missing;
static uint64_t eagain;

static long hypercall(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
    long ret;

    if (use_vmmcall) {
        asm volatile("vmmcall" : "=a"(ret)
                     : "a"(nr), "b"(a0), "c"(a1), "d"(a2) : "memory");
    } else {
        asm volatile("vmcall" : "=a"(ret)
                     : "a"(nr), "b"(a0), "c"(a1), "d"(a2) : "memory");
    }
    return ret;
}

long map_gpa_raw(uint64_t gpa, uint64_t pages, uint64_t attrs)
{
    return dry ? sim_map_gpa(gpa, pages, attrs)
               : hypercall(HC_MAP_GPA_RANGE, gpa, pages, attrs);
}

long map_gpa(uint64_t gpa, uint64_t pages, uint64_t attrs)
{
    uint64_t left = arg_u64("retries", 100);
    long ret;

    for (;;) {
        ret = map_gpa_raw(gpa, pages, attrs);
        if (ret != RET_EAGAIN || !left--) {
            return ret;
        }
        __atomic_add_fetch(&eagain, 1, __ATOMIC_RELAXED);
        pause();
    }
}

long convert(uint64_t gpa, uint64_t pages, bool to_private)
{
    long ret = map_gpa(gpa, pages, to_private ? ATTR_PRIVATE : 0);

    if (ret == RET_OK) {
        shadow_convert(gpa, pages, to_private);
    }
    return ret;
}

uint64_t convert_eagain(void)
{
    return __atomic_load_n(&eagain, __ATOMIC_RELAXED);
}

static bool vendor_is(const char *vendor)
{
    uint32_t r[4];
    char text[13];

    cpuid(0, r);
    memcpy(text, &r[1], 4);
    memcpy(text + 4, &r[3], 4);
    memcpy(text + 8, &r[2], 4);
    text[12] = 0;
    return !strcmp(text, vendor);
}

static bool under_kvm(void)
{
    uint32_t r[4];
    char text[13];

    cpuid(1, r);
    if (!(r[2] & 1U << 31)) {
        return false;
    }
    cpuid(KVM_LEAF, r);
    memcpy(text, &r[1], 12);
    text[12] = 0;
    return !strcmp(text, "KVMKVMKVM");
}

static long probe_result;

/*
 * A request for no pages changes nothing: KVM refuses it, if it knows it. A
 * KVM that emulates all of a guest's code can be stuck at the instruction for
 * ever, rewriting it to itself; the watchdog gets us out.
 */
static void probe(void *unused)
{
    (void)unused;
    watchdog_start();
    probe_result = map_gpa_raw(CONVERTIBLE, 0, 0);
}

static const char *find_missing(void)
{
    int fault;

    if (!dry && !under_kvm()) {
        return "no conversion: not under KVM";
    }
    fault = cpu_guard(probe, NULL) - 1;
    watchdog_stop();
    if (fault == VECTOR_WATCHDOG) {
        return "no conversion: this KVM never completes the hypercall";
    }
    say("# probe: %s returned %ld", use_vmmcall ? "vmmcall" : "vmcall",
        probe_result);
    if (fault >= 0) {
        return "no conversion: the hypercall faults";
    }
    return probe_result == RET_KVM_EINVAL ? NULL :
           "no conversion: KVM has no KVM_HC_MAP_GPA_RANGE for this VM";
}

/* Which rule holds here: make a page private and back, and look. */
static void find_rule(void)
{
    const char *want = arg_str("content", "auto");
    struct extent a = area(PAGE);
    volatile uint64_t *p = (void *)a.start;
    long there, back;

    content_rule = strcmp(want, "inplace") ? RULE_SPLIT : RULE_INPLACE;
    if (strcmp(want, "auto") || a.start == a.end) {
        return;
    }
    *p = 0x5ca1ab1e;
    there = map_gpa(a.start, 1, ATTR_PRIVATE);
    content_rule = *p == 0x5ca1ab1e ? RULE_INPLACE : RULE_SPLIT;
    back = map_gpa(a.start, 1, 0);
    check(there == RET_OK && back == RET_OK, "boot/content-probe",
          "gpa=0x%lx expected=0,0 got=%ld,%ld", a.start, there, back);
}

void convert_init(void)
{
    use_vmmcall = vendor_is("AuthenticAMD") || vendor_is("HygonGenuine");
    dry = *arg_str("dry", "");
    if (dry) {
        say("# DRY RUN: conversions are simulated inside the guest");
    }
    missing = find_missing();
    if (missing) {
        say("# SKIP %s", missing);
        return;
    }
    find_rule();
    say("# content rule: %s%s",
        content_rule == RULE_SPLIT ? "split" : "inplace",
        strcmp(arg_str("content", "auto"), "auto") ? "" : " (probed)");
}

const char *convert_missing(void)
{
    return missing;
}

bool convert_is_dry(void)
{
    return dry;
}
