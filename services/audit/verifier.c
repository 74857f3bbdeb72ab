#include "services/audit/verifier.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/trace.h"

struct verifier {
    struct log_writer *log;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    bool stopping;
    verify_done *done; /* NULL: nobody has asked */
    void *arg;
    uint64_t end_ms;
};

static bool go_on(void *arg)
{
    struct verifier *verifier = arg;
    pthread_mutex_lock(&verifier->lock);
    bool wanted = !verifier->stopping && clock_now_ms() < verifier->end_ms;
    pthread_mutex_unlock(&verifier->lock);
    return wanted;
}

static void verify(struct verifier *verifier, verify_done *done, void *arg)
{
    Tg__AuditVerifyResponse response = TG__AUDIT_VERIFY_RESPONSE__INIT;
    struct tg_error err = {0};
    enum tg_code code = verifier->log->ops->verify(verifier->log, go_on, verifier, &response.entries, &err);
    if (code != TG_OK && code != TG_DATA_LOSS) {
        done(arg, code == TG_CANCELLED ? TG_DEADLINE_EXCEEDED : code, err.text, NULL);
        return;
    }
    response.intact = code == TG_OK;
    if (!response.intact) {
        LOG(LOG_ERROR, NULL, "audit.chain_broken", LOG_NUMBER("good_entries", response.entries),
            LOG_ERR(&err));
        response.problem = err.text;
    }
    done(arg, TG_OK, "", &response);
}

static void *verifier_main(void *arg)
{
    struct verifier *verifier = arg;
    pthread_mutex_lock(&verifier->lock);
    while (!verifier->stopping) {
        if (verifier->done == NULL) {
            pthread_cond_wait(&verifier->wake, &verifier->lock);
            continue;
        }
        verify_done *done = verifier->done;
        void *done_arg = verifier->arg;
        pthread_mutex_unlock(&verifier->lock);
        verify(verifier, done, done_arg);
        pthread_mutex_lock(&verifier->lock);
        verifier->done = NULL;
    }
    pthread_mutex_unlock(&verifier->lock);
    return NULL;
}

void verifier_submit(struct verifier *verifier, uint32_t budget_ms, verify_done *done, void *arg)
{
    pthread_mutex_lock(&verifier->lock);
    bool taken = verifier->done == NULL && !verifier->stopping;
    if (taken) {
        verifier->done = done;
        verifier->arg = arg;
        verifier->end_ms = clock_now_ms() + budget_ms;
        pthread_cond_signal(&verifier->wake);
    }
    pthread_mutex_unlock(&verifier->lock);
    if (!taken)
        done(arg, TG_RESOURCE_EXHAUSTED, "a verification is under way already: try again when it is done",
             NULL);
}

enum tg_code verifier_open(struct verifier **out, struct log_writer *log, struct tg_error *err)
{
    struct verifier *verifier = calloc(1, sizeof *verifier);
    TG_ENSURE(verifier != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for the verifier");
    verifier->log = log;
    pthread_mutex_init(&verifier->lock, NULL);
    pthread_cond_init(&verifier->wake, NULL);
    *out = verifier;
    return TG_OK;
}

enum tg_code verifier_start(struct verifier *verifier, struct tg_error *err)
{
    int rc = pthread_create(&verifier->thread, NULL, verifier_main, verifier);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start the verifier's thread: %s", strerror(rc));
    verifier->started = true;
    return TG_OK;
}

void verifier_stop(struct verifier *verifier)
{
    pthread_mutex_lock(&verifier->lock);
    verifier->stopping = true;
    pthread_cond_signal(&verifier->wake);
    pthread_mutex_unlock(&verifier->lock);
    if (verifier->started)
        pthread_join(verifier->thread, NULL);
    verifier->started = false;
    if (verifier->done != NULL)
        verifier->done(verifier->arg, TG_UNAVAILABLE, "the audit service is ending", NULL);
    verifier->done = NULL;
}

void verifier_close(struct verifier *verifier)
{
    if (verifier == NULL)
        return;
    verifier_stop(verifier);
    pthread_cond_destroy(&verifier->wake);
    pthread_mutex_destroy(&verifier->lock);
    free(verifier);
}
