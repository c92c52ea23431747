/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A converter for Linux guests: makes pages of its own private and shared.
 *
 * The module owns one area: pages that it took from the allocator, or a range
 * that memmap= set aside, numbered from 0.  For each page it knows the state
 * that the host was last asked for, and what the page must contain.  Requests
 * go to the host one physically contiguous run at a time, and whoever makes
 * one has claimed every page of it, so that state and content of a page need
 * no other lock.
 *
 * gc_lock is held by whoever gives a command, and guards which area there is.
 * The threads of a random run do not take it: the area cannot go before they
 * have ended.
 */
#ifndef GMEM_CONVERT_H
#define GMEM_CONVERT_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/mutex.h>
#include <linux/types.h>

/* Guest addresses go into registers, and numbers of commands into unsigned long */
static_assert(sizeof(long) == sizeof(u64), "for 64-bit kernels");

/* What is known of a page's state.  Unsure: a request for it has failed. */
enum gc_state {
	GC_SHARED,
	GC_PRIVATE,
	GC_UNSURE,
};

/* What a change of state does to a page's content */
enum gc_rule {
	GC_ZEROED,	/* split: the other side of the page, empty */
	GC_PRESERVED,	/* in place: the same page */
	GC_UNDEFINED,	/* nothing is promised, and nothing compared */
	GC_AUTO,	/* to be found out with the first page */
};

/* Content of a page: zeros, something unknown, or the pattern of that number */
#define GC_GEN_ZERO	0
#define GC_GEN_UNKNOWN	U32_MAX

struct gc_page {
	u64 gpa;
	void *view;	/* where the kernel sees it */
	u32 gen;
	u8 state;	/* enum gc_state */
};

struct gc_area {
	unsigned long count;
	struct gc_page *pages;
	unsigned long *claimed;	/* a bit for each page */
	void *window;		/* of a memmap= range; NULL: allocated pages */
	u64 start, size;	/* of that range */
};

enum gc_counter {
	GC_TO_SHARED_REQUESTS,
	GC_TO_PRIVATE_REQUESTS,
	GC_TO_SHARED_PAGES,
	GC_TO_PRIVATE_PAGES,
	GC_RETRIES,		/* requests repeated because of EAGAIN */
	GC_FAILURES,
	GC_COMPARED,		/* looks at a page */
	GC_BAD_KEPT,		/* not what was there, before a conversion */
	GC_BAD_CONVERTED,	/* not what the rule says, after one */
	GC_BAD_VIEW,		/* not what was written a moment ago */
	GC_LEAKED,
	GC_COUNTERS,
};

/* Host errors that are counted apart, by number; 0 has all others */
#define GC_ERRNOS 64

extern struct mutex gc_lock;
extern struct gc_area *gc_area;	/* NULL: none taken */
extern enum gc_rule gc_rule;
extern atomic64_t gc_counters[GC_COUNTERS];
extern atomic64_t gc_errnos[GC_ERRNOS];

static inline void gc_count(enum gc_counter which, unsigned long n)
{
	atomic64_add(n, &gc_counters[which]);
}

/* area.c: all under gc_lock; 0 or -errno, with a message */
int gc_take_pages(unsigned long count);
int gc_take_range(u64 start, u64 size);
/* Make all shared and give it back; pages that the host refuses are kept back. */
void gc_give_back(void);

/* convert.c */
/* Whether the host converts at all; 0 or -ENODEV. */
int gc_probe(void);
/*
 * Convert pages that the caller has claimed, checking what they hold before and
 * after.  0, -EAGAIN, or -EREMOTEIO when the host refuses otherwise: the pages
 * of the run that failed are then GC_UNSURE, later ones are left alone.
 */
int gc_convert(struct gc_area *area, unsigned long first, unsigned long count,
	       bool to_private);
/* The same without looking at the pages. */
int gc_request(struct gc_area *area, unsigned long first, unsigned long count,
	       bool to_private);
/* Make all of them shared that the host lets become so; the others are GC_UNSURE. */
void gc_share(struct gc_area *area, unsigned long first, unsigned long count);
/* Let the next @count requests fail as busy without asking the host. */
void gc_refuse(u64 count);

/* content.c: a page's caller has claimed it */
void gc_fill(struct gc_page *page, u32 gen);
/* Whether the page holds what it must; every word, or some of each cache line. */
bool gc_compare(struct gc_page *page, bool every_word, enum gc_counter bad);
/* Write something new and read it back. */
void gc_rewrite(struct gc_page *page);
/* Find the rule with one shared page, which is shared again afterwards. */
int gc_find_rule(struct gc_area *area);
const char *gc_rule_name(void);

/* random.c: under gc_lock, except for gc_random_wait() */
int gc_random_start(struct gc_area *area, unsigned int seconds, u64 seed);
void gc_random_stop(void);
bool gc_random_running(void);
int gc_random_wait(void);

/* command.c */
int gc_files_add(void);
void gc_files_remove(void);

#endif
