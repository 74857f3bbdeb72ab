#include "services/audit/committer.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/monotonic.h"
#include "services/audit/commit_state.h"

static const char disk_hangs[] = "the audit log's disk does not answer";
static const char ending[] = "the audit service is ending";

void commit_begin_gap(struct committer *committer, const char *reason, const char *text)
{
    if (committer->gap.reason != NULL)
        return;
    committer->gap.reason = reason;
    committer->gap.since_us = clock_unix_us();
    atomic_store(&committer->trouble, reason);
    LOG(LOG_ERROR, NULL, "audit.not_durable", LOG_TEXT("error", text));
}

struct waiter *commit_refuse(struct committer *committer, struct submission *submission, struct waiter *onto)
{
    committer->gap.refused += committer->gap.reason != NULL;
    onto = submission_take_waiters(submission, onto);
    submission_remove(&committer->table, submission);
    submission_free(submission);
    return onto;
}

/* ---- the watchdog: whoever has waited too long is told so ---- */

/* When the oldest thing under way becomes overdue; 0: nothing is under way. */
static uint64_t next_overdue(const struct committer *committer)
{
    uint64_t since = committer->hung ? 0 : committer->writing_since_ms;
    const struct submission *head = committer->queue.head;
    if (head != NULL && (since == 0 || head->since_ms < since))
        since = head->since_ms;
    return since == 0 ? 0 : since + committer->options.disk_timeout_ms;
}

static struct waiter *refuse_overdue(struct committer *committer, uint64_t now_ms)
{
    struct waiter *waiters = NULL;
    uint64_t limit = committer->options.disk_timeout_ms;
    if (committer->writing_since_ms != 0 && now_ms - committer->writing_since_ms >= limit &&
        !committer->hung) {
        committer->hung = true;
        commit_begin_gap(committer, disk_hangs, disk_hangs);
        /* They may still become durable: their ids stay in the table, so that a repetition cannot add them
         * twice. */
        for (struct submission *at = committer->batch.head; at != NULL; at = at->next) {
            committer->gap.refused++;
            waiters = submission_take_waiters(at, waiters);
        }
    }
    while (committer->queue.head != NULL &&
           (committer->hung || now_ms - committer->queue.head->since_ms >= limit)) {
        commit_begin_gap(committer, disk_hangs, "the audit log's disk is too slow for what is reported");
        waiters = commit_refuse(committer, submission_pop(&committer->queue), waiters);
    }
    return waiters;
}

static void *watchdog_main(void *arg)
{
    struct committer *committer = arg;
    pthread_mutex_lock(&committer->lock);
    while (!committer->stopping) {
        uint64_t now_ms = clock_now_ms();
        uint64_t overdue_ms = next_overdue(committer);
        if (overdue_ms == 0) {
            pthread_cond_wait(&committer->watch, &committer->lock);
        } else if (overdue_ms > now_ms) {
            (void)monotonic_wait(&committer->watch, &committer->lock, overdue_ms);
        } else {
            struct waiter *waiters = refuse_overdue(committer, now_ms);
            pthread_mutex_unlock(&committer->lock);
            waiters_tell(waiters, TG_UNAVAILABLE, disk_hangs);
            pthread_mutex_lock(&committer->lock);
        }
    }
    pthread_mutex_unlock(&committer->lock);
    return NULL;
}

/* ---- reporting ---- */

