// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loading and unloading.  The module can be unloaded at any time but while one
 * of its files is open: what it holds becomes shared first.
 */
#include "gmem_convert.h"

#include <linux/cc_platform.h>
#include <linux/errno.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/string.h>

static char *content = "auto";
module_param(content, charp, 0444);
MODULE_PARM_DESC(content, "What conversions do to content: split, in-place, undefined or auto (default)");

static int choose_rule(void)
{
	/* In the order of enum gc_rule */
	static const char * const names[] = {
		"split", "in-place", "undefined", "auto",
	};
	int i = match_string(names, ARRAY_SIZE(names), content);

	if (i < 0) {
		pr_err("content=%.20s can be split, in-place, undefined, auto\n",
		       content);
		return -EINVAL;
	}
	gc_rule = i;
	return 0;
}

/* A guest of SEV-SNP or TDX has a kernel that converts by itself, and keeps count. */
static int check_guest(void)
{
	if (!cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT))
		return gc_probe();
	pr_err("this guest's memory is encrypted: its kernel converts by itself\n");
	return -ENODEV;
}

static int __init gmem_convert_init(void)
{
	return choose_rule() ?: check_guest() ?: gc_files_add();
}

static void __exit gmem_convert_exit(void)
{
	gc_files_remove();
	mutex_lock(&gc_lock);
	gc_random_stop();
	gc_give_back();
	mutex_unlock(&gc_lock);
}

module_init(gmem_convert_init);
module_exit(gmem_convert_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Converts pages of its own between private and shared, for tests of the host");
