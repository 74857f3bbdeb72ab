#include "common/service/settings.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"

enum { LISTENERS_MAX = 32 };

const struct config_row service_config_rows[] = {
    {.key = "listeners",
     .type = CONFIG_TABLES,
     .offset = offsetof(struct service_config, listeners),
     .min = 1,
     .max = LISTENERS_MAX,
     .item_rows = rpc_listener_rows,
     .item_size = sizeof(struct rpc_listener),
     .help = "Where other services and operators call this one; one entry for each role"},
    {.key = "log_level",
     .type = CONFIG_CHOICE,
     .offset = offsetof(struct service_config, log_level),
     .fallback = "info",
     .choices = log_level_names,
     .help = "Log events of this level and above; applied on SIGHUP"},
    {.key = "locked_memory",
     .type = CONFIG_SIZE,
     .offset = offsetof(struct service_config, locked_memory),
     .fallback = "4MiB",
     .min = INT64_C(64) * 1024,
     .max = INT64_C(1024) * 1024 * 1024,
     .help = "Memory for keys and passwords, never swapped out; a power of two, within RLIMIT_MEMLOCK"},
    {.key = "drain_timeout",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct service_config, drain_timeout),
     .fallback = "10s",
     .max = 600000,
     .help = "How long to finish what is under way after SIGTERM"},
    {.key = "calls_in_flight",
     .type = CONFIG_INT,
     .offset = offsetof(struct service_config, calls_in_flight),
     .fallback = "256",
     .min = 1,
     .max = 4096,
     .help = "How many calls each listener works on at once; more wait"},
    {.key = "user",
     .type = CONFIG_STRING,
     .offset = offsetof(struct service_config, user),
     .fallback = CONFIG_OPTIONAL,
     .min = 1,
     .max = 32,
     .help = "Become this user once files and listeners are open; needs to be started as root"},
    {.key = "pid_file",
     .type = CONFIG_PATH,
     .offset = offsetof(struct service_config, pid_file),
     .fallback = CONFIG_OPTIONAL,
     .help = "Holds the process id while the service is ready"},
    {.key = "http",
     .type = CONFIG_STRING,
     .offset = offsetof(struct service_config, http),
     .fallback = CONFIG_OPTIONAL,
     .min = 3,
     .max = 128,
     .help = "host:port for monitoring, plain HTTP: /metrics, /healthz, /readyz; best on loopback"},
    {.key = NULL},
};

static size_t count_rows(const struct config_row *rows)
{
    size_t count = 0;
    while (rows[count].key != NULL)
        count++;
    return count;
}

struct config_row *settings_rows(const struct service *service)
{
    size_t common = count_rows(service_config_rows);
    size_t own = count_rows(service->rows);
    struct config_row *rows = calloc(common + own + 1, sizeof *rows);
    if (rows != NULL) {
        memcpy(rows, service_config_rows, common * sizeof *rows);
        memcpy(rows + common, service->rows, own * sizeof *rows);
    }
    return rows;
}

/* What a row's bounds cannot say. */
static enum tg_code check(const char *path, const struct service_config *config, struct tg_error *err)
{
    int64_t size = config->locked_memory;
    TG_ENSURE((size & (size - 1)) == 0, err, TG_INVALID_ARGUMENT,
              "%s:1:1: locked_memory: must be a power of two, such as 4MiB or 8MiB", path);
    return TG_OK;
}

enum tg_code settings_read(const struct service *service, const struct config_row *rows, const char *path,
                           struct service_config **out, struct tg_error *err)
{
    TG_INVARIANT(service->config_size >= sizeof(struct service_config));
    struct service_config *config = calloc(1, service->config_size);
    TG_ENSURE(config != NULL, err, TG_RESOURCE_EXHAUSTED, "%s:1:1: no memory left to read it", path);
    enum tg_code code = config_read(path, rows, config, err);
    if (code == TG_OK)
        code = check(path, config, err);
    if (code == TG_OK)
        *out = config;
    else
        settings_free(rows, config);
    return code;
}

void settings_free(const struct config_row *rows, struct service_config *config)
{
    if (config == NULL)
        return;
    config_free(rows, config);
    free(config);
}
