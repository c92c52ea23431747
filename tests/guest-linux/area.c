// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where the pages come from, and how they go back.
 *
 * Memory of the allocator is used by the kernel again once it is freed, and by
 * devices too, so only shared pages are.  One that the host does not make shared
 * again stays with nobody, and the log says so.
 */
#include "gmem_convert.h"

#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/slab.h>

/* A chunk is at most one large page: ranges within it are one request */
#define MAX_ORDER_TAKEN	9
#define MOST_PAGES	(1UL << 18)
#define GFP_TAKEN	(GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY)

static unsigned int max_pages = 16384;
module_param(max_pages, uint, 0444);
MODULE_PARM_DESC(max_pages, "Most pages that may be taken (default 16384, at most 262144)");

DEFINE_MUTEX(gc_lock);
struct gc_area *gc_area;

static void area_free(struct gc_area *area)
{
	bitmap_free(area->claimed);
	kvfree(area->pages);
	kfree(area);
}

static struct gc_area *area_new(unsigned long count)
{
	struct gc_area *area = kzalloc(sizeof(*area), GFP_KERNEL);

	if (!area)
		return NULL;
	area->pages = kvcalloc(count, sizeof(*area->pages), GFP_KERNEL);
	area->claimed = bitmap_zalloc(count, GFP_KERNEL);
	if (area->pages && area->claimed)
		return area;
	area_free(area);
	return NULL;
}

/* Nobody has told the state of a page that has just been taken. */
static void add_page(struct gc_area *area, u64 gpa, void *view)
{
	area->pages[area->count++] = (struct gc_page) {
		.gpa = gpa, .view = view,
		.gen = GC_GEN_UNKNOWN, .state = GC_UNSURE,
	};
}

static int check_count(unsigned long count)
{
	unsigned long most = min_t(unsigned long, max_pages, MOST_PAGES);

	if (!count) {
		pr_warn_ratelimited("an area has at least one page\n");
		return -EINVAL;
	}
	if (count > most) {
		pr_warn_ratelimited("%lu pages are more than max_pages=%lu\n",
				    count, most);
		return -E2BIG;
	}
	return 0;
}

/* The largest chunk that is to be had and wanted, as single pages. */
static bool add_chunk(struct gc_area *area, unsigned long wanted)
{
	unsigned int order = min_t(unsigned int, ilog2(wanted), MAX_ORDER_TAKEN);
	struct page *page;
	unsigned long i;

	while (!(page = alloc_pages(GFP_TAKEN, order))) {
		if (!order--)
			return false;
	}
	split_page(page, order);
	for (i = 0; i < 1UL << order; i++)
		add_page(area, page_to_phys(page + i), page_address(page + i));
	return true;
}

static void free_shared(struct gc_area *area)
{
	struct gc_page *page;

	for (page = area->pages; page < area->pages + area->count; page++) {
		if (page->state == GC_SHARED)
			free_page((unsigned long)page->view);
	}
}

static void share_what_is_not(struct gc_area *area)
{
	unsigned long first, n;

	for (first = 0; first < area->count; first += n) {
		n = 1;
		if (area->pages[first].state == GC_SHARED)
			continue;
		while (first + n < area->count &&
		       area->pages[first + n].state != GC_SHARED)
			n++;
		gc_share(area, first, n);
	}
}

static unsigned long not_shared(struct gc_area *area)
{
	unsigned long i, n = 0;

	for (i = 0; i < area->count; i++)
		n += area->pages[i].state != GC_SHARED;
	return n;
}

static void give_back(struct gc_area *area)
{
	unsigned long left;

	share_what_is_not(area);
	left = not_shared(area);
	gc_count(GC_LEAKED, left);
	if (left)
		pr_warn("%lu pages stay private because the host does not make them shared; %s\n",
			left, area->window ? "the range is let go as it is" :
			"they are lost to the kernel until it reboots");
	if (area->window) {
		memunmap(area->window);
		release_mem_region(area->start, area->size);
	} else {
		free_shared(area);
	}
	area_free(area);
}

void gc_give_back(void)
{
	if (gc_area)
		give_back(gc_area);
	gc_area = NULL;
}

/* Known state and known content for all pages: @area becomes the area, or goes. */
static int start_with(struct gc_area *area)
{
	unsigned long i;
	int error = gc_request(area, 0, area->count, false);

	if (!error)
		error = gc_find_rule(area);
	if (error) {
		give_back(area);
		return error;
	}
	for (i = 0; i < area->count; i++) {
		gc_rewrite(&area->pages[i]);
		cond_resched();
	}
	gc_area = area;
	return 0;
}

static int check_free(void)
{
	if (!gc_area)
		return 0;
	pr_warn_ratelimited("there is an area already: free it first\n");
	return -EBUSY;
}

int gc_take_pages(unsigned long count)
{
	int error = check_free() ?: check_count(count);
	struct gc_area *area;

	if (error)
		return error;
	if (count > si_mem_available() / 2 || !(area = area_new(count))) {
		pr_warn_ratelimited("not enough memory for %lu pages\n", count);
		return -ENOMEM;
	}
	while (area->count < count) {
		if (!add_chunk(area, count - area->count)) {
			pr_warn_ratelimited("no memory for the last %lu of %lu pages\n",
					    count - area->count, count);
			give_back(area);
			return -ENOMEM;
		}
	}
	return start_with(area);
}

static int check_range(u64 start, u64 size)
{
	int error = check_count(size >> PAGE_SHIFT);

	if (error)
		return error;
	if (!IS_ALIGNED(start | size, PAGE_SIZE) || start + size < start ||
	    start + size - 1 > iomem_resource.end) {
		pr_warn_ratelimited("0x%llx+0x%llx is no range of whole pages\n",
				    start, size);
		return -EINVAL;
	}
	if (region_intersects(start, size, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) != REGION_DISJOINT) {
		pr_warn_ratelimited("0x%llx+0x%llx is memory that the kernel uses: set it aside with memmap=SIZE$START\n",
				    start, size);
		return -EBUSY;
	}
	return 0;
}

static struct gc_area *area_of_range(u64 start, u64 size)
{
	struct gc_area *area = area_new(size >> PAGE_SHIFT);

	if (!area)
		return NULL;
	area->window = memremap(start, size, MEMREMAP_WB);
	if (!area->window) {
		area_free(area);
		return NULL;
	}
	area->start = start;
	area->size = size;
	while (area->count < size >> PAGE_SHIFT)
		add_page(area, start + (area->count << PAGE_SHIFT),
			 area->window + (area->count << PAGE_SHIFT));
	return area;
}

/*
 * Before anything is written: what is not RAM cannot become private, and the host
 * says so and changes nothing.
 */
static int start_with_ram(struct gc_area *area)
{
	int error = gc_request(area, 0, area->count, true);

	if (!error)
		return start_with(area);
	pr_warn_ratelimited("0x%llx+0x%llx cannot be converted: is all of it RAM?\n",
			    area->start, area->size);
	give_back(area);
	return error;
}

int gc_take_range(u64 start, u64 size)
{
	int error = check_free() ?: check_range(start, size);
	struct gc_area *area;

	if (error)
		return error;
	if (!request_mem_region(start, size, KBUILD_MODNAME)) {
		pr_warn_ratelimited("0x%llx+0x%llx belongs to somebody\n",
				    start, size);
		return -EBUSY;
	}
	area = area_of_range(start, size);
	if (area)
		return start_with_ram(area);
	release_mem_region(start, size);
	pr_warn_ratelimited("0x%llx+0x%llx cannot be mapped\n", start, size);
	return -ENOMEM;
}
