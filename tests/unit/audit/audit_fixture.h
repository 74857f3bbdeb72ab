/* What the tests of the audit service share: a directory of their own, entries, a log in memory. */
#ifndef TG_TEST_AUDIT_FIXTURE_H
#define TG_TEST_AUDIT_FIXTURE_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/secret.h"
#include "services/audit/chain_log.h"
#include "services/audit/record.h"

static inline int make_directory(void **state)
{
    char path[] = "/tmp/tg-test-audit-XXXXXX";
    if (mkdtemp(path) == NULL)
        return -1;
    *state = strdup(path);
    return *state == NULL ? -1 : 0;
}

static inline int remove_directory(void **state)
{
    char path[1024];
    DIR *dir = opendir(*state);
    if (dir == NULL)
        return -1;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", (char *)*state, entry->d_name);
        unlink(path);
    }
    closedir(dir);
    int rc = rmdir(*state);
    free(*state);
    return rc;
}

static inline struct log_writer *open_log(const char *directory, off_t segment_size)
{
    struct log_writer *log = NULL;
    struct tg_error err = {0};
    struct chain_options options = {.directory = directory, .segment_size = segment_size};
    if (chain_log_open(&log, &options, &err) != TG_OK)
        fail_msg("%s", err.text);
    return log;
}

/* Appends one entry that says n; returns its sequence, 0 when it failed. */
static inline uint64_t append_one(struct log_writer *log, unsigned n, struct tg_error *err)
{
    char body[64];
    snprintf(body, sizeof body, "\"x\":0},\"event\":\"test.%u\"}", n);
    struct log_entry entry = {body, strlen(body)};
    uint64_t first = 0;
    return log->ops->append(log, &entry, 1, &first, err) == TG_OK ? first : 0;
}

static inline bool keep_going(void *arg)
{
    (void)arg;
    return true;
}

struct counted {
    uint64_t lines;
    uint64_t last;
};

static inline bool count_line(void *arg, uint64_t sequence, const char *line, size_t len)
{
    struct counted *counted = arg;
    assert_int_equal(line[0], '{');
    assert_int_equal(line[len - 1], '}');
    if (counted->last != 0)
        assert_int_equal(sequence, counted->last + 1);
    counted->last = sequence;
    counted->lines++;
    return true;
}

static inline uint64_t count_lines(struct log_writer *log, uint64_t from)
{
    struct counted counted = {0};
    struct tg_error err = {0};
    if (log->ops->read(log, from, count_line, &counted, &err) != TG_OK)
        fail_msg("%s", err.text);
    return counted.lines;
}

static inline void assert_intact(struct log_writer *log, uint64_t entries)
{
    uint64_t found = 0;
    struct tg_error err = {0};
    if (log->ops->verify(log, keep_going, NULL, &found, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(found, entries);
}

#endif
