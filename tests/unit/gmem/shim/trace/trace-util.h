/*
 * Trace events of the base's utilities, for programs that link no tracing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GMEM_SHIM_TRACE_UTIL_H
#define GMEM_SHIM_TRACE_UTIL_H

#define trace_qemu_mutex_lock(...) ((void)0)
#define trace_qemu_mutex_locked(...) ((void)0)
#define trace_qemu_mutex_unlock(...) ((void)0)
#define trace_hbitmap_iter_skip_words(...) ((void)0)
#define trace_hbitmap_set(...) ((void)0)
#define trace_hbitmap_reset(...) ((void)0)

#endif
