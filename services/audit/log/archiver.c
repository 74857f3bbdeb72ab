#include "services/audit/log/archiver.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/monotonic.h"
#include "common/pb.h"
#include "common/trace.h"
#include "services/audit/log/tlog_archive.h"

enum {
    LOOK_MS = 3600 * 1000,
    PAUSE_MS = 1000,   /* between two runs, so that it does not have the disk for itself */
    RUN_BUNDLES = 256, /* in one run: 65,536 entries */
    CLOSE_MS = 2000
};

struct archiver {
    struct archiver_options options;
    pthread_t thread;
    bool started;
    char told[256]; /* the thread's: the trouble that has become an event */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;  /* the thread: an answer, or the end */
    pthread_cond_t calm;  /* close: it has ended */
    bool stopping;
    bool ended;
    unsigned under_way; /* events that are not answered; the thread waits for one at most */
    enum tg_code status;
    uint64_t sequence;
};

static bool go_on(void *arg)
{
    struct archiver *archiver = arg;
    pthread_mutex_lock(&archiver->lock);
    bool stopping = archiver->stopping;
    pthread_mutex_unlock(&archiver->lock);
    return !stopping;
}

static void answered(void *arg, enum tg_code status, const char *text, uint64_t first_sequence)
{
    struct archiver *archiver = arg;
    (void)text;
    pthread_mutex_lock(&archiver->lock);
    archiver->under_way--;
    archiver->status = status;
    archiver->sequence = first_sequence;
    pthread_cond_signal(&archiver->wake);
    pthread_mutex_unlock(&archiver->lock);
}

/* Until it is in the log. */
static enum tg_code report(struct archiver *archiver, Tg__Event *event, uint64_t *sequence,
                           struct tg_error *err)
{
    pthread_mutex_lock(&archiver->lock);
    archiver->under_way++;
    pthread_mutex_unlock(&archiver->lock);
    archiver->options.report(archiver->options.arg, event, answered, archiver);
    pthread_mutex_lock(&archiver->lock);
    while (archiver->under_way > 0)
        pthread_cond_wait(&archiver->wake, &archiver->lock);
    enum tg_code code = archiver->status;
    *sequence = archiver->sequence;
    pthread_mutex_unlock(&archiver->lock);
    TG_ENSURE(code == TG_OK, err, code, "%s could not be put into the log", event->event);
    return TG_OK;
}

static enum tg_code announce(void *arg, uint64_t first, uint64_t last, uint64_t *sequence,
                             struct tg_error *err)
{
    struct archiver *archiver = arg;
    Tg__Event event = TG__EVENT__INIT;
    char detail[128];
    snprintf(detail, sizeof detail, "events %" PRIu64 " to %" PRIu64 " go to the archive", first, last);
    event.event = pb_string("audit.archived");
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.detail = detail;
    return report(archiver, &event, sequence, err);
}

/* Something is not as it was written: once for each trouble, not every hour. */
static void tell(struct archiver *archiver, const struct tg_error *why)
{
    Tg__Event event = TG__EVENT__INIT;
    struct tg_error err = {0};
    uint64_t sequence = 0;
    if (strcmp(archiver->told, why->text) == 0)
        return;
    event.event = pb_string("audit.archive_failed");
    event.outcome = TG__EVENT__OUTCOME__FAILURE;
    event.reason = pb_string(why->text);
    if (report(archiver, &event, &sequence, &err) == TG_OK)
        memcpy(archiver->told, why->text, sizeof archiver->told);
}

/* When to look again. */
static unsigned one_run(struct archiver *archiver)
{
    uint64_t now_ms = clock_unix_us() / 1000;
    struct tlog_archiving archiving = {
        .before_ms = now_ms > archiver->options.after_ms ? now_ms - archiver->options.after_ms : 0,
        .bundle_max = RUN_BUNDLES,
        .announce = announce,
        .go_on = go_on,
        .arg = archiver};
    struct tg_error err = {0};
    enum tg_code code = tlog_archive(archiver->options.log, &archiving, &err);
    if (archiving.count > 0)
        LOG(LOG_INFO, NULL, "audit.moved_to_archive", LOG_NUMBER("first", archiving.first),
            LOG_NUMBER("events", archiving.count));
    if (code != TG_OK && code != TG_CANCELLED)
        LOG(code == TG_DATA_LOSS ? LOG_ERROR : LOG_WARNING, NULL, "audit.not_archived", LOG_ERR(&err));
    if (code == TG_DATA_LOSS)
        tell(archiver, &err);
    return code == TG_OK && archiving.more ? PAUSE_MS : LOOK_MS;
}

static void *archiver_main(void *arg)
{
    struct archiver *archiver = arg;
    pthread_mutex_lock(&archiver->lock);
    for (uint64_t next_ms = 0; !archiver->stopping;) {
        if (clock_now_ms() < next_ms) {
            (void)monotonic_wait(&archiver->wake, &archiver->lock, next_ms);
            continue;
        }
        pthread_mutex_unlock(&archiver->lock);
        next_ms = clock_now_ms() + one_run(archiver);
        pthread_mutex_lock(&archiver->lock);
    }
    archiver->ended = true;
    pthread_cond_broadcast(&archiver->calm);
    pthread_mutex_unlock(&archiver->lock);
    return NULL;
}

enum tg_code archiver_open(struct archiver **out, const struct archiver_options *options,
                           struct tg_error *err)
{
    struct archiver *archiver = calloc(1, sizeof *archiver);
    TG_ENSURE(archiver != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory to archive the log");
    archiver->options = *options;
    pthread_mutex_init(&archiver->lock, NULL);
    monotonic_cond_init(&archiver->wake);
    monotonic_cond_init(&archiver->calm);
    *out = archiver;
    return TG_OK;
}

enum tg_code archiver_start(struct archiver *archiver, struct tg_error *err)
{
    int rc = pthread_create(&archiver->thread, NULL, archiver_main, archiver);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start the thread that archives: %s", strerror(rc));
    archiver->started = true;
    return TG_OK;
}

void archiver_stop(struct archiver *archiver)
{
    if (archiver == NULL)
        return;
    pthread_mutex_lock(&archiver->lock);
    archiver->stopping = true;
    pthread_cond_signal(&archiver->wake);
    pthread_mutex_unlock(&archiver->lock);
}

/* True: the thread has ended. */
static bool join(struct archiver *archiver)
{
    uint64_t until_ms = clock_now_ms() + CLOSE_MS;
    pthread_mutex_lock(&archiver->lock);
    while (!archiver->ended && monotonic_wait(&archiver->calm, &archiver->lock, until_ms))
        ;
    bool ended = archiver->ended;
    pthread_mutex_unlock(&archiver->lock);
    if (ended)
        pthread_join(archiver->thread, NULL);
    return ended;
}

bool archiver_close(struct archiver *archiver)
{
    if (archiver == NULL)
        return true;
    archiver_stop(archiver);
    if (archiver->started && !join(archiver))
        return false;
    pthread_cond_destroy(&archiver->calm);
    pthread_cond_destroy(&archiver->wake);
    pthread_mutex_destroy(&archiver->lock);
    free(archiver);
    return true;
}
