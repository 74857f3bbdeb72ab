#include "services/key-store/store/writer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/monotonic.h"
#include "common/trace.h"

struct writer {
    struct store *store;
    struct writer_tick tick;
    uint64_t tick_due_ms;
    _Atomic(const char *) problem;
    pthread_t thread;
    pthread_mutex_t lock; /* the queue's */
    pthread_cond_t added;
    struct work *head;
    struct work **tail;
    bool stopping;
};

/* ---- one batch ---- */

static enum tg_code expect_keys(struct store *s, const struct work *batch, struct tg_error *err)
{
    const uint8_t *key_ids[WRITER_BATCH_MAX];
    size_t count = 0;
    for (const struct work *work = batch; work != NULL && s->ops->keys_expected != NULL; work = work->next)
        if (work->key_id != NULL)
            key_ids[count++] = work->key_id;
    return count > 0 ? s->ops->keys_expected(s, key_ids, count, err) : TG_OK;
}

/* Fails only when the whole transaction is lost. */
static enum tg_code apply_one(struct store *s, struct work *work, struct tg_error *err)
{
    TG_TRY(s->ops->mark(s, err));
    work->result = (struct tg_error){.code = TG_OK};
    enum tg_code code = work->apply(work, s, &work->result);
    TG_INVARIANT(work->result.code == code);
    return s->ops->unmark(s, code == TG_OK, err);
}

static enum tg_code apply_each(struct store *s, struct work *batch, struct tg_error *err)
{
    TG_TRY(expect_keys(s, batch, err));
    for (struct work *work = batch; work != NULL; work = work->next)
        TG_TRY(apply_one(s, work, err));
    return TG_OK;
}

static enum tg_code apply_all(struct store *s, struct work *batch, struct tg_error *err)
{
    TG_TRY(s->ops->begin(s, err));
    enum tg_code code = apply_each(s, batch, err);
    if (code == TG_OK)
        return s->ops->commit(s, err);
    s->ops->rollback(s);
    /* the only item was refused after it had written: with the transaction all of it is undone */
    bool alone = batch->next == NULL && code == TG_INTERNAL && batch->result.code != TG_OK;
    return alone ? TG_OK : code;
}

/* Lost to someone else's transaction, or with the connection: again, since every item knows its own traces.
 * Not for longer than callers wait. */
static enum tg_code apply_until_known(struct store *s, struct work *batch, struct tg_error *err)
{
    uint64_t end = clock_now_ms() + WRITER_PATIENCE_MS;
    enum tg_code code = apply_all(s, batch, err);
    for (int again = 1; again < WRITER_ATTEMPTS && code == TG_ABORTED && clock_now_ms() < end; again++)
        code = apply_all(s, batch, err);
    return code;
}

/* State changes are logged here and nowhere else. */
static void note_health(struct writer *w, enum tg_code code, const struct tg_error *err)
{
    const char *now = NULL;
    if (code == TG_DATA_LOSS)
        now = "the key database is damaged";
    else if (code != TG_OK)
        now = "the key database cannot be written";
    const char *before = atomic_exchange(&w->problem, now);
    if (now != NULL && now != before)
        LOG(LOG_ERROR, NULL, "database.failed", LOG_ERR(err));
    else if (now == NULL && before != NULL)
        LOG(LOG_INFO, NULL, "database.recovered");
}

static void run_batch(struct writer *w, struct work *batch);

static void finish(struct work *batch, enum tg_code code, const char *text)
{
    while (batch != NULL) {
        struct work *work = batch;
        batch = work->next; /* done may free it */
        if (code == TG_OK)
            work->done(work, work->result.code, work->result.text);
        else
            work->done(work, code, text);
    }
}

/* One of them broke a rule, and only alone can it be told which. */
static void run_each(struct writer *w, struct work *batch)
{
    while (batch != NULL) {
        struct work *work = batch;
        batch = work->next;
        work->next = NULL;
        run_batch(w, work);
    }
}

/* Callers may come again (UNAVAILABLE) unless the database is damaged: nothing was changed or, when a
 * commit's outcome stays unknown, the same request finds what was. */
