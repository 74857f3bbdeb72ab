#include "services/key-store/source/source_stock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/monotonic.h"
#include "common/trace.h"

struct stock {
    struct source base; /* first: a struct source * is a struct stock * */
    struct source_fetch fetch;
    struct source_stock_options options;
    struct secret *chunk; /* the thread's */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* over all below */
    pthread_cond_t changed;
    struct secret *ring;
    size_t first, level;        /* of the ring: where the oldest byte is, and how many there are */
    uint64_t fetched, drawn;    /* since the start */
    uint64_t lately, lately_us; /* bytes fetched and the time it took; older ones count for less */
    bool filled;                /* has been above low water, or has failed to get there */
    bool low, failed, stopping;
    char problem[256];
};

/* ---- the ring, under the lock ---- */

static void put(struct stock *stock, const uint8_t *bytes, size_t len)
{
    uint8_t *ring = secret_bytes(stock->ring);
    size_t size = secret_len(stock->ring);
    for (size_t i = 0; i < len; i++)
        ring[(stock->first + stock->level + i) % size] = bytes[i];
    stock->level += len;
}

/* Each byte is given once: its place is wiped. */
static void take(struct stock *stock, uint8_t *out, size_t len)
{
    uint8_t *ring = secret_bytes(stock->ring);
    size_t size = secret_len(stock->ring);
    for (size_t i = 0; i < len; i++) {
        uint8_t *at = &ring[(stock->first + i) % size];
        out[i] = *at;
        *at = 0;
    }
    stock->first = (stock->first + len) % size;
    stock->level -= len;
}

static void throw_away(struct stock *stock)
{
    secret_wipe(secret_bytes(stock->ring), secret_len(stock->ring));
    stock->first = stock->level = 0;
}

/* ---- how it is ---- */

static void describe(const struct stock *stock, struct source_status *out)
{
    *out = (struct source_status){
        .stock = stock->level,
        .capacity = secret_len(stock->ring),
        .low_water = stock->options.low_water,
        .fetched = stock->fetched,
        .drawn = stock->drawn,
        .rate = stock->lately_us > 0 ? stock->lately * 1000000 / stock->lately_us : 0,
        .low = stock->low,
        .failed = stock->failed,
    };
    memcpy(out->problem, stock->problem, sizeof out->problem);
}

static void get_status(struct source *source, struct source_status *out)
{
    struct stock *stock = (struct stock *)source;
    pthread_mutex_lock(&stock->lock);
    describe(stock, out);
    pthread_mutex_unlock(&stock->lock);
}

/* What has just become of the stock; -1: nothing worth an event. Under the lock. */
static int judge(struct stock *stock)
{
    size_t mark = stock->options.low_water;
    if (stock->level >= mark || stock->problem[0] != '\0')
        stock->filled = true;
    if (!stock->low && stock->filled && stock->level < mark) {
        stock->low = true;
        return SOURCE_LOW;
    }
    if (stock->low && stock->level >= 2 * mark) {
        stock->low = false;
        return SOURCE_RECOVERED;
    }
    return -1;
}

static void tell(const struct stock *stock, int event, const struct source_status *status)
{
    static const char *const names[] = {"source.low", "source.recovered", "source.failed"};
    if (event < 0)
        return;
    LOG(event == SOURCE_RECOVERED ? LOG_INFO : LOG_ERROR, NULL, names[event],
        LOG_TEXT("source", stock->base.name), LOG_NUMBER("stock", status->stock),
        LOG_TEXT("problem", status->problem));
    if (stock->options.on_event != NULL)
        stock->options.on_event(stock->options.arg, (enum source_event)event, status);
}

/* ---- drawing ---- */

static enum tg_code refuse(const struct stock *stock, const struct source_status *status, size_t len,
                           struct tg_error *err)
{
    if (status->failed)
        return tg_fail(err, TG_UNAVAILABLE, "key source %s is out of use: %s", stock->base.name,
                       status->problem);
    return tg_fail(err, TG_RESOURCE_EXHAUSTED, "key source %s is dry: %zu bytes wanted, %zu there%s%s",
                   stock->base.name, len, (size_t)status->stock, status->problem[0] != '\0' ? ": " : "",
                   status->problem);
}

static enum tg_code draw(struct source *source, struct secret *out, struct tg_error *err)
{
    struct stock *stock = (struct stock *)source;
    struct source_status status;
    size_t len = secret_len(out);
    pthread_mutex_lock(&stock->lock);
    bool enough = !stock->failed && stock->level >= len;
    if (enough) {
        take(stock, secret_bytes(out), len);
        stock->drawn += len;
        pthread_cond_signal(&stock->changed);
    }
    int event = judge(stock);
    describe(stock, &status);
    pthread_mutex_unlock(&stock->lock);
    tell(stock, event, &status);
    return enough ? TG_OK : refuse(stock, &status, len, err);
}

