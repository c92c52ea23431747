// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What pages contain.  Each word of a pattern depends on its address and the
 * pattern's number, so that a page, a word or a state mixed up with another is seen.
 */
#include "gmem_convert.h"

#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>

#define WORDS (PAGE_SIZE / sizeof(u64))
/* Prime to the words of a page: eight looks, in as many cache lines */
#define STRIDE 73

enum gc_rule gc_rule = GC_AUTO;

static u64 word_of(u64 gpa, u32 gen, unsigned int i)
{
	if (gen == GC_GEN_ZERO)
		return 0;
	return (gpa + i * sizeof(u64) + 1) * 0x9e3779b97f4a7c15ULL ^
	       gen * 0xff51afd7ed558ccdULL;
}

void gc_fill(struct gc_page *page, u32 gen)
{
	u64 *words = page->view;
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		WRITE_ONCE(words[i], word_of(page->gpa, gen, i));
	page->gen = gen;
}

static bool holds(struct gc_page *page, u32 gen, unsigned int step,
		  unsigned int *where)
{
	u64 *words = page->view;
	unsigned int i;

	for (i = 0; i < WORDS; i += step) {
		if (READ_ONCE(words[i]) != word_of(page->gpa, gen, i)) {
			*where = i;
			return false;
		}
	}
	return true;
}

bool gc_compare(struct gc_page *page, bool every_word, enum gc_counter bad)
{
	unsigned int i;

	if (page->gen == GC_GEN_UNKNOWN)
		return true;
	gc_count(GC_COMPARED, 1);
	if (holds(page, page->gen, every_word ? 1 : STRIDE, &i))
		return true;
	gc_count(bad, 1);
	pr_warn_ratelimited("0x%llx (%s) holds 0x%llx and not 0x%llx\n",
			    page->gpa + i * sizeof(u64),
			    page->state == GC_PRIVATE ? "private" : "shared",
			    READ_ONCE(((u64 *)page->view)[i]),
			    word_of(page->gpa, page->gen, i));
	/* Counted once: what it should hold is not known any more */
	page->gen = GC_GEN_UNKNOWN;
	return false;
}

void gc_rewrite(struct gc_page *page)
{
	u32 next = page->gen == GC_GEN_UNKNOWN ? 1 : page->gen + 1;

	gc_fill(page, next == GC_GEN_UNKNOWN ? 1 : next);
	gc_compare(page, false, GC_BAD_VIEW);
}

int gc_find_rule(struct gc_area *area)
{
	struct gc_page *page = area->pages;
	unsigned int i;
	int error;

	if (gc_rule != GC_AUTO)
		return 0;
	gc_fill(page, 1);
	error = gc_request(area, 0, 1, true);
	if (error)
		return error;
	if (holds(page, GC_GEN_ZERO, 1, &i))
		gc_rule = GC_ZEROED;
	else
		gc_rule = holds(page, 1, 1, &i) ? GC_PRESERVED : GC_UNDEFINED;
	page->gen = GC_GEN_UNKNOWN;
	return gc_request(area, 0, 1, false);
}

const char *gc_rule_name(void)
{
	static const char * const names[] = {
		[GC_ZEROED] = "split",
		[GC_PRESERVED] = "in-place",
		[GC_UNDEFINED] = "undefined",
		[GC_AUTO] = "auto",
	};

	return names[gc_rule];
}
