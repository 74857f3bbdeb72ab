#include "common/service/service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/service/args.h"
#include "common/service/health.h"
#include "common/service/lockdown.h"
#include "common/service/monitor.h"
#include "common/service/settings.h"
#include "common/service/signals.h"
#include "common/trace.h"
#include "proto/health.pb-c.h"

/* The process, from its arguments to its end. */
struct process {
    const struct service *service;
    struct config_row *rows;
    const char *config_path;
    struct service_config *config; /* as at the start: the service may have kept strings of it */
    void *state;
    bool opened;
    struct rpc_method *methods; /* the service's own, and Health */
    struct rpc_server *server;
    struct monitor *monitor;
    bool pid_written;
};

/* ---- acquire ---- */

static enum tg_code add_health(struct process *process, struct tg_error *err)
{
    const struct rpc_method *own = process->service->methods;
    size_t count = 0;
    while (own[count].name != NULL)
        count++;
    process->methods = calloc(count + 2, sizeof *process->methods);
    TG_ENSURE(process->methods != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory left for the method table");
    memcpy(process->methods, own, count * sizeof *own);
    process->methods[count] = (struct rpc_method){
        .service = &tg__health__descriptor, .name = "Check", .roles = RPC_ROLE_ANY, .handle = health_check};
    health_open(process->service, process->state);
    return TG_OK;
}

static enum tg_code bind_listeners(struct process *process, struct tg_error *err)
{
    const struct service_config *config = process->config;
    const struct rpc_listener *listeners = config->listeners.items;
    TG_TRY(rpc_server_open(&process->server, process->methods, process->state,
                           (unsigned)config->calls_in_flight, err));
    rpc_server_hold(process->server);
    for (size_t i = 0; i < config->listeners.count; i++)
        TG_TRY(rpc_server_listen(process->server, &listeners[i], err));
    return TG_OK;
}

static enum tg_code acquire(struct process *process, struct tg_error *err)
{
    TG_TRY(lockdown_begin(err));
    TG_TRY(secret_heap_open((size_t)process->config->locked_memory, err));
    TG_TRY(process->service->open(process->config, &process->state, err));
    process->opened = true;
    TG_TRY(add_health(process, err));
    TG_TRY(bind_listeners(process, err));
    return monitor_open(&process->monitor, process->config->http, process->service, process->state,
                        process->server, err);
}

/* ---- drop, lock down, announce ready ---- */

static enum tg_code write_pid_file(struct process *process, struct tg_error *err)
{
    char text[32];
    if (process->config->pid_file == NULL)
        return TG_OK;
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    TG_TRY(file_replace(process->config->pid_file, text, (size_t)len, err));
    process->pid_written = true;
    return TG_OK;
}

static enum tg_code serve(struct process *process, struct tg_error *err)
{
    TG_TRY(lockdown_drop(process->config->user, err));
    TG_TRY(lockdown_seal(err));
    if (geteuid() == 0)
        LOG(LOG_WARNING, NULL, "service.privileged", LOG_TEXT("advice", "runs as root: set `user`"));
    TG_TRY(process->service->start(process->state, err));
    rpc_server_serve(process->server);
    TG_TRY(monitor_start(process->monitor, err));
    TG_TRY(write_pid_file(process, err));
    LOG(LOG_INFO, NULL, "service.ready", LOG_TEXT("version", TG_VERSION), LOG_NUMBER("pid", getpid()));
    return TG_OK;
}

/* ---- serve ---- */

static void reload(const struct process *process)
{
    struct service_config *fresh = NULL;
    struct tg_error err;
    if (settings_read(process->service, process->rows, process->config_path, &fresh, &err) != TG_OK) {
        LOG(LOG_ERROR, NULL, "config.refused", LOG_ERR(&err), LOG_TEXT("kept", "the configuration in use"));
        return;
    }
    log_set_level((enum log_level)fresh->log_level);
    if (process->service->reload != NULL)
        process->service->reload(process->state, fresh);
    LOG(LOG_INFO, NULL, "config.reloaded", LOG_TEXT("file", process->config_path));
    settings_free(process->rows, fresh);
}

static int wait_for_the_end(const struct process *process)
{
    int number = signals_wait();
    while (number == SIGHUP) {
        reload(process);
        number = signals_wait();
    }
    return number;
}

/* ---- drain ---- */

static unsigned remaining_ms(uint64_t deadline_ms)
{
    uint64_t now = clock_now_ms();
    return now < deadline_ms ? (unsigned)(deadline_ms - now) : 0;
}

static void drain(const struct process *process, int number)
{
    uint64_t deadline_ms = clock_now_ms() + (uint64_t)process->config->drain_timeout;
    LOG(LOG_INFO, NULL, "service.draining", LOG_TEXT("signal", sigabbrev_np(number)));
    health_drain();
    signals_let_kill();
    if (process->service->drain != NULL)
        process->service->drain(process->state, remaining_ms(deadline_ms));
    if (!rpc_server_drain(process->server, remaining_ms(deadline_ms)))
        LOG(LOG_WARNING, NULL, "service.undrained", LOG_TEXT("reason", "calls were still unanswered"));
}

/* ---- wipe ---- */

/* Whatever has been acquired, in reverse. */
static void release(struct process *process)
{
    if (process->pid_written)
        (void)unlink(process->config->pid_file);
    monitor_close(process->monitor);
    rpc_server_close(process->server);
    health_close();
    if (process->opened)
        process->service->close(process->state);
    free(process->methods);
    secret_heap_close();
}

static int run(struct process *process)
{
    struct tg_error err;
    int code = EXIT_SUCCESS;
    log_open(process->service->name, (enum log_level)process->config->log_level, STDOUT_FILENO);
    signals_block();
    if (acquire(process, &err) == TG_OK && serve(process, &err) == TG_OK) {
        drain(process, wait_for_the_end(process));
    } else {
        LOG(LOG_ERROR, NULL, "service.failed", LOG_ERR(&err));
        code = EXIT_FAILURE;
    }
    release(process);
    if (code == EXIT_SUCCESS)
        LOG(LOG_INFO, NULL, "service.stopped");
    return code;
}

static int read_config_and_run(struct process *process, bool check_only)
{
    struct tg_error err;
    if (settings_read(process->service, process->rows, process->config_path, &process->config, &err) !=
        TG_OK) {
        fprintf(stderr, "tg-%s: %s\n", process->service->name, err.text);
        return EX_CONFIG;
    }
    int code = EX_OK;
    if (check_only)
        printf("configuration %s is good\n", process->config_path);
    else
        code = run(process);
    settings_free(process->rows, process->config);
    return code;
}

int service_main(const struct service *service, int argc, char **argv)
{
    struct args args;
    struct process process = {.service = service, .rows = settings_rows(service)};
    TG_INVARIANT(process.rows != NULL);
    int code = args_parse(service, process.rows, argc, argv, &args);
    if (code == ARGS_RUN) {
        process.config_path = args.config;
        code = read_config_and_run(&process, args.check_config);
    }
    free(process.rows);
    return code;
}
