#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/pb.h"
#include "services/radius-bridge/radius_bridge.h"

static const char *const transports[] = {"radsec", "udp", NULL};

#define FIELD(name) offsetof(struct radius_server_config, name)
static const struct config_row server_rows[] = {
    {.key = "name",
     .type = CONFIG_STRING,
     .offset = FIELD(name),
     .min = 1,
     .max = 64,
     .help = "What this server is called in logs, events and open challenges."},
    {.key = "transport",
     .type = CONFIG_CHOICE,
     .offset = FIELD(transport),
     .fallback = "radsec",
     .choices = transports,
     .help = "radsec is RADIUS over TLS (RFC 6614); udp needs allow_insecure_udp."},
    {.key = "host",
     .type = CONFIG_STRING,
     .offset = FIELD(host),
     .min = 1,
     .max = 253,
     .help = "DNS name or address; over radsec its certificate must name it."},
    {.key = "port",
     .type = CONFIG_INT,
     .offset = FIELD(port),
     .fallback = "2083",
     .min = 1,
     .max = 65535,
     .help = "2083 for radsec, 1812 for udp."},
    {.key = "ca",
     .type = CONFIG_PATH,
     .offset = FIELD(ca),
     .fallback = CONFIG_OPTIONAL,
     .help = "radsec: PEM file of the CA that signed the server's certificate."},
    {.key = "certificate",
     .type = CONFIG_PATH,
     .offset = FIELD(certificate),
     .fallback = CONFIG_OPTIONAL,
     .help = "radsec: PEM file of our certificate."},
    {.key = "key",
     .type = CONFIG_PATH,
     .offset = FIELD(key),
     .fallback = CONFIG_OPTIONAL,
     .help = "radsec: PEM file of its key."},
    {.key = "secret_file",
     .type = CONFIG_PATH,
     .offset = FIELD(secret_file),
     .fallback = CONFIG_OPTIONAL,
     .help = "udp: file with the shared secret, one line, mode 0400."},
    {0},
};
#undef FIELD

#define FIELD(name) offsetof(struct bridge_config, name)
const struct config_row bridge_config_rows[] = {
    {.key = "servers",
     .type = CONFIG_TABLES,
     .offset = FIELD(servers),
     .min = 1,
     .max = POOL_SERVERS_MAX,
     .item_rows = server_rows,
     .item_size = sizeof(struct radius_server_config),
     .help = "The RADIUS servers, asked in this order."},
    {.key = "allow_insecure_udp",
     .type = CONFIG_BOOL,
     .offset = FIELD(allow_insecure_udp),
     .fallback = "false",
     .help = "Accept servers over udp, where a reject can be forged into an accept (CVE-2024-3596)."},
    {.key = "workers",
     .type = CONFIG_INT,
     .offset = FIELD(workers),
     .fallback = "16",
     .min = 1,
     .max = POOL_WORKERS_MAX,
     .help = "Connections to each server, one login at a time on each."},
    {.key = "queue",
     .type = CONFIG_INT,
     .offset = FIELD(queue),
     .fallback = "1024",
     .min = 1,
     .max = 65536,
     .help = "Logins that may wait for a connection; more are refused."},
    {.key = "response_timeout",
     .type = CONFIG_DURATION,
     .offset = FIELD(response_timeout),
     .fallback = "5s",
     .min = 100,
     .max = 120000,
     .help = "How long a server may take to answer; a minute when users approve on their phones."},
    {.key = "connect_timeout",
     .type = CONFIG_DURATION,
     .offset = FIELD(connect_timeout),
     .fallback = "2s",
     .min = 100,
     .max = 60000,
     .help = "A server without a connection after this long is passed over."},
    {.key = "dead_time",
     .type = CONFIG_DURATION,
     .offset = FIELD(dead_time),
     .fallback = "30s",
     .min = 100,
     .max = 3600000,
     .help = "A server that answers nothing is passed over for this long."},
    AUDIT_SERVICES_ROWS(struct bridge_config, audit),
    {0},
};
#undef FIELD

static enum tg_code check_radsec(const struct radius_server_config *server, struct tg_error *err)
{
    TG_ENSURE(server->ca != NULL && server->certificate != NULL && server->key != NULL, err,
              TG_INVALID_ARGUMENT, "RADIUS server %s: radsec needs ca, certificate and key", server->name);
    TG_ENSURE(server->secret_file == NULL, err, TG_INVALID_ARGUMENT,
              "RADIUS server %s: radsec has no secret_file, its protection comes from TLS", server->name);
    return TG_OK;
}

