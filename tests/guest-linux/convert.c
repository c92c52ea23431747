// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Asking the host, and what that makes of the pages.
 */
#include "gmem_convert.h"

#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/kvm_para.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>

/* The host waits by itself for whoever uses a page; this is on top of that */
#define PATIENCE	(2 * HZ)
#define RETRY_MS	50
/* The page-size bits of the attributes are a hint; 0 means 4 KiB */
#define SHARED		KVM_MAP_GPA_RANGE_DECRYPTED
#define PRIVATE		KVM_MAP_GPA_RANGE_ENCRYPTED

atomic64_t gc_counters[GC_COUNTERS];
atomic64_t gc_errnos[GC_ERRNOS];
static atomic_long_t refusals;

void gc_refuse(u64 count)
{
	atomic_long_set(&refusals, min_t(u64, count, LONG_MAX));
}

/* QEMU answers with positive numbers, KVM with negative ones: the magnitude is the errno. */
static long ask(u64 gpa, unsigned long pages, bool to_private)
{
	if (atomic_long_read(&refusals) &&
	    atomic_long_dec_if_positive(&refusals) >= 0)
		return EAGAIN;
	return kvm_hypercall3(KVM_HC_MAP_GPA_RANGE, gpa, pages,
			      to_private ? PRIVATE : SHARED);
}

static int count_failure(long answer, u64 gpa, unsigned long pages,
			 bool to_private)
{
	unsigned long number = abs(answer);

	gc_count(GC_FAILURES, 1);
	atomic64_inc(&gc_errnos[number < GC_ERRNOS ? number : 0]);
	pr_warn_ratelimited("the host answers %ld to 0x%llx+%lu pages %s\n",
			    answer, gpa, pages,
			    to_private ? "private" : "shared");
	return number == EAGAIN ? -EAGAIN : -EREMOTEIO;
}

static int ask_until(unsigned long end, u64 gpa, unsigned long pages,
		     bool to_private)
{
	long answer;

	while ((answer = ask(gpa, pages, to_private)) == EAGAIN &&
	       time_before(jiffies, end)) {
		gc_count(GC_RETRIES, 1);
		msleep(RETRY_MS);
	}
	if (answer)
		return count_failure(answer, gpa, pages, to_private);
	gc_count(to_private ? GC_TO_PRIVATE_REQUESTS : GC_TO_SHARED_REQUESTS, 1);
	gc_count(to_private ? GC_TO_PRIVATE_PAGES : GC_TO_SHARED_PAGES, pages);
	return 0;
}

/* How many of @count pages from @first on follow each other in guest memory */
static unsigned long run_length(struct gc_area *area, unsigned long first,
				unsigned long count)
{
	struct gc_page *page = area->pages + first;
	unsigned long n = 1;

	while (n < count && page[n].gpa == page[0].gpa + n * PAGE_SIZE)
		n++;
	return n;
}

static void note_success(struct gc_page *page, bool to_private)
{
	u8 state = to_private ? GC_PRIVATE : GC_SHARED;

	if (page->state != GC_UNSURE && page->state != state) {
		if (gc_rule == GC_ZEROED)
			page->gen = GC_GEN_ZERO;
		else if (gc_rule != GC_PRESERVED)
			page->gen = GC_GEN_UNKNOWN;
	}
	page->state = state;
}

/* After a failed request nothing is taken for granted */
static void forget(struct gc_page *page)
{
	page->state = GC_UNSURE;
	page->gen = GC_GEN_UNKNOWN;
}

static int request_run(struct gc_page *page, unsigned long n, bool to_private)
{
	int error = ask_until(jiffies + PATIENCE, page->gpa, n, to_private);

	for (; n; n--, page++) {
		if (error)
			forget(page);
		else
			note_success(page, to_private);
	}
	return error;
}

int gc_request(struct gc_area *area, unsigned long first, unsigned long count,
	       bool to_private)
{
	unsigned long n;
	int error;

	for (; count; first += n, count -= n) {
		n = run_length(area, first, count);
		error = request_run(area->pages + first, n, to_private);
		if (error)
			return error;
		cond_resched();
	}
	return 0;
}

/* Page by page, and nobody is waited for: for what is left after a failure. */
static void share_each(struct gc_page *page, unsigned long n)
{
	for (; n; n--, page++) {
		if (!ask_until(jiffies, page->gpa, 1, false))
			note_success(page, false);
		cond_resched();
	}
}

void gc_share(struct gc_area *area, unsigned long first, unsigned long count)
{
	unsigned long n;

	for (; count; first += n, count -= n) {
		n = run_length(area, first, count);
		if (gc_request(area, first, n, false))
			share_each(area->pages + first, n);
	}
}

static void compare_all(struct gc_page *page, unsigned long n,
			enum gc_counter bad)
{
	for (; n; n--, page++) {
		gc_compare(page, false, bad);
		cond_resched();
	}
}

int gc_convert(struct gc_area *area, unsigned long first, unsigned long count,
	       bool to_private)
{
	struct gc_page *page = area->pages + first;
	int error;

	compare_all(page, count, GC_BAD_KEPT);
	error = gc_request(area, first, count, to_private);
	/* Runs before the one that failed are converted: they can be looked at as well */
	for (; count && page->state != GC_UNSURE; count--, page++) {
		gc_compare(page, false, GC_BAD_CONVERTED);
		gc_rewrite(page);
		cond_resched();
	}
	return error;
}

int gc_probe(void)
{
	long answer;

	if (!kvm_para_available()) {
		pr_err("not a guest of KVM\n");
		return -ENODEV;
	}
	/* No pages: KVM refuses that itself with EINVAL, if it knows the request at all */
	answer = kvm_hypercall3(KVM_HC_MAP_GPA_RANGE, 0, 0, SHARED);
	if (answer == -EINVAL)
		return 0;
	pr_err("the host does not convert for this VM (KVM_HC_MAP_GPA_RANGE: %ld)\n",
	       answer);
	return -ENODEV;
}
