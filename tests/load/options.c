#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/arguments.h"
#include "tests/load/load.h"

static enum tg_code take_gateway(void *out, const char *value, struct tg_error *err)
{
    return host_port_parse(value, GATEWAY_DEFAULT_PORT, &((struct load_options *)out)->gateway, err);
}

static enum tg_code take_concurrency(void *out, const char *value, struct tg_error *err)
{
    return argument_number(value, 1, LOAD_THREADS_MAX, &((struct load_options *)out)->concurrency, err);
}

static enum tg_code take_seconds(void *out, const char *value, struct tg_error *err)
{
    return argument_number(value, 1, LOAD_SECONDS_MAX, &((struct load_options *)out)->seconds, err);
}

static enum tg_code take_logins(void *out, const char *value, struct tg_error *err)
{
    return argument_number(value, 1, LOAD_LOGINS_MAX, &((struct load_options *)out)->logins, err);
}

static enum tg_code take_suite(void *out, const char *value, struct tg_error *err)
{
    struct load_options *options = out;
    const struct suite *suite = suite_by_name(value);
    TG_ENSURE(suite != NULL && options->suite_count < LOGIN_SUITES_MAX, err, TG_INVALID_ARGUMENT,
              "\"%.40s\" is not a suite", value);
    options->suites[options->suite_count++] = suite;
    return TG_OK;
}

#define PLACE(member) offsetof(struct load_options, member)
static const struct argument_row rows[] = {
    {"gateway", 'g', "HOST[:PORT]", 0, take_gateway},
    {"ca", 0, "FILE", PLACE(ca), NULL},
    {"users-file", 0, "FILE", PLACE(users_file), NULL},
    {"user", 'u', "NAME", PLACE(user), NULL},
    {"shields", 's', "DIR", PLACE(shields), NULL},
    {"pin-file", 0, "FILE", PLACE(pin_file), NULL},
    {"password-file", 0, "FILE", PLACE(password_file), NULL},
    {"concurrency", 'c', "N", 0, take_concurrency},
    {"duration", 'd', "SECONDS", 0, take_seconds},
    {"logins", 'n', "N", 0, take_logins},
    {"suite", 0, "NAME", 0, take_suite},
    {"pids", 0, "NAME=PID,…", PLACE(pids), NULL},
    {"json", 0, NULL, PLACE(json), NULL},
    {"help", 'h', NULL, PLACE(help), NULL},
    {"version", 0, NULL, PLACE(version), NULL},
    {0},
};

void load_help(void)
{
    puts("Usage: tg-load --gateway HOST[:PORT] --ca FILE {--user NAME | --users-file FILE} --shields DIR\n"
         "               --pin-file FILE --password-file FILE [OPTION]...\n"
         "Log in over and over, from many threads at once, and report how fast that goes.\n"
         "\n"
         "  -g, --gateway HOST[:PORT]  the gateway\n"
         "      --ca FILE              certificates (PEM) of whoever signed the gateway's\n"
         "  -s, --shields DIR          filled file shields; each thread uses one (a memory disk keeps the\n"
         "                             client's own fsync out of the figures)\n"
         "  -u, --user NAME            whose shields all files in DIR are; or\n"
         "      --users-file FILE      one thread a line: USER SHIELD [PASSWORD-FILE]\n"
         "      --pin-file FILE        PIN of all shields\n"
         "      --password-file FILE   password, where the users file names none\n"
         "  -c, --concurrency N        how many threads (8)\n"
         "  -d, --duration SECONDS     how long (10), or\n"
         "  -n, --logins N             how many logins in all\n"
         "      --suite NAME           offer only this suite\n"
         "      --pids NAME=PID,...    also report these processes' CPU time per login; freeradius is\n"
         "                             shown, but is not part of cpu_ms_per_login\n"
         "      --json                 one JSON object instead of the table\n"
         "  -h, --help                 show this\n"
         "      --version              show the version\n"
         "\n"
         "A thread stops early when its shield is empty. The last line is always\n"
         "logins_per_s=N p50_ms=N p99_ms=N cpu_ms_per_login=N. Exit status: 0, or 1 when logins failed.");
}

