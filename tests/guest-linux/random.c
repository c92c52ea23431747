// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Conversions at random, by a thread on each CPU.
 *
 * A thread draws a range, claims pages from its start up to the first that another
 * one has, and converts these.  So all of them work all over the area, beside each
 * other within the same words of anybody's bitmap, and still each knows what its
 * pages must hold.  What a thread draws depends on the seed and its CPU alone;
 * what it gets, on the others too.
 */
#include "gmem_convert.h"

#include <linux/cpu.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/printk.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/wait.h>

/* Ranges have up to 2^0 ... 2^9 pages, each of these as often as the others */
#define MAX_SHIFT 9

struct worker {
	struct gc_area *area;
	struct task_struct *task;
	struct rnd_state rng;
	unsigned long end;	/* jiffies */
	struct worker *next;
};

static struct worker *workers;
static atomic_t running = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(all_ended);

static unsigned long claim(struct worker *w, unsigned long *first)
{
	unsigned long wanted, n = 0;

	*first = prandom_u32_state(&w->rng) % w->area->count;
	wanted = 1UL << prandom_u32_state(&w->rng) % (MAX_SHIFT + 1);
	wanted = 1 + prandom_u32_state(&w->rng) % wanted;
	wanted = min(wanted, w->area->count - *first);
	while (n < wanted &&
	       !test_and_set_bit_lock(*first + n, w->area->claimed))
		n++;
	return n;
}

static void unclaim(struct worker *w, unsigned long first, unsigned long n)
{
	while (n--)
		clear_bit_unlock(first + n, w->area->claimed);
}

/* Failures and mismatches are counted and said where they are found. */
static int work(void *data)
{
	struct worker *w = data;
	unsigned long first, n;

	while (!kthread_should_stop() && time_before(jiffies, w->end)) {
		n = claim(w, &first);
		if (n)
			gc_convert(w->area, first, n,
				   prandom_u32_state(&w->rng) & 1);
		unclaim(w, first, n);
		cond_resched();
	}
	if (atomic_dec_and_test(&running))
		wake_up_all(&all_ended);
	return 0;
}

bool gc_random_running(void)
{
	return atomic_read(&running) > 0;
}

int gc_random_wait(void)
{
	return wait_event_interruptible(all_ended, !gc_random_running());
}

/* Also after they have ended by themselves: they are still to be put away. */
void gc_random_stop(void)
{
	struct worker *w;

	while ((w = workers)) {
		workers = w->next;
		kthread_stop(w->task);
		put_task_struct(w->task);
		kfree(w);
	}
	/* One that was stopped before it ever ran has not counted itself out */
	atomic_set(&running, 0);
	wake_up_all(&all_ended);
}

static int add_worker(struct gc_area *area, unsigned int cpu, u64 seed)
{
	struct worker *w = kzalloc(sizeof(*w), GFP_KERNEL);

	if (!w)
		return -ENOMEM;
	w->area = area;
	prandom_seed_state(&w->rng, seed + cpu * 0x9e3779b97f4a7c15ULL);
	w->task = kthread_create(work, w, "gmem_convert/%u", cpu);
	if (IS_ERR(w->task)) {
		int error = PTR_ERR(w->task);

		kfree(w);
		return error;
	}
	get_task_struct(w->task);
	kthread_bind(w->task, cpu);
	w->next = workers;
	workers = w;
	atomic_inc(&running);
	return 0;
}

static int add_workers(struct gc_area *area, u64 seed)
{
	unsigned int cpu;
	int error = 0;

	cpus_read_lock();
	for_each_online_cpu(cpu) {
		error = add_worker(area, cpu, seed);
		if (error)
			break;
	}
	cpus_read_unlock();
	return error;
}

int gc_random_start(struct gc_area *area, unsigned int seconds, u64 seed)
{
	int error = add_workers(area, seed);
	struct worker *w;

	if (error) {
		pr_warn_ratelimited("no threads for a random run: %d\n", error);
		gc_random_stop();
		return error;
	}
	for (w = workers; w; w = w->next) {
		w->end = jiffies + seconds * HZ;
		wake_up_process(w->task);
	}
	return 0;
}
