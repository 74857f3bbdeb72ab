/* tgctl audit: the log as evidence. What these print can be checked without us: tg-audit-verify, or any
 * program that knows c2sp.org/tlog-tiles. */
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/pb.h"
#include "proto/audit.pb-c.h"
#include "tools/tgctl/table.h"
#include "tools/tgctl/tgctl.h"

enum { EVIDENCE_MAX = 192 * 1024 }; /* it must fit a message */

/* The text of the file that --name gives; *text is to be freed, "" when the option was not given. */
static enum tg_code option_file(const struct tgctl_arguments *arguments, const char *name, char **text,
                                struct tg_error *err)
{
    const char *path = arguments_option(arguments, name);
    size_t len = 0;
    if (path != NULL)
        return file_read(path, EVIDENCE_MAX, text, &len, err);
    *text = strdup("");
    TG_ENSURE(*text != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory");
    return TG_OK;
}

static enum tgctl_exit print_verdict(struct tgctl *ctl, const Tg__AuditVerifyResponse *verdict)
{
    static const struct table_column columns[] = {{"intact", "INTACT"},
                                                  {"entries", "ENTRIES"},
                                                  {"archived", "NOT-LOOKED-AT"},
                                                  {"problem", "PROBLEM"},
                                                  {NULL, NULL}};
    json_t *row = json_object();
    row_flag(row, "intact", verdict->intact);
    row_number(row, "entries", verdict->entries);
    row_number(row, "archived", verdict->archived);
    row_text(row, "problem", verdict->problem);
    enum tgctl_exit code = table_print_one(ctl, columns, row);
    return code == EXIT_DONE && !verdict->intact ? EXIT_NO : code;
}

static enum tgctl_exit audit_verify(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__AuditVerifyRequest request = TG__AUDIT_VERIFY_REQUEST__INIT;
    struct tgctl patient = *ctl; /* the whole log is read */
    char *checkpoint = NULL;
    char *receipt = NULL;
    ProtobufCMessage *answer = NULL;
    struct tg_error err;
    patient.config.timeout = RPC_BUDGET_MAX_MS;
    enum tg_code code = option_file(arguments, "checkpoint", &checkpoint, &err);
    if (code == TG_OK)
        code = option_file(arguments, "receipt", &receipt, &err);
    if (code == TG_OK) {
        request.checkpoint = checkpoint;
        request.receipt = receipt;
        code = tgctl_call(&patient, SERVICE_AUDIT, &tg__audit__descriptor, "Verify", &request.base, &answer,
                          &err);
    }
    free(checkpoint);
    free(receipt);
    if (code != TG_OK)
        return tgctl_failed(&err);
    enum tgctl_exit end = print_verdict(ctl, (const Tg__AuditVerifyResponse *)answer);
    rpc_free_response(answer);
    return end;
}

/* Texts that are to be kept as they are. */
static enum tgctl_exit print_text(struct tgctl *ctl, const char *text)
{
    if (fputs(text, ctl->out) >= 0 && fflush(ctl->out) == 0)
        return EXIT_DONE;
    fprintf(stderr, "tgctl: the output could not be written\n");
    return EXIT_OUTPUT;
}

static enum tg_code call_checkpoint(const struct tgctl *ctl, ProtobufCMessage **answer, struct tg_error *err)
{
    Tg__AuditCheckpointRequest request = TG__AUDIT_CHECKPOINT_REQUEST__INIT;
    return tgctl_call(ctl, SERVICE_AUDIT, &tg__audit__descriptor, "Checkpoint", &request.base, answer, err);
}

static enum tgctl_exit audit_checkpoint(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    ProtobufCMessage *answer = NULL;
    struct tg_error err;
    (void)arguments;
    if (call_checkpoint(ctl, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    enum tgctl_exit end = print_text(ctl, ((const Tg__AuditCheckpointResponse *)answer)->note);
    rpc_free_response(answer);
    return end;
}

static enum tgctl_exit audit_key(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    ProtobufCMessage *answer = NULL;
    struct tg_error err;
    (void)arguments;
    if (call_checkpoint(ctl, &answer, &err) != TG_OK)
        return tgctl_failed(&err);
    const Tg__AuditCheckpointResponse *response = (const Tg__AuditCheckpointResponse *)answer;
    for (size_t i = 0; i < response->n_keys; i++)
        fprintf(ctl->out, "%s\n", response->keys[i]);
    rpc_free_response(answer);
    return print_text(ctl, "");
}

static enum tgctl_exit audit_receipt(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    Tg__AuditReceiptRequest request = TG__AUDIT_RECEIPT_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    struct tg_error err;
    if (sequence_read(arguments->positional[0], &request.sequence, &err) != TG_OK) {
        (void)tgctl_failed(&err);
        return EXIT_USAGE;
    }
    if (tgctl_call(ctl, SERVICE_AUDIT, &tg__audit__descriptor, "Receipt", &request.base, &answer, &err) !=
        TG_OK)
        return tgctl_failed(&err);
    enum tgctl_exit code = print_text(ctl, ((const Tg__AuditReceiptResponse *)answer)->receipt);
    rpc_free_response(answer);
    return code;
}

static const struct tgctl_option verify_options[] = {
    {"checkpoint", "FILE", "the log must also continue this older checkpoint"},
    {"receipt", "FILE", "this receipt must also hold, and the log continue its checkpoint"},
    {NULL, NULL, NULL},
};

const struct tgctl_command evidence_commands[] = {
    {"audit",
     "verify",
     {NULL},
     verify_options,
     "check the whole log against its checkpoint; exit code 1 when it is broken",
     audit_verify},
    {"audit",
     "checkpoint",
     {NULL},
     NULL,
     "the newest checkpoint: keep it elsewhere, and the log can never again be changed before it",
     audit_checkpoint},
    {"audit", "receipt", {"SEQUENCE"}, NULL, "proves one event to whoever has the log's key", audit_receipt},
    {"audit", "key", {NULL}, NULL, "the public keys that the log is signed with", audit_key},
    {.group = NULL},
};
