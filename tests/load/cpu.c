/* CPU time of processes: utime and stime of /proc/PID/stat (proc(5)), all threads together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/load/load.h"

enum tg_code load_services_parse(const char *text, struct load_services *out, struct tg_error *err)
{
    *out = (struct load_services){0};
    while (text != NULL && *text != '\0') {
        struct load_service *service = &out->at[out->count];
        int used = 0, pid = 0;
        TG_ENSURE(out->count < LOAD_SERVICES_MAX &&
                      sscanf(text, "%31[^=,]=%d%n", service->name, &pid, &used) == 2 && pid > 0 &&
                      (text[used] == ',' || text[used] == '\0'),
                  err, TG_INVALID_ARGUMENT, "--pids: \"%.40s\": expected NAME=PID,…", text);
        service->pid = pid;
        out->count++;
        text += used + (text[used] == ',');
    }
    return TG_OK;
}

static enum tg_code process_ms(const struct load_service *service, double *ms, struct tg_error *err)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", service->pid);
    FILE *file = fopen(path, "re");
    TG_ENSURE(file != NULL, err, TG_NOT_FOUND, "%s (process %d) is not running", service->name, service->pid);
    const char *got = fgets(line, sizeof line, file);
    fclose(file);
    const char *after_name = got != NULL ? strrchr(line, ')') : NULL; /* the name may hold anything */
    unsigned long user = 0, system = 0;
    TG_ENSURE(
        after_name != NULL &&
            sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2,
        err, TG_INTERNAL, "cannot read %s", path);
    *ms = (double)(user + system) * 1000.0 / (double)sysconf(_SC_CLK_TCK);
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
