/* What the tests of the audit service share: a directory of their own, entries, a log in memory. */
#ifndef TG_TEST_AUDIT_FIXTURE_H
#define TG_TEST_AUDIT_FIXTURE_H

#include <dirent.h>
#include <ftw.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/file.h"
#include "common/secret.h"
#include "services/audit/log/tlog.h"
#include "services/audit/record.h"

static inline int make_directory(void **state)
{
    char path[] = "/tmp/tg-test-audit-XXXXXX";
    if (mkdtemp(path) == NULL)
        return -1;
    *state = strdup(path);
    return *state == NULL ? -1 : 0;
}

static inline int remove_one(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

static inline int remove_directory(void **state)
{
    int rc = nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return rc;
}

#define TEST_ORIGIN "log.test/audit"

/* A fresh Ed25519 key in DIRECTORY/NAME, unless there is one. */
static inline void make_key_file(const char *directory, const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", directory, name);
    if (access(path, F_OK) == 0)
        return;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem = NULL;
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    long len = BIO_get_mem_data(bio, &pem);
    assert_int_equal(file_write_new(path, pem, (size_t)len, NULL), TG_OK);
    BIO_free(bio);
    EVP_PKEY_free(key);
}

/* A log with the keys of those names. */
static inline enum tg_code open_log_with(struct log_writer **log, const char *directory,
                                         const char *const *names, size_t count, struct tlog_options options,
                                         struct tg_error *err)
{
    char paths[NOTE_KEYS_MAX][512];
    const char *keys[NOTE_KEYS_MAX];
    for (size_t i = 0; i < count; i++) {
        make_key_file(directory, names[i], paths[i]);
        keys[i] = paths[i];
    }
    options.directory = directory;
    options.origin = TEST_ORIGIN;
    options.keys = keys;
    options.key_count = count;
    return tlog_open(log, &options, err);
}

static inline struct log_writer *open_log_io(const char *directory, const struct tlog_io *io)
{
    static const char *const names[] = {"log.key"};
    struct tlog_options options = {.io = io, .journal_size = 64 << 10, .integrate_ms = 1};
    struct log_writer *log = NULL;
    struct tg_error err = {0};
    if (open_log_with(&log, directory, names, 1, options, &err) != TG_OK ||
        log->ops->start(log, &err) != TG_OK)
        fail_msg("%s", err.text);
    return log;
}

static inline struct log_writer *open_log(const char *directory)
{
    return open_log_io(directory, NULL);
}

enum { NOT_APPENDED = -1 };

/* Appends one entry that says n; returns its sequence, NOT_APPENDED when it failed. */
static inline int64_t append_one(struct log_writer *log, unsigned n, struct tg_error *err)
{
    char body[64];
    snprintf(body, sizeof body, "\"x\":0},\"event\":\"test.%u\"}", n);
    struct log_entry entry = {body, strlen(body)};
    uint64_t first = 0;
    return log->ops->append(log, &entry, 1, &first, err) == TG_OK ? (int64_t)first : (int64_t)NOT_APPENDED;
}

/* In batches of up to 1000, whose sizes vary. */
static inline void append_many(struct log_writer *log, unsigned count)
{
    static char body[] = "\"x\":0},\"event\":\"test\",\"filler\":\"0123456789\"}";
    struct log_entry entries[1000];
    for (size_t i = 0; i < 1000; i++)
        entries[i] = (struct log_entry){body, sizeof body - 1};
    for (unsigned done = 0, part = 1; done < count; done += part, part = part * 3 % 1000 + 1) {
        uint64_t first = 0;
        struct tg_error err = {0};
        part = part < count - done ? part : count - done;
        if (log->ops->append(log, entries, part, &first, &err) != TG_OK)
            fail_msg("%s", err.text);
    }
}

static inline bool keep_going(void *arg)
{
    (void)arg;
    return true;
}

/* How many times something torn was moved aside. */
static inline unsigned torn_files(const char *directory)
{
    char path[512];
    unsigned found = 0;
    snprintf(path, sizeof path, "%s/pending", directory);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        found += strstr(entry->d_name, ".torn-") != NULL;
    closedir(dir);
    return found;
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
    if (counted->lines != 0)
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
    struct log_verdict found = {0};
    struct tg_error err = {0};
    if (log->ops->verify(log, NULL, keep_going, NULL, &found, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(found.entries, entries);
    assert_int_equal(found.archived, 0);
}

#endif
