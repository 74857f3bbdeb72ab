#include "services/audit/verifier.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/trace.h"
#include "services/audit/errands.h"
#include "services/audit/log/checkpoint.h"

enum { PROOFS_MAX = 64, ANSWER_RESERVE_MS = 100 };

struct verifier {
    struct log_writer *log;
    struct errands *verifying;
    struct errands *proving;
};

/* What somebody has asked for. */
struct task {
    struct verifier *verifier;
    verify_done *done;
    void *arg;
    uint64_t end_ms;
    uint64_t sequence; /* of the entry to prove */
    char *older;       /* owned; NULL: none */
};

static void task_end(struct task *task, enum tg_code status, const char *text,
                     const ProtobufCMessage *response)
{
    task->done(task->arg, status, text, response);
    free(task->older);
    free(task);
}

static bool go_on(void *arg)
{
    const struct task *task = arg;
    return !errands_stopping(task->verifier->verifying) && clock_now_ms() < task->end_ms;
}

static void run_verify(void *arg, bool ending)
{
    struct task *task = arg;
    struct log_writer *log = task->verifier->log;
    Tg__AuditVerifyResponse response = TG__AUDIT_VERIFY_RESPONSE__INIT;
    struct tg_error err = {0};
    if (ending) {
        task_end(task, TG_UNAVAILABLE, "the audit service is ending", NULL);
        return;
    }
    struct log_verdict verdict = {0};
    enum tg_code code = log->ops->verify(log, task->older, go_on, task, &verdict, &err);
    if (code != TG_OK && code != TG_DATA_LOSS && code != TG_UNAUTHENTICATED) {
        task_end(task, code == TG_CANCELLED ? TG_DEADLINE_EXCEEDED : code, err.text, NULL);
        return;
    }
    response.intact = code == TG_OK;
    response.entries = verdict.entries;
    response.archived = verdict.archived;
    if (!response.intact) {
        LOG(LOG_ERROR, NULL, "audit.log_broken", LOG_NUMBER("good_entries", response.entries), LOG_ERR(&err));
        response.problem = err.text;
    }
    task_end(task, TG_OK, "", &response.base);
}

static void run_prove(void *arg, bool ending)
{
    struct task *task = arg;
    struct log_writer *log = task->verifier->log;
    Tg__AuditReceiptResponse response = TG__AUDIT_RECEIPT_RESPONSE__INIT;
    struct tg_error err = {0};
    char *receipt = NULL;
    uint64_t now_ms = clock_now_ms();
    unsigned wait_ms = task->end_ms > now_ms ? (unsigned)(task->end_ms - now_ms) : 0;
    enum tg_code code = ending ? tg_fail(&err, TG_UNAVAILABLE, "the audit service is ending")
                               : log->ops->receipt(log, task->sequence, wait_ms, &receipt, &err);
    if (code == TG_OK)
        response.receipt = receipt;
    task_end(task, code, err.text, code == TG_OK ? &response.base : NULL);
    free(receipt);
}

static struct task *task_new(struct verifier *verifier, uint32_t budget_ms, verify_done *done, void *arg)
{
    struct task *task = calloc(1, sizeof *task);
    if (task == NULL) {
        done(arg, TG_RESOURCE_EXHAUSTED, "no memory to look into the audit log", NULL);
        return NULL;
    }
    uint32_t budget = budget_ms > 2 * ANSWER_RESERVE_MS ? budget_ms - ANSWER_RESERVE_MS : budget_ms / 2;
    *task = (struct task){.verifier = verifier, .done = done, .arg = arg, .end_ms = clock_now_ms() + budget};
    return task;
}

/* The checkpoint of a receipt that holds by itself. */
static enum tg_code take_receipt(struct task *task, const char *text, struct tg_error *err)
{
    struct log_writer *log = task->verifier->log;
    struct receipt receipt;
    struct checkpoint checkpoint;
    TG_TRY(receipt_open(text, strlen(text), log->ops->keys(log), &receipt, &checkpoint, err));
    receipt_free(&receipt);
    task->older = strdup(strstr(text, "\n\n") + 2);
    TG_ENSURE(task->older != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a receipt");
    return TG_OK;
}

void verifier_verify(struct verifier *verifier, const Tg__AuditVerifyRequest *request, uint32_t budget_ms,
                     verify_done *done, void *arg)
{
    Tg__AuditVerifyResponse refused = TG__AUDIT_VERIFY_RESPONSE__INIT;
    struct tg_error err = {0};
    struct task *task = task_new(verifier, budget_ms, done, arg);
    if (task == NULL)
        return;
    if (request->receipt[0] != '\0') {
        if (take_receipt(task, request->receipt, &err) != TG_OK) {
            refused.problem = err.text;
            task_end(task, TG_OK, "", &refused.base);
            return;
        }
    } else if (request->checkpoint[0] != '\0') {
        task->older = strdup(request->checkpoint);
        if (task->older == NULL) {
            task_end(task, TG_RESOURCE_EXHAUSTED, "no memory for a checkpoint", NULL);
            return;
        }
    }
    if (!errands_submit(verifier->verifying, run_verify, task))
        task_end(task, TG_RESOURCE_EXHAUSTED,
                 "a verification is under way already: try again when it is done", NULL);
}

void verifier_prove(struct verifier *verifier, const Tg__AuditReceiptRequest *request, uint32_t budget_ms,
                    verify_done *done, void *arg)
{
    struct task *task = task_new(verifier, budget_ms, done, arg);
    if (task == NULL)
        return;
    task->sequence = request->sequence;
    if (!errands_submit(verifier->proving, run_prove, task))
        task_end(task, TG_RESOURCE_EXHAUSTED, "too many receipts are asked for: try again", NULL);
}

enum tg_code verifier_open(struct verifier **out, struct log_writer *log, struct tg_error *err)
{
    struct verifier *verifier = calloc(1, sizeof *verifier);
    TG_ENSURE(verifier != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for the verifier");
    verifier->log = log;
    enum tg_code code = errands_open(&verifier->verifying, 1, err);
    if (code == TG_OK)
        code = errands_open(&verifier->proving, PROOFS_MAX, err);
    if (code != TG_OK) {
        verifier_close(verifier);
        return code;
    }
    *out = verifier;
    return TG_OK;
}

enum tg_code verifier_start(struct verifier *verifier, struct tg_error *err)
{
    TG_TRY(errands_start(verifier->verifying, err));
    return errands_start(verifier->proving, err);
}

void verifier_stop(struct verifier *verifier)
{
    errands_stop(verifier->verifying);
    errands_stop(verifier->proving);
}

void verifier_close(struct verifier *verifier)
{
    if (verifier == NULL)
        return;
    errands_close(verifier->verifying);
    errands_close(verifier->proving);
    free(verifier);
}
