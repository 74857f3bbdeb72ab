/* tgctl health: all five services, asked at the same time. */
#include <pthread.h>
#include <string.h>

#include "proto/health.pb-c.h"
#include "tools/tgctl/table.h"
#include "tools/tgctl/tgctl.h"

struct poll {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiting;
};

struct answer {
    struct poll *poll;
    struct rpc_client *client;
    bool serving;
    char status[16];
    char reason[256];
    char version[64];
    uint64_t uptime_s;
};

static const char *status_name(int status)
{
    switch (status) {
    case TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING:
        return "serving";
    case TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING:
        return "not serving";
    default:
        return "unknown";
    }
}

static void on_answer(void *arg, enum tg_code code, const char *text, const ProtobufCMessage *response)
{
    struct answer *answer = arg;
    (void)code;

    pthread_mutex_lock(&answer->poll->lock);
    if (response != NULL) {
        const Tg__HealthCheckResponse *health = (const Tg__HealthCheckResponse *)response;

        answer->serving = health->status == TG__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
        answer->uptime_s = health->uptime_s;
        snprintf(answer->status, sizeof(answer->status), "%s", status_name((int)health->status));
        snprintf(answer->reason, sizeof(answer->reason), "%s", health->reason);
        snprintf(answer->version, sizeof(answer->version), "%s", health->version);
    } else {
        snprintf(answer->status, sizeof(answer->status), "no answer");
        snprintf(answer->reason, sizeof(answer->reason), "%s", text);
    }
    answer->poll->waiting--;
    pthread_cond_signal(&answer->poll->changed);
    pthread_mutex_unlock(&answer->poll->lock);
}

static void ask(const struct tgctl *ctl, enum tgctl_service service, struct answer *answer)
{
    Tg__HealthCheckRequest message = TG__HEALTH_CHECK_REQUEST__INIT;
    struct rpc_request request = {
        .service = &tg__health__descriptor,
        .method = "Check",
        .message = &message.base,
        .budget_ms = (uint32_t)ctl->config.timeout,
    };
    struct tg_error err;

    if (tgctl_open(ctl, service, &answer->client, &err) == TG_OK)
        rpc_start(answer->client, &request, on_answer, answer);
    else
        on_answer(answer, err.code, err.text, NULL);
}

static void ask_all(const struct tgctl *ctl, struct answer answers[SERVICES])
{
    struct poll poll = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, SERVICES};

    for (int i = 0; i < SERVICES; i++) {
        answers[i].poll = &poll;
        ask(ctl, (enum tgctl_service)i, &answers[i]);
    }
    pthread_mutex_lock(&poll.lock);
    while (poll.waiting > 0)
        pthread_cond_wait(&poll.changed, &poll.lock);
    pthread_mutex_unlock(&poll.lock);
    for (int i = 0; i < SERVICES; i++)
        rpc_client_close(answers[i].client);
}

static enum tgctl_exit health(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    static const struct table_column columns[] = {
        {"service", "SERVICE"}, {"status", "STATUS"}, {"uptime_s", "UPTIME S"},
        {"version", "VERSION"}, {"reason", "REASON"}, {NULL, NULL},
    };
    struct answer answers[SERVICES] = {0};
    json_t *rows = json_array();
    enum tgctl_exit code;
    bool all = true;

    (void)arguments;
    ask_all(ctl, answers);
    for (int i = 0; i < SERVICES; i++) {
        json_t *row = json_object();

        row_text(row, "service", tgctl_service_names[i]);
        row_text(row, "status", answers[i].status);
        row_number(row, "uptime_s", answers[i].uptime_s);
        row_text(row, "version", answers[i].version);
        row_text(row, "reason", answers[i].reason);
        json_array_append_new(rows, row);
        all = all && answers[i].serving;
    }
    code = table_print(ctl, columns, rows);
    json_decref(rows);
    return code == EXIT_DONE && !all ? EXIT_NO : code;
}

const struct tgctl_command health_commands[] = {
    {"health", NULL, {NULL}, NULL, "all services; exit code 1 when one of them is not serving", health},
    {.group = NULL},
};
