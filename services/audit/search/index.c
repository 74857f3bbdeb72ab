#include "services/audit/search/index.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/trace.h"

enum {
    DIGEST_LEN = 16,
    FILTER_LEN = 4096 - 2 * DIGEST_LEN - 16,
    PROBES = 7, /* at 10 bits a term one search in a hundred looks in vain */
    RETRY_MS = 60000
};

struct record {
    uint8_t check[DIGEST_LEN]; /* over all below */
    uint8_t entries[DIGEST_LEN];
    uint8_t oldest_ms[8], newest_ms[8];
    uint8_t filter[FILTER_LEN];
};
_Static_assert(sizeof(struct record) == 4096, "one page a record");

struct index {
    struct log_writer *log;
    int fd;             /* -1: there is none */
    uint64_t bundles;   /* that have a record */
    uint64_t resume_ms; /* after a failed write: not before */
};

/* ---- a record ---- */

static void put_number(uint8_t out[8], uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        out[i] = (uint8_t)value;
}

static uint64_t get_number(const uint8_t in[8])
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | in[i];
    return value;
}

static bool digest(const void *bytes, size_t len, uint8_t out[DIGEST_LEN])
{
    uint8_t whole[EVP_MAX_MD_SIZE];
    bool good = EVP_Digest(bytes, len, whole, NULL, EVP_sha256(), NULL) == 1;
    memcpy(out, whole, DIGEST_LEN);
    return good;
}

static bool check_of(const struct record *record, uint8_t out[DIGEST_LEN])
{
    return digest(record->entries, sizeof *record - DIGEST_LEN, out);
}

/* The i-th bit of a term: double hashing, as Kirsch and Mitzenmacher (2006) show to be enough. */
static uint32_t bit_of(uint64_t hash, unsigned i)
{
    uint32_t step = (uint32_t)(hash >> 32) | 1;
    return ((uint32_t)hash + i * step) % (FILTER_LEN * 8U);
}

static void file_under(struct record *record, uint64_t hash)
{
    for (unsigned i = 0; i < PROBES; i++) {
        uint32_t bit = bit_of(hash, i);
        record->filter[bit / 8] |= (uint8_t)(1U << bit % 8);
    }
}

static bool may_hold(const struct record *record, const struct index_probe *probe)
{
    if ((probe->since_ms != 0 && get_number(record->newest_ms) < probe->since_ms) ||
        (probe->until_ms != 0 && get_number(record->oldest_ms) > probe->until_ms))
        return false;
    for (size_t i = 0; i < probe->count * PROBES; i++) {
        uint32_t bit = bit_of(probe->hashes[i / PROBES], (unsigned)(i % PROBES));
        if ((record->filter[bit / 8] >> bit % 8 & 1) == 0)
            return false;
    }
    return true;
}

/* ---- making one ---- */

struct making {
    struct record *record;
    EVP_MD_CTX *entries;
    uint64_t oldest_ms, newest_ms;
    unsigned count;
    bool failed;
};

static bool take_line(void *arg, uint64_t sequence, const char *line, size_t len)
{
    struct making *making = arg;
    struct term_value values[TERMS];
    uint64_t hashes[TERM_HASHES_MAX];
    uint64_t ms = terms_time(line, len);
    (void)sequence;
    terms_find(line, len, values);
    size_t count = terms_hash(values, hashes);
    for (size_t i = 0; i < count; i++)
        file_under(making->record, hashes[i]);
    making->oldest_ms = ms < making->oldest_ms ? ms : making->oldest_ms;
    making->newest_ms = ms > making->newest_ms ? ms : making->newest_ms;
    making->failed |= EVP_DigestUpdate(making->entries, line, len) != 1;
    return ++making->count < TILE_WIDTH;
}

