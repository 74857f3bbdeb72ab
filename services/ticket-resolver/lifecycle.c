/* How the resolver starts, says whether it can serve, and ends. */
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/trace.h"
#include "ticket-resolver.h"

const struct config_row ticket_resolver_rows[] = {
    {.key = "ticket_key_file",
     .type = CONFIG_PATH,
     .offset = offsetof(struct ticket_resolver_config, ticket_key_file),
     .help = "Authenticates tickets: 32 raw bytes, mode 0400; the key store has the same"},
    {.key = "centre_id",
     .type = CONFIG_STRING,
     .offset = offsetof(struct ticket_resolver_config, centre_id),
     .min = TICKET_CENTRE_LEN,
     .max = TICKET_CENTRE_LEN,
     .help = "Names this key centre in its tickets"},
    RPC_PEER_ROWS("key_store.", struct ticket_resolver_config, key_store),
    AUDIT_SERVICES_ROWS(struct ticket_resolver_config, audit),
    {.key = NULL},
};

static uint64_t unix_now_s(void)
{
    return clock_unix_us() / 1000000;
}

static enum tg_code acquire(struct ticket_resolver *tr, const struct ticket_resolver_config *config,
                            struct tg_error *err)
{
    TG_TRY(file_read_secret(config->ticket_key_file, TICKET_KEY_LEN, &tr->ticket_key, err));
    TG_TRY(audit_client_open(&tr->audit, "ticket-resolver", &config->audit, err));
    return rpc_client_open(&tr->key_store, "key store", &config->key_store, err);
}

enum tg_code ticket_resolver_open(const void *config_, void **state, struct tg_error *err)
{
    const struct ticket_resolver_config *config = config_;
    struct ticket_resolver *tr = calloc(1, sizeof *tr);
    TG_ENSURE(tr != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    memcpy(tr->centre, config->centre_id, sizeof tr->centre);
    tr->now_s = unix_now_s;
    enum tg_code code = acquire(tr, config, err);
    if (code == TG_OK)
        *state = tr;
    else
        ticket_resolver_close(tr);
    return code;
}

/* Its work is done on the threads of RPC. */
enum tg_code ticket_resolver_start(void *state, struct tg_error *err)
{
    (void)state;
    (void)err;
    return TG_OK;
}

/* Refused tickets are reported without waiting, so the audit service may be away for a while; the key store
 * may not. */
const char *ticket_resolver_not_serving(void *state)
{
    const struct ticket_resolver *tr = state;
    return rpc_client_ready(tr->key_store) ? NULL : "the key store cannot be reached";
}

void ticket_resolver_metrics(void *state, struct metrics *out)
{
    audit_client_metrics(((const struct ticket_resolver *)state)->audit, out);
}

void ticket_resolver_close(void *state)
{
    enum { AUDIT_WAIT_MS = 2000 };
    struct ticket_resolver *tr = state;
    rpc_client_close(tr->key_store);
    audit_client_close(tr->audit, AUDIT_WAIT_MS);
    secret_free(tr->ticket_key);
    free(tr);
}