static enum tg_code check(const struct load_options *options, struct tg_error *err)
{
    TG_ENSURE(options->gateway.port != 0 && options->ca != NULL, err, TG_INVALID_ARGUMENT,
              "--gateway and --ca are needed");
    TG_ENSURE(options->shields != NULL && options->pin_file != NULL && options->password_file != NULL, err,
              TG_INVALID_ARGUMENT, "--shields, --pin-file and --password-file are needed");
    TG_ENSURE((options->user == NULL) != (options->users_file == NULL), err, TG_INVALID_ARGUMENT,
              "either --user or --users-file");
    return TG_OK;
}

enum tg_code load_options_parse(int argc, char **argv, struct load_options *out, struct tg_error *err)
{
    *out = (struct load_options){.concurrency = 8};
    TG_TRY(arguments_parse(argc, argv, rows, out, err));
    if (out->help || out->version)
        return TG_OK;
    if (out->seconds == 0)
        out->seconds = out->logins > 0 ? LOAD_SECONDS_MAX : 10;
    if (out->suite_count == 0)
        out->suites[out->suite_count++] = suite_find(SUITE_AES256_GCM_SHA256);
    return check(out, err);
}

static enum tg_code read_users(const struct load_options *options, struct load_account *out,
                               struct tg_error *err)
{
    FILE *file = fopen(options->users_file, "re");
    TG_ENSURE(file != NULL, err, TG_NOT_FOUND, "cannot read %s", options->users_file);
    char line[1024], shield[256];
    uint32_t count = 0;
    while (count < options->concurrency && fgets(line, sizeof line, file) != NULL) {
        struct load_account *account = &out[count];
        int fields = sscanf(line, "%128s %255s %511s", account->user, shield, account->password_file);
        if (fields < 2)
            continue;
        snprintf(account->shield, sizeof account->shield, "%s/%s", options->shields, shield);
        if (fields < 3)
            snprintf(account->password_file, sizeof account->password_file, "%s", options->password_file);
        count++;
    }
    fclose(file);
    TG_ENSURE(count == options->concurrency, err, TG_INVALID_ARGUMENT,
              "%s names %u users; %u threads need as many", options->users_file, count, options->concurrency);
    return TG_OK;
}

static int is_shield(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    bool beside = (len > 5 && strcmp(entry->d_name + len - 5, ".lock") == 0) ||
                  (len > 8 && strcmp(entry->d_name + len - 8, ".pending") == 0);
    return entry->d_name[0] != '.' && !beside;
}

static enum tg_code find_shields(const struct load_options *options, struct load_account *out,
                                 struct tg_error *err)
{
    struct dirent **names = NULL;
    int count = scandir(options->shields, &names, is_shield, alphasort);
    TG_ENSURE(count >= 0, err, TG_NOT_FOUND, "cannot read the directory %s", options->shields);
    for (int i = 0; i < count; i++) {
        if ((uint32_t)i < options->concurrency) {
            snprintf(out[i].user, sizeof out[i].user, "%s", options->user);
            snprintf(out[i].shield, sizeof out[i].shield, "%.200s/%.255s", options->shields,
                     names[i]->d_name);
            snprintf(out[i].password_file, sizeof out[i].password_file, "%s", options->password_file);
        }
        free(names[i]);
    }
    free(names);
    TG_ENSURE((uint32_t)count >= options->concurrency, err, TG_INVALID_ARGUMENT,
              "%s holds %d shields; %u threads need as many", options->shields, count, options->concurrency);
    return TG_OK;
}

enum tg_code load_accounts(const struct load_options *options, struct load_account *out, struct tg_error *err)
{
    return options->users_file != NULL ? read_users(options, out, err) : find_shields(options, out, err);
}
