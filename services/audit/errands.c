#include "services/audit/errands.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct errand {
    errand_run *run;
    void *arg;
    struct errand *next;
};

struct errands {
    size_t limit;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    bool stopping;
    struct errand *first;
    struct errand **end;
    size_t count; /* with the one under way */
};

/* The lock is held. */
static struct errand *pop(struct errands *errands)
{
    struct errand *errand = errands->first;
    if (errand == NULL)
        return NULL;
    errands->first = errand->next;
    if (errands->first == NULL)
        errands->end = &errands->first;
    return errand;
}

static void *errands_main(void *arg)
{
    struct errands *errands = arg;
    pthread_mutex_lock(&errands->lock);
    while (!errands->stopping) {
        struct errand *errand = pop(errands);
        if (errand == NULL) {
            pthread_cond_wait(&errands->wake, &errands->lock);
            continue;
        }
        pthread_mutex_unlock(&errands->lock);
        errand->run(errand->arg, false);
        free(errand);
        pthread_mutex_lock(&errands->lock);
        errands->count--;
    }
    pthread_mutex_unlock(&errands->lock);
    return NULL;
}

bool errands_submit(struct errands *errands, errand_run *run, void *arg)
{
    struct errand *errand = calloc(1, sizeof *errand);
    if (errand == NULL)
        return false;
    *errand = (struct errand){.run = run, .arg = arg};
    pthread_mutex_lock(&errands->lock);
    bool taken = errands->count < errands->limit && !errands->stopping;
    if (taken) {
        *errands->end = errand;
        errands->end = &errand->next;
        errands->count++;
        pthread_cond_signal(&errands->wake);
    }
    pthread_mutex_unlock(&errands->lock);
    if (!taken)
        free(errand);
    return taken;
}

bool errands_stopping(struct errands *errands)
{
    pthread_mutex_lock(&errands->lock);
    bool stopping = errands->stopping;
    pthread_mutex_unlock(&errands->lock);
    return stopping;
}

enum tg_code errands_open(struct errands **out, size_t limit, struct tg_error *err)
{
    struct errands *errands = calloc(1, sizeof *errands);
    TG_ENSURE(errands != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a thread's errands");
    errands->limit = limit;
    errands->end = &errands->first;
    pthread_mutex_init(&errands->lock, NULL);
    pthread_cond_init(&errands->wake, NULL);
    *out = errands;
    return TG_OK;
}

enum tg_code errands_start(struct errands *errands, struct tg_error *err)
{
    int rc = pthread_create(&errands->thread, NULL, errands_main, errands);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start a thread: %s", strerror(rc));
    errands->started = true;
    return TG_OK;
}

void errands_stop(struct errands *errands)
{
    pthread_mutex_lock(&errands->lock);
    errands->stopping = true;
    pthread_cond_signal(&errands->wake);
    pthread_mutex_unlock(&errands->lock);
    if (errands->started)
        pthread_join(errands->thread, NULL);
    errands->started = false;
    for (struct errand *errand = pop(errands); errand != NULL; errand = pop(errands)) {
        errand->run(errand->arg, true);
        free(errand);
    }
}

void errands_close(struct errands *errands)
{
    if (errands == NULL)
        return;
    errands_stop(errands);
    pthread_cond_destroy(&errands->wake);
    pthread_mutex_destroy(&errands->lock);
    free(errands);
}
