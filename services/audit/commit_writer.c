/* The writer thread: everything that is queued goes out in one write and one fdatasync, then all are told. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/monotonic.h"
#include "common/pb.h"
#include "services/audit/commit_state.h"
#include "services/audit/record.h"

enum { BATCH_EVENTS = 16384, BATCH_BYTES = 8 << 20 };

/* False: the end. With a gap the disk is tried now and then even if nobody has anything to write. */
static bool wait_for_work(struct committer *committer)
{
    while (!committer->stopping && committer->queue.head == NULL) {
        if (committer->gap.reason == NULL) {
            pthread_cond_wait(&committer->work, &committer->lock);
        } else {
            (void)monotonic_wait(&committer->work, &committer->lock,
                                 clock_now_ms() + committer->options.retry_ms);
            break;
        }
    }
    return !committer->stopping;
}

static void take_batch(struct committer *committer)
{
    size_t bytes = 0;
    while (committer->queue.head != NULL && committer->batch.events < BATCH_EVENTS && bytes < BATCH_BYTES) {
        struct submission *submission = submission_pop(&committer->queue);
        for (size_t i = 0; i < submission->count; i++)
            bytes += submission->entries[i].len;
        submission->state = SUBMISSION_WRITING;
        submission_push(&committer->batch, submission);
    }
    committer->writing_since_ms = clock_now_ms();
}

/* The event that ends a gap, and at the same time the proof that the disk works again. */
static enum tg_code write_recovered(const struct committer *committer, const struct gap *gap,
                                    struct tg_error *err)
{
    char since[RECORD_TIME_LEN + 1];
    char detail[256];
    record_time(gap->since_us, since);
    snprintf(detail, sizeof detail, "%s; since %s %" PRIu64 " reports were not acknowledged", gap->reason,
             since, gap->refused);
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("audit.recovered");
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.service = pb_string("audit");
    event.detail = detail;
    struct log_entry entry = {0};
    uint64_t first = 0;
    TG_TRY(record_encode(&event, committer->options.ticket_key, &entry.body, &entry.len, err));
    enum tg_code code = committer->options.log->ops->append(committer->options.log, &entry, 1, &first, err);
    free(entry.body);
    return code;
}

static enum tg_code write_batch(const struct committer *committer, size_t events, uint64_t *first,
                                struct tg_error *err)
{
    struct log_entry *entries = calloc(events, sizeof *entries);
    TG_ENSURE(entries != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a batch of audit events");
    size_t count = 0;
    for (const struct submission *at = committer->batch.head; at != NULL; at = at->next) {
        memcpy(entries + count, at->entries, at->count * sizeof *entries);
        count += at->count;
    }
    struct log_writer *log = committer->options.log;
    enum tg_code code = log->ops->append(log, entries, count, first, err);
    free(entries);
    return code;
}

static struct waiter *finish_durable(struct committer *committer, uint64_t first)
{
    struct waiter *waiters = NULL;
    uint64_t now_ms = clock_now_ms();
    for (struct submission *at = submission_pop(&committer->batch); at != NULL;
         at = submission_pop(&committer->batch)) {
        at->first_sequence = first;
        first += at->count;
        waiters = submission_take_waiters(at, waiters);
        submission_keep(&committer->table, at, now_ms);
    }
    return waiters;
}

static struct waiter *finish_failed(struct committer *committer, const struct tg_error *err)
{
    struct waiter *waiters = NULL;
    commit_begin_gap(committer,
                     err->code == TG_RESOURCE_EXHAUSTED
                         ? "there is no room for the audit log: free space on its disk"
                         : "the audit log's disk fails",
                     err->text);
    for (struct submission *at = submission_pop(&committer->batch); at != NULL;
         at = submission_pop(&committer->batch))
        waiters = commit_refuse(committer, at, waiters);
    return waiters;
}

static void end_gap(struct committer *committer)
{
    LOG(LOG_WARNING, NULL, "audit.durable_again", LOG_TEXT("after", committer->gap.reason),
        LOG_NUMBER("refused", committer->gap.refused));
    committer->gap = (struct gap){0};
    atomic_store(&committer->trouble, NULL);
}

/* One round; the lock is held before and after, not while the disk works or callers are told. */
static void write_round(struct committer *committer)
{
    take_batch(committer);
    struct gap gap = committer->gap;
    size_t events = committer->batch.events;
    pthread_mutex_unlock(&committer->lock);

    struct tg_error err = {0};
    uint64_t first = 0;
    enum tg_code code = gap.reason == NULL ? TG_OK : write_recovered(committer, &gap, &err);
    bool recovered = gap.reason != NULL && code == TG_OK;
    if (code == TG_OK && events > 0)
        code = write_batch(committer, events, &first, &err);

    pthread_mutex_lock(&committer->lock);
    committer->writing_since_ms = 0;
    committer->hung = false;
    if (recovered)
        end_gap(committer);
    struct waiter *waiters =
        code == TG_OK ? finish_durable(committer, first) : finish_failed(committer, &err);
    if (committer->queue.head == NULL)
        pthread_cond_broadcast(&committer->calm);
    pthread_mutex_unlock(&committer->lock);

    waiters_tell(waiters, code == TG_OK ? TG_OK : TG_UNAVAILABLE, err.text);
    if (code == TG_OK && committer->options.grown != NULL)
        committer->options.grown(committer->options.grown_arg);
    pthread_mutex_lock(&committer->lock);
}

void *commit_writer_main(void *arg)
{
    struct committer *committer = arg;
    pthread_mutex_lock(&committer->lock);
    while (wait_for_work(committer))
        write_round(committer);
    committer->writer_ended = true;
    pthread_cond_broadcast(&committer->calm);
    pthread_mutex_unlock(&committer->lock);
    return NULL;
}
