/*
 * gmem in the monitor: events, at a rate that no guest decides
 *
 * The engine observes on any thread, with a range reserved, and must not wait; so do
 * the holders, with or without the BQL;
 * a guest can make it observe as fast as it can exit.  So an observation only
 * writes itself into its *slot*, one per kind and block or device, over the one that was
 * there, and counts.  A bottom half in the main loop sends what the slots hold,
 * each at most once in a second, and tells with it how many observations it
 * stands for.  The first one of a quiet slot goes out at once.
 *
 * The lock guards the list of slots and their contents.  It is a leaf, and held
 * for moments only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qapi/qapi-events-gmem-events.h"
#include "gmem/trace.h"
#include "gmem-qmp.h"

#define EVENT_INTERVAL_NS NANOSECONDS_PER_SECOND

typedef enum GmemEventKind {
    GMEM_EVENT_STALLED,
    GMEM_EVENT_DENIED,
    GMEM_EVENT_BROKEN,
    GMEM_EVENT_QUEUE_STOPPED,
    GMEM_EVENT_VHOST_ERROR,
} GmemEventKind;

static const char *const kind_names[] = {
    [GMEM_EVENT_STALLED] = "stalled",
    [GMEM_EVENT_DENIED] = "denied",
    [GMEM_EVENT_BROKEN] = "broken",
    [GMEM_EVENT_QUEUE_STOPPED] = "queue-stopped",
    [GMEM_EVENT_VHOST_ERROR] = "vhost-error",
};

/* What is known of one kind and block, or device, since the last event about it */
typedef struct GmemEventSlot {
    GmemEventKind kind;
    char *id;               /* the block's, or the device's path */
    uint64_t offset;
    uint64_t size;
    char *text;             /* holder, who, why, or block; may be NULL */
    int queue;
    uint64_t count;         /* 0: nothing to send */
    int64_t due_ns;         /* no event before this */
    QTAILQ_ENTRY(GmemEventSlot) next;
} GmemEventSlot;

static struct {
    QemuMutex lock;
    QTAILQ_HEAD(, GmemEventSlot) slots;
    QEMUTimer *timer;       /* the main thread's; made when first needed */
} events;

static void send_due_events(void *opaque);

static int64_t now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

static void slot_free(GmemEventSlot *slot)
{
    g_free(slot->id);
    g_free(slot->text);
    g_free(slot);
}

/* Locked.  There are few slots: only those of the last second are kept. */
static GmemEventSlot *slot_get(GmemEventKind kind, const char *id)
{
    GmemEventSlot *slot;

    QTAILQ_FOREACH(slot, &events.slots, next) {
        if (slot->kind == kind && g_str_equal(slot->id, id)) {
            return slot;
        }
    }
    slot = g_new0(GmemEventSlot, 1);
    slot->kind = kind;
    slot->id = g_strdup(id);
    QTAILQ_INSERT_TAIL(&events.slots, slot, next);
    return slot;
}

/* Any thread.  Strings are copied */
static void observe(const GmemEventSlot *what)
{
    bool wake;

    WITH_QEMU_LOCK_GUARD(&events.lock) {
        GmemEventSlot *slot = slot_get(what->kind, what->id);

        /* a slot with contents has its bottom half or timer already */
        wake = !slot->count;
        slot->count += what->count;
        slot->offset = what->offset;
        slot->size = what->size;
        slot->queue = what->queue;
        g_free(slot->text);
        slot->text = g_strdup(what->text);
    }
    if (wake) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), send_due_events, NULL);
    }
}

static void observe_block(GmemEventKind kind, GmemBlock *block,
                          uint64_t offset, uint64_t size, const char *text,
                          uint64_t times)
{
    observe(&(GmemEventSlot) {
        .kind = kind, .id = (char *)gmem_block_id(block), .offset = offset,
        .size = size, .text = (char *)text, .count = times,
    });
}

void gmem_event_queue_stopped(const char *device, int queue, const char *id,
                              uint64_t offset, uint64_t size)
{
    observe(&(GmemEventSlot) {
        .kind = GMEM_EVENT_QUEUE_STOPPED, .id = (char *)device,
        .queue = queue, .text = (char *)id, .offset = offset, .size = size,
        .count = 1,
    });
}

