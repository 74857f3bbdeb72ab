/* One address of a service: its breaker, and the link that is used now. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rpc/address.h"
#include "common/rpc/client.h"
#include "common/rpc/tls.h"

/* When nothing has been heard from an address for this long although calls were made, another link is tried:
 * nng 1.5.2 may not notice that a connection is dead (TLS), and may stop dialling. The old link's calls go on
 * undisturbed. */
enum { RENEW_AFTER_MS = 1000, RENEW_PAUSE_MS = 1000, RENEW_DOUBLINGS_MAX = 5 };

static enum tg_code set_up(struct rpc_endpoint *e, const struct rpc_tls *tls, struct tg_error *err)
{
    struct rpc_address address;
    TG_TRY(rpc_address_parse(e->address, &address, err));
    if (address.transport == RPC_TLS) {
        TG_TRY(rpc_address_check_name(&address, err));
        TG_TRY(rpc_tls_config(tls, address.host, &e->tls, err));
    }
    return rpc_link_open(&e->link, e->name, e->address, e->tls, err);
}

enum tg_code rpc_endpoint_open(struct rpc_endpoint *e, const char *name, const char *address,
                               const struct rpc_tls *tls, struct tg_error *err)
{
    *e = (struct rpc_endpoint){.name = name, .address = strdup(address), .good_ms = clock_now_ms()};
    TG_ENSURE(e->address != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for calls to %s", name);
    pthread_mutex_init(&e->lock, NULL);
    enum tg_code code = set_up(e, tls, err);
    if (code != TG_OK)
        rpc_endpoint_close(e, 0);
    return code;
}

void rpc_endpoint_close(struct rpc_endpoint *e, unsigned settle_ms)
{
    if (e->link != NULL)
        rpc_link_close(e->link, settle_ms);
    if (e->tls != NULL)
        nng_tls_config_free(e->tls);
    pthread_mutex_destroy(&e->lock);
    free(e->address);
}

/* ---- which one ---- */

/* A fresh connection says more about a server than the failures before it: the breaker closes. Under the
 * lock. */
static bool is_connected(struct rpc_endpoint *e)
{
    if (atomic_exchange(&e->link->fresh, false)) {
        breaker_success(&e->breaker);
        e->good_ms = clock_now_ms();
    }
    return atomic_load(&e->link->connections) > 0;
}

bool rpc_endpoint_ready(struct rpc_endpoint *e)
{
    pthread_mutex_lock(&e->lock);
    bool ready = is_connected(e) && breaker_would_allow(&e->breaker, clock_now_ms());
    pthread_mutex_unlock(&e->lock);
    return ready;
}

static bool allows(struct rpc_endpoint *e, bool connected)
{
    pthread_mutex_lock(&e->lock);
    bool allowed = is_connected(e) == connected && breaker_allow(&e->breaker, clock_now_ms());
    pthread_mutex_unlock(&e->lock);
    return allowed;
}

struct rpc_endpoint *rpc_endpoint_choose(struct rpc_client *client)
{
    unsigned first = atomic_fetch_add(&client->next, 1);
    for (int connected = 1; connected >= 0; connected--) {
        for (size_t i = 0; i < client->endpoint_count; i++) {
            struct rpc_endpoint *e = &client->endpoints[(first + i) % client->endpoint_count];
            if (allows(e, connected == 1))
                return e;
        }
    }
    return NULL;
}

/* ---- attempts ---- */

bool rpc_endpoint_begin(struct rpc_endpoint *e, struct rpc_attempt *attempt)
{
    pthread_mutex_lock(&e->lock);
    attempt->link = e->link;
    rpc_link_hold(attempt->link);
    pthread_mutex_unlock(&e->lock);
    if (rpc_link_take(attempt->link, &attempt->ctx))
        return true;
    rpc_link_let_go(attempt->link);
    return false;
}

/* Under the lock; the link to let go of, or NULL. */
static struct rpc_link *renew(struct rpc_endpoint *e, const struct rpc_link *failed, uint64_t now)
{
    struct rpc_link *fresh = NULL, *old = e->link;
    if (old != failed || now < e->good_ms + RENEW_AFTER_MS || now < e->renew_at_ms)
        return NULL;
    unsigned shift = e->renewals < RENEW_DOUBLINGS_MAX ? e->renewals : RENEW_DOUBLINGS_MAX;
    e->renew_at_ms = now + ((uint64_t)RENEW_PAUSE_MS << shift);
    e->renewals++;
    if (rpc_link_open(&fresh, e->name, e->address, e->tls, NULL) != TG_OK)
        return NULL;
    LOG(LOG_DEBUG, NULL, "rpc.redial", LOG_TEXT("peer", e->name), LOG_TEXT("address", e->address));
    e->link = fresh;
    return old;
}

static struct rpc_link *take_verdict(struct rpc_endpoint *e, const struct rpc_link *link,
                                     enum attempt_result result, uint64_t now)
{
    if (result == ATTEMPT_ANSWERED) {
        breaker_success(&e->breaker);
        e->good_ms = now;
        e->renewals = 0;
    } else if (result != ATTEMPT_WITHOUT_VERDICT) {
        breaker_failure(&e->breaker, now);
    }
    return result == ATTEMPT_SILENT ? renew(e, link, now) : NULL;
}

void rpc_endpoint_end(struct rpc_endpoint *e, struct rpc_attempt *attempt, enum attempt_result result)
{
    rpc_link_give_back(attempt->link, attempt->ctx);
    pthread_mutex_lock(&e->lock);
    struct rpc_link *old = take_verdict(e, attempt->link, result, clock_now_ms());
    pthread_mutex_unlock(&e->lock);
    rpc_link_let_go(attempt->link);
    if (old != NULL)
        rpc_link_let_go(old);
}
