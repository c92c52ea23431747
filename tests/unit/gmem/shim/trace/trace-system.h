/*
 * Trace events of the base's ram-block-attributes.c, for programs without tracing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GMEM_SHIM_TRACE_SYSTEM_H
#define GMEM_SHIM_TRACE_SYSTEM_H

#define trace_ram_block_attributes_state_change(...) ((void)0)

#endif
