#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/trace.h"
#include "tests/integration/harness.h"

enum { STOP_TIMEOUT_MS = 30000, SETUP_TIMEOUT_MS = 120000 };

/* How a part is run. In its arguments "@/" stands for the instance's directory, "%" for that of this build's
 * programs. */
struct part_row {
    const char *name;
    const char *ready; /* what its output says then; NULL: it takes connections on its port */
    const char *argv[10];
};

#define SERVICE(name)                                                                                        \
    {                                                                                                        \
        name, "\"event\":\"service.ready\"",                                                                 \
        {                                                                                                    \
            "%tg-" name, "--config", "@/config/" name ".yaml", NULL                                          \
        }                                                                                                    \
    }

static const struct part_row part_table[PARTS] = {
    [PART_RADIUS] = {"freeradius",
                     "Ready to process requests",
                     {"/usr/sbin/freeradius", "-f", "-l", "stdout", "-d", "@/freeradius", "-n", "radiusd",
                      NULL}},
    [PART_AUDIT] = SERVICE("audit"),
    [PART_BRIDGE] = SERVICE("radius-bridge"),
    [PART_KEY_STORE] = SERVICE("key-store"),
    [PART_RESOLVER] = SERVICE("ticket-resolver"),
    [PART_GATEWAY] = SERVICE("gateway"),
    [PART_WEB] = {"web", NULL, {"/bin/busybox", "httpd", "-f", "-p", "@web", "-h", "@/intranet/www", NULL}},
    [PART_SSHD] = {"sshd",
                   "Server listening on",
                   {"/usr/sbin/sshd", "-D", "-e", "-f", "@/intranet/sshd_config", NULL}},
};

const char *part_name(enum part part)
{
    return part_table[part].name;
}

const char *instance_path(const struct instance *instance, const char *what, ...)
{
    static char paths[8][PROCESS_PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 8];
    int len = snprintf(path, PROCESS_PATH_MAX, "%s/", instance->dir);
    va_list args;

    va_start(args, what);
    vsnprintf(path + len, PROCESS_PATH_MAX - (size_t)len, what, args);
    va_end(args);
    return path;
}

/* A number of instance.env. */
static int read_port(const char *env, const char *name)
{
    const char *line = strstr(env, name);

    assert_non_null(line);
    return atoi(line + strlen(name) + 1); // NOLINT(cert-err34-c): 0 is caught by whoever connects
}

static void read_local_ports(struct instance *instance, const char *env)
{
    const char *list = strstr(env, "TG_LOCAL_PORTS='");

    assert_non_null(list);
    // NOLINTNEXTLINE(cert-err34-c): setup.sh wrote them
    assert_int_equal(sscanf(list, "TG_LOCAL_PORTS='%d %d %d %d'", &instance->local_ports[0],
                            &instance->local_ports[1], &instance->local_ports[2], &instance->local_ports[3]),
                     4);
}

struct instance *instance_new(const char *transport)
{
    struct instance *instance = calloc(1, sizeof(*instance));
    struct process setup = {0};
    char *env;

    assert_non_null(instance);
    strcpy(instance->dir, "/tmp/tg-XXXXXX");
    assert_non_null(mkdtemp(instance->dir));
    char script[PROCESS_PATH_MAX];
    const char *const argv[] = {"/bin/sh", script, instance->dir, "--transport", transport, NULL};

    snprintf(script, sizeof(script), "%s/deploy/setup.sh", TG_SOURCE_DIR);
    process_start(&setup, "setup.sh", instance_path(instance, "setup.log"),
                  instance_path(instance, "setup.log"), NULL, argv);
    if (process_wait(&setup, SETUP_TIMEOUT_MS) != 0) {
        env = file_text(instance_path(instance, "setup.log"));
        fail_msg("setup.sh failed in %s: %s", instance->dir, env);
    }
    env = file_text(instance_path(instance, "instance.env"));
    instance->gateway_port = read_port(env, "TG_GATEWAY_PORT");
    instance->radius_port = read_port(env, "TG_RADIUS_PORT");
    instance->web_port = read_port(env, "TG_WEB_PORT");
    instance->ssh_port = read_port(env, "TG_SSH_PORT");
    read_local_ports(instance, env);
    free(env);
    instance_append(instance, "request.http", "GET / HTTP/1.0\r\n\r");
    snprintf(instance->gateway, sizeof(instance->gateway), "localhost:%d", instance->gateway_port);
    return instance;
}

