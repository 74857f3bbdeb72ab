#include "services/key-store/await.h"

#include <pthread.h>

struct awaited {
    struct work work;
    enum tg_code (*apply)(void *arg, struct store *store, struct tg_error *err);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool over;
    struct tg_error result;
};

static enum tg_code apply_awaited(struct work *work, struct store *store, struct tg_error *err)
{
    const struct awaited *awaited = (const struct awaited *)work;
    return awaited->apply(awaited->arg, store, err);
}

static void finish(struct work *work, enum tg_code status, const char *text)
{
    struct awaited *awaited = (struct awaited *)work;
    pthread_mutex_lock(&awaited->lock);
    awaited->result.code = status;
    if (status != TG_OK)
        (void)tg_fail(&awaited->result, status, "%s", text);
    awaited->over = true;
    pthread_cond_signal(&awaited->changed);
    pthread_mutex_unlock(&awaited->lock);
}

enum tg_code writer_await(struct writer *writer,
                          enum tg_code (*apply)(void *arg, struct store *store, struct tg_error *err),
                          void *arg, struct tg_error *err)
{
    struct awaited awaited = {.work = {.apply = apply_awaited, .done = finish},
                              .apply = apply,
                              .arg = arg,
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};
    writer_add(writer, &awaited.work);
    pthread_mutex_lock(&awaited.lock);
    while (!awaited.over)
        pthread_cond_wait(&awaited.changed, &awaited.lock);
    pthread_mutex_unlock(&awaited.lock);
    pthread_cond_destroy(&awaited.changed);
    pthread_mutex_destroy(&awaited.lock);
    if (awaited.result.code == TG_OK)
        return TG_OK;
    return tg_fail(err, awaited.result.code, "%s", awaited.result.text);
}
