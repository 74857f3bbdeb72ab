/* tg-audit: the durable, tamper-evident log that operators inspect (DESIGN.md 7). Handlers only hand work on:
 * to the committer what is to be written, to the query engine what is to be read, to the verifier what is to
 * be checked. */
#ifndef TG_AUDIT_AUDIT_H
#define TG_AUDIT_AUDIT_H

#include <stdint.h>

#include "common/rpc/rpc.h"
#include "common/secret.h"
#include "common/service/service.h"
#include "services/audit/committer.h"
#include "services/audit/log/archiver.h"
#include "services/audit/log/log_writer.h"
#include "services/audit/search/query.h"
#include "services/audit/search/reading.h"
#include "services/audit/verifier.h"
#include "services/audit/witness/witness.h"

struct audit_config {
    struct service_config service;
    char *directory;
    char *ticket_key;
    char *origin;
    struct config_list signing_keys; /* paths */
    int64_t queue_events;
    int64_t disk_timeout; /* ms */
    struct reading_config reading;
    struct archiver_config archive;
    struct config_list witnesses; /* struct witness_config */
    int64_t witness_quorum;
};
extern const struct config_row audit_config_rows[];

struct audit {
    struct secret *ticket_key;
    struct log_writer *log;
    struct committer *committer;
    struct query_engine *queries;
    struct verifier *verifier;
    struct reading *reading;     /* NULL: off */
    struct witnesses *witnesses; /* NULL: there are none */
    struct archiver *archiver;   /* NULL: off */
    bool started;
};

/* The functions of struct service; see common/service/service.h. */
enum tg_code audit_open(const void *config, void **state, struct tg_error *err);
enum tg_code audit_start(void *state, struct tg_error *err);
const char *audit_not_serving(void *state);
void audit_drain(void *state, unsigned timeout_ms);
void audit_close(void *state);

/* An event of the audit service's own ("audit.started"); not waited for. reason NULL: a success. */
void audit_own_event(struct audit *audit, const char *name, const char *reason, const char *detail);

extern const struct rpc_method audit_methods[];

#endif
