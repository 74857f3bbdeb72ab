/* A log in DIRECTORY/log with an archive in DIRECTORY/archive. */
#ifndef TG_TEST_ARCHIVE_FIXTURE_H
#define TG_TEST_ARCHIVE_FIXTURE_H

#include "tests/unit/audit/audit_fixture.h"

#include "services/audit/log/tlog_archive.h"

/* Times of entries, and when what is older goes. */
enum { OLD_MS = 1000, LIMIT_MS = 2000, YOUNG_MS = 3000 };

static inline const char *below(const char *directory, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, 512, "%s/%s", directory, name);
    return path;
}

static inline int make_two_directories(void **state)
{
    return make_directory(state) == 0 && mkdir(below(*state, "log"), 0700) == 0 &&
                   mkdir(below(*state, "archive"), 0700) == 0
               ? 0
               : -1;
}

static inline struct log_writer *open_archived(const char *directory, const char *archive,
                                               const struct tlog_io *io)
{
    static const char *const names[] = {"log.key"};
    struct tlog_options options = {
        .archive = archive == NULL ? NULL : below(directory, archive), .io = io, .integrate_ms = 1};
    struct log_writer *log = NULL;
    struct tg_error err = {0};
    if (open_log_with(&log, below(directory, "log"), names, 1, options, &err) != TG_OK ||
        log->ops->start(log, &err) != TG_OK)
        fail_msg("%s", err.text);
    return log;
}

/* One after the other; each event is test.N. */
static inline void append_of(struct log_writer *log, unsigned count, unsigned time_ms)
{
    enum { AT_ONCE = 128, BODY = 128 };
    static char bodies[AT_ONCE][BODY];
    struct log_entry entries[AT_ONCE];
    while (count > 0) {
        unsigned part = count < AT_ONCE ? count : AT_ONCE;
        uint64_t first = log->ops->next(log);
        for (unsigned i = 0; i < part; i++) {
            int len = snprintf(bodies[i], BODY, "\"event_code\":\"test.%llu\"},\"time\":%u,\"x\":0}",
                               (unsigned long long)first + i, time_ms);
            entries[i] = (struct log_entry){bodies[i], (size_t)len};
        }
        assert_int_equal(log->ops->append(log, entries, part, &first, NULL), TG_OK);
        count -= part;
    }
}

/* As the service does it, but that it may be archived itself next time. */
static inline enum tg_code append_announcement(void *arg, uint64_t first, uint64_t last, uint64_t *sequence,
                                               struct tg_error *err)
{
    struct log_writer *log = arg;
    char body[192];
    int len = snprintf(body, sizeof body,
                       "\"version\":\"1.8.0\",\"event_code\":\"audit.archived\"},\"time\":%d,"
                       "\"message\":\"events %llu to %llu go to the archive\"}",
                       OLD_MS, (unsigned long long)first, (unsigned long long)last);
    struct log_entry entry = {body, (size_t)len};
    return log->ops->append(log, &entry, 1, sequence, err);
}

static inline enum tg_code archive_some(struct log_writer *log, uint64_t bundles, uint64_t *moved, bool *more,
                                        struct tg_error *err)
{
    struct tlog_archiving archiving = {.before_ms = LIMIT_MS,
                                       .bundle_max = bundles,
                                       .announce = append_announcement,
                                       .go_on = keep_going,
                                       .arg = log};
    enum tg_code code = tlog_archive(log, &archiving, err);
    *moved = archiving.count;
    *more = archiving.more;
    return code;
}

static inline enum tg_code archive_all(struct log_writer *log, struct tg_error *err)
{
    uint64_t moved = 0;
    bool more = false;
    return archive_some(log, 1000, &moved, &more, err);
}

/* 1000 entries of which three bundles have gone to the archive, and the announcement. */
enum { ENTRIES = 1001, GONE = 768 };
static inline struct log_writer *make_archived(const char *directory)
{
    struct tg_error err = {0};
    struct log_writer *log = open_archived(directory, "archive", NULL);
    append_of(log, ENTRIES - 1, OLD_MS);
    assert_intact(log, ENTRIES - 1);
    if (archive_all(log, &err) != TG_OK)
        fail_msg("%s", err.text);
    return log;
}

#endif
