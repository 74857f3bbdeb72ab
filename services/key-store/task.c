#include "services/key-store/task.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/pb.h"
#include "common/trace.h"

static void applied(struct work *work, enum tg_code status, const char *text);

static enum tg_code apply(struct work *work, struct store *store, struct tg_error *err)
{
    struct task *task = (struct task *)work;
    TG_ENSURE(rpc_call_remaining_ms(task->call) > 0, err, TG_DEADLINE_EXCEEDED,
              "the call's time was over before its turn came: nothing was done");
    return task->kind->apply(task, store, err);
}

/* Whatever is audited is not even begun without the audit service: then no key is lost, and what is begun can
 * always be reported. True: the call has been answered. */
static bool is_turned_away(const struct task_kind *kind, struct key_store *ks, struct rpc_call *call)
{
    const char *trouble =
        kind->event != NULL || kind->refused != NULL ? audit_client_trouble(ks->audit) : NULL;
    if (trouble != NULL)
        rpc_fail(call, TG_UNAVAILABLE, "%s: nothing was done", trouble);
    return trouble != NULL;
}

void *task_new(size_t size, const struct task_kind *kind, struct key_store *ks, struct rpc_call *call)
{
    if (is_turned_away(kind, ks, call))
        return NULL;
    struct task *task = calloc(1, size);
    if (task == NULL) {
        rpc_fail(call, TG_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    *task = (struct task){.work = {.apply = apply, .done = applied}, .kind = kind, .ks = ks, .call = call};
    return task;
}

static void task_free(struct task *task)
{
    if (task->kind->wipe != NULL)
        task->kind->wipe(task);
    free(task);
}

static const char *role_name(enum rpc_role role)
{
    int index = 0;
    while (rpc_role_names[index] != NULL && 1 << index != (int)role)
        index++;
    return rpc_role_names[index];
}

/* `reason` NULL: a success. */
static void describe(const struct task *task, const char *name, const char *reason, Tg__Event *event)
{
    tg__event__init(event);
    event->event = pb_string(name);
    event->outcome = reason == NULL ? TG__EVENT__OUTCOME__SUCCESS : TG__EVENT__OUTCOME__FAILURE;
    event->reason = pb_string(reason);
    event->trace_id = pb_string(rpc_call_trace(task->call));
    event->peer = pb_string(role_name(rpc_call_role(task->call)));
    if (task->kind->describe != NULL)
        task->kind->describe(task, event);
}

static void report_later(const struct task *task, const char *name, const char *reason)
{
    Tg__Event event;
    describe(task, name, reason, &event);
    audit_post_last(task->ks->audit, &event);
}

/* A verdict on the request, as against trouble of our own: auditors want to know. */
static bool is_verdict(enum tg_code code)
{
    return code == TG_INVALID_ARGUMENT || code == TG_NOT_FOUND || code == TG_ALREADY_EXISTS ||
           code == TG_PERMISSION_DENIED || code == TG_FAILED_PRECONDITION || code == TG_UNAUTHENTICATED ||
           code == TG_DATA_LOSS;
}

void task_refuse(struct task *task, enum tg_code code, const char *text)
{
    if (task->kind->refused != NULL && is_verdict(code))
        report_later(task, task->kind->refused, text);
    if (code == TG_DATA_LOSS || code == TG_INTERNAL)
        LOG(LOG_ERROR, rpc_call_trace(task->call), "call.failed", LOG_CODE(code), LOG_TEXT("error", text));
    rpc_fail(task->call, code, "%s", text);
    task_free(task);
}

/* What was done stays done and auditors must hear of it, if later; but the answer is withheld. */
static void audited(void *arg, enum tg_code status, const char *text)
{
    struct task *task = arg;
    if (status == TG_OK) {
        task->kind->answer(task);
        task_free(task);
        return;
    }
    struct tg_error err;
    tg_fail(&err, task->kind->unaudited,
            "done, but the answer is withheld: it was not in the audit log within %d ms: %s", AUDIT_BUDGET_MS,
            text);
    report_later(task, task->kind->event, err.text);
    rpc_fail(task->call, err.code, "%s", err.text);
    task_free(task);
}

/* The last eighth of the caller's time is the answer's, so that he hears why when the audit log is late. */
static uint32_t audit_budget_ms(const struct rpc_call *call)
{
    uint32_t remaining = rpc_call_remaining_ms(call);
    uint32_t budget = remaining >= 2 ? remaining - remaining / 8 : 1;
    return budget < AUDIT_BUDGET_MS ? budget : AUDIT_BUDGET_MS;
}

static void applied(struct work *work, enum tg_code status, const char *text)
{
    struct task *task = (struct task *)work;
    if (status == TG_OK && task->kind->committed != NULL)
        task->kind->committed(task);
    if (status != TG_OK) {
        task_refuse(task, status, text);
    } else if (task->kind->event == NULL) {
        task->kind->answer(task);
        task_free(task);
    } else {
        Tg__Event event;
        describe(task, task->kind->event, NULL, &event);
        audit_report(task->ks->audit, &event, audit_budget_ms(task->call), audited, task);
    }
}

void task_submit(struct task *task)
{
    writer_add(task->ks->writer, &task->work);
}
