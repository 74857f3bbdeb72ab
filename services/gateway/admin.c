#include "services/gateway/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/names.h"
#include "common/pb.h"
#include "proto/gateway.pb-c.h"
#include "services/gateway/gateway.h"
#include "services/gateway/policy.h"
#include "services/gateway/session.h"
#include "services/gateway/worker.h"

enum { PAGE_MAX = 500, HEX_LEN = 2 * SESSION_ID_LEN };

/* A copy of what a page shows, so that nothing of a worker's is read by another thread. */
struct row {
    Tg__Session session;
    char hex[HEX_LEN + 1], user[HANDSHAKE_USER_MAX + 1], source[CONNECTION_SOURCE_LEN];
    char policy[POLICY_NAME_MAX + 1], trace[TRACE_HEX_LEN + 1];
};

/* A question on its way from worker to worker. */
struct visit {
    struct post post; /* first: worker_post gives it back */
    struct gateway *gateway;
    size_t next_worker;
    struct rpc_call *call;
    void (*ask)(struct visit *visit, struct worker *worker);
    void (*answer)(struct visit *visit);

    char wanted[HEX_LEN + 1]; /* list: sessions after it; kill: this one */
    char reason[NAME_TEXT_MAX + 1];
    bool found;
    size_t limit;
    struct row *rows; /* the first `limit` + 1 of all seen so far, in order */
    size_t count;
};

static void go_on(struct visit *visit)
{
    if (visit->next_worker < visit->gateway->worker_count) {
        worker_post(visit->gateway->workers[visit->next_worker++], &visit->post);
        return;
    }
    visit->answer(visit);
    free(visit->rows);
    free(visit);
}

static void on_worker(struct worker *worker, struct post *post)
{
    struct visit *visit = (struct visit *)post;
    if (worker != NULL) /* NULL: it has stopped and holds no sessions */
        visit->ask(visit, worker);
    go_on(visit);
}

static struct visit *visit_new(struct rpc_call *call)
{
    struct visit *visit = calloc(1, sizeof *visit);
    if (visit == NULL)
        return NULL;
    visit->post.run = on_worker;
    visit->gateway = rpc_call_context(call);
    visit->call = call;
    return visit;
}

/* ---- SessionList ---- */

static void fill_row(struct row *row, const struct connection *c)
{
    const struct session *s = c->session;
    memcpy(row->hex, s->hex, sizeof row->hex);
    memcpy(row->user, s->user, sizeof row->user);
    memcpy(row->source, c->source, sizeof row->source);
    memcpy(row->trace, c->trace.hex, sizeof row->trace);
    snprintf(row->policy, sizeof row->policy, "%s", policy_name(s->policy));
    tg__session__init(&row->session);
    row->session.started_s = s->started_us / 1000000;
    row->session.bytes_in = s->bytes_in;
    row->session.bytes_out = s->bytes_out;
    row->session.streams = s->stream_count;
}

/* Keeps the page sorted: the row goes to its place, and what falls off the end is of a later page. */
static void insert(struct visit *visit, const struct connection *c)
{
    size_t place = visit->count;
    while (place > 0 && strcmp(visit->rows[place - 1].hex, c->session->hex) > 0)
        place--;
    if (place > visit->limit)
        return;
    size_t last = visit->count <= visit->limit ? visit->count++ : visit->limit;
    memmove(&visit->rows[place + 1], &visit->rows[place], (last - place) * sizeof *visit->rows);
    fill_row(&visit->rows[place], c);
}

static void list_ask(struct visit *visit, struct worker *worker)
{
    for (const struct connection *c = worker->connections; c != NULL; c = c->next)
        if (c->session != NULL && strcmp(c->session->hex, visit->wanted) > 0)
            insert(visit, c);
}

static void list_answer(struct visit *visit)
{
    Tg__SessionListResponse response = TG__SESSION_LIST_RESPONSE__INIT;
    Tg__Session *list[PAGE_MAX];
    response.more = visit->count > visit->limit;
    response.n_sessions = response.more ? visit->limit : visit->count;
    response.sessions = list;
    for (size_t i = 0; i < response.n_sessions; i++) {
        struct row *row = &visit->rows[i];
        row->session.session_id = row->hex;
        row->session.user = row->user;
        row->session.source = row->source;
        row->session.policy = row->policy;
        row->session.trace_id = row->trace;
        list[i] = &row->session;
    }
    rpc_reply(visit->call, &response.base);
}

void admin_session_list(struct rpc_call *call, const ProtobufCMessage *request)
{
    const Tg__SessionListRequest *list = (const Tg__SessionListRequest *)request;
    if (strlen(list->after) > HEX_LEN || list->limit > PAGE_MAX) {
        rpc_fail(call, TG_INVALID_ARGUMENT, "after: a session id or empty; limit: at most %d", PAGE_MAX);
        return;
    }
    struct visit *visit = visit_new(call);
    size_t limit = list->limit > 0 ? list->limit : PAGE_MAX;
    struct row *rows = calloc(limit + 1, sizeof *rows);
    if (visit == NULL || rows == NULL) {
        free(visit);
        free(rows);
        rpc_fail(call, TG_RESOURCE_EXHAUSTED, "the gateway is out of memory");
        return;
    }
    visit->rows = rows;
    visit->limit = limit;
    snprintf(visit->wanted, sizeof visit->wanted, "%s", list->after);
    visit->ask = list_ask;
    visit->answer = list_answer;
    go_on(visit);
}

/* ---- SessionKill ---- */

static void kill_ask(struct visit *visit, struct worker *worker)
{
    char text[SESSION_CAUSE_MAX];
    for (struct connection *c = worker->connections, *next; c != NULL; c = next) {
        next = c->next;
        if (c->session == NULL || strcmp(c->session->hex, visit->wanted) != 0)
            continue;
        visit->found = true;
        snprintf(text, sizeof text, "ended by an operator%s%s", visit->reason[0] != '\0' ? ": " : "",
                 visit->reason);
        session_bye(c, TG_CANCELLED, text, text);
    }
}

static void kill_answer(struct visit *visit)
{
    Tg__SessionKillResponse response = TG__SESSION_KILL_RESPONSE__INIT;
    if (visit->found)
        rpc_reply(visit->call, &response.base);
    else
        rpc_fail(visit->call, TG_NOT_FOUND, "there is no session %s", visit->wanted);
}

void admin_session_kill(struct rpc_call *call, const ProtobufCMessage *request)
{
    const Tg__SessionKillRequest *kill = (const Tg__SessionKillRequest *)request;
    struct tg_error err;
    if (strlen(kill->session_id) != HEX_LEN) {
        rpc_fail(call, TG_INVALID_ARGUMENT, "session_id: %d hex digits, as the list of sessions shows them",
                 HEX_LEN);
        return;
    }
    if (name_check_text("reason", kill->reason, &err) != TG_OK) {
        rpc_fail(call, err.code, "%s", err.text);
        return;
    }
    struct visit *visit = visit_new(call);
    if (visit == NULL) {
        rpc_fail(call, TG_RESOURCE_EXHAUSTED, "the gateway is out of memory");
        return;
    }
    snprintf(visit->wanted, sizeof visit->wanted, "%s", kill->session_id);
    snprintf(visit->reason, sizeof visit->reason, "%s", kill->reason);
    visit->ask = kill_ask;
    visit->answer = kill_answer;
    go_on(visit);
}
