#include "common/etsi014/client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/etsi014/exchange.h"
#include "common/trace.h"

enum { STATUS_KEPT_MS = 10000 };

const char *const etsi014_method_names[] = {[ETSI014_POST] = "post", [ETSI014_GET] = "get", NULL};

struct etsi014_client {
    struct exchange *exchange;
    bool by_get;
    uint64_t timeout_ms;
    pthread_mutex_t lock; /* one call at a time */
    char status_of[NAME_TEXT_MAX + 1];
    uint64_t status_until_ms;
    struct etsi014_status status;
};

enum tg_code etsi014_client_open(const struct etsi014_peer *peer, struct etsi014_client **client,
                                 struct tg_error *err)
{
    TG_ENSURE(peer->url != NULL, err, TG_INVALID_ARGUMENT, "no KME is configured: give url");
    struct etsi014_client *c = calloc(1, sizeof *c);
    TG_ENSURE(c != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for a KME");
    enum tg_code code = exchange_open(peer, &c->exchange, err);
    if (code != TG_OK) {
        free(c);
        return code;
    }
    pthread_mutex_init(&c->lock, NULL);
    c->by_get = peer->method == ETSI014_GET;
    c->timeout_ms = (uint64_t)peer->timeout_ms;
    *client = c;
    return TG_OK;
}

void etsi014_client_close(struct etsi014_client *c)
{
    if (c == NULL)
        return;
    exchange_close(c->exchange);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void etsi014_client_interrupt(struct etsi014_client *c)
{
    exchange_interrupt(c->exchange);
}

/* Says whose answer is wrong. */
static enum tg_code blame(const struct etsi014_client *c, const struct tg_error *why, struct tg_error *err)
{
    return tg_fail(err, why->code, "KME %.80s: %.160s", exchange_url(c->exchange), why->text);
}

static uint64_t earlier(const struct etsi014_client *c, uint64_t deadline_ms)
{
    uint64_t ours = clock_now_ms() + c->timeout_ms;
    return ours < deadline_ms ? ours : deadline_ms;
}

/* ---- status ---- */

static enum tg_code ask_status(struct etsi014_client *c, const char *sae, uint64_t deadline_ms,
                               struct etsi014_status *out, struct tg_error *err)
{
    const struct exchange_question question = {.sae = sae, .call = "status", .query = ""};
    struct exchange_answer answer;
    struct tg_error why;
    TG_TRY(exchange_ask(c->exchange, &question, deadline_ms, &answer, err));
    if (etsi014_status_decode(answer.body, answer.len, out, &why) != TG_OK)
        return blame(c, &why, err);
    return TG_OK;
}

enum tg_code etsi014_get_status(struct etsi014_client *c, const char *slave, uint64_t deadline_ms,
                                struct etsi014_status *out, struct tg_error *err)
{
    pthread_mutex_lock(&c->lock);
    enum tg_code code = ask_status(c, slave, earlier(c, deadline_ms), out, err);
    pthread_mutex_unlock(&c->lock);
    return code;
}

/* The same for a while: it says what the KME can do at all, which changes seldom. */
static enum tg_code know_status(struct etsi014_client *c, const char *sae, uint64_t deadline_ms,
                                struct tg_error *err)
{
    if (strcmp(c->status_of, sae) == 0 && clock_now_ms() < c->status_until_ms)
        return TG_OK;
    TG_TRY(ask_status(c, sae, deadline_ms, &c->status, err));
    snprintf(c->status_of, sizeof c->status_of, "%s", sae);
    c->status_until_ms = clock_now_ms() + STATUS_KEPT_MS;
    return TG_OK;
}

/* ---- keys ---- */

/* What is wanted: new keys, or those of `ids`. */
struct wish {
    const char *sae;
    const uint8_t (*ids)[TICKET_KEY_ID_LEN]; /* NULL: new ones */
    size_t count;
    uint32_t bits;
    uint64_t deadline_ms;
};

/* A KME need not give its status to a slave, since we ask for it the wrong way round: then it says nothing.
 */
static enum tg_code know_limits(struct etsi014_client *c, const struct wish *wish, struct tg_error *err)
{
    struct tg_error why;
    enum tg_code code = know_status(c, wish->sae, wish->deadline_ms, &why);
    if (code == TG_FAILED_PRECONDITION && wish->ids != NULL) {
        c->status = (struct etsi014_status){0};
        return TG_OK;
    }
    return code == TG_OK ? TG_OK : tg_fail(err, code, "%s", why.text);
}

static enum tg_code check_limits(const struct etsi014_client *c, const struct wish *wish,
                                 struct tg_error *err)
{
    const struct etsi014_status *s = &c->status;
    bool fits = (s->min_key_size == 0 || wish->bits >= s->min_key_size) &&
                (s->max_key_size == 0 || wish->bits <= s->max_key_size);
    TG_ENSURE(fits, err, TG_FAILED_PRECONDITION, "KME %.80s gives keys of %u to %u bits, %u are needed",
              exchange_url(c->exchange), s->min_key_size, s->max_key_size, wish->bits);
    return TG_OK;
}

/* How many at once. A KME that does not say gives one at a time; by GET there is no list of key ids. */
static size_t batch_of(const struct etsi014_client *c, const struct wish *wish)
{
    size_t most = c->status.max_key_per_request;
    if (most == 0 || (c->by_get && wish->ids != NULL))
        return 1;
    return most < ETSI014_KEYS_MAX ? most : ETSI014_KEYS_MAX;
}

static enum tg_code ask_by_get(struct etsi014_client *c, const struct wish *wish,
                               struct exchange_answer *answer, struct tg_error *err)
{
    char query[64];
    if (wish->ids != NULL) {
        char id[ETSI014_ID_TEXT_LEN + 1];
        ticket_key_id_text(wish->ids[0], id);
        snprintf(query, sizeof query, "key_ID=%s", id);
    } else {
        snprintf(query, sizeof query, "number=%zu&size=%u", wish->count, wish->bits);
    }
    const struct exchange_question question = {
        .sae = wish->sae, .call = wish->ids != NULL ? "dec_keys" : "enc_keys", .query = query};
    return exchange_ask(c->exchange, &question, wish->deadline_ms, answer, err);
}

static enum tg_code ask_by_post(struct etsi014_client *c, const struct wish *wish,
                                struct exchange_answer *answer, struct tg_error *err)
{
    const struct etsi014_request request = {.number = (uint32_t)wish->count, .size = wish->bits};
    size_t len = 0;
    char *body = wish->ids != NULL ? etsi014_key_ids_encode(wish->ids, wish->count, &len)
                                   : etsi014_request_encode(&request, &len);
    TG_ENSURE(body != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for a question to a KME");
    const struct exchange_question question = {.sae = wish->sae,
                                               .call = wish->ids != NULL ? "dec_keys" : "enc_keys",
                                               .query = "",
                                               .body = body,
                                               .body_len = len};
    enum tg_code code = exchange_ask(c->exchange, &question, wish->deadline_ms, answer, err);
    etsi014_body_free(body, len);
    return code;
}

/* A KME may give them in another order. */
static size_t place_of(const struct wish *wish, size_t i, const uint8_t id[TICKET_KEY_ID_LEN])
{
    if (wish->ids == NULL)
        return i;
    size_t place = 0;
    while (place < wish->count && memcmp(wish->ids[place], id, TICKET_KEY_ID_LEN) != 0)
        place++;
    return place;
}

/* Adds the keys of one answer to `all`, from place `at` on. */
static enum tg_code add_keys(const struct wish *wish, const struct etsi014_keys *got,
                             struct etsi014_keys *all, size_t at, struct tg_error *err)
{
    for (size_t i = 0; i < got->count; i++) {
        size_t place = place_of(wish, i, got->ids[i]);
        TG_ENSURE(place < wish->count, err, TG_DATA_LOSS,
                  "the key container holds a key that was not asked for");
        memcpy(all->ids[at + place], got->ids[i], TICKET_KEY_ID_LEN);
        memcpy(secret_bytes(all->bytes) + (at + place) * all->key_len,
               secret_view(got->bytes) + i * got->key_len, got->key_len);
    }
    for (size_t i = at; i < at + got->count; i++)
        for (size_t j = 0; j < at; j++)
            TG_ENSURE(memcmp(all->ids[i], all->ids[j], TICKET_KEY_ID_LEN) != 0, err, TG_DATA_LOSS,
                      "the same key came twice");
    return TG_OK;
}

static enum tg_code fetch_batch(struct etsi014_client *c, const struct wish *wish, struct etsi014_keys *all,
                                size_t at, struct tg_error *err)
{
    TG_CLEANUP(etsi014_keys_fini) struct etsi014_keys got = {0};
    struct exchange_answer answer;
    struct tg_error why;
    TG_TRY(c->by_get ? ask_by_get(c, wish, &answer, err) : ask_by_post(c, wish, &answer, err));
    enum tg_code code = etsi014_keys_decode(answer.body, answer.len, wish->count, wish->bits / 8, &got, &why);
    exchange_wipe(c->exchange);
    if (code == TG_OK)
        code = add_keys(wish, &got, all, at, &why);
    return code == TG_OK ? TG_OK : blame(c, &why, err);
}

static enum tg_code fetch_all(struct etsi014_client *c, const struct wish *wish, struct etsi014_keys *all,
                              struct tg_error *err)
{
    TG_TRY(know_limits(c, wish, err));
    TG_TRY(check_limits(c, wish, err));
    size_t batch = batch_of(c, wish);
    for (size_t at = 0; at < wish->count; at += batch) {
        struct wish part = *wish;
        part.count = wish->count - at < batch ? wish->count - at : batch;
        part.ids = wish->ids != NULL ? wish->ids + at : NULL;
        TG_TRY(fetch_batch(c, &part, all, at, err));
    }
    return TG_OK;
}

/* All or none. Whatever failed, the status is asked for anew next time: limits may be why. */
static enum tg_code fetch(struct etsi014_client *c, struct wish *wish, struct etsi014_keys *out,
                          struct tg_error *err)
{
    TG_INVARIANT(wish->bits > 0 && wish->bits % 8 == 0);
    TG_TRY(etsi014_keys_init(out, wish->count, wish->bits / 8, err));
    pthread_mutex_lock(&c->lock);
    wish->deadline_ms = earlier(c, wish->deadline_ms);
    enum tg_code code = fetch_all(c, wish, out, err);
    exchange_wipe(c->exchange);
    if (code != TG_OK)
        c->status_until_ms = 0;
    pthread_mutex_unlock(&c->lock);
    if (code != TG_OK)
        etsi014_keys_fini(out);
    return code;
}

enum tg_code etsi014_enc_keys(struct etsi014_client *c, const char *slave, size_t count, uint32_t bits,
                              uint64_t deadline_ms, struct etsi014_keys *out, struct tg_error *err)
{
    struct wish wish = {.sae = slave, .count = count, .bits = bits, .deadline_ms = deadline_ms};
    return fetch(c, &wish, out, err);
}

enum tg_code etsi014_dec_keys(struct etsi014_client *c, const char *master,
                              const uint8_t (*ids)[TICKET_KEY_ID_LEN], size_t count, uint32_t bits,
                              uint64_t deadline_ms, struct etsi014_keys *out, struct tg_error *err)
{
    struct wish wish = {.sae = master, .ids = ids, .count = count, .bits = bits, .deadline_ms = deadline_ms};
    return fetch(c, &wish, out, err);
}