/* The lock is held. OK: `done` will be called, now (*durable) or later. */
static enum tg_code enqueue(struct committer *committer, const uint8_t id[REQUEST_ID_LEN],
                            const struct log_entry *entries, size_t count, commit_done *done, void *arg,
                            struct tg_error *err)
{
    bool idle = next_overdue(committer) == 0;
    struct submission *made = submission_new(id, entries, count);
    TG_ENSURE(made != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for audit events");
    if (!submission_add_waiter(made, done, arg)) {
        submission_free(made);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for audit events");
    }
    made->since_ms = clock_now_ms();
    submission_insert(&committer->table, made);
    submission_push(&committer->queue, made);
    pthread_cond_signal(&committer->work);
    if (idle)
        pthread_cond_signal(&committer->watch);
    return TG_OK;
}

static enum tg_code check_open(struct committer *committer, size_t count, struct tg_error *err)
{
    TG_ENSURE(!committer->draining, err, TG_UNAVAILABLE, "%s", ending);
    if (committer->hung) {
        committer->gap.refused++;
        return tg_fail(err, TG_UNAVAILABLE, "%s", disk_hangs);
    }
    TG_ENSURE(committer->queue.events + count <= committer->options.queue_events, err, TG_RESOURCE_EXHAUSTED,
              "%zu audit events wait for the disk already", committer->queue.events);
    return TG_OK;
}

/* A request id that is known: its first call decides. */
static enum tg_code join(struct committer *committer, struct submission *known, size_t count,
                         commit_done *done, void *arg, struct tg_error *err)
{
    TG_ENSURE(known->count == count, err, TG_INVALID_ARGUMENT,
              "this request id was used for %zu events before", known->count);
    TG_ENSURE(!committer->hung || known->state == SUBMISSION_DURABLE, err, TG_UNAVAILABLE, "%s", disk_hangs);
    TG_ENSURE(submission_add_waiter(known, done, arg), err, TG_RESOURCE_EXHAUSTED,
              "no memory for audit events");
    return TG_OK;
}

void committer_submit(struct committer *committer, const uint8_t request_id[REQUEST_ID_LEN],
                      const struct log_entry *entries, size_t count, commit_done *done, void *arg)
{
    struct tg_error err = {0};
    struct waiter *durable = NULL;
    bool taken = false;
    pthread_mutex_lock(&committer->lock);
    struct submission *known = submission_find(&committer->table, request_id);
    enum tg_code code =
        known != NULL ? join(committer, known, count, done, arg, &err) : check_open(committer, count, &err);
    if (code == TG_OK && known == NULL) {
        taken = true;
        code = enqueue(committer, request_id, entries, count, done, arg, &err);
    } else if (code == TG_OK && known->state == SUBMISSION_DURABLE) {
        durable = submission_take_waiters(known, NULL);
    }
    pthread_mutex_unlock(&committer->lock);
    if (!taken)
        submission_free_entries(entries, count);
    waiters_tell(durable, TG_OK, "");
    if (code != TG_OK)
        done(arg, code, err.text, 0);
}

const char *committer_trouble(const struct committer *committer)
{
    return atomic_load(&committer->trouble);
}

/* ---- from open to close ---- */

enum tg_code committer_open(struct committer **out, const struct committer_options *options,
                            struct tg_error *err)
{
    struct committer *committer = calloc(1, sizeof *committer);
    TG_ENSURE(committer != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for the audit queue");
    committer->options = *options;
    pthread_mutex_init(&committer->lock, NULL);
    monotonic_cond_init(&committer->work);
    monotonic_cond_init(&committer->watch);
    monotonic_cond_init(&committer->calm);
    *out = committer;
    return TG_OK;
}

enum tg_code committer_start(struct committer *committer, struct tg_error *err)
{
    int rc = pthread_create(&committer->writer, NULL, commit_writer_main, committer);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start the audit writer: %s", strerror(rc));
    committer->started = true;
    rc = pthread_create(&committer->watchdog, NULL, watchdog_main, committer);
    TG_INVARIANT(rc == 0); /* a writer without a watchdog must not run */
    return TG_OK;
}

void committer_drain(struct committer *committer, unsigned timeout_ms)
{
    uint64_t until_ms = clock_now_ms() + timeout_ms;
    pthread_mutex_lock(&committer->lock);
    committer->draining = true;
    while (committer->started && !committer->hung &&
           (committer->queue.head != NULL || committer->writing_since_ms != 0)) {
        if (!monotonic_wait(&committer->calm, &committer->lock, until_ms))
            break;
    }
    pthread_mutex_unlock(&committer->lock);
}

/* True: the threads have ended. The writer is given one more disk_timeout. */
static bool stop_threads(struct committer *committer)
{
    uint64_t until_ms = clock_now_ms() + committer->options.disk_timeout_ms;
    pthread_mutex_lock(&committer->lock);
    committer->draining = true;
    committer->stopping = true;
    pthread_cond_broadcast(&committer->work);
    pthread_cond_broadcast(&committer->watch);
    while (!committer->writer_ended && monotonic_wait(&committer->calm, &committer->lock, until_ms))
        ;
    bool ended = committer->writer_ended;
    pthread_mutex_unlock(&committer->lock);
    pthread_join(committer->watchdog, NULL);
    if (ended)
        pthread_join(committer->writer, NULL);
    return ended;
}

static void free_table(struct submission_table *table)
{
    for (struct submission *at = submission_pop(&table->durable); at != NULL;
         at = submission_pop(&table->durable)) {
        submission_remove(table, at);
        submission_free(at);
    }
}

bool committer_close(struct committer *committer)
{
    if (committer == NULL)
        return true;
    bool ended = !committer->started || stop_threads(committer);
    struct waiter *waiters = NULL;
    pthread_mutex_lock(&committer->lock);
    for (struct submission *at = submission_pop(&committer->queue); at != NULL;
         at = submission_pop(&committer->queue))
        waiters = commit_refuse(committer, at, waiters);
    for (struct submission *at = committer->batch.head; at != NULL; at = at->next)
        waiters = submission_take_waiters(at, waiters);
    pthread_mutex_unlock(&committer->lock);
    waiters_tell(waiters, TG_UNAVAILABLE, ending);
    if (!ended)
        return false;
    free_table(&committer->table);
    pthread_cond_destroy(&committer->calm);
    pthread_cond_destroy(&committer->watch);
    pthread_cond_destroy(&committer->work);
    pthread_mutex_destroy(&committer->lock);
    free(committer);
    return true;
}
