#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/load/load.h"

enum tg_code load_results_init(struct load_results *results, size_t capacity, struct tg_error *err)
{
    *results = (struct load_results){.capacity = capacity};
    pthread_mutex_init(&results->lock, NULL);
    results->latencies_us = calloc(capacity, sizeof *results->latencies_us);
    TG_ENSURE(results->latencies_us != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    return TG_OK;
}

void load_results_fini(struct load_results *results)
{
    pthread_mutex_destroy(&results->lock);
    free(results->latencies_us);
}

void load_results_add(struct load_results *results, uint32_t latency_us)
{
    pthread_mutex_lock(&results->lock);
    if (results->ok < results->capacity)
        results->latencies_us[results->ok++] = latency_us;
    pthread_mutex_unlock(&results->lock);
}

/* The same reason with another trace id is the same reason. */
void load_results_add_failure(struct load_results *results, enum client_exit how, const struct tg_error *err)
{
    char text[LOAD_REASON_LEN];
    const char *trace = strstr(err->text, " (trace ");
    int len = trace != NULL ? (int)(trace - err->text) : (int)strlen(err->text);
    snprintf(text, sizeof text, "%s: %.*s", exit_name(how), len, err->text);
    pthread_mutex_lock(&results->lock);
    results->failed++;
    size_t i = 0;
    while (i < results->reason_count && strcmp(results->reasons[i].text, text) != 0)
        i++;
    if (i == results->reason_count && i < LOAD_REASONS_MAX) {
        memcpy(results->reasons[i].text, text, sizeof text);
        results->reason_count++;
    }
    results->reasons[i < LOAD_REASONS_MAX ? i : LOAD_REASONS_MAX - 1].count++;
    pthread_mutex_unlock(&results->lock);
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double percentile_ms(const struct load_results *results, unsigned percent)
{
    if (results->ok == 0)
        return 0;
    size_t at = (results->ok * percent + 99) / 100;
    return results->latencies_us[at > 0 ? at - 1 : 0] / 1000.0;
}

static double per_login(const struct load_results *results, double ms)
{
    return results->ok > 0 ? ms / (double)results->ok : 0;
}

struct summary {
    double rate, p50, p99, cpu, own_cpu;
};

static struct summary summarise(const struct load_results *results, const struct load_services *services)
{
    struct summary summary = {.rate = results->seconds > 0 ? (double)results->ok / results->seconds : 0,
                              .p50 = percentile_ms(results, 50),
                              .p99 = percentile_ms(results, 99)};
    for (size_t i = 0; i < services->count; i++) {
        if (load_service_is_ours(&services->at[i]))
            summary.cpu += per_login(results, services->at[i].after_ms - services->at[i].before_ms);
    }
    summary.own_cpu = per_login(results, services->own_after_ms - services->own_before_ms);
    return summary;
}

static void print_table(const struct load_options *options, const struct load_results *results,
                        const struct load_services *services, const struct summary *summary)
{
    printf("logins    %zu in %.2f s, %u at once: %.1f/s; %zu failed\n", results->ok, results->seconds,
           options->concurrency, summary->rate, results->failed);
    printf("latency   p50 %.2f ms, p99 %.2f ms\n", summary->p50, summary->p99);
    for (size_t i = 0; i < services->count; i++) {
        const struct load_service *service = &services->at[i];
        printf("CPU       %7.3f ms per login  %s%s\n",
               per_login(results, service->after_ms - service->before_ms), service->name,
               load_service_is_ours(service) ? "" : " (not ours)");
    }
    printf("CPU       %7.3f ms per login  tg-load itself, the client\n", summary->own_cpu);
    for (size_t i = 0; i < results->reason_count; i++)
        printf("failed    %zu × %s\n", results->reasons[i].count, results->reasons[i].text);
}

static json_t *services_json(const struct load_results *results, const struct load_services *services)
{
    json_t *object = json_object();
    for (size_t i = 0; i < services->count; i++)
        json_object_set_new(
            object, services->at[i].name,
            json_real(per_login(results, services->at[i].after_ms - services->at[i].before_ms)));
    return object;
}

static void print_json(const struct load_options *options, const struct load_results *results,
                       const struct load_services *services, const struct summary *summary)
{
    json_t *reasons = json_object();
    for (size_t i = 0; i < results->reason_count; i++)
        json_object_set_new(reasons, results->reasons[i].text,
                            json_integer((json_int_t)results->reasons[i].count));
    json_t *object = json_pack("{s:I, s:I, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "logins",
                               (json_int_t)results->ok, "failed", (json_int_t)results->failed, "concurrency",
                               (int)options->concurrency, "seconds", results->seconds, "logins_per_s",
                               summary->rate, "p50_ms", summary->p50, "p99_ms", summary->p99,
                               "cpu_ms_per_login", summary->cpu, "client_cpu_ms_per_login", summary->own_cpu,
                               "cpu_ms_per_login_of", services_json(results, services), "failures", reasons);
    if (object != NULL)
        json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(object);
}

void load_report(const struct load_options *options, struct load_results *results,
                 const struct load_services *services)
{
    qsort(results->latencies_us, results->ok, sizeof *results->latencies_us, by_value);
    const struct summary summary = summarise(results, services);
    if (options->json)
        print_json(options, results, services, &summary);
    else
        print_table(options, results, services, &summary);
    printf("logins_per_s=%.1f p50_ms=%.2f p99_ms=%.2f cpu_ms_per_login=%.3f\n", summary.rate, summary.p50,
           summary.p99, summary.cpu);
}
