// SPDX-License-Identifier: GPL-2.0
/*
 * vhost: what became of borrowed pages, in /sys/kernel/debug/vhost_rings.
 *
 * Sums since boot, of all devices.  Without rings, attached is detached, and
 * borrowed is taken and returned.
 *
 * Included by vhost.c.
 */

#include <linux/debugfs.h>
#include <linux/percpu.h>
#include <linux/seq_file.h>

enum vhost_ring_event {
	VHOST_RING_MAPPED,	/* accesses by borrowed pages */
	VHOST_RING_PLAIN,	/* accesses by uaccess, while switched on */
	VHOST_RING_BORROWED,	/* pages */
	VHOST_RING_TAKEN,	/* pages, by the MMU notifier */
	VHOST_RING_RETURNED,	/* pages, with the ring */
	VHOST_RING_ATTACHED,	/* areas that got a notifier */
	VHOST_RING_DETACHED,
	VHOST_RING_FAILED,	/* areas that did not get one */
	VHOST_RING_EVENTS,
};

static const char *const vhost_ring_events[VHOST_RING_EVENTS] = {
	[VHOST_RING_MAPPED] = "mapped",
	[VHOST_RING_PLAIN] = "plain",
	[VHOST_RING_BORROWED] = "borrowed",
	[VHOST_RING_TAKEN] = "taken",
	[VHOST_RING_RETURNED] = "returned",
	[VHOST_RING_ATTACHED] = "attached",
	[VHOST_RING_DETACHED] = "detached",
	[VHOST_RING_FAILED] = "failed",
};

static DEFINE_PER_CPU(unsigned long [VHOST_RING_EVENTS], vhost_ring_counts);

static void vhost_ring_count(enum vhost_ring_event event, unsigned long times)
{
	this_cpu_add(vhost_ring_counts[event], times);
}

static int vhost_rings_show(struct seq_file *file, void *unused)
{
	int event, cpu;

	for (event = 0; event < VHOST_RING_EVENTS; event++) {
		unsigned long sum = 0;

		for_each_possible_cpu(cpu)
			sum += per_cpu(vhost_ring_counts[event], cpu);
		seq_printf(file, "%s %lu\n", vhost_ring_events[event], sum);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vhost_rings);

static struct dentry *vhost_rings_dentry;

static int __init vhost_rings_start(void)
{
	vhost_rings_dentry = debugfs_create_file("vhost_rings", 0400, NULL, NULL,
						 &vhost_rings_fops);
	return 0;
}
module_init(vhost_rings_start);

static void __exit vhost_rings_end(void)
{
	debugfs_remove(vhost_rings_dentry);
}
module_exit(vhost_rings_end);