/* False: the log cannot be read there. */
static bool make_record(const struct index *index, uint64_t bundle, struct record *record)
{
    struct making making = {.record = record, .entries = EVP_MD_CTX_new(), .oldest_ms = UINT64_MAX};
    struct tg_error err = {0};
    uint8_t whole[EVP_MAX_MD_SIZE];
    memset(record, 0, sizeof *record);
    bool good = making.entries != NULL && EVP_DigestInit_ex(making.entries, EVP_sha256(), NULL) == 1 &&
                index->log->ops->read(index->log, bundle * TILE_WIDTH, take_line, &making, &err) == TG_OK &&
                making.count == TILE_WIDTH && !making.failed &&
                EVP_DigestFinal_ex(making.entries, whole, NULL) == 1;
    EVP_MD_CTX_free(making.entries);
    if (!good)
        return false;
    memcpy(record->entries, whole, DIGEST_LEN);
    put_number(record->oldest_ms, making.oldest_ms);
    put_number(record->newest_ms, making.newest_ms);
    return check_of(record, record->check);
}

/* ---- the file ---- */

static off_t place_of(uint64_t bundle)
{
    return (off_t)(bundle * sizeof(struct record));
}

/* False: missing or damaged. */
static bool read_record(const struct index *index, uint64_t bundle, struct record *record)
{
    uint8_t check[DIGEST_LEN];
    return pread(index->fd, record, sizeof *record, place_of(bundle)) == (ssize_t)sizeof *record &&
           check_of(record, check) && memcmp(check, record->check, sizeof check) == 0;
}

static void give_up(struct index *index, const char *doing)
{
    LOG(LOG_WARNING, NULL, "audit.index_failed", LOG_TEXT("doing", doing),
        LOG_TEXT("error", strerror(errno)));
    index->resume_ms = clock_now_ms() + RETRY_MS;
}

/* Is the record of this bundle about what the log holds there? */
static bool agrees(const struct index *index, uint64_t bundle)
{
    struct record kept, made;
    return read_record(index, bundle, &kept) && make_record(index, bundle, &made) &&
           memcmp(&kept, &made, sizeof kept) == 0;
}

/* What a crash left torn, or another log's, is made anew. The last one speaks for those before it. */
static void settle(struct index *index)
{
    struct stat about = {0};
    (void)fstat(index->fd, &about);
    uint64_t there = index->log->ops->next(index->log) / TILE_WIDTH;
    index->bundles = (uint64_t)about.st_size / sizeof(struct record);
    index->bundles = index->bundles < there ? index->bundles : there;
    if (index->bundles > 0 && !agrees(index, index->bundles - 1)) {
        LOG(LOG_WARNING, NULL, "audit.index_discarded", LOG_NUMBER("records", index->bundles));
        index->bundles = 0;
    }
    if (ftruncate(index->fd, place_of(index->bundles)) != 0)
        give_up(index, "cutting it");
}

struct index *index_open(const char *directory, struct log_writer *log)
{
    struct index *index = calloc(1, sizeof *index);
    char path[4096];
    if (index == NULL)
        return NULL;
    index->log = log;
    snprintf(path, sizeof path, "%s/index", directory);
    index->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (index->fd >= 0)
        settle(index);
    else
        give_up(index, "opening it");
    return index;
}

void index_close(struct index *index)
{
    if (index == NULL)
        return;
    if (index->fd >= 0)
        close(index->fd);
    free(index);
}

uint64_t index_entries(const struct index *index)
{
    return index->bundles * TILE_WIDTH;
}

static bool is_due(const struct index *index)
{
    return index->fd >= 0 && (index->bundles + 1) * TILE_WIDTH <= index->log->ops->next(index->log) &&
           clock_now_ms() >= index->resume_ms;
}

bool index_advance(struct index *index, unsigned bundles)
{
    struct record record;
    for (; bundles > 0 && is_due(index); bundles--) {
        errno = 0;
        if (!make_record(index, index->bundles, &record) ||
            pwrite(index->fd, &record, sizeof record, place_of(index->bundles)) != (ssize_t)sizeof record)
            give_up(index, "adding to it");
        else
            index->bundles++;
    }
    return is_due(index);
}

uint64_t index_skip(const struct index *index, const struct index_probe *probe, uint64_t sequence)
{
    struct record record;
    if (probe->count == 0 && probe->since_ms == 0 && probe->until_ms == 0)
        return sequence;
    for (uint64_t bundle = sequence / TILE_WIDTH; bundle < index->bundles; bundle++) {
        if (!read_record(index, bundle, &record) || may_hold(&record, probe))
            return bundle == sequence / TILE_WIDTH ? sequence : bundle * TILE_WIDTH;
    }
    uint64_t end = index_entries(index);
    return sequence < end ? end : sequence;
}
