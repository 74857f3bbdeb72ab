/* Walks the whole log on a thread of its own when an operator asks for it. */
#ifndef TG_AUDIT_VERIFIER_H
#define TG_AUDIT_VERIFIER_H

#include <stdint.h>

#include "common/error.h"
#include "proto/audit.pb-c.h"
#include "services/audit/log_writer.h"

struct verifier;

/* Exactly once, on the verifier's thread or within verifier_submit; response is borrowed, NULL unless OK. */
typedef void verify_done(void *arg, enum tg_code status, const char *text,
                         const Tg__AuditVerifyResponse *response);

/* `log` is borrowed. */
enum tg_code verifier_open(struct verifier **verifier, struct log_writer *log,
                           struct tg_error *err) TG_MUST_CHECK;
enum tg_code verifier_start(struct verifier *verifier, struct tg_error *err) TG_MUST_CHECK;
/* Gives up what is under way and ends the thread; later calls get RESOURCE_EXHAUSTED. */
void verifier_stop(struct verifier *verifier);
/* Stops and frees. NULL is fine. */
void verifier_close(struct verifier *verifier);

/* One at a time: RESOURCE_EXHAUSTED while another is under way. Any thread. */
void verifier_submit(struct verifier *verifier, uint32_t budget_ms, verify_done *done, void *arg);

#endif
