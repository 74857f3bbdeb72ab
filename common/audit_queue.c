#include "common/audit_queue.h"

#include <stdlib.h>

#include "common/pb.h"
#include "common/trace.h"

/* ---- events ---- */

static Tg__Event *copy_message(const Tg__Event *message, size_t *bytes)
{
    uint8_t *packed = pb_pack(&message->base, bytes);
    if (packed == NULL || *bytes > AUDIT_EVENT_BYTES) {
        pb_buffer_free(packed, *bytes);
        return NULL;
    }
    ProtobufCMessage *copy = pb_unpack(&tg__event__descriptor, packed, *bytes);
    pb_buffer_free(packed, *bytes);
    return (void *)copy;
}

struct audit_event *audit_event_new(const Tg__Event *message, const char *service)
{
    uint8_t id[REQUEST_ID_LEN];
    Tg__Event filled = *message;
    random_bytes(id, sizeof id);
    filled.id = pb_bytes(id, sizeof id);
    filled.service = pb_string(service);
    if (filled.time_us == 0)
        filled.time_us = clock_unix_us();
    struct audit_event *event = calloc(1, sizeof *event);
    if (event == NULL)
        return NULL;
    event->holders = 1;
    event->deadline_ms = UINT64_MAX;
    event->message = copy_message(&filled, &event->bytes);
    if (event->message == NULL) {
        free(event);
        return NULL;
    }
    return event;
}

void audit_event_release(struct audit_event *event)
{
    if (--event->holders > 0)
        return;
    pb_free(&event->message->base);
    free(event);
}

void audit_events_append(struct audit_events *events, struct audit_event *event)
{
    event->next = NULL;
    event->previous = events->last;
    if (events->last != NULL)
        events->last->next = event;
    else
        events->first = event;
    events->last = event;
    events->count++;
}

void audit_events_remove(struct audit_events *events, struct audit_event *event)
{
    if (event->previous != NULL)
        event->previous->next = event->next;
    else
        events->first = event->next;
    if (event->next != NULL)
        event->next->previous = event->previous;
    else
        events->last = event->previous;
    events->count--;
}

uint64_t audit_events_next_deadline(const struct audit_events *events)
{
    uint64_t next = UINT64_MAX;
    for (const struct audit_event *e = events->first; e != NULL; e = e->next)
        if (e->deadline_ms < next)
            next = e->deadline_ms;
    return next;
}

/* ---- one service's entries ---- */

struct audit_entry *audit_entry_new(struct audit_event *event)
{
    struct audit_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->event = event;
    event->holders++;
    return entry;
}

void audit_entry_free(struct audit_entry *entry)
{
    audit_event_release(entry->event);
    free(entry);
}

void audit_list_append(struct audit_list *list, struct audit_entry *entry)
{
    entry->next = NULL;
    if (list->last != NULL)
        list->last->next = entry;
    else
        list->first = entry;
    list->last = entry;
    list->count++;
}

struct audit_entry *audit_list_pop(struct audit_list *list)
{
    struct audit_entry *entry = list->first;
    if (entry == NULL)
        return NULL;
    list->first = entry->next;
    if (list->first == NULL)
        list->last = NULL;
    list->count--;
    return entry;
}

void audit_list_take_batch(struct audit_list *list, struct audit_list *batch)
{
    enum { FRAMING = 8 }; /* tag and length of each event in its batch */
    size_t bytes = 0;
    while (list->first != NULL && batch->count < AUDIT_BATCH_EVENTS) {
        bytes += list->first->event->bytes + FRAMING;
        if (bytes > AUDIT_BATCH_BYTES)
            break;
        audit_list_append(batch, audit_list_pop(list));
    }
}

void audit_list_split(struct audit_list *list, struct audit_list *rest)
{
    struct audit_list all = *list;
    size_t half = all.count / 2;
    *list = (struct audit_list){0};
    while (list->count < half)
        audit_list_append(list, audit_list_pop(&all));
    while (all.count > 0)
        audit_list_append(rest, audit_list_pop(&all));
}

size_t audit_list_drop(struct audit_list *list, enum audit_fate fate, size_t max)
{
    struct audit_list all = *list;
    size_t dropped = 0;
    *list = (struct audit_list){0};
    while (all.count > 0) {
        struct audit_entry *entry = audit_list_pop(&all);
        if (entry->event->fate != fate || dropped == max) {
            audit_list_append(list, entry);
            continue;
        }
        audit_entry_free(entry);
        dropped++;
    }
    return dropped;
}
