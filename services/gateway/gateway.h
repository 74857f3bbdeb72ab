/* The gateway: SSL VPN server of DESIGN.md 3 and 8, the only part that a client can reach.
 *
 * Several workers, each an event loop with a thread and a listening socket of its own; a connection lives and
 * dies on one of them. What they share is here: read-only after start, or guarded inside its own module. */
#ifndef TG_GATEWAY_GATEWAY_H
#define TG_GATEWAY_GATEWAY_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>

#include "common/audit_client.h"
#include "common/config.h"
#include "common/protocol/suite.h"
#include "common/rpc/rpc.h"
#include "common/secret.h"
#include "common/service/service.h"
#include "services/gateway/rate.h"

enum gateway_limits { GATEWAY_SUITES_MAX = 8, GATEWAY_WORKERS_MAX = 256, GATEWAY_POLICIES_MAX = 1024 };

struct gateway_config {
    struct service_config service;
    char *listen;
    char *certificate;
    char *private_key;
    char *qkud_id;
    char *qkud_key_file;
    struct config_list suites; /* char * */
    bool login_must_be_sealed;
    int64_t workers;
    int64_t half_open_max;
    int64_t half_open_per_source;
    int64_t max_sessions;
    int64_t max_streams;
    int64_t stream_window;
    int64_t handshake_timeout; /* ms, as all durations */
    int64_t login_timeout;
    int64_t dial_timeout;
    char *default_policy;        /* NULL or "": nobody without a policy */
    struct config_list policies; /* struct policy_config */
    struct rpc_peer resolver, radius_bridge;
    struct audit_services audit;
};
extern const struct config_row gateway_config_rows[];

struct admission;
struct terms;
struct worker;

struct gateway {
    char qkud_id[128];
    struct secret *qkud_key;
    const struct suite *suites[GATEWAY_SUITES_MAX]; /* in order of preference */
    size_t suite_count;
    bool login_must_be_sealed;
    uint32_t max_streams;
    uint32_t stream_window;
    uint32_t handshake_timeout_ms, login_timeout_ms, dial_timeout_ms;

    SSL_CTX *channel; /* second TLS, for all connections */
    struct rpc_client *resolver, *bridge;
    struct audit_client *audit;
    struct admission *admission;
    struct rate_limit turned_away; /* log lines about it */
    struct rate_limit strangers;   /* audit events about refused strangers */

    pthread_mutex_t terms_lock;
    struct terms *terms; /* what SIGHUP replaces; gateway_terms */

    struct worker **workers;
    size_t worker_count;
    char address[80]; /* where it listens, with the port that was taken */
};

/* The functions of struct service; the tests use them too. */
enum tg_code gateway_open(const struct gateway_config *config, struct gateway **gateway,
                          struct tg_error *err) TG_MUST_CHECK;
enum tg_code gateway_start(struct gateway *gateway, struct tg_error *err) TG_MUST_CHECK;
void gateway_reload(struct gateway *gateway, const struct gateway_config *config);
const char *gateway_not_serving(const struct gateway *gateway);
void gateway_metrics(const struct gateway *gateway, struct metrics *out);
void gateway_drain(struct gateway *gateway, unsigned timeout_ms);
void gateway_close(struct gateway *gateway); /* NULL is fine */

/* The terms that hold now, for a new connection: the caller releases them (terms_release). Any thread. */
struct terms *gateway_terms(struct gateway *gateway);

/* The admin methods (SessionList, SessionKill): handlers.c. */
extern const struct rpc_method gateway_methods[];

#endif
