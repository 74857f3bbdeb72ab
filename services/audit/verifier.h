/* What operators ask of the log as evidence: to be verified, and to prove an entry. On threads of its own. */
#ifndef TG_AUDIT_VERIFIER_H
#define TG_AUDIT_VERIFIER_H

#include <stdint.h>

#include "common/error.h"
#include "proto/audit.pb-c.h"
#include "services/audit/log/log_writer.h"

struct verifier;

/* Exactly once, on a thread of the verifier's or within the submitting call; response is borrowed, NULL
 * unless OK. */
typedef void verify_done(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response);

/* `log` is borrowed. */
enum tg_code verifier_open(struct verifier **verifier, struct log_writer *log,
                           struct tg_error *err) TG_MUST_CHECK;
enum tg_code verifier_start(struct verifier *verifier, struct tg_error *err) TG_MUST_CHECK;
/* Gives up what is under way and ends the threads; later calls get RESOURCE_EXHAUSTED. */
void verifier_stop(struct verifier *verifier);
/* Stops and frees. NULL is fine. */
void verifier_close(struct verifier *verifier);

/* The whole log; when the request has an older checkpoint or a receipt, also that the log goes on from there.
 * Answers with AuditVerifyResponse. One at a time: RESOURCE_EXHAUSTED while another is under way. Any thread,
 * as the next. */
void verifier_verify(struct verifier *verifier, const Tg__AuditVerifyRequest *request, uint32_t budget_ms,
                     verify_done *done, void *arg);
/* AuditReceiptResponse. */
void verifier_prove(struct verifier *verifier, const Tg__AuditReceiptRequest *request, uint32_t budget_ms,
                    verify_done *done, void *arg);

#endif