static enum tg_code check_udp(const struct bridge_config *config, const struct radius_server_config *server,
                              struct tg_error *err)
{
    TG_ENSURE(
        config->allow_insecure_udp, err, TG_INVALID_ARGUMENT,
        "RADIUS server %s: over udp the installed radcli does not check Message-Authenticator, and whoever "
        "sits in "
        "between can let anybody in (CVE-2024-3596): use transport radsec, or set allow_insecure_udp: true",
        server->name);
    TG_ENSURE(server->secret_file != NULL, err, TG_INVALID_ARGUMENT,
              "RADIUS server %s: udp needs secret_file", server->name);
    return TG_OK;
}

/* Characters that radcli's own option syntax leaves alone. */
static enum tg_code check_server(const struct bridge_config *config,
                                 const struct radius_server_config *server, struct tg_error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:";
    TG_ENSURE(strspn(server->host, allowed) == strlen(server->host), err, TG_INVALID_ARGUMENT,
              "RADIUS server %s: host is a DNS name or an address without brackets", server->name);
    return server->transport == RADIUS_UDP ? check_udp(config, server, err) : check_radsec(server, err);
}

static enum tg_code check_servers(const struct bridge_config *config, struct tg_error *err)
{
    const struct radius_server_config *servers = config->servers.items;
    for (size_t i = 0; i < config->servers.count; i++) {
        TG_TRY(check_server(config, &servers[i], err));
        for (size_t n = 0; n < i; n++)
            TG_ENSURE(strcmp(servers[n].name, servers[i].name) != 0, err, TG_INVALID_ARGUMENT,
                      "two RADIUS servers are called %s: open challenges could not be told apart",
                      servers[i].name);
    }
    return TG_OK;
}

/* The audit service's log shows why nobody could log in; nothing waits for it. A server that comes and goes
 * while the audit service is away for days fills the queue: the next event says how many were left out. */
static void report_change(void *arg, const char *server, bool up, const char *why)
{
    struct bridge *bridge = arg;
    uint64_t left_out = atomic_exchange(&bridge->left_out, 0);
    char detail[64] = "";
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string(up ? "radius.server_up" : "radius.server_down");
    event.outcome = up ? TG__EVENT__OUTCOME__SUCCESS : TG__EVENT__OUTCOME__FAILURE;
    event.reason = pb_string(why);
    event.peer = pb_string(server);
    if (left_out > 0)
        snprintf(detail, sizeof detail, "%" PRIu64 " more before it were not recorded", left_out);
    event.detail = detail;
    if (!audit_post(bridge->audit, &event))
        atomic_fetch_add(&bridge->left_out, left_out + 1);
}

static enum tg_code open_parts(struct bridge *bridge, const struct bridge_config *config,
                               struct tg_error *err)
{
    TG_TRY(check_servers(config, err));
    TG_TRY(audit_client_open(&bridge->audit, "radius-bridge", &config->audit, err));
    struct pool_options options = {
        .servers = config->servers.items,
        .server_count = config->servers.count,
        .workers = (unsigned)config->workers,
        .queue = (size_t)config->queue,
        .connect_timeout_ms = (uint32_t)config->connect_timeout,
        .response_timeout_ms = (uint32_t)config->response_timeout,
        .dead_time_ms = (uint32_t)config->dead_time,
        .server_changed = report_change,
        .arg = bridge,
    };
    return pool_open(&bridge->pool, &options, err);
}

enum tg_code bridge_open(const void *config, void **state, struct tg_error *err)
{
    struct bridge *bridge = calloc(1, sizeof *bridge);
    TG_ENSURE(bridge != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory");
    enum tg_code code = open_parts(bridge, config, err);
    if (code != TG_OK) {
        bridge_close(bridge);
        return code;
    }
    *state = bridge;
    return TG_OK;
}

enum tg_code bridge_start(void *state, struct tg_error *err)
{
    struct bridge *bridge = state;
    return pool_start(bridge->pool, err);
}

const char *bridge_not_serving(void *state)
{
    const struct bridge *bridge = state;
    return pool_is_ready(bridge->pool) ? NULL : "no RADIUS server can be reached";
}

void bridge_metrics(void *state, struct metrics *out)
{
    audit_client_metrics(((const struct bridge *)state)->audit, out);
}

void bridge_close(void *state)
{
    struct bridge *bridge = state;
    if (bridge == NULL)
        return;
    pool_close(bridge->pool);
    audit_client_close(bridge->audit, 1000);
    free(bridge);
}
