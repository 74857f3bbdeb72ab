/* Where exported events go: a file of JSON lines, or a syslog collector, on a Unix socket or over TLS. */
#ifndef TG_TOOLS_EXPORT_SINK_H
#define TG_TOOLS_EXPORT_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct sink;

struct sink_ops {
    /* One event's line. UNAVAILABLE: it cannot be handed over now. */
    enum tg_code (*put)(struct sink *sink, const char *line, struct tg_error *err);
    /* Hands over what is buffered. *settled: all of it is known to have arrived. */
    enum tg_code (*flush)(struct sink *sink, bool *settled, struct tg_error *err);
    /* The end: waits until all is known to have arrived, where that can be known. The last call but close. */
    enum tg_code (*finish)(struct sink *sink, struct tg_error *err);
    /* What has to be remembered beside the sequence, and what was: of a file its length. */
    uint64_t (*mark)(const struct sink *sink);
    void (*close)(struct sink *sink);
};

/* The mark of who has none yet, and of sinks that know none. */
#define SINK_NO_MARK UINT64_MAX

struct sink {
    const struct sink_ops *ops;
};

/* What of the command line a sink needs; borrowed until it is closed. */
struct sink_options {
    const char *to;   /* see sink_open */
    const char *ca;   /* of a collector reached by TLS */
    const char *cert; /* ours; NULL: none */
    const char *key;
    uint64_t mark; /* where an earlier export has left off, or SINK_NO_MARK */
};

/* By what `to` says:
 *   tls:HOST:PORT   syslog over TLS, RFC 5425
 *   unix:PATH       syslog datagrams or stream, as /dev/log takes them
 *   PATH            a file, to which JSON lines are added, by one export at a time; what stands there behind
 *                   the mark is cut off: it was not remembered as exported, and comes again
 * INVALID_ARGUMENT, FAILED_PRECONDITION (another export writes the file), DATA_LOSS (it is shorter than the
 * mark), UNAVAILABLE; the text says which. */
enum tg_code sink_open(const struct sink_options *options, struct sink **sink,
                       struct tg_error *err) TG_MUST_CHECK;

/* ---- for sink_open ---- */
enum tg_code sink_file_open(const struct sink_options *options, struct sink **sink, struct tg_error *err);
enum tg_code sink_unix_open(const struct sink_options *options, struct sink **sink, struct tg_error *err);
enum tg_code sink_tls_open(const struct sink_options *options, struct sink **sink, struct tg_error *err);

#endif
