/* Witnesses: others who keep an eye on the log. Each checkpoint goes to all of them (c2sp.org/tlog-witness,
 * POST …/add-checkpoint); one that finds it to continue the last it saw cosigns it
 * (c2sp.org/tlog-cosignature). The newest checkpoint that enough of them have cosigned lies beside
 * `checkpoint` as `checkpoint.witnessed`: who asks for that cannot be shown another log than everybody else.
 *
 * Nobody waits for them: a witness that is away makes no login fail. That too few have cosigned for a minute
 * is an event. */
#ifndef TG_AUDIT_WITNESS_H
#define TG_AUDIT_WITNESS_H

#include "common/config.h"
#include "common/error.h"
#include "services/audit/log/log_writer.h"

enum { WITNESSES_MAX = NOTE_KEYS_MAX };

struct witness_config {
    char *url; /* submission prefix: https://…, or http:// on loopback */
    char *key; /* <name>+<id>+<base64>, of a cosigner: type 0x04, or 0x06 */
    char *ca;  /* PEM; NULL: the system's */
};
extern const struct config_row witness_rows[]; /* for CONFIG_TABLES */

struct witnesses;

struct witnesses_options {
    const char *directory;            /* the log's */
    const struct config_list *list;   /* struct witness_config, 1 to WITNESSES_MAX; borrowed */
    unsigned quorum;                  /* so many must cosign */
    unsigned interval_ms, timeout_ms; /* between rounds; of one */
    unsigned patience_ms;             /* without a quorum, until that is reported */
    struct log_writer *log;           /* borrowed */
    /* "audit.witnesses_behind" with a reason, "audit.witnessed_again" (reason NULL). On a thread of its own.
     */
    void (*report)(void *arg, const char *event, const char *reason);
    void *arg;
};

/* INVALID_ARGUMENT: an address, key or number that cannot be used; the text names it. */
enum tg_code witnesses_open(struct witnesses **witnesses, const struct witnesses_options *options,
                            struct tg_error *err) TG_MUST_CHECK;
enum tg_code witnesses_start(struct witnesses *witnesses, struct tg_error *err) TG_MUST_CHECK;
/* NULL is fine, as for close, which stops as well. */
void witnesses_stop(struct witnesses *witnesses);
void witnesses_close(struct witnesses *witnesses);

#endif
