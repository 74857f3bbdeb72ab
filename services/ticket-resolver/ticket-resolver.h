/* The key centre's front (steps 7 and 8): checks tickets, asks the key store, passes its answer on. It holds
 * the centre's ticket key, but never sees a quantum key: ticket info is sealed to the gateway. */
#ifndef TG_TICKET_RESOLVER_TICKET_RESOLVER_H
#define TG_TICKET_RESOLVER_TICKET_RESOLVER_H

#include <stdint.h>

#include "common/audit_client.h"
#include "common/config.h"
#include "common/error.h"
#include "common/rpc/rpc.h"
#include "common/secret.h"
#include "common/service/service.h"
#include "common/ticket.h"

struct ticket_resolver_config {
    struct service_config service;
    char *ticket_key_file;
    char *centre_id;
    struct rpc_peer key_store;
    struct audit_services audit;
};

/* The context of every call. */
struct ticket_resolver {
    struct secret *ticket_key;
    struct audit_client *audit;
    struct rpc_client *key_store;
    uint8_t centre[TICKET_CENTRE_LEN];
    uint64_t (*now_s)(void); /* Unix time; tests set it */
};

/* lifecycle.c: for struct service. */
extern const struct config_row ticket_resolver_rows[];
enum tg_code ticket_resolver_open(const void *config, void **state, struct tg_error *err);
enum tg_code ticket_resolver_start(void *state, struct tg_error *err);
const char *ticket_resolver_not_serving(void *state);
void ticket_resolver_metrics(void *state, struct metrics *out);
void ticket_resolver_close(void *state);

/* handlers.c: the table. */
extern const struct rpc_method ticket_resolver_methods[];

rpc_handler handle_resolve; /* resolve.c */

#endif
