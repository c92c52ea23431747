/*
 * Fixture of the tests of gmem's monitor layer
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/coroutine.h"
#include "qemu/main-loop.h"
#include "qapi/qapi-emit-events.h"
#include "qobject/qlist.h"
#include "gmem-qmp-fixture.h"

FakeKernel fake_kernel;
bool fake_destroying_guest;

static QList *seen_events;

/* ---- in place of monitor and host ---- */

/* linked with --wrap: stubs have a qapi_event_emit() that drops events */
void __wrap_qapi_event_emit(QAPIEvent event, QDict *qdict);

void __wrap_qapi_event_emit(QAPIEvent event, QDict *qdict)
{
    qlist_append(seen_events, qobject_ref(qdict));
}

void gmem_qmp_host_info(GmemBlock *block, GmemBlockInfo *info)
{
    info->qom_path = g_strdup_printf("/objects/%s", gmem_block_id(block));
}

void gmem_qmp_host_places(GmemBlock *block, GString *text)
{
    g_string_append(text, "0x100000");
}

bool gmem_qmp_host_may_convert(Error **errp)
{
    if (fake_destroying_guest) {
        error_setg(errp, "confidential guest");
    }
    return !fake_destroying_guest;
}

/* ---- fake kernel ---- */

static int fake_set_state(GmemBlock *block, uint64_t offset, uint64_t size,
                          GmemPageState to, uint64_t *busy)
{
    int call = qatomic_fetch_inc(&fake_kernel.calls) + 1;

    while (qatomic_read(&fake_kernel.gate)) {
        g_usleep(1000);
    }
    if (fake_kernel.fail_from && call >= fake_kernel.fail_from) {
        *busy = offset;
        return fake_kernel.fail_with;
    }
    return 0;
}

static const GmemProviderOps fake_ops = {
    .name = "fake", .set_state = fake_set_state,
};

static GmemBlock *new_block(const char *id, uint64_t size, GmemBlockMode mode)
{
    GmemBlockConfig config = {
        .id = id, .mode = mode, .size = size, .initial = GMEM_PAGE_SHARED,
        .ops = mode == GMEM_BLOCK_MODE_NONE ? NULL : &fake_ops,
    };

    return gmem_block_new(&config);
}

GmemBlock *fixture_block(const char *id, uint64_t size)
{
    return new_block(id, size, GMEM_BLOCK_MODE_SPLIT);
}

GmemBlock *fixture_block_none(const char *id, uint64_t size)
{
    return new_block(id, size, GMEM_BLOCK_MODE_NONE);
}

static void reset_events(void)
{
    qobject_unref(seen_events);
    seen_events = qlist_new();
}

void fixture_drop(GmemBlock *block)
{
    gmem_block_retire(block);
    gmem_block_unref(block);
    memset(&fake_kernel, 0, sizeof(fake_kernel));
    fake_destroying_guest = false;
    fixture_poll();
    reset_events();
}

void fixture_init(void)
{
    qemu_init_main_loop(&error_fatal);
    seen_events = qlist_new();
    gmem_events_init();
}

/* ---- main loop ---- */

void fixture_poll(void)
{
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* more may be ready */
    }
    qemu_clock_run_timers(QEMU_CLOCK_REALTIME);
}

void fixture_poll_until(bool (*done)(void *opaque), void *opaque)
{
    while (!done(opaque)) {
        main_loop_wait(false);
    }
}

typedef struct ConvertCall {
    const ConvertArgs *args;
    GmemConversionInfo *result;
    Error *err;
    bool done;
} ConvertCall;

static void coroutine_fn convert_entry(void *opaque)
{
    ConvertCall *call = opaque;
    const ConvertArgs *a = call->args;

    call->result = qmp_gmem_convert(a->id, a->offset, a->size, a->state,
                                    a->has_timeout, a->timeout, !a->no_wait,
                                    true, &call->err);
    call->done = true;
}

static bool convert_done(void *opaque)
{
    return ((ConvertCall *)opaque)->done;
}

GmemConversionInfo *fixture_convert(const ConvertArgs *args, Error **errp)
{
    ConvertCall call = { .args = args };

    qemu_coroutine_enter(qemu_coroutine_create(convert_entry, &call));
    fixture_poll_until(convert_done, &call);
    error_propagate(errp, call.err);
    return call.result;
}

void fixture_convert_ok(uint64_t offset, uint64_t size, GmemState state)
{
    ConvertArgs args = { "ram0", offset, size, state };
    g_autoptr(GmemConversionInfo) info = fixture_convert(&args, &error_abort);

    g_assert_cmpuint(info->converted, ==, size);
    g_assert_null(info->error);
}

void fixture_assert_message(Error *err, const char *want)
{
    g_assert_nonnull(err);
    if (!strstr(error_get_pretty(err), want)) {
        g_test_message("error is: %s", error_get_pretty(err));
        g_test_message("expected: %s", want);
        g_test_fail();
    }
    error_free(err);
}

/* ---- events ---- */

typedef struct EventSearch {
    const char *name;
    unsigned int nr;
    uint64_t sum;
    QDict *last;
} EventSearch;

static void look_at_event(QDict *event, EventSearch *search)
{
    QDict *data = qdict_get_qdict(event, "data");

    if (g_str_equal(qdict_get_str(event, "event"), search->name)) {
        search->nr++;
        search->sum += qdict_get_try_int(data, "count", 0);
        search->last = data;
    }
}

static EventSearch search_events(const char *name)
{
    EventSearch search = { .name = name };
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(seen_events, entry) {
        look_at_event(qobject_to(QDict, qlist_entry_obj(entry)), &search);
    }
    return search;
}

unsigned int fixture_events(const char *name)
{
    return search_events(name).nr;
}

QDict *fixture_last_event(const char *name)
{
    return search_events(name).last;
}

uint64_t fixture_event_sum(const char *name)
{
    return search_events(name).sum;
}
