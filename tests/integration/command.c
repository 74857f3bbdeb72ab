#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/file.h"
#include "tests/integration/harness.h"

void result_free(struct result *result)
{
    free(result->out);
    free(result->err);
    *result = (struct result){0};
}

const char *program(const char *name)
{
    static char paths[16][PROCESS_PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 16];

    snprintf(path, PROCESS_PATH_MAX, "%s/%s", TG_BIN_DIR, name);
    return path;
}

void run_start(struct instance *instance, struct process *process, const struct process_options *options,
               const char *const *argv)
{
    unsigned number = instance->commands++;
    const char *slash = strrchr(argv[0], '/');

    process_start(process, slash != NULL ? slash + 1 : argv[0],
                  instance_path(instance, "log/cmd-%u.out", number),
                  instance_path(instance, "log/cmd-%u.err", number), options, argv);
}

struct result run_with(struct instance *instance, int timeout_ms, const struct process_options *options,
                       const char *const *argv)
{
    struct process process = {0};

    run_start(instance, &process, options, argv);
    return run_end(instance, &process, timeout_ms);
}

struct result run(struct instance *instance, int timeout_ms, const char *const *argv)
{
    return run_with(instance, timeout_ms, NULL, argv);
}

struct result run_end(struct instance *instance, struct process *process, int timeout_ms)
{
    struct result result;

    result.code = process_wait(process, timeout_ms);
    if (result.code < 0) {
        process_kill(process);
        instance->failed = true;
        fail_msg("%s did not end within %d ms; its output: %s", process->name, timeout_ms, process->err);
    }
    result.out = file_text(process->out);
    result.err = file_text(process->err);
    return result;
}

struct result charge(struct instance *instance, const char *shield, const char *user, const char *count)
{
    return RUN(instance, program("tg-charger"), "--config", instance_path(instance, "config/tg-charger.yaml"),
               "--shield", instance_path(instance, "shields/%s", shield), "--shield-id", shield, "--user",
               user, "--count", count, "--password-file",
               instance_path(instance, "secrets/%s.password", user), "--pin-file",
               instance_path(instance, "secrets/%s.pin", user));
}

void shield_fill(struct instance *instance, const char *shield, const char *owner, const char *user,
                 unsigned count)
{
    char number[16];

    snprintf(number, sizeof(number), "%u", count);
    RESULT added = TGCTL(instance, "shield", "add", shield, "--owner", owner != NULL ? owner : "");
    if (added.code != 0)
        fail_msg("tgctl shield add %s: %d: %s", shield, added.code, added.err);
    RESULT filled = charge(instance, shield, user, number);
    if (filled.code != 0) {
        instance->failed = true;
        fail_msg("tg-charger for %s: %d: %s", shield, filled.code, filled.err);
    }
}

size_t login_arguments(const struct instance *instance, const char *user, const char *shield,
                       const char **argv)
{
    const char *const words[] = {program("ticketgate"),
                                 "connect",
                                 "--gateway",
                                 instance->gateway,
                                 "--ca",
                                 instance_path(instance, "pki/public-ca.crt"),
                                 "--user",
                                 user,
                                 "--shield",
                                 instance_path(instance, "shields/%s", shield),
                                 "--password-file",
                                 instance_path(instance, "secrets/%s.password", user),
                                 "--pin-file",
                                 instance_path(instance, "secrets/%s.pin", user)};
    size_t count = sizeof(words) / sizeof(words[0]);

    memcpy(argv, words, sizeof(words));
    return count;
}

struct result login_with(struct instance *instance, const char *user, const char *const *words)
{
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};
    size_t count = login_arguments(instance, user, words[0], argv);
    char target[32];

    snprintf(target, sizeof(target), "127.0.0.1:%d", instance->web_port);
    argv[count++] = "-W";
    argv[count++] = target;
    for (size_t i = 1; words[i] != NULL; i++)
        argv[count++] = words[i];
    const struct process_options options = {.input = instance_path(instance, "request.http")};
    return run_with(instance, LOGIN_TIMEOUT_MS, &options, argv);
}

void assert_logged_in(struct instance *instance, const struct result *result)
{
    if (result->code != 0 || strstr(result->out, INTRANET_PAGE) == NULL) {
        instance->failed = true;
        fail_msg("login: %d, %s%s", result->code, result->out, result->err);
    }
}

void assert_refused(struct instance *instance, const struct result *result, int code)
{
    if (result->code != code || strstr(result->out, INTRANET_PAGE) != NULL) {
        instance->failed = true;
        fail_msg("login ended with %d, not %d: %s%s", result->code, code, result->out, result->err);
    }
    assert_true(strlen(result->err) > 0); /* and it says why */
}

const char *secret_line(const struct instance *instance, const char *name, const char *line)
{
    const char *path = instance_path(instance, "secrets/%s", name);
    struct tg_error err;

    remove(path);
    assert_int_equal(file_write_new(path, line, strlen(line), &err), TG_OK);
    return path;
}

json_t *audit_lines(struct instance *instance, const char *const *filter)
{
    const char *argv[PROCESS_ARGUMENTS_MAX] = {
        program("tgctl"), "--config", instance_path(instance, "config/tgctl.yaml"),
        "audit",          "list",     "--json"};
    json_t *lines = json_array();
    char *rest;
    char *line;

    for (size_t i = 0; filter[i] != NULL; i++)
        argv[6 + i] = filter[i];
    RESULT result = run(instance, LOGIN_TIMEOUT_MS, argv);
    if (result.code != 0)
        fail_msg("tgctl audit list: %d: %s", result.code, result.err);
    rest = result.out;
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (line[0] == '\0')
            continue;
        json_t *object = json_loads(line, 0, NULL);

        assert_non_null(object); /* every line is JSON */
        json_array_append_new(lines, object);
    }
    return lines;
}

const char *audit_text(const json_t *line, const char *path)
{
    char key[32];

    while (line != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");

        snprintf(key, sizeof(key), "%.*s", (int)len, path);
        line = json_object_get(line, key);
        path += path[len] == '.' ? len + 1 : len;
    }
    return json_string_value(line);
}

size_t audit_count(struct instance *instance, const char *event)
{
    json_t *lines = AUDIT(instance, "--event", event);
    size_t count = json_array_size(lines);

    json_decref(lines);
    return count;
}
