/* Scripted audit services, and what a caller of the audit client was told. One rig is one service; the client
 * in it may report to several. */
#ifndef TG_TESTS_UNIT_COMMON_AUDIT_RIG_H
#define TG_TESTS_UNIT_COMMON_AUDIT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/audit_client.h"
#include "common/audit_queue.h"
#include "common/pb.h"

enum { HELD_MAX = 64, NAMES_MAX = 16384 };

struct rig {
    char dir[64];
    char address[128];
    struct rpc_server *server;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold;
    enum tg_code answer; /* to every batch */
    const char *poison;  /* event that makes its batch INVALID_ARGUMENT */
    struct rpc_call *held[HELD_MAX];
    size_t held_count;
    size_t batches, events, largest;
    bool same_id_seen;
    uint8_t last_id[REQUEST_ID_LEN];
    char last_service[32], last_event[64];
    uint64_t last_time_us;
    uint8_t seen[NAMES_MAX]; /* how often event number i came */
    uint8_t ids[NAMES_MAX][REQUEST_ID_LEN];
    char news[4][64], told[4][160]; /* events of the client's own: name, reason or detail */
    size_t news_count;
};

static inline bool is_poisoned(const struct rig *rig, const Tg__AppendRequest *append)
{
    for (size_t i = 0; i < append->n_events; i++)
        if (rig->poison != NULL && strcmp(append->events[i]->event, rig->poison) == 0)
            return true;
    return false;
}

static inline void note(struct rig *rig, const struct rpc_call *call, const Tg__AppendRequest *append)
{
    const Tg__Event *last = append->events[append->n_events - 1];
    rig->batches++;
    if (append->n_events > rig->largest)
        rig->largest = append->n_events;
    rig->same_id_seen |= memcmp(rig->last_id, rpc_call_request_id(call), REQUEST_ID_LEN) == 0;
    memcpy(rig->last_id, rpc_call_request_id(call), REQUEST_ID_LEN);
    snprintf(rig->last_service, sizeof rig->last_service, "%s", last->service);
    snprintf(rig->last_event, sizeof rig->last_event, "%s", last->event);
    rig->last_time_us = last->time_us;
}

static inline void keep_news(struct rig *rig, const Tg__Event *event)
{
    size_t place = rig->news_count++ % 4;
    snprintf(rig->news[place], sizeof rig->news[place], "%s", event->event);
    snprintf(rig->told[place], sizeof rig->told[place], "%s|%s%s", event->peer, event->reason, event->detail);
}

static inline void keep_events(struct rig *rig, const Tg__AppendRequest *append)
{
    rig->events += append->n_events;
    for (size_t i = 0; i < append->n_events; i++) {
        const Tg__Event *event = append->events[i];
        size_t number = (size_t)atoi(event->detail) % NAMES_MAX;
        if (strncmp(event->event, "audit.", 6) == 0) {
            keep_news(rig, event);
            continue;
        }
        rig->seen[number]++;
        if (event->id.len == REQUEST_ID_LEN)
            memcpy(rig->ids[number], event->id.data, REQUEST_ID_LEN);
    }
}

static inline void answer(struct rpc_call *call)
{
    Tg__AppendResponse response = TG__APPEND_RESPONSE__INIT;
    rpc_reply(call, &response.base);
}

static inline void on_append(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Tg__AppendRequest *append = (const void *)message;
    struct rig *rig = rpc_call_context(call);
    pthread_mutex_lock(&rig->lock);
    note(rig, call, append);
    enum tg_code code = is_poisoned(rig, append) ? TG_INVALID_ARGUMENT : rig->answer;
    bool hold = rig->hold;
    if (code == TG_OK)
        keep_events(rig, append);
    if (hold && rig->held_count < HELD_MAX)
        rig->held[rig->held_count++] = call;
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
    if (hold)
        return;
    if (code == TG_OK)
        answer(call);
    else
        rpc_fail(call, code, "disk is full");
}

static const struct rpc_method methods[] = {
    {&tg__audit__descriptor, "Append", RPC_ROLE_SERVICE, on_append},
    {NULL, NULL, 0, NULL},
};

static inline void serve(struct rig *rig)
{
    struct tg_error err = {0};
    struct rpc_listener listener = {.address = rig->address, .role = 4};
    if (rpc_server_open(&rig->server, methods, rig, 16, &err) != TG_OK ||
        rpc_server_listen(rig->server, &listener, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static inline void rig_init(struct rig *rig)
{
    pthread_mutex_init(&rig->lock, NULL);
    pthread_cond_init(&rig->changed, NULL);
    memcpy(rig->dir, "/tmp/tg-audit-XXXXXX", sizeof "/tmp/tg-audit-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    snprintf(rig->address, sizeof rig->address, "ipc://%.60s/socket", rig->dir);
    serve(rig);
}

/* ---- callers ---- */

struct result {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t count, durable;
    enum tg_code status; /* the last */
    char text[256];
};
#define RESULT_INIT                                                                                          \
    {                                                                                                        \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                               \
    }

static inline void on_done(void *arg, enum tg_code status, const char *text)
{
    struct result *r = arg;
    pthread_mutex_lock(&r->lock);
    r->count++;
    r->durable += status == TG_OK;
    r->status = status;
    snprintf(r->text, sizeof r->text, "%s", text);
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static inline void await_results(struct result *r, size_t count)
{
    pthread_mutex_lock(&r->lock);
    while (r->count < count)
        pthread_cond_wait(&r->changed, &r->lock);
    assert_int_equal(r->count, count);
    pthread_mutex_unlock(&r->lock);
}

/* Event number `number`; the caller hears in r. */
static inline void report(struct audit_client *audit, unsigned number, uint32_t budget_ms, struct result *r)
{
    char detail[16];
    snprintf(detail, sizeof detail, "%u", number);
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("login.accepted");
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.detail = detail;
    if (r != NULL)
        audit_report(audit, &event, budget_ms, on_done, r);
    else
        assert_true(audit_post(audit, &event));
}

static inline void await_batches(struct rig *rig, size_t count)
{
    pthread_mutex_lock(&rig->lock);
    while (rig->batches < count)
        pthread_cond_wait(&rig->changed, &rig->lock);
    pthread_mutex_unlock(&rig->lock);
}

static inline void await_events(struct rig *rig, size_t count)
{
    pthread_mutex_lock(&rig->lock);
    while (rig->events < count)
        pthread_cond_wait(&rig->changed, &rig->lock);
    pthread_mutex_unlock(&rig->lock);
}

static inline void set_answer(struct rig *rig, enum tg_code code, bool hold)
{
    pthread_mutex_lock(&rig->lock);
    rig->answer = code;
    rig->hold = hold;
    pthread_mutex_unlock(&rig->lock);
}

static inline void answer_held(struct rig *rig)
{
    pthread_mutex_lock(&rig->lock);
    struct rpc_call *held[HELD_MAX];
    size_t count = rig->held_count;
    memcpy(held, rig->held, sizeof held);
    rig->held_count = 0;
    rig->hold = false;
    pthread_mutex_unlock(&rig->lock);
    for (size_t i = 0; i < count; i++)
        answer(held[i]);
}

/* The client must be closed. */
static inline void rig_fini(struct rig *rig)
{
    rpc_server_close(rig->server);
    answer_held(rig);
    rmdir(rig->dir);
    pthread_cond_destroy(&rig->changed);
    pthread_mutex_destroy(&rig->lock);
}

#endif
