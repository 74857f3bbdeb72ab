/* What the client's programs tell people, always on stderr: stdout is for data (-W) and for results. With
 * --json the same goes out as lines of the log's shape (common/log.h), for scripts. */
#ifndef TG_CLIENT_SAY_H
#define TG_CLIENT_SAY_H

#include <stdbool.h>

#include "client/exit_code.h"
#include "common/log.h"

struct say {
    const char *program; /* in front of each line */
    bool quiet;          /* errors and warnings only */
    bool json;
};

/* Once, before anything is said: turns the log on for --json. */
void say_open(const struct say *say);

/* Why the program ends, and what the user can do about it. */
void say_end(const struct say *say, enum client_exit how, const struct tg_error *err);

/* `text` for people; `event` and fields for scripts, who also get the text. */
void say_write(const struct say *say, enum log_level level, const char *event, const char *text,
               const struct log_field *fields, size_t count);

#define SAY(say, level, event, text, ...)                                                                    \
    say_write(say, level, event, text, (const struct log_field[]){{0}, __VA_ARGS__} + 1,                     \
              sizeof((const struct log_field[]){{0}, __VA_ARGS__}) / sizeof(struct log_field) - 1)

#endif
