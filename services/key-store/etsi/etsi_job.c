#include "services/key-store/etsi/etsi_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/pb.h"

/* ---- answers ---- */

struct answer {
    char *body;
    size_t len;
};

static void release(void *arg)
{
    struct answer *answer = arg;
    etsi014_body_free(answer->body, answer->len);
    free(answer);
}

/* Takes the body over; NULL: memory is out, and 503 needs none. */
static void reply(struct http_request *request, unsigned status, char *body, size_t len)
{
    struct answer *answer = body != NULL ? malloc(sizeof *answer) : NULL;
    if (answer == NULL) {
        etsi014_body_free(body, len);
        http_reply(request, 503, "application/json", "", 0, NULL, NULL);
        return;
    }
    *answer = (struct answer){body, len};
    http_reply(request, status, "application/json", body, len, release, answer);
}

/* The standard's status for a code, and what is said with it; text NULL: nothing. */
static unsigned status_of(enum tg_code code, const char **text)
{
    if (code == TG_INVALID_ARGUMENT)
        return 400;
    if (code == TG_NOT_FOUND) {
        *text = ETSI014_KEYS_NOT_FOUND;
        return 400;
    }
    if (code == TG_UNAUTHENTICATED) {
        *text = NULL;
        return 401;
    }
    if (code != TG_RESOURCE_EXHAUSTED)
        *text = "the key centre cannot answer now: try again later";
    return 503;
}

static void reply_error(struct http_request *request, enum tg_code code, const char *text)
{
    struct etsi_server *server = http_request_context(request);
    size_t len = 0;
    atomic_fetch_add(&server->refused, 1);
    unsigned status = status_of(code, &text);
    if (text == NULL) {
        http_reply(request, status, "application/json", "", 0, NULL, NULL);
        return;
    }
    char *body = etsi014_error_encode(text, &len);
    reply(request, status, body, len);
}

/* ---- audit ---- */

/* `caller`: an SAE id, or what a stranger's certificate says. `reason` NULL: a success. */
static void describe(Tg__Event *event, const char *caller, const char *trace, const char *name,
                     const char *reason)
{
    tg__event__init(event);
    event->event = pb_string(name);
    event->outcome = reason == NULL ? TG__EVENT__OUTCOME__SUCCESS : TG__EVENT__OUTCOME__FAILURE;
    event->reason = pb_string(reason);
    event->trace_id = pb_string(trace);
    event->peer = pb_string(caller);
}

enum { DETAIL_LEN = 256 };

/* `detail` is lent to the event. */
static void describe_job(Tg__Event *event, const struct etsi_job *job, const char *name, const char *reason,
                         char detail[DETAIL_LEN])
{
    describe(event, job->caller, job->trace.hex, name, reason);
    snprintf(detail, DETAIL_LEN, "%zu keys of %zu bits from %s, master %s, slave %s", job->keys.count,
             job->keys.key_len * 8, job->source, job->master, job->slave);
    event->detail = detail;
}

/* ---- who asks ---- */

static const char *find_sae(const struct etsi_config *config, bool (*is)(const void *arg, const char *sae),
                            const void *arg)
{
    char *const *saes = config->saes.items;
    for (size_t i = 0; i < config->saes.count; i++)
        if (is(arg, saes[i]))
            return saes[i];
    return NULL;
}

static bool is_peer(const void *arg, const char *sae)
{
    return http_request_peer_is(arg, sae);
}

static bool is_name(const void *arg, const char *sae)
{
    return strcmp(arg, sae) == 0;
}

static void refuse_stranger(struct key_store *ks, struct http_request *request)
{
    Tg__Event event;
    describe(&event, http_request_peer(request), "", "sae.refused",
             "the certificate names none of etsi014.saes");
    reply_error(request, audit_post(ks->audit, &event) ? TG_UNAUTHENTICATED : TG_UNAVAILABLE, "");
}

/* ---- a job's life ---- */

static void applied(struct work *work, enum tg_code status, const char *text);

static enum tg_code apply(struct work *work, struct store *store, struct tg_error *err)
{
    struct etsi_job *job = (struct etsi_job *)work;
    TG_ENSURE(clock_now_ms() < job->deadline_ms, err, TG_DEADLINE_EXCEEDED, "its turn came too late");
    return job->kind->apply(job, store, err);
}

