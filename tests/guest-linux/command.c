// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The files below gmem-convert/ in debugfs: command, stats and map.
 *
 * A command is one line and done when the write returns, but for a random run,
 * which only starts.  It ends with 0 or an errno, and with a message for each.
 */
#include "gmem_convert.h"

#include <linux/debugfs.h>
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>

#define MAX_LINE	128
#define MAX_NUMBERS	2
#define MOST_SECONDS	86400

static struct dentry *folder;

static int need_range(u64 first, u64 count)
{
	if (!gc_area) {
		pr_warn_ratelimited("there is no area: alloc or memmap first\n");
		return -ENOENT;
	}
	if (!count || first >= gc_area->count || count > gc_area->count - first) {
		pr_warn_ratelimited("%llu pages from page %llu on are not within the %lu pages of the area\n",
				    count, first, gc_area->count);
		return -ERANGE;
	}
	return 0;
}

static int run_alloc(const u64 *n)
{
	return gc_take_pages(n[0]);
}

static int run_memmap(const u64 *n)
{
	return gc_take_range(n[0], n[1]);
}

/* No thread runs, so all pages are ours: there is nobody to claim them from. */
static int run_private(const u64 *n)
{
	return need_range(n[0], n[1]) ?: gc_convert(gc_area, n[0], n[1], true);
}

static int run_shared(const u64 *n)
{
	return need_range(n[0], n[1]) ?: gc_convert(gc_area, n[0], n[1], false);
}

static int run_check(const u64 *unused)
{
	unsigned long i, bad = 0;
	int error = need_range(0, 1);

	for (i = 0; !error && i < gc_area->count; i++) {
		bad += !gc_compare(&gc_area->pages[i], true, GC_BAD_KEPT);
		cond_resched();
		if (fatal_signal_pending(current))
			error = -EINTR;
	}
	return error ?: bad ? -EIO : 0;
}

static int run_random(const u64 *n)
{
	int error = need_range(0, 1);

	if (!error && (!n[0] || n[0] > MOST_SECONDS)) {
		pr_warn_ratelimited("a random run takes 1 to %d seconds\n",
				    MOST_SECONDS);
		error = -EINVAL;
	}
	return error ?: gc_random_start(gc_area, n[0], n[1]);
}

static int run_stop(const u64 *unused)
{
	gc_random_stop();
	return 0;
}

static int run_refuse(const u64 *n)
{
	gc_refuse(n[0]);
	return 0;
}

static int run_free(const u64 *unused)
{
	int error = need_range(0, 1);

	if (!error)
		gc_give_back();
	return error;
}

static int run_clear(const u64 *unused)
{
	unsigned int i;

	for (i = 0; i < GC_COUNTERS; i++)
		atomic64_set(&gc_counters[i], 0);
	for (i = 0; i < GC_ERRNOS; i++)
		atomic64_set(&gc_errnos[i], 0);
	return 0;
}

static const struct command {
	const char *name;
	int numbers;
	int (*run)(const u64 *numbers);
	bool any_time;	/* also during a random run */
} commands[] = {
	{ "alloc", 1, run_alloc },
	{ "memmap", 2, run_memmap },
	{ "private", 2, run_private },
	{ "shared", 2, run_shared },
	{ "check", 0, run_check },
	{ "random", 2, run_random },
	{ "stop", 0, run_stop, true },
	{ "refuse", 1, run_refuse, true },
	{ "free", 0, run_free },
	{ "clear", 0, run_clear, true },
};

static int run_locked(const struct command *c, const u64 *numbers)
{
	if (!c->any_time && gc_random_running()) {
		pr_warn_ratelimited("%s: not during a random run; stop or wait\n",
				    c->name);
		return -EBUSY;
	}
	if (!gc_random_running())
		gc_random_stop();
	return c->run(numbers);
}

static int run_command(const struct command *c, char **words)
{
	u64 numbers[MAX_NUMBERS];
	int i, error;

	for (i = 0; i < c->numbers; i++) {
		error = kstrtou64(words[i], 0, &numbers[i]);
		if (error) {
			pr_warn_ratelimited("%s: %s is no number\n", c->name,
					    words[i]);
			return error;
		}
	}
	error = mutex_lock_interruptible(&gc_lock);
	if (error)
		return error;
	error = run_locked(c, numbers);
	mutex_unlock(&gc_lock);
	return error;
}

static int run_words(int count, char **words)
{
	const struct command *c;

	/* Without the lock: others go on giving commands, such as stop */
	if (count == 1 && !strcmp(words[0], "wait"))
		return gc_random_wait();
	for (c = commands; c < commands + ARRAY_SIZE(commands); c++) {
		if (!count || strcmp(words[0], c->name))
			continue;
		if (count == 1 + c->numbers)
			return run_command(c, words + 1);
		pr_warn_ratelimited("%s takes %d numbers\n", c->name, c->numbers);
		return -EINVAL;
	}
	pr_warn_ratelimited("unknown command\n");
	return -EINVAL;
}

