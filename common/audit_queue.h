/* Inside of the audit client: events that wait, and the batches they travel in. The owner locks. */
#ifndef TG_COMMON_AUDIT_QUEUE_H
#define TG_COMMON_AUDIT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/audit_client.h"

enum audit_limits {
    AUDIT_QUEUE_MAX = 4096,
    AUDIT_BATCHES = 4, /* under way at once */
    AUDIT_BATCH_EVENTS = 256,
    AUDIT_BATCH_BYTES = 64 * 1024, /* fits a socket's buffer, so that it is written in one go */
    AUDIT_EVENT_BYTES = 16 * 1024
};

struct audit_entry {
    Tg__Event *event; /* owned; pb_free */
    size_t bytes;
    uint64_t deadline_ms; /* of `done`; UINT64_MAX without one */
    audit_done *done;     /* NULL: none, or it has been told */
    void *arg;
    bool told; /* its caller has been told that it failed: it must not be sent any more */
    struct audit_entry *next;
};

struct audit_list {
    struct audit_entry *first, *last;
    size_t count;
};

/* A copy of the event with service and time filled in. NULL: too large (RESOURCE_EXHAUSTED is the answer) or
 * memory is out. */
struct audit_entry *audit_entry_new(const Tg__Event *event, const char *service);
void audit_entry_free(struct audit_entry *entry);

void audit_list_append(struct audit_list *list, struct audit_entry *entry);
struct audit_entry *audit_list_pop(struct audit_list *list);
/* Moves the first entries that make one batch. */
void audit_list_take_batch(struct audit_list *list, struct audit_list *batch);
/* Leaves the first half of the entries in `list` and moves the others. */
void audit_list_split(struct audit_list *list, struct audit_list *rest);
/* Moves the entries for which `match` says true; order is kept in both. */
void audit_list_extract(struct audit_list *list, bool (*match)(const struct audit_entry *, uint64_t now_ms),
                        uint64_t now_ms, struct audit_list *out);
uint64_t audit_list_next_deadline(const struct audit_list *list);

/* For audit_list_extract. */
bool audit_entry_expired(const struct audit_entry *entry, uint64_t now_ms);
bool audit_entry_told(const struct audit_entry *entry, uint64_t now_ms);

#endif
