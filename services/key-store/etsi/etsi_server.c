#include "services/key-store/etsi/etsi_server.h"

#include <stdlib.h>
#include <string.h>

#include "services/key-store/etsi/etsi_job.h"

enum { DRAIN_MS = 2000 };

static const struct http_route routes[] = {
    {HTTP_READ, "/api/v1/keys/{}/status", etsi_status},
    {HTTP_GET | HTTP_POST, "/api/v1/keys/{}/enc_keys", etsi_enc_keys},
    {HTTP_GET | HTTP_POST, "/api/v1/keys/{}/dec_keys", etsi_dec_keys},
    {0, NULL, NULL},
};

static enum tg_code check(const struct etsi_config *config, struct tg_error *err)
{
    char *const *saes = config->saes.items;
    TG_ENSURE(config->tls.certificate != NULL && config->tls.key != NULL && config->tls.ca != NULL, err,
              TG_INVALID_ARGUMENT, "etsi014: certificate, key and ca must be given");
    TG_ENSURE(config->kme_id != NULL, err, TG_INVALID_ARGUMENT, "etsi014: kme_id must be given");
    TG_TRY(name_check_id("etsi014.kme_id", config->kme_id, err));
    TG_ENSURE(config->saes.count >= 2, err, TG_INVALID_ARGUMENT,
              "etsi014: saes must name the two or more SAEs that share keys");
    for (size_t i = 0; i < config->saes.count; i++)
        TG_TRY(name_check_id("an SAE in etsi014.saes", saes[i], err));
    return TG_OK;
}

enum tg_code etsi_server_open(struct etsi_server **out, struct key_store *ks,
                              const struct etsi_config *config, struct tg_error *err)
{
    TG_TRY(check(config, err));
    struct etsi_server *server = calloc(1, sizeof *server);
    TG_ENSURE(server != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the ETSI 014 server");
    server->ks = ks;
    server->config = config;
    const struct http_options options = {
        .address = config->listen, .tls = &config->tls, .routes = routes, .context = server};
    enum tg_code code = http_server_open(&server->http, &options, err);
    if (code == TG_OK)
        *out = server;
    else
        free(server);
    return code;
}

enum tg_code etsi_server_start(struct etsi_server *server, struct tg_error *err)
{
    return http_server_start(server->http, err);
}

enum tg_code etsi_server_reload(struct etsi_server *server, const struct etsi_config *config,
                                struct tg_error *err)
{
    TG_TRY(check(config, err));
    return http_server_reload(server->http, &config->tls, err);
}

void etsi_server_counts(const struct etsi_server *server, struct etsi_counts *out)
{
    *out = (struct etsi_counts){.made = atomic_load(&server->made),
                                .taken = atomic_load(&server->taken),
                                .refused = atomic_load(&server->refused)};
}

uint16_t etsi_server_port(const struct etsi_server *server)
{
    return http_server_port(server->http);
}

void etsi_server_stop(struct etsi_server *server)
{
    if (server == NULL)
        return;
    (void)http_server_stop(server->http, DRAIN_MS);
    server->http = NULL;
}

void etsi_server_close(struct etsi_server *server)
{
    etsi_server_stop(server);
    free(server);
}
