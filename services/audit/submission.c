#include "services/audit/submission.h"

#include <stdlib.h>
#include <string.h>

#include "common/rpc/rpc.h"

/* As long as a call may go on being tried, and about 6 MiB. */
enum { KEEP_MS = RPC_BUDGET_MAX_MS, KEEP_MAX = 65536 };

void submission_free_entries(const struct log_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(entries[i].body);
}

struct submission *submission_new(const uint8_t id[REQUEST_ID_LEN], const struct log_entry *entries,
                                  size_t count)
{
    struct submission *made = calloc(1, sizeof *made);
    struct log_entry *copy = calloc(count, sizeof *copy);
    if (made == NULL || copy == NULL) {
        submission_free_entries(entries, count);
        free(made);
        free(copy);
        return NULL;
    }
    memcpy(made->id, id, REQUEST_ID_LEN);
    memcpy(copy, entries, count * sizeof *copy);
    made->entries = copy;
    made->count = count;
    return made;
}

static void drop_entries(struct submission *submission)
{
    if (submission->entries != NULL)
        submission_free_entries(submission->entries, submission->count);
    free(submission->entries);
    submission->entries = NULL;
}

void submission_free(struct submission *submission)
{
    if (submission == NULL)
        return;
    TG_INVARIANT(submission->waiters == NULL); /* somebody would wait for ever */
    drop_entries(submission);
    free(submission);
}

bool submission_add_waiter(struct submission *submission, commit_done *done, void *arg)
{
    struct waiter *waiter = malloc(sizeof *waiter);
    if (waiter == NULL)
        return false;
    *waiter = (struct waiter){.done = done, .arg = arg, .next = submission->waiters};
    submission->waiters = waiter;
    return true;
}

struct waiter *submission_take_waiters(struct submission *submission, struct waiter *onto)
{
    struct waiter *at = submission->waiters;
    submission->waiters = NULL;
    while (at != NULL) {
        struct waiter *next = at->next;
        at->first_sequence = submission->first_sequence;
        at->next = onto;
        onto = at;
        at = next;
    }
    return onto;
}

void waiters_tell(struct waiter *waiters, enum tg_code status, const char *text)
{
    while (waiters != NULL) {
        struct waiter *next = waiters->next;
        waiters->done(waiters->arg, status, text, waiters->first_sequence);
        free(waiters);
        waiters = next;
    }
}

void submission_push(struct submission_list *list, struct submission *submission)
{
    submission->next = NULL;
    if (list->tail != NULL)
        list->tail->next = submission;
    else
        list->head = submission;
    list->tail = submission;
    list->length++;
    list->events += submission->count;
}

struct submission *submission_pop(struct submission_list *list)
{
    struct submission *first = list->head;
    if (first == NULL)
        return NULL;
    list->head = first->next;
    if (list->head == NULL)
        list->tail = NULL;
    list->length--;
    list->events -= first->count;
    first->next = NULL;
    return first;
}

/* Request ids are random. */
static size_t bucket_of(const uint8_t id[REQUEST_ID_LEN])
{
    uint64_t value = 0;
    memcpy(&value, id, sizeof value);
    return value % SUBMISSION_BUCKETS;
}

struct submission *submission_find(const struct submission_table *table, const uint8_t id[REQUEST_ID_LEN])
{
    struct submission *at = table->buckets[bucket_of(id)];
    while (at != NULL && memcmp(at->id, id, REQUEST_ID_LEN) != 0)
        at = at->bucket;
    return at;
}

void submission_insert(struct submission_table *table, struct submission *submission)
{
    struct submission **bucket = &table->buckets[bucket_of(submission->id)];
    submission->bucket = *bucket;
    *bucket = submission;
}

void submission_remove(struct submission_table *table, const struct submission *submission)
{
    struct submission **at = &table->buckets[bucket_of(submission->id)];
    while (*at != NULL && *at != submission)
        at = &(*at)->bucket;
    TG_INVARIANT(*at != NULL);
    *at = submission->bucket;
}

void submission_keep(struct submission_table *table, struct submission *submission, uint64_t now_ms)
{
    drop_entries(submission);
    submission->state = SUBMISSION_DURABLE;
    submission->since_ms = now_ms;
    submission_push(&table->durable, submission);
    for (struct submission *oldest = table->durable.head;
         oldest != NULL && (table->durable.length > KEEP_MAX || now_ms - oldest->since_ms > KEEP_MS);
         oldest = table->durable.head) {
        submission_remove(table, oldest);
        submission_free(submission_pop(&table->durable));
    }
}
