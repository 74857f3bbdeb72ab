/* One Append on its way to the disk, and the table that finds it again by its request id, so that a repeated
 * call is answered like the first one. Not locked: the committer does that. */
#ifndef TG_AUDIT_SUBMISSION_H
#define TG_AUDIT_SUBMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/audit/committer.h"

enum submission_state { SUBMISSION_QUEUED, SUBMISSION_WRITING, SUBMISSION_DURABLE };

/* Somebody who waits for the outcome. */
struct waiter {
    commit_done *done;
    void *arg;
    uint64_t first_sequence; /* of its submission, once that is durable */
    struct waiter *next;
};

struct submission {
    uint8_t id[REQUEST_ID_LEN];
    enum submission_state state;
    struct log_entry *entries; /* owned; NULL once durable */
    size_t count;
    uint64_t first_sequence; /* once durable */
    uint64_t since_ms;       /* queued, then durable */
    struct waiter *waiters;
    struct submission *next;   /* in the queue, the batch, or by age */
    struct submission *bucket; /* in the table */
};

/* Copies the entry structs and takes their bodies. NULL without memory: then the bodies are freed as well. */
struct submission *submission_new(const uint8_t id[REQUEST_ID_LEN], const struct log_entry *entries,
                                  size_t count);
void submission_free(struct submission *submission);
void submission_free_entries(const struct log_entry *entries, size_t count);
bool submission_add_waiter(struct submission *submission, commit_done *done, void *arg);
/* Takes its waiters and puts them before `onto`; returns the whole list. */
struct waiter *submission_take_waiters(struct submission *submission, struct waiter *onto);
/* Tells all of them, and frees them. */
void waiters_tell(struct waiter *waiters, enum tg_code status, const char *text);

/* A queue of submissions, first in, first out. */
struct submission_list {
    struct submission *head;
    struct submission *tail;
    size_t length; /* submissions */
    size_t events;
};
void submission_push(struct submission_list *list, struct submission *submission);
struct submission *submission_pop(struct submission_list *list);

enum { SUBMISSION_BUCKETS = 16384 };

struct submission_table {
    struct submission *buckets[SUBMISSION_BUCKETS];
    struct submission_list durable; /* by age */
};
struct submission *submission_find(const struct submission_table *table, const uint8_t id[REQUEST_ID_LEN]);
void submission_insert(struct submission_table *table, struct submission *submission);
void submission_remove(struct submission_table *table, const struct submission *submission);
/* Keeps a durable one for later repetitions, and lets go of those older than keep_ms or beyond keep_max. */
void submission_keep(struct submission_table *table, struct submission *submission, uint64_t now_ms);

#endif
