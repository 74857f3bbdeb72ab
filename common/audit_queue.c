#include "common/audit_queue.h"

#include <stdlib.h>

#include "common/pb.h"
#include "common/trace.h"

static Tg__Event *copy_event(const Tg__Event *event, size_t *bytes)
{
    uint8_t *packed = pb_pack(&event->base, bytes);
    if (packed == NULL || *bytes > AUDIT_EVENT_BYTES) {
        pb_buffer_free(packed, *bytes);
        return NULL;
    }
    ProtobufCMessage *copy = pb_unpack(&tg__event__descriptor, packed, *bytes);
    pb_buffer_free(packed, *bytes);
    return (void *)copy;
}

struct audit_entry *audit_entry_new(const Tg__Event *event, const char *service)
{
    Tg__Event filled = *event;
    filled.service = pb_string(service);
    if (filled.time_us == 0)
        filled.time_us = clock_unix_us();
    struct audit_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->deadline_ms = UINT64_MAX;
    entry->event = copy_event(&filled, &entry->bytes);
    if (entry->event == NULL) {
        free(entry);
        return NULL;
    }
    return entry;
}

void audit_entry_free(struct audit_entry *entry)
{
    pb_free(&entry->event->base);
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
        bytes += list->first->bytes + FRAMING;
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

void audit_list_extract(struct audit_list *list, bool (*match)(const struct audit_entry *, uint64_t now_ms),
                        uint64_t now_ms, struct audit_list *out)
{
    struct audit_list all = *list;
    *list = (struct audit_list){0};
    while (all.count > 0) {
        struct audit_entry *entry = audit_list_pop(&all);
        audit_list_append(match(entry, now_ms) ? out : list, entry);
    }
}

uint64_t audit_list_next_deadline(const struct audit_list *list)
{
    uint64_t next = UINT64_MAX;
    for (const struct audit_entry *e = list->first; e != NULL; e = e->next)
        if (!e->told && e->deadline_ms < next)
            next = e->deadline_ms;
    return next;
}

bool audit_entry_expired(const struct audit_entry *entry, uint64_t now_ms)
{
    return !entry->told && entry->deadline_ms <= now_ms;
}

bool audit_entry_told(const struct audit_entry *entry, uint64_t now_ms)
{
    (void)now_ms;
    return entry->told;
}
