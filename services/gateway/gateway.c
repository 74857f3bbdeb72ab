/* The gateway as a service: acquire, start, reload, drain, close. */
#include "services/gateway/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/names.h"
#include "common/protocol/channel.h"
#include "common/ticket_info.h"
#include "services/gateway/admission.h"
#include "services/gateway/dispatch.h"
#include "services/gateway/terms.h"
#include "services/gateway/worker.h"

enum {
    AUDIT_CLOSE_MS = 2000,
    READ_AHEAD = 128 * 1024 /* one read() brings several records; freed again when a connection is idle */
};

/* ---- open ---- */

static enum tg_code read_suites(struct gateway *g, const struct config_list *names, struct tg_error *err)
{
    for (size_t i = 0; i < names->count && i < GATEWAY_SUITES_MAX; i++) {
        const char *name = ((char **)names->items)[i];
        g->suites[i] = suite_by_name(name);
        TG_ENSURE(g->suites[i] != NULL, err, TG_INVALID_ARGUMENT,
                  "suites: there is no suite %s; there are AES256-GCM-SHA256 and SM4-CTR-HMAC-SM3", name);
        g->suite_count++;
    }
    return TG_OK;
}

static enum tg_code set_up_tls(struct gateway *g, const struct gateway_config *config, struct tg_error *err)
{
    TG_TRY(terms_new(config, &g->terms, err));
    TG_TRY(channel_psk_context(true, &g->channel, err));
    SSL_CTX_set_read_ahead(g->channel, 1);
    SSL_CTX_set_default_read_buffer_len(g->channel, READ_AHEAD);
    return TG_OK;
}

static enum tg_code connect_peers(struct gateway *g, const struct gateway_config *config,
                                  struct tg_error *err)
{
    TG_TRY(rpc_client_open(&g->resolver, "ticket resolver", &config->resolver, err));
    TG_TRY(rpc_client_open(&g->bridge, "RADIUS bridge", &config->radius_bridge, err));
    return audit_client_open(&g->audit, "gateway", &config->audit, err);
}

static size_t workers_wanted(const struct gateway_config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = config->workers > 0 ? (size_t)config->workers : (size_t)(cores > 0 ? cores : 1);
    return wanted < GATEWAY_WORKERS_MAX ? wanted : GATEWAY_WORKERS_MAX;
}