void gmem_event_vhost_error(const char *device, int queue)
{
    observe(&(GmemEventSlot) {
        .kind = GMEM_EVENT_VHOST_ERROR, .id = (char *)device, .queue = queue,
        .count = 1,
    });
}

static void observe_stalled(GmemBlock *block, uint64_t offset, uint64_t size,
                            const char *holder)
{
    observe_block(GMEM_EVENT_STALLED, block, offset, size, holder, 1);
}

static void observe_denied(GmemBlock *block, uint64_t offset, uint64_t size,
                           const char *who, uint64_t times)
{
    observe_block(GMEM_EVENT_DENIED, block, offset, size, who, times);
}

static void observe_broken(GmemBlock *block, const char *why)
{
    observe_block(GMEM_EVENT_BROKEN, block, 0, 0, why, 1);
}

/* Not locked: sending takes the monitor's lock */
static void send_event(const GmemEventSlot *event)
{
    const char *text = event->text ?: "unknown";

    trace_gmem_events_send(kind_names[event->kind], event->id, event->count);
    switch (event->kind) {
    case GMEM_EVENT_STALLED:
        qapi_event_send_gmem_conversion_stalled(event->id, event->offset,
                                                event->size, event->text,
                                                event->count);
        break;
    case GMEM_EVENT_DENIED:
        qapi_event_send_gmem_access_denied(event->id, event->offset,
                                           event->size, text, event->count);
        break;
    case GMEM_EVENT_BROKEN:
        qapi_event_send_gmem_broken(event->id, text);
        break;
    case GMEM_EVENT_QUEUE_STOPPED:
        qapi_event_send_gmem_queue_stopped(event->id, event->queue, text,
                                           event->offset, event->size,
                                           event->count);
        break;
    case GMEM_EVENT_VHOST_ERROR:
        qapi_event_send_gmem_vhost_error(event->id, event->queue,
                                         event->count);
        break;
    }
}

/* Locked.  Moves what the slot holds to a new one, which the caller frees. */
static GmemEventSlot *slot_take(GmemEventSlot *slot, int64_t now)
{
    GmemEventSlot *event = g_new0(GmemEventSlot, 1);

    *event = *slot;
    event->id = g_strdup(slot->id);
    slot->text = NULL;
    slot->count = 0;
    slot->due_ns = now + EVENT_INTERVAL_NS;
    return event;
}

/*
 * Locked.  The first event that is due, or NULL; then *next_ns is when the
 * next slot wants to be looked at again (INT64_MAX: none does).  A slot that
 * stayed empty for the whole interval is forgotten.
 */
static GmemEventSlot *next_event(int64_t now, int64_t *next_ns)
{
    GmemEventSlot *slot, *tmp;

    *next_ns = INT64_MAX;
    QTAILQ_FOREACH_SAFE(slot, &events.slots, next, tmp) {
        if (slot->due_ns > now) {
            *next_ns = MIN(*next_ns, slot->due_ns);
        } else if (slot->count) {
            return slot_take(slot, now);
        } else {
            QTAILQ_REMOVE(&events.slots, slot, next);
            slot_free(slot);
        }
    }
    return NULL;
}

/* Main loop: bottom half and timer */
static void send_due_events(void *opaque)
{
    int64_t now = now_ns(), next_ns;
    GmemEventSlot *event;

    do {
        WITH_QEMU_LOCK_GUARD(&events.lock) {
            event = next_event(now, &next_ns);
        }
        if (event) {
            send_event(event);
            slot_free(event);
        }
    } while (event);

    if (next_ns != INT64_MAX) {
        if (!events.timer) {
            events.timer = timer_new_ns(QEMU_CLOCK_REALTIME, send_due_events,
                                        NULL);
        }
        timer_mod_ns(events.timer, next_ns);
    }
}

static const GmemObserver observer = {
    .stalled = observe_stalled,
    .denied = observe_denied,
    .broken = observe_broken,
};

void gmem_events_init(void)
{
    qemu_mutex_init(&events.lock);
    QTAILQ_INIT(&events.slots);
    gmem_set_observer(&observer);
}
