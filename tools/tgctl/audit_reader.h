/* The audit log page by page, through the filters of the command line: for all commands that read it. */
#ifndef TG_TOOLS_AUDIT_READER_H
#define TG_TOOLS_AUDIT_READER_H

#include "proto/audit.pb-c.h"
#include "tools/tgctl/tgctl.h"

struct audit_reader {
    const struct tgctl *ctl;
    struct rpc_client *client;
    Tg__QueryRequest request; /* from_sequence: what comes next */
    uint64_t left;            /* lines to give at most */
    bool more;                /* in the log, now */
    bool follow;
};

/* The rows of a command's options. */
#define AUDIT_READER_OPTIONS                                                                                 \
    {"user", "USER", "only events of this user"}, {"session", "SESSION", "only events of this session"},     \
        {"trace", "TRACE", "only events of one connection, from its first byte to its end"},                 \
        {"event", "EVENT", "only this event, or all that start so when it ends in a full stop: login."},     \
        {"ticket", "HMAC", "only events about this ticket, as tgctl audit hash names it"},                   \
        {"outcome", "OUTCOME", "only success, or only failure"},                                             \
        {"address", "ADDRESS", "only events of clients at this IP address"},                                 \
        {"since", "TIME", "2026-11-22T20:14:11Z, 2026-11-22, or how long ago: 90s, 15m, 2h, 7d"},            \
        {"until", "TIME", "the same"},                                                                       \
    {                                                                                                        \
        "limit", "N", "stop after so many"                                                                   \
    }

/* One stored line; borrowed. */
typedef enum tg_code audit_take(void *arg, const char *line, struct tg_error *err);

/* audit_reader_close afterwards, if it succeeded. INVALID_ARGUMENT: what the arguments say. */
enum tg_code audit_reader_open(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                               struct audit_reader *reader, struct tg_error *err) TG_MUST_CHECK;
/* At the end of the log wait for more, from now on. */
void audit_reader_follow(struct audit_reader *reader, bool follow);
/* To the end that the log has now. Not by time: the services' clocks are not this one. */
enum tg_code audit_reader_skip(struct audit_reader *reader, struct tg_error *err) TG_MUST_CHECK;
bool audit_reader_more(const struct audit_reader *reader);
/* Gives a page's lines to `take`, and moves on to the next unless that fails. */
enum tg_code audit_reader_page(struct audit_reader *reader, audit_take *take, void *arg,
                               struct tg_error *err) TG_MUST_CHECK;
void audit_reader_close(struct audit_reader *reader);

#endif
