/* What committer.c and commit_writer.c share. */
#ifndef TG_AUDIT_COMMIT_STATE_H
#define TG_AUDIT_COMMIT_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "services/audit/submission.h"

/* A time in which events could not be made durable. It ends with an event of its own, audit.recovered. */
struct gap {
    const char *reason; /* NULL: there is none; static texts */
    uint64_t since_us;
    uint64_t refused; /* submissions */
};

struct committer {
    struct committer_options options;
    pthread_t writer;
    pthread_t watchdog;
    bool started;
    _Atomic(const char *) trouble; /* gap.reason, for readers without the lock */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t work;  /* writer: something is queued, or the end */
    pthread_cond_t watch; /* watchdog: something is queued after all was idle, or the end */
    pthread_cond_t calm;  /* drain and close: nothing is queued or being written; the writer has ended */
    bool draining;
    bool stopping;
    bool writer_ended;
    struct submission_list queue;
    struct submission_list
        batch;                 /* what the writer is writing; its entries are the writer's without the lock */
    uint64_t writing_since_ms; /* 0: it writes nothing now */
    bool hung;                 /* that write takes too long */
    struct gap gap;
    struct submission_table table;
};

/* The lock is held for all of these. */
void commit_begin_gap(struct committer *committer, const char *reason, const char *text);
/* Takes a submission that will not be written out of the table; its waiters go before `onto`. */
struct waiter *commit_refuse(struct committer *committer, struct submission *submission, struct waiter *onto);

void *commit_writer_main(void *committer);

#endif
