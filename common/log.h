/* The service log: one JSON line an event on stdout (programs for people: stderr). For operators' eyes; what
 * auditors need goes to the audit service instead. Never a secret: there is no way to log a struct secret.
 *
 *   {"time":"2026-11-22T20:14:11.123456Z","level":"info","service":"gateway","event":"session.start",
 *    "trace":"6a…","user":"alice","streams":3}
 *
 * Any thread; each line is written whole. */
#ifndef TG_COMMON_LOG_H
#define TG_COMMON_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
extern const char *const log_level_names[]; /* error, warning, info, debug, NULL */

struct log_field {
    const char *key;
    const char *text; /* NULL: a number */
    int64_t number;
};
#define LOG_TEXT(k, v) ((struct log_field){.key = (k), .text = (v) != NULL ? (v) : ""})
#define LOG_NUMBER(k, v) ((struct log_field){.key = (k), .number = (int64_t)(v)})
#define LOG_CODE(c) LOG_TEXT("code", tg_code_name(c))
#define LOG_ERR(e) LOG_CODE((e)->code), LOG_TEXT("error", (e)->text)

/* Who speaks, from which level on, and to which descriptor. `service` is borrowed for the process's life. */
void log_open(const char *service, enum log_level level, int fd);
void log_set_level(enum log_level level);
/* "error", "warning", "info", "debug" → level; INVALID_ARGUMENT otherwise. */
enum tg_code log_level_parse(const char *name, enum log_level *level, struct tg_error *err) TG_MUST_CHECK;

/* trace: 32 hex digits or NULL. Text values are escaped and cut at 1,024 bytes; bytes that are not UTF-8
 * become U+FFFD, so that hostile input cannot forge a line. */
void log_write(enum log_level level, const char *trace, const char *event, const struct log_field *fields,
               size_t count);

#define LOG(level, trace, event, ...)                                                                        \
    log_write(level, trace, event, (const struct log_field[]){{0}, __VA_ARGS__} + 1,                         \
              sizeof((const struct log_field[]){{0}, __VA_ARGS__}) / sizeof(struct log_field) - 1)

#endif
