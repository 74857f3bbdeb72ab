#include "services/audit/search/query.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/monotonic.h"
#include "common/trace.h"
#include "services/audit/search/filter.h"

/* Lines looked at before another query has its turn, and the part of a caller's budget that a search may use.
 */
enum { TURN_LINES = 20000, ANSWER_RESERVE_MS = 200, INDEX_BUNDLES = 16, INDEX_PAUSE_MS = 1000 };

struct query {
    struct filter filter;
    struct index_probe probe;
    query_done *done;
    void *arg;
    uint64_t next; /* sequence to look at next */
    size_t limit;
    uint64_t wait_until_ms; /* whoever follows is answered by then */
    uint64_t end_ms;        /* everybody is */
    size_t turn;            /* lines looked at in this turn */
    bool full;              /* nothing more fits the answer */
    char *lines[QUERY_LINES_MAX];
    size_t count;
    size_t bytes;
    struct query *link;
};

struct query_engine {
    struct log_writer *log;
    struct index *index; /* the thread's */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    struct query *coming;
    size_t waiting; /* queries that are not answered */
    bool grown;
    bool stopping;
};

static void query_free(struct query *query)
{
    for (size_t i = 0; i < query->count; i++)
        free(query->lines[i]);
    filter_fini(&query->filter);
    free(query);
}

static bool keep_line(struct query *query, const char *line, size_t len)
{
    if (query->count > 0 && query->bytes + len > QUERY_BYTES_MAX)
        return false;
    char *copy = strndup(line, len);
    if (copy == NULL)
        return false;
    query->lines[query->count++] = copy;
    query->bytes += len;
    return true;
}

static bool look_at(void *arg, uint64_t sequence, const char *line, size_t len)
{
    struct query *query = arg;
    if (filter_matches(&query->filter, line, len) && !keep_line(query, line, len)) {
        query->full = true;
        return false; /* this line begins the next page */
    }
    query->next = sequence + 1;
    query->full = query->count == query->limit;
    query->turn++;
    return !query->full && query->next % TILE_WIDTH != 0; /* there the index is asked again */
}

/* Bundle by bundle, passing over those that cannot hold a match. */
static enum tg_code search(const struct query_engine *engine, struct query *query, struct tg_error *err)
{
    struct log_writer *log = engine->log;
    uint64_t end = log->ops->next(log);
    query->turn = 0;
    query->next = index_skip(engine->index, &query->probe, query->next);
    while (query->next < end && !query->full && query->turn < TURN_LINES) {
        TG_TRY(log->ops->read(log, query->next, look_at, query, err));
        if (!query->full)
            query->next = index_skip(engine->index, &query->probe, query->next);
    }
    return TG_OK;
}

static void answer(const struct query *query, bool more)
{
    Tg__QueryResponse response = TG__QUERY_RESPONSE__INIT;
    char *lines[QUERY_LINES_MAX];
    memcpy(lines, query->lines, sizeof lines);
    response.n_lines = query->count;
    response.lines = lines;
    response.next_sequence = query->next;
    response.more = more;
    query->done(query->arg, TG_OK, "", &response);
}

enum progress { QUERY_ANSWERED, QUERY_GOES_ON, QUERY_WAITS };

/* One turn of one query. */
static enum progress take_turn(struct query_engine *engine, struct query *query)
{
    struct tg_error err = {0};
    struct log_writer *log = engine->log;
    enum tg_code code = search(engine, query, &err);
    uint64_t now_ms = clock_now_ms();
    if (code != TG_OK) {
        query->done(query->arg, code, err.text, NULL);
        return QUERY_ANSWERED;
    }
    bool at_end = query->next >= log->ops->next(log);
    if (query->full || now_ms >= query->end_ms ||
        (at_end && (query->count > 0 || now_ms >= query->wait_until_ms))) {
        answer(query, !at_end);
        return QUERY_ANSWERED;
    }
    return at_end ? QUERY_WAITS : QUERY_GOES_ON;
}

/* Gives every query a turn; answered ones leave the list. Returns when to look again at the latest: 0 for at
 * once, UINT64_MAX for not before something happens. */
static uint64_t run_queries(struct query_engine *engine, struct query **list, size_t *answered)
{
    uint64_t again_ms = UINT64_MAX;
    for (struct query **at = list; *at != NULL;) {
        struct query *query = *at;
        enum progress progress = take_turn(engine, query);
        if (progress == QUERY_ANSWERED) {
            *at = query->link;
            query_free(query);
            (*answered)++;
            continue;
        }
        uint64_t until_ms = query->wait_until_ms < query->end_ms ? query->wait_until_ms : query->end_ms;
        if (progress == QUERY_GOES_ON)
            until_ms = 0;
        again_ms = until_ms < again_ms ? until_ms : again_ms;
        at = &query->link;
    }
    return again_ms;
}

static void refuse_all(struct query *list)
{
    while (list != NULL) {
        struct query *next = list->link;
        list->done(list->arg, TG_UNAVAILABLE, "the audit service is ending", NULL);
        query_free(list);
        list = next;
    }
}