static void run_batch(struct writer *w, struct work *batch)
{
    struct tg_error err = {.code = TG_OK};
    enum tg_code code = apply_until_known(w->store, batch, &err);
    if (code == TG_INTERNAL && batch->next != NULL) {
        run_each(w, batch);
        return;
    }
    note_health(w, code, &err);
    if (code != TG_OK && code != TG_DATA_LOSS)
        code = TG_UNAVAILABLE;
    finish(batch, code, err.text);
}

/* ---- upkeep ---- */

/* After a failure: is it over? A transaction that changes nothing would always say yes. */
static enum tg_code probe(struct writer *w, struct tg_error *err)
{
    uint64_t now = clock_unix_us();
    return writer_problem(w) == NULL ? TG_OK
                                     : w->store->ops->note_set(w->store, "probe", &now, sizeof now, err);
}

static enum tg_code apply_tick(struct writer *w, bool *more, struct tg_error *err)
{
    struct store *s = w->store;
    TG_TRY(s->ops->begin(s, err));
    enum tg_code code = probe(w, err);
    if (code == TG_OK)
        code = w->tick.apply(w->tick.arg, s, more, err);
    if (code == TG_OK)
        return s->ops->commit(s, err);
    s->ops->rollback(s);
    return code;
}

static void run_tick(struct writer *w)
{
    struct tg_error err = {.code = TG_OK};
    bool more = false;
    enum tg_code code = apply_tick(w, &more, &err);
    if (code != TG_ABORTED) /* then the next one tells */
        note_health(w, code, &err);
    w->tick_due_ms = clock_now_ms() + (code == TG_OK && more ? 0 : WRITER_TICK_MS);
}

/* ---- the thread ---- */

static void wait_for_work(struct writer *w)
{
    while (w->head == NULL && !w->stopping && clock_now_ms() < w->tick_due_ms)
        (void)monotonic_wait(&w->added, &w->lock, w->tick_due_ms);
}

static struct work *take_batch(struct writer *w)
{
    struct work *batch = w->head;
    struct work *last = batch;
    if (batch == NULL)
        return NULL;
    for (int i = 1; i < WRITER_BATCH_MAX && last->next != NULL; i++)
        last = last->next;
    w->head = last->next;
    last->next = NULL;
    if (w->head == NULL)
        w->tail = &w->head;
    return batch;
}

static void *run(void *arg)
{
    struct writer *w = arg;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        wait_for_work(w);
        struct work *batch = take_batch(w);
        bool end = batch == NULL && w->stopping;
        pthread_mutex_unlock(&w->lock);
        if (end)
            return NULL;
        if (batch != NULL)
            run_batch(w, batch);
        if (clock_now_ms() >= w->tick_due_ms)
            run_tick(w);
        w->store->ops->tidy(w->store, batch == NULL);
    }
}

static void init(struct writer *w)
{
    monotonic_cond_init(&w->added);
    pthread_mutex_init(&w->lock, NULL);
    w->tail = &w->head;
}

static void fini(struct writer *w)
{
    pthread_cond_destroy(&w->added);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

enum tg_code writer_start(struct store *store, const struct writer_tick *tick, struct writer **writer,
                          struct tg_error *err)
{
    struct writer *w = calloc(1, sizeof *w);
    TG_ENSURE(w != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the writer");
    w->store = store;
    w->tick = *tick;
    init(w);
    if (pthread_create(&w->thread, NULL, run, w) != 0) {
        fini(w);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no thread for the writer: raise the limit of processes");
    }
    *writer = w;
    return TG_OK;
}

void writer_stop(struct writer *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->added);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    fini(w);
}

void writer_add(struct writer *w, struct work *work)
{
    work->next = NULL;
    pthread_mutex_lock(&w->lock);
    bool first = w->head == NULL;
    *w->tail = work;
    w->tail = &work->next;
    if (first)
        pthread_cond_signal(&w->added);
    pthread_mutex_unlock(&w->lock);
}

const char *writer_problem(const struct writer *w)
{
    return atomic_load(&w->problem);
}
