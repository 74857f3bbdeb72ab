/* Reading the log for operators, on a thread of its own: pages, filters, and following. A long search is
 * answered in part, with the place to go on from; whoever follows waits here without occupying a thread. The
 * same thread keeps the index (index.h). */
#ifndef TG_AUDIT_QUERY_H
#define TG_AUDIT_QUERY_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "proto/audit.pb-c.h"
#include "services/audit/log/log_writer.h"

enum query_limits {
    QUERY_LINES_MAX = 500,
    QUERY_BYTES_MAX = 192 * 1024, /* of lines in one answer: it must fit RPC_MESSAGE_MAX */
    QUERY_WAITING_MAX = 256
};

struct query_engine;

/* Exactly once, on the engine's thread or within query_submit; response is borrowed, NULL unless OK. */
typedef void query_done(void *arg, enum tg_code status, const char *text, const Tg__QueryResponse *response);

/* `log` is borrowed; `directory` is where the index lies. */
enum tg_code query_engine_open(struct query_engine **engine, const char *directory, struct log_writer *log,
                               struct tg_error *err) TG_MUST_CHECK;
enum tg_code query_engine_start(struct query_engine *engine, struct tg_error *err) TG_MUST_CHECK;
/* Answers what waits with UNAVAILABLE and ends the thread; later queries get RESOURCE_EXHAUSTED. */
void query_engine_stop(struct query_engine *engine);
/* Stops and frees. NULL is fine. */
void query_engine_close(struct query_engine *engine);

/* The request is borrowed until this returns; budget_ms is the caller's. Any thread. */
void query_submit(struct query_engine *engine, const Tg__QueryRequest *request, uint32_t budget_ms,
                  query_done *done, void *arg);
/* The log has grown: those who follow look again. Any thread. */
void query_wake(struct query_engine *engine);

#endif