static int run_line(const char *line)
{
	int count, error;
	char **words = argv_split(GFP_KERNEL, line, &count);

	if (!words)
		return -ENOMEM;
	error = run_words(count, words);
	argv_free(words);
	return error;
}

static ssize_t command_write(struct file *file, const char __user *from,
			     size_t size, loff_t *pos)
{
	char *line;
	int error;

	if (size > MAX_LINE) {
		pr_warn_ratelimited("a command has at most %d bytes\n", MAX_LINE);
		return -EINVAL;
	}
	line = memdup_user_nul(from, size);
	if (IS_ERR(line))
		return PTR_ERR(line);
	error = run_line(line);
	kfree(line);
	return error ?: size;
}

static const struct file_operations command_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = command_write,
	.llseek = noop_llseek,
};

static const char * const counter_names[GC_COUNTERS] = {
	[GC_TO_SHARED_REQUESTS] = "to-shared-conversions",
	[GC_TO_PRIVATE_REQUESTS] = "to-private-conversions",
	[GC_TO_SHARED_PAGES] = "to-shared-pages",
	[GC_TO_PRIVATE_PAGES] = "to-private-pages",
	[GC_RETRIES] = "retries",
	[GC_FAILURES] = "failures",
	[GC_COMPARED] = "compared-pages",
	[GC_BAD_KEPT] = "mismatches-kept",
	[GC_BAD_CONVERTED] = "mismatches-converted",
	[GC_BAD_VIEW] = "mismatches-view",
	[GC_LEAKED] = "leaked-pages",
};

static void show_area(struct seq_file *file)
{
	unsigned long n[GC_UNSURE + 1] = { 0 };
	unsigned long i;

	for (i = 0; gc_area && i < gc_area->count; i++)
		n[READ_ONCE(gc_area->pages[i].state)]++;
	seq_printf(file, "pages %lu\nprivate %lu\nunsure %lu\n",
		   gc_area ? gc_area->count : 0, n[GC_PRIVATE], n[GC_UNSURE]);
}

static int stats_show(struct seq_file *file, void *unused)
{
	unsigned int i;
	s64 n;

	mutex_lock(&gc_lock);
	seq_printf(file, "state %s\nrule %s\n",
		   gc_random_running() ? "random" : "idle", gc_rule_name());
	show_area(file);
	mutex_unlock(&gc_lock);
	for (i = 0; i < GC_COUNTERS; i++)
		seq_printf(file, "%s %lld\n", counter_names[i],
			   (s64)atomic64_read(&gc_counters[i]));
	for (i = 0; i < GC_ERRNOS; i++) {
		n = atomic64_read(&gc_errnos[i]);
		if (n && i)
			seq_printf(file, "failures-errno-%u %lld\n", i, n);
		else if (n)
			seq_printf(file, "failures-errno-other %lld\n", n);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/* The map: one line for each run of pages that follow each other and are alike. */
static unsigned long run_end(unsigned long first)
{
	struct gc_page *page = gc_area->pages + first;
	unsigned long n = 1;

	while (first + n < gc_area->count && page[n].state == page[0].state &&
	       page[n].gpa == page[0].gpa + n * PAGE_SIZE)
		n++;
	return first + n;
}

static void *map_at(loff_t pos)
{
	return gc_area && pos < gc_area->count ? &gc_area->pages[pos] : NULL;
}

static void *map_start(struct seq_file *file, loff_t *pos)
{
	mutex_lock(&gc_lock);
	return gc_random_running() ? ERR_PTR(-EBUSY) : map_at(*pos);
}

static void *map_next(struct seq_file *file, void *page, loff_t *pos)
{
	*pos = run_end(*pos);
	return map_at(*pos);
}

static void map_stop(struct seq_file *file, void *page)
{
	mutex_unlock(&gc_lock);
}

static int map_show(struct seq_file *file, void *data)
{
	struct gc_page *page = data;
	unsigned long first = page - gc_area->pages;

	seq_printf(file, "STATE 0x%llx %lu %c\n", page->gpa,
		   run_end(first) - first, "SP?"[page->state]);
	return 0;
}

static const struct seq_operations map_sops = {
	.start = map_start,
	.next = map_next,
	.stop = map_stop,
	.show = map_show,
};
DEFINE_SEQ_ATTRIBUTE(map);

int gc_files_add(void)
{
	folder = debugfs_create_dir("gmem-convert", NULL);
	if (IS_ERR(folder)) {
		pr_err("no debugfs here: %ld\n", PTR_ERR(folder));
		return PTR_ERR(folder);
	}
	debugfs_create_file("command", 0200, folder, NULL, &command_fops);
	debugfs_create_file("stats", 0400, folder, NULL, &stats_fops);
	debugfs_create_file("map", 0400, folder, NULL, &map_fops);
	return 0;
}

void gc_files_remove(void)
{
	debugfs_remove(folder);
}
