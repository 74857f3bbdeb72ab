/* CPU time of processes: utime and stime of /proc/PID/stat (proc(5)), all threads together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/load/load.h"

/* Takes "NAME=PID" off the front of *text. */
static bool take_service(const char **text, struct load_service *out)
{
    size_t len = strcspn(*text, "=,");
    if (len == 0 || len >= sizeof out->name || (*text)[len] != '=')
        return false;
    snprintf(out->name, sizeof out->name, "%.*s", (int)len, *text);
    char *end = NULL;
    out->pid = (pid_t)strtol(*text + len + 1, &end, 10);
    *text = *end == ',' ? end + 1 : end;
    return out->pid > 0 && (*end == ',' || *end == '\0');
}

enum tg_code load_services_parse(const char *text, struct load_services *out, struct tg_error *err)
{
    *out = (struct load_services){0};
    while (text != NULL && *text != '\0') {
        TG_ENSURE(out->count < LOAD_SERVICES_MAX && take_service(&text, &out->at[out->count]), err,
                  TG_INVALID_ARGUMENT, "--pids: expected NAME=PID,NAME=PID, at most %u of them",
                  LOAD_SERVICES_MAX);
        out->count++;
    }
    return TG_OK;
}

enum stat_fields { FIELD_STATE = 3, FIELD_UTIME = 14, FIELD_STIME = 15 };

/* utime and stime of a line of /proc/PID/stat. The name in parentheses may hold anything: fields are counted
 * after it. */
static bool sum_times(const char *line, unsigned long *ticks)
{
    const char *at = strrchr(line, ')');
    *ticks = 0;
    for (int field = FIELD_STATE; at != NULL && field <= FIELD_STIME; field++) {
        at = strchr(at + 1, ' ');
        if (at != NULL && (field == FIELD_UTIME || field == FIELD_STIME))
            *ticks += strtoul(at + 1, NULL, 10);
    }
    return at != NULL;
}

static enum tg_code process_ms(const struct load_service *service, double *ms, struct tg_error *err)
{
    char path[64], line[1024] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", service->pid);
    FILE *file = fopen(path, "re");
    TG_ENSURE(file != NULL, err, TG_NOT_FOUND, "%s (process %d) is not running", service->name, service->pid);
    const char *got = fgets(line, sizeof line, file);
    fclose(file);
    unsigned long ticks = 0;
    TG_ENSURE(got != NULL && sum_times(line, &ticks), err, TG_INTERNAL, "cannot read %s", path);
    *ms = (double)ticks * 1000.0 / (double)sysconf(_SC_CLK_TCK);
    return TG_OK;
}

static double own_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1000.0 + (double)t.tv_nsec / 1e6;
}

enum tg_code load_services_before(struct load_services *services, struct tg_error *err)
{
    for (size_t i = 0; i < services->count; i++)
        TG_TRY(process_ms(&services->at[i], &services->at[i].before_ms, err));
    services->own_before_ms = own_ms();
    return TG_OK;
}

enum tg_code load_services_after(struct load_services *services, struct tg_error *err)
{
    services->own_after_ms = own_ms();
    for (size_t i = 0; i < services->count; i++)
        TG_TRY(process_ms(&services->at[i], &services->at[i].after_ms, err));
    return TG_OK;
}

bool load_service_is_ours(const struct load_service *service)
{
    return strcmp(service->name, "freeradius") != 0 && strcmp(service->name, "radiusd") != 0;
}
