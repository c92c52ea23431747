/*
 * gmem in the monitor: "info gmem", for people
 *
 * A block is drawn as cells of equal size, 64 to a row: what of a cell is
 * private decides its character.  Cells are counted, not walked run by run: a guest
 * may make as many runs as there are pages, and the main loop waits for the picture.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-gmem.h"
#include "qapi/type-helpers.h"
#include "gmem-qmp.h"

#define MAP_COLUMNS 64
#define MAP_ROWS 4              /* of a large block; a small one has fewer */

/* As many cells as pages, at most, so that none is empty */
static unsigned int map_cells(uint64_t size)
{
    return MIN(DIV_ROUND_UP(size, GMEM_QMP_PAGE), MAP_COLUMNS * MAP_ROWS);
}

/* Whole pages: every cell but the last covers the same number of them */
static uint64_t cell_size(uint64_t size)
{
    return ROUND_UP(DIV_ROUND_UP(size, map_cells(size)), GMEM_QMP_PAGE);
}

static char cell_char(uint64_t private, uint64_t bytes)
{
    return !private ? '.' : private >= bytes ? '#' : '+';
}

static void draw_map(GString *text, GmemBlock *block)
{
    uint64_t size = gmem_block_size(block);
    uint64_t cell = cell_size(size);
    uint64_t offset;

    for (offset = 0; offset < size; offset += cell) {
        uint64_t private = gmem_block_count(block, offset, cell,
                                            GMEM_PAGE_PRIVATE);

        if (offset / cell % MAP_COLUMNS == 0) {
            g_string_append_printf(text, "%s  0x%012" PRIx64 " ",
                                   offset ? "\n" : "", offset);
        }
        g_string_append_c(text, cell_char(private, MIN(cell, size - offset)));
    }
    g_string_append_c(text, '\n');
}

/* The size, and what follows it */
static void print_size(GString *text, uint64_t bytes, const char *then)
{
    g_autofree char *size = size_to_str(bytes);

    g_string_append_printf(text, "%s%s", size, then);
}

static void print_header(GString *text, const GmemBlockInfo *info)
{
    double percent = info->size ? 100.0 * info->q_private / info->size : 0;

    g_string_append_printf(text, "%s: mode %s%s, ", info->id,
                           GmemMode_str(info->mode),
                           info->broken ? ", BROKEN" : "");
    print_size(text, info->size, " of which ");
    print_size(text, info->shared, " shared and ");
    print_size(text, info->q_private, " private");
    g_string_append_printf(text, " (%.1f %%)\n", percent);
}

static void print_counters(GString *text, const GmemBlockInfo *info)
{
    g_string_append_printf(text, "  to private: %" PRIu64 " (",
                           info->to_private->conversions);
    print_size(text, info->to_private->bytes, "), to shared: ");
    g_string_append_printf(text, "%" PRIu64 " (", info->to_shared->conversions);
    print_size(text, info->to_shared->bytes, ")");
    g_string_append_printf(text, ", failed: %" PRIu64, info->failures);
    if (info->last_error) {
        g_string_append_printf(text, " (last: %s)", info->last_error);
    }
    g_string_append_printf(text, ", denied accesses: %" PRIu64 "\n",
                           info->denied);
}

static void print_block(GString *text, const GmemBlockInfo *info)
{
    GmemBlock *block = gmem_block_find(info->id);

    print_header(text, info);
    print_counters(text, info);
    if (block) {
        g_autoptr(GString) places = g_string_new(NULL);
        g_autofree char *cell = size_to_str(cell_size(info->size));

        gmem_qmp_host_places(block, places);
        g_string_append_printf(text, "  guest addresses: %s\n",
                               places->len ? places->str : "none");
        g_string_append_printf(text, "  each character is %s\n", cell);
        draw_map(text, block);
        gmem_block_unref(block);
    }
}

static void print_conversion(GString *text, const GmemConversionInfo *info)
{
    g_string_append_printf(text, "conversion %" PRIu64 " of %s at 0x%" PRIx64
                           " to %s: ", info->conversion, info->id,
                           info->offset, GmemState_str(info->state));
    print_size(text, info->converted, " of ");
    print_size(text, info->size, " done\n");
}

HumanReadableText *qmp_x_query_gmem(Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GmemInfo) info = qmp_query_gmem(errp);
    GmemConversionInfoList *conversion;
    GmemBlockInfoList *block;

    if (!info) {
        return NULL;
    }
    if (!info->blocks) {
        g_string_append(text, "This VM has no memory from guest_memfd\n");
        return human_readable_text_from_str(text);
    }
    g_string_append(text, "map: '.' shared, '#' private, '+' some of both\n");
    for (block = info->blocks; block; block = block->next) {
        print_block(text, block->value);
    }
    for (conversion = info->conversions; conversion;
         conversion = conversion->next) {
        print_conversion(text, conversion->value);
    }
    return human_readable_text_from_str(text);
}
