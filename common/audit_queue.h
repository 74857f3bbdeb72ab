/* Inside of the audit client: events that wait, and the lists in which each audit service's share of them
 * stands. The owner locks. */
#ifndef TG_COMMON_AUDIT_QUEUE_H
#define TG_COMMON_AUDIT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/audit_client.h"

enum audit_limits {
    AUDIT_QUEUE_MAX = 4096, /* events that are not durable yet */
    AUDIT_OWED_MAX = 8192,  /* events that one service is still to be sent */
    AUDIT_BATCHES = 4,      /* under way at once, to each service */
    AUDIT_BATCH_EVENTS = 256,
    AUDIT_BATCH_BYTES = 64 * 1024, /* fits a socket's buffer, so that it is written in one go */
    AUDIT_EVENT_BYTES = 16 * 1024
};

enum audit_fate { AUDIT_WAITS, AUDIT_DURABLE, AUDIT_FAILED /* must not be sent any more */ };

/* One event, shared by the lists of all services. */
struct audit_event {
    Tg__Event *message; /* owned; pb_free */
    size_t bytes;
    uint64_t deadline_ms; /* of `done`; UINT64_MAX without one */
    audit_done *done;     /* NULL: nobody waits */
    void *arg;
    enum audit_fate fate;
    uint32_t acked, refused; /* bits: by which services */
    unsigned holders;        /* entries, and the list below */
    struct audit_event *next, *previous;
};

/* A list of events whose fate is open, or (then by `next` alone) whose callers are to be told. */
struct audit_events {
    struct audit_event *first, *last;
    size_t count;
};

/* A copy of the message with id, service and time filled in; the caller is its holder. NULL: too large, or
 * memory is out. */
struct audit_event *audit_event_new(const Tg__Event *message, const char *service);
/* Frees it with its last holder. */
void audit_event_release(struct audit_event *event);

void audit_events_append(struct audit_events *events, struct audit_event *event);
void audit_events_remove(struct audit_events *events, struct audit_event *event);
uint64_t audit_events_next_deadline(const struct audit_events *events);

/* An event in one service's list. */
struct audit_entry {
    struct audit_event *event; /* held */
    struct audit_entry *next;
};

struct audit_list {
    struct audit_entry *first, *last;
    size_t count;
};

/* NULL: memory is out. */
struct audit_entry *audit_entry_new(struct audit_event *event);
void audit_entry_free(struct audit_entry *entry);

void audit_list_append(struct audit_list *list, struct audit_entry *entry);
struct audit_entry *audit_list_pop(struct audit_list *list);
/* Moves the first entries that make one batch. */
void audit_list_take_batch(struct audit_list *list, struct audit_list *batch);
/* Leaves the first half of the entries in `list` and moves the others. */
void audit_list_split(struct audit_list *list, struct audit_list *rest);
/* Frees the entries whose event has that fate, at most `max`, and returns how many. */
size_t audit_list_drop(struct audit_list *list, enum audit_fate fate, size_t max);

#endif
