#include "common/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/trace.h"
#include "common/utf8.h"

enum { LINE_MAX_BYTES = 16384, TEXT_MAX_BYTES = 1024 };

const char *const log_level_names[] = {"error", "warning", "info", "debug", NULL};

/* The process has one log, as it has one stdout. */
static struct {
    pthread_mutex_t lock; /* keeps lines whole; guards service and fd */
    const char *service;
    int fd;
    atomic_int level;
} process_log = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .service = "ticketgate", .fd = STDERR_FILENO, .level = LOG_INFO};

/* A line under construction. `full`: something did not fit, and nothing more is added. */
struct line {
    size_t len;
    bool full;
    char bytes[LINE_MAX_BYTES];
};

static const char line_end[] = "}\n";
static const char line_end_cut[] = ",\"cut\":true}\n";

void log_open(const char *service, enum log_level level, int fd)
{
    pthread_mutex_lock(&process_log.lock);
    process_log.service = service;
    process_log.fd = fd;
    pthread_mutex_unlock(&process_log.lock);
    log_set_level(level);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&process_log.level, (int)level, memory_order_relaxed);
}

enum tg_code log_level_parse(const char *name, enum log_level *level, struct tg_error *err)
{
    for (unsigned i = 0; log_level_names[i] != NULL; i++) {
        if (strcmp(name, log_level_names[i]) == 0) {
            *level = (enum log_level)i;
            return TG_OK;
        }
    }
    return tg_fail(err, TG_INVALID_ARGUMENT, "log level \"%.32s\": use error, warning, info or debug", name);
}

static void put_bytes(struct line *line, const char *bytes, size_t len)
{
    /* Room for the end is kept, so that even a cut line is whole JSON. */
    size_t room = sizeof line->bytes - sizeof line_end_cut - line->len;
    if (line->full || len > room) {
        line->full = true;
        return;
    }
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
}

static void put(struct line *line, const char *fmt, ...) TG_PRINTF(2, 3);
static void put(struct line *line, const char *fmt, ...)
{
    char piece[128];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(piece, sizeof piece, fmt, args);
    va_end(args);
    TG_INVARIANT(len >= 0 && (size_t)len < sizeof piece);
    put_bytes(line, piece, (size_t)len);
}

static void put_text(struct line *line, const char *text)
{
    size_t left = strnlen(text, TEXT_MAX_BYTES + 4); /* one character more than is shown */
    size_t budget = TEXT_MAX_BYTES;
    put_bytes(line, "\"", 1);
    while (left > 0) {
        uint32_t code = 0;
        size_t used = utf8_decode(text, left, &code);
        size_t step = used == 0 ? 1 : used;
        if (step > budget) {
            put(line, "\u2026"); /* says that the value was cut */
            break;
        }
        if (used == 0)
            put(line, "\ufffd");
        else if (code == '"' || code == '\\')
            put(line, "\\%c", (char)code); /* frequent in our own texts, so kept easy to read */
        else if (utf8_steers(code))
            put(line, "\\u%04" PRIx32, code);
        else
            put_bytes(line, text, used);
        text += step;
        left -= step;
        budget -= step;
    }
    put_bytes(line, "\"", 1);
}

static void put_field(struct line *line, const struct log_field *field)
{
    size_t before = line->len;
    put_bytes(line, ",", 1);
    put_text(line, field->key);
    put_bytes(line, ":", 1);
    if (field->text != NULL)
        put_text(line, field->text);
    else
        put(line, "%" PRId64, field->number);
    if (line->full)
        line->len = before; /* a field stands whole or not at all */
}

static void put_time(struct line *line)
{
    uint64_t now_us = clock_unix_us();
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm utc;
    char text[32];
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    put(line, "{\"time\":\"%s.%06uZ\"", text, (unsigned)(now_us % 1000000));
}

/* What cannot be written is lost: a service must not stop because nobody reads its log. */
static void write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t done = write(fd, bytes, len);
        if (done > 0) {
            bytes += done;
            len -= (size_t)done;
        } else if (done < 0 && errno == EAGAIN) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            if (poll(&writable, 1, -1) < 0 && errno != EINTR)
                return;
        } else if (done == 0 || errno != EINTR) {
            return;
        }
    }
}

void log_write(enum log_level level, const char *trace, const char *event, const struct log_field *fields,
               size_t count)
{
    if ((int)level > atomic_load_explicit(&process_log.level, memory_order_relaxed))
        return;
    TG_INVARIANT((unsigned)level <= LOG_DEBUG);
    int saved_errno = errno;
    struct line line;
    line.len = 0;
    line.full = false;

    pthread_mutex_lock(&process_log.lock);
    put_time(&line);
    put_field(&line, &LOG_TEXT("level", log_level_names[level]));
    put_field(&line, &LOG_TEXT("service", process_log.service));
    put_field(&line, &LOG_TEXT("event", event));
    if (trace != NULL && trace[0] != '\0')
        put_field(&line, &LOG_TEXT("trace", trace));
    for (size_t i = 0; i < count && !line.full; i++)
        put_field(&line, &fields[i]);
    const char *end = line.full ? line_end_cut : line_end;
    size_t end_len = strlen(end);
    memcpy(line.bytes + line.len, end, end_len);
    write_all(process_log.fd, line.bytes, line.len + end_len);
    pthread_mutex_unlock(&process_log.lock);
    errno = saved_errno;
}