void instance_append(const struct instance *instance, const char *file, const char *text)
{
    FILE *out = fopen(instance_path(instance, "%s", file), "ae");

    assert_non_null(out);
    fprintf(out, "%s\n", text);
    assert_int_equal(fclose(out), 0);
}

void instance_set(const struct instance *instance, const char *name, const char *key, const char *value)
{
    char *text = file_text(instance_path(instance, "config/%s.yaml", name));
    FILE *out = fopen(instance_path(instance, "config/%s.yaml", name), "we");
    char *rest = text;
    char *line;

    assert_non_null(out);
    while ((line = strsep(&rest, "\n")) != NULL) {
        size_t len = strlen(key);

        if (strncmp(line, key, len) != 0 || line[len] != ':')
            fprintf(out, "%s\n", line);
    }
    fprintf(out, "%s: %s\n", key, value);
    assert_int_equal(fclose(out), 0);
    free(text);
}

/* What "@…" in a part's arguments means here. */
static const char *argument(const struct instance *instance, const char *text)
{
    static char address[32];

    if (strcmp(text, "@web") == 0) {
        snprintf(address, sizeof(address), "127.0.0.1:%d", instance->web_port);
        return address;
    }
    if (text[0] == '%')
        return program(text + 1);
    return text[0] == '@' ? instance_path(instance, "%s", text + 2) : text;
}

void part_start_with(struct instance *instance, enum part part, const struct process_options *options)
{
    const struct part_row *row = &part_table[part];
    struct process *process = &instance->parts[part];
    const char *log = instance_path(instance, "log/%s.log", row->name);
    const char *argv[10] = {NULL};

    for (size_t i = 0; row->argv[i] != NULL; i++)
        argv[i] = argument(instance, row->argv[i]);
    process_start(process, row->name, log, log, options, argv);
    if (row->ready == NULL) {
        process_await_port(process, instance->web_port, READY_TIMEOUT_MS);
    } else if (!process_await(process, row->ready, READY_TIMEOUT_MS)) {
        char *text = file_text(log);

        instance->failed = true;
        fail_msg("%s was not ready; its log %s:\n%s", row->name, log, text);
    }
}

void part_start(struct instance *instance, enum part part)
{
    part_start_with(instance, part, NULL);
}

void part_stop(struct instance *instance, enum part part)
{
    int code;

    if (instance->parts[part].pid == 0)
        return;
    code = process_stop(&instance->parts[part], STOP_TIMEOUT_MS);
    if (part >= PART_AUDIT && part <= PART_GATEWAY && code != 0) {
        instance->failed = true;
        fail_msg("%s ended with %d; its log is %s", part_name(part), code, instance->parts[part].out);
    }
}

void part_kill(struct instance *instance, enum part part)
{
    process_kill(&instance->parts[part]);
}

void part_await_health(struct instance *instance, enum part part, bool serving)
{
    uint64_t deadline = clock_now_ms() + READY_TIMEOUT_MS;
    char wanted[128];

    snprintf(wanted, sizeof(wanted), "{\"service\":\"%s\",\"status\":\"serving\"", part_name(part));
    while (clock_now_ms() < deadline) {
        RESULT result = TGCTL(instance, "--json", "health");

        if ((strstr(result.out, wanted) != NULL) == serving)
            return;
        poll(NULL, 0, 20);
    }
    instance->failed = true;
    fail_msg("%s: health did not become %s", part_name(part), serving ? "serving" : "not serving");
}

void instance_start(struct instance *instance)
{
    for (enum part part = PART_RADIUS; part <= PART_GATEWAY; part++) {
        if (part == PART_GATEWAY && access(instance_path(instance, "secrets/qkud.key"), F_OK) != 0) {
            RESULT result = TGCTL(instance, "qkud", "add", "qkud-demo-1", "--out",
                                  instance_path(instance, "secrets/qkud.key"));

            if (result.code != 0)
                fail_msg("tgctl qkud add: %d: %s", result.code, result.err);
        }
        part_start(instance, part);
    }
    part_await_health(instance, PART_GATEWAY, true);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

void instance_end(struct instance *instance)
{
    if (instance == NULL)
        return;
    for (int part = PARTS - 1; part >= 0; part--)
        part_stop(instance, (enum part)part);
    if (instance->failed)
        print_message("what is left of the instance: %s\n", instance->dir);
    else
        assert_int_equal(nftw(instance->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(instance);
}