struct etsi_job *etsi_job_new(struct http_request *request, const struct etsi_job_kind *kind,
                              bool caller_is_master)
{
    struct etsi_server *server = http_request_context(request);
    const char *caller = find_sae(server->config, is_peer, request);
    const char *other = find_sae(server->config, is_name, http_request_segment(request, 0));
    if (caller == NULL) {
        refuse_stranger(server->ks, request);
        return NULL;
    }
    if (other == NULL) {
        reply_error(request, TG_INVALID_ARGUMENT,
                    caller_is_master ? "slave_SAE_ID is not known to this KME"
                                     : "master_SAE_ID is not known to this KME");
        return NULL;
    }
    struct etsi_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        reply_error(request, TG_INTERNAL, "");
        return NULL;
    }
    *job = (struct etsi_job){.work = {.apply = apply, .done = applied},
                             .kind = kind,
                             .server = server,
                             .ks = server->ks,
                             .request = request,
                             .trace = trace_new(),
                             .deadline_ms = clock_now_ms() + ETSI_CALL_MS,
                             .caller = caller,
                             .master = caller_is_master ? caller : other,
                             .slave = caller_is_master ? other : caller,
                             .source = server->ks->source->name};
    return job;
}

static void job_free(struct etsi_job *job)
{
    etsi014_keys_fini(&job->keys);
    free(job->sealed);
    free(job);
}

void etsi_job_refuse(struct etsi_job *job, enum tg_code code, const char *text)
{
    Tg__Event event;
    char detail[DETAIL_LEN];
    bool is_verdict = code == TG_NOT_FOUND || code == TG_UNAUTHENTICATED || code == TG_DATA_LOSS;
    describe_job(&event, job, "sae.refused", text, detail);
    if (is_verdict && !audit_post(job->ks->audit, &event)) {
        code = TG_UNAVAILABLE;
        text = "too many events wait for the audit service: nothing was done";
    }
    if (code != TG_INVALID_ARGUMENT && code != TG_NOT_FOUND && code != TG_UNAUTHENTICATED)
        LOG(LOG_WARNING, job->trace.hex, "sae.unanswered", LOG_TEXT("sae", job->caller), LOG_CODE(code),
            LOG_TEXT("error", text));
    reply_error(job->request, code, text);
    job_free(job);
}

static void answer(struct etsi_job *job)
{
    size_t len = 0;
    if (job->kind->count != NULL)
        job->kind->count(job);
    char *body = job->kind->body(job, &len);
    reply(job->request, 200, body, len);
    job_free(job);
}

/* What was done stays done and auditors must hear of it, if later; but the keys are withheld. */
static void audited(void *arg, enum tg_code status, const char *text)
{
    struct etsi_job *job = arg;
    if (status == TG_OK) {
        answer(job);
        return;
    }
    struct tg_error err;
    Tg__Event event;
    char detail[DETAIL_LEN];
    tg_fail(&err, TG_UNAVAILABLE, "done, but the keys are withheld: not in the audit log in time (%s)", text);
    describe_job(&event, job, job->kind->event, err.text, detail);
    audit_post_last(job->ks->audit, &event);
    etsi_job_refuse(job, err.code, err.text);
}

static void applied(struct work *work, enum tg_code status, const char *text)
{
    struct etsi_job *job = (struct etsi_job *)work;
    uint64_t now_ms = clock_now_ms();
    Tg__Event event;
    char detail[DETAIL_LEN];
    if (status != TG_OK) {
        etsi_job_refuse(job, status, text);
    } else if (job->kind->event == NULL) {
        answer(job);
    } else {
        describe_job(&event, job, job->kind->event, NULL, detail);
        audit_report(job->ks->audit, &event,
                     now_ms < job->deadline_ms ? (uint32_t)(job->deadline_ms - now_ms) : 1, audited, job);
    }
}

/* With the audit service away nothing would be answered: then nothing is done either, and no key is lost. */
void etsi_job_submit(struct etsi_job *job)
{
    const char *trouble = job->kind->event != NULL ? audit_client_trouble(job->ks->audit) : NULL;
    if (trouble != NULL)
        etsi_job_refuse(job, TG_UNAVAILABLE, trouble);
    else
        writer_add(job->ks->writer, &job->work);
}