static void take_coming(struct query_engine *engine, struct query **list)
{
    while (engine->coming != NULL) {
        struct query *query = engine->coming;
        engine->coming = query->link;
        query->link = *list;
        *list = query;
    }
}

static void *engine_main(void *arg)
{
    struct query_engine *engine = arg;
    struct query *list = NULL;
    uint64_t again_ms = 0;
    pthread_mutex_lock(&engine->lock);
    for (;;) {
        while (!engine->stopping && !engine->grown && engine->coming == NULL && clock_now_ms() < again_ms)
            (void)monotonic_wait(&engine->wake, &engine->lock, again_ms);
        if (engine->stopping)
            break;
        size_t answered = 0;
        engine->grown = false;
        take_coming(engine, &list);
        pthread_mutex_unlock(&engine->lock);
        again_ms = run_queries(engine, &list, &answered);
        uint64_t index_ms = index_advance(engine->index, INDEX_BUNDLES) ? 0 : clock_now_ms() + INDEX_PAUSE_MS;
        again_ms = index_ms < again_ms ? index_ms : again_ms;
        pthread_mutex_lock(&engine->lock);
        engine->waiting -= answered;
    }
    take_coming(engine, &list);
    pthread_mutex_unlock(&engine->lock);
    refuse_all(list);
    return NULL;
}

static enum tg_code query_new(const struct query_engine *engine, struct query **out,
                              const Tg__QueryRequest *request, uint32_t budget_ms, struct tg_error *err)
{
    uint64_t end = engine->log->ops->next(engine->log);
    TG_ENSURE(request->from_sequence <= end, err, TG_OUT_OF_RANGE,
              "this log goes up to event %" PRIu64 ", not on from %" PRIu64
              ": is that a place in another audit service's log?",
              end, request->from_sequence);
    TG_ENSURE(request->limit >= 1 && request->limit <= QUERY_LINES_MAX, err, TG_INVALID_ARGUMENT,
              "limit is 1 to %d lines, not %u", QUERY_LINES_MAX, request->limit);
    struct query *query = calloc(1, sizeof *query);
    TG_ENSURE(query != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a query");
    enum tg_code code = filter_init(&query->filter, request, err);
    if (code != TG_OK) {
        query_free(query);
        return code;
    }
    filter_probe(&query->filter, request, &query->probe);
    uint64_t now_ms = clock_now_ms();
    uint64_t budget = budget_ms > 2 * ANSWER_RESERVE_MS ? budget_ms - ANSWER_RESERVE_MS : budget_ms / 2;
    query->next = request->from_sequence;
    query->limit = request->limit;
    query->wait_until_ms = now_ms + request->wait_ms;
    query->end_ms = now_ms + budget;
    *out = query;
    return TG_OK;
}

void query_submit(struct query_engine *engine, const Tg__QueryRequest *request, uint32_t budget_ms,
                  query_done *done, void *arg)
{
    struct tg_error err = {0};
    struct query *query = NULL;
    enum tg_code code = query_new(engine, &query, request, budget_ms, &err);
    if (query == NULL) {
        done(arg, code, err.text, NULL);
        return;
    }
    query->done = done;
    query->arg = arg;
    pthread_mutex_lock(&engine->lock);
    bool taken = !engine->stopping && engine->waiting < QUERY_WAITING_MAX;
    if (taken) {
        engine->waiting++;
        query->link = engine->coming;
        engine->coming = query;
        pthread_cond_signal(&engine->wake);
    }
    pthread_mutex_unlock(&engine->lock);
    if (!taken) {
        query_free(query);
        done(arg, TG_RESOURCE_EXHAUSTED, "no more queries are taken now: try again", NULL);
    }
}

void query_wake(struct query_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    engine->grown = true;
    if (engine->waiting > 0)
        pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->lock);
}

enum tg_code query_engine_open(struct query_engine **out, const char *directory, struct log_writer *log,
                               struct tg_error *err)
{
    struct query_engine *engine = calloc(1, sizeof *engine);
    TG_ENSURE(engine != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for queries");
    engine->log = log;
    engine->index = index_open(directory, log);
    if (engine->index == NULL) {
        free(engine);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for the index");
    }
    pthread_mutex_init(&engine->lock, NULL);
    monotonic_cond_init(&engine->wake);
    *out = engine;
    return TG_OK;
}

enum tg_code query_engine_start(struct query_engine *engine, struct tg_error *err)
{
    int rc = pthread_create(&engine->thread, NULL, engine_main, engine);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start the thread for queries: %s", strerror(rc));
    engine->started = true;
    return TG_OK;
}

void query_engine_stop(struct query_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    engine->stopping = true;
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->lock);
    if (engine->started)
        pthread_join(engine->thread, NULL);
    engine->started = false;
    refuse_all(engine->coming);
    engine->coming = NULL;
}

void query_engine_close(struct query_engine *engine)
{
    if (engine == NULL)
        return;
    query_engine_stop(engine);
    index_close(engine->index);
    pthread_cond_destroy(&engine->wake);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}