static enum tg_code make_workers(struct gateway *g, const struct gateway_config *config, struct tg_error *err)
{
    int fds[GATEWAY_WORKERS_MAX];
    size_t count = workers_wanted(config);
    g->workers = calloc(count, sizeof(struct worker *));
    TG_ENSURE(g->workers != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    TG_TRY(listen_open(config->listen, fds, count, g->address, err));
    for (size_t i = 0; i < count; i++) {
        enum tg_code code = worker_new(g, (unsigned)i, fds[i], &g->workers[i], err);
        if (code != TG_OK) {
            while (i < count)
                close(fds[i++]);
            return code;
        }
        g->worker_count++;
    }
    return TG_OK;
}

static enum tg_code acquire(struct gateway *g, const struct gateway_config *config, struct tg_error *err)
{
    TG_TRY(name_check_id("qkud_id", config->qkud_id, err));
    snprintf(g->qkud_id, sizeof g->qkud_id, "%s", config->qkud_id);
    TG_TRY(file_read_secret(config->qkud_key_file, QUANTUM_KEY_LEN, &g->qkud_key, err));
    TG_TRY(read_suites(g, &config->suites, err));
    g->login_must_be_sealed = config->login_must_be_sealed;
    g->max_streams = (uint32_t)config->max_streams;
    g->stream_window = (uint32_t)config->stream_window;
    g->handshake_timeout_ms = (uint32_t)config->handshake_timeout;
    g->login_timeout_ms = (uint32_t)config->login_timeout;
    g->dial_timeout_ms = (uint32_t)config->dial_timeout;
    g->admission = admission_new((uint32_t)config->half_open_max, (uint32_t)config->half_open_per_source,
                                 (uint32_t)config->max_sessions);
    TG_ENSURE(g->admission != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    TG_TRY(set_up_tls(g, config, err));
    TG_TRY(connect_peers(g, config, err));
    return make_workers(g, config, err);
}

enum tg_code gateway_open(const struct gateway_config *config, struct gateway **gateway, struct tg_error *err)
{
    struct gateway *g = calloc(1, sizeof *g);
    TG_ENSURE(g != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    dispatch_check_table();
    pthread_mutex_init(&g->terms_lock, NULL);
    rate_limit_init(&g->turned_away, 5, 10);
    rate_limit_init(&g->strangers, 100, 1000);
    enum tg_code code = acquire(g, config, err);
    if (code != TG_OK) {
        gateway_close(g);
        return code;
    }
    *gateway = g;
    return TG_OK;
}

/* ---- serve ---- */

enum tg_code gateway_start(struct gateway *g, struct tg_error *err)
{
    for (size_t i = 0; i < g->worker_count; i++)
        TG_TRY(worker_start(g->workers[i], err));
    LOG(LOG_INFO, NULL, "gateway.listening", LOG_TEXT("address", g->address), LOG_TEXT("qkud_id", g->qkud_id),
        LOG_NUMBER("workers", g->worker_count));
    return TG_OK;
}

struct terms *gateway_terms(struct gateway *g)
{
    pthread_mutex_lock(&g->terms_lock);
    struct terms *terms = terms_hold(g->terms);
    pthread_mutex_unlock(&g->terms_lock);
    return terms;
}

void gateway_reload(struct gateway *g, const struct gateway_config *config)
{
    struct tg_error err;
    struct terms *terms;
    if (terms_new(config, &terms, &err) != TG_OK) {
        LOG(LOG_ERROR, NULL, "gateway.not_reloaded", LOG_ERR(&err),
            LOG_TEXT("remedy",
                     "the old certificate and policies stay in use: correct and send SIGHUP again"));
        return;
    }
    pthread_mutex_lock(&g->terms_lock);
    struct terms *old = g->terms;
    g->terms = terms;
    pthread_mutex_unlock(&g->terms_lock);
    terms_release(old);
    LOG(LOG_INFO, NULL, "gateway.reloaded", LOG_TEXT("certificate", config->certificate),
        LOG_NUMBER("policies", config->policies.count));
}

const char *gateway_not_serving(const struct gateway *g)
{
    const char *trouble = audit_client_trouble(g->audit);
    if (trouble != NULL)
        return trouble;
    if (!rpc_client_ready(g->resolver))
        return "the ticket resolver cannot be reached";
    if (!rpc_client_ready(g->bridge))
        return "the RADIUS bridge cannot be reached";
    return NULL;
}

void gateway_metrics(const struct gateway *g, struct metrics *out)
{
    struct admission_counts counts = admission_counts(g->admission);
    metrics_one(out, METRIC_GAUGE, "ticketgate_sessions", "Users who are in.", counts.sessions);
    metrics_one(out, METRIC_GAUGE, "ticketgate_half_open_connections", "Clients not yet logged in.",
                counts.half_open);
    metrics_one(out, METRIC_COUNTER, "ticketgate_turned_away_total", "Connections over a bound.",
                counts.turned_away);
    audit_client_metrics(g->audit, out);
}

/* ---- end ---- */

void gateway_drain(struct gateway *g, unsigned timeout_ms)
{
    for (size_t i = 0; i < g->worker_count; i++)
        worker_drain(g->workers[i]);
    if (!admission_wait_empty(g->admission, timeout_ms))
        LOG(LOG_WARNING, NULL, "gateway.not_drained",
            LOG_NUMBER("sessions", admission_counts(g->admission).sessions));
}

void gateway_close(struct gateway *g)
{
    if (g == NULL)
        return;
    for (size_t i = 0; i < g->worker_count; i++)
        worker_stop(g->workers[i]);
    /* Answers that are under way still come, into the void, so the workers' memory goes last. */
    rpc_client_close(g->resolver);
    rpc_client_close(g->bridge);
    audit_client_close(g->audit, AUDIT_CLOSE_MS);
    for (size_t i = 0; i < g->worker_count; i++)
        worker_free(g->workers[i]);
    free(g->workers);
    terms_release(g->terms);
    SSL_CTX_free(g->channel);
    admission_free(g->admission);
    secret_free(g->qkud_key);
    pthread_mutex_destroy(&g->terms_lock);
    free(g);
}