/* ---- fetching: the thread ---- */

static void note_time(struct stock *stock, size_t len, uint64_t us)
{
    stock->lately = stock->lately * 7 / 8 + len;
    stock->lately_us = stock->lately_us * 7 / 8 + us + 1;
}

/* Under the lock. */
static void note_failure(struct stock *stock, const struct tg_error *err)
{
    snprintf(stock->problem, sizeof stock->problem, "%s", err->text);
    if (err->code != TG_DATA_LOSS)
        return;
    stock->failed = true;
    throw_away(stock);
}

static void fetch_once(struct stock *stock)
{
    struct tg_error err = {0};
    struct source_status status;
    size_t len = 0;
    uint64_t from_us = clock_unix_us();
    enum tg_code code = stock->fetch.fetch(stock->fetch.arg, stock->chunk, &len, &err);
    uint64_t to_us = clock_unix_us();
    TG_INVARIANT(code != TG_OK || (len >= 1 && len <= secret_len(stock->chunk)));

    pthread_mutex_lock(&stock->lock);
    if (code == TG_OK) {
        put(stock, secret_view(stock->chunk), len);
        stock->fetched += len;
        stock->problem[0] = '\0';
        note_time(stock, len, to_us > from_us ? to_us - from_us : 0);
    } else if (!stock->stopping) {
        note_failure(stock, &err);
    }
    int event = judge(stock);
    describe(stock, &status);
    pthread_mutex_unlock(&stock->lock);
    secret_wipe(secret_bytes(stock->chunk), secret_len(stock->chunk));
    tell(stock, event, &status);
    if (status.failed)
        tell(stock, SOURCE_FAILED, &status);
}

/* Until there is something to fetch and it is time to. False: the end. */
static bool await_need(struct stock *stock)
{
    pthread_mutex_lock(&stock->lock);
    uint64_t retry_at_ms = stock->problem[0] != '\0' ? clock_now_ms() + SOURCE_RETRY_MS : 0;
    size_t size = secret_len(stock->ring);
    while (!stock->stopping) {
        bool room = size - stock->level >= secret_len(stock->chunk) && !stock->failed;
        if (room && clock_now_ms() >= retry_at_ms)
            break;
        (void)monotonic_wait(&stock->changed, &stock->lock, room ? retry_at_ms : UINT64_MAX);
    }
    bool stopping = stock->stopping;
    pthread_mutex_unlock(&stock->lock);
    return !stopping;
}

static void *keep_stocked(void *arg)
{
    struct stock *stock = arg;
    while (await_need(stock))
        fetch_once(stock);
    return NULL;
}

static enum tg_code start(struct source *source, struct tg_error *err)
{
    struct stock *stock = (struct stock *)source;
    int rc = pthread_create(&stock->thread, NULL, keep_stocked, stock);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start the thread of key source %s: %s",
              source->name, strerror(rc));
    stock->started = true;
    return TG_OK;
}

/* ---- opening and closing ---- */

static void stop(struct stock *stock)
{
    pthread_mutex_lock(&stock->lock);
    stock->stopping = true;
    pthread_cond_signal(&stock->changed);
    pthread_mutex_unlock(&stock->lock);
    stock->fetch.interrupt(stock->fetch.arg);
    if (stock->started)
        pthread_join(stock->thread, NULL);
}

static void close_stock(struct source *source)
{
    struct stock *stock = (struct stock *)source;
    stop(stock);
    stock->fetch.close(stock->fetch.arg);
    secret_free(stock->ring);
    secret_free(stock->chunk);
    pthread_cond_destroy(&stock->changed);
    pthread_mutex_destroy(&stock->lock);
    free(stock);
}

enum tg_code source_stock_open(const struct source_fetch *fetch, const struct source_stock_options *options,
                               struct source **source, struct tg_error *err)
{
    TG_INVARIANT(options->capacity >= SOURCE_STOCK_MIN && options->capacity <= SOURCE_STOCK_MAX &&
                 options->low_water <= options->capacity / 2);
    struct stock *stock = calloc(1, sizeof *stock);
    if (stock == NULL) {
        fetch->close(fetch->arg);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "out of memory for key source %s", fetch->name);
    }
    stock->base = (struct source){
        .name = fetch->name, .start = start, .draw = draw, .status = get_status, .close = close_stock};
    stock->fetch = *fetch;
    stock->options = *options;
    pthread_mutex_init(&stock->lock, NULL);
    monotonic_cond_init(&stock->changed);
    stock->ring = secret_new(options->capacity);
    stock->chunk = secret_new(SOURCE_FETCH_MAX);
    if (stock->ring == NULL || stock->chunk == NULL) {
        close_stock(&stock->base);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED,
                       "no locked memory left for the stock of key source %s: raise locked_memory",
                       fetch->name);
    }
    *source = &stock->base;
    return TG_OK;
}
