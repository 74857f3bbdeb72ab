/* tg-audit-search: how long searches take in a large audit log, and how long its index takes to be made.
 *
 *   tg-audit-search DIRECTORY EVENTS
 *
 * Makes a log of so many events, one month of them, in a directory that is there and empty (about 600 bytes
 * an event), through the service's own log; then asks the service's own query engine, page by page. A row for
 * each search; the last line is key=value. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "common/pb.h"
#include "common/secret.h"
#include "common/trace.h"
#include "services/audit/log/tlog.h"
#include "services/audit/record.h"
#include "services/audit/search/index.h"
#include "services/audit/search/query.h"

enum { BATCH = 4096, BUDGET_MS = 60000, USERS = 5000, EVENTS_A_TRACE = 8, MONTH_S = 30 * 24 * 3600 };

static const uint64_t end_us = UINT64_C(1798761600) * 1000000; /* of the month */
static char directory[3072];
static uint64_t events;
static struct secret *key;

static _Noreturn void give_up(const char *doing, const struct tg_error *err)
{
    fprintf(stderr, "tg-audit-search: %s: %s\n", doing, err->text);
    exit(1);
}

static void insist(enum tg_code code, const char *doing, const struct tg_error *err)
{
    if (code != TG_OK)
        give_up(doing, err);
}

/* ---- the log ---- */

/* Most users have many events; "rare" has five. key.revoked is never of a user. */
static enum tg_code make_entry(uint64_t i, struct log_entry *entry, struct tg_error *err)
{
    static const char *const names[] = {
        "key.spent",     "handshake.authenticated", "login.accepted", "stream.opened",
        "stream.closed", "stream.opened",           "stream.closed",  "session.ended"};
    char user[16], trace[40], source[40];
    Tg__Event event = TG__EVENT__INIT;
    bool revoked = i % 997 == 0;
    snprintf(user, sizeof user, "user%" PRIu64, i / EVENTS_A_TRACE % USERS);
    snprintf(trace, sizeof trace, "%032" PRIx64, i / EVENTS_A_TRACE);
    snprintf(source, sizeof source, "192.0.2.%u:40001", (unsigned)(i / EVENTS_A_TRACE % 250));
    event.event = pb_string(revoked ? "key.revoked" : names[i % EVENTS_A_TRACE]);
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.time_us = end_us - (events - i) * (MONTH_S * UINT64_C(1000000) / events);
    event.service = pb_string("gateway");
    event.trace_id = trace;
    event.session_id = trace;
    event.user = revoked ? pb_string("") : i % (events / 5) == 1 ? pb_string("rare") : user;
    event.source = source;
    event.qkud_id = pb_string("branch-7");
    event.shield_id = pb_string("shield-12");
    event.policy = pb_string("core-ops");
    return record_encode(&event, key, &entry->body, &entry->len, err);
}

/* The log takes no more while too much waits to be signed. */
static void append(struct log_writer *log, const struct log_entry *entries, size_t count)
{
    const struct timespec moment = {0, 5000000};
    struct tg_error err = {0};
    uint64_t first;
    enum tg_code code;
    while ((code = log->ops->append(log, entries, count, &first, &err)) == TG_UNAVAILABLE)
        nanosleep(&moment, NULL);
    insist(code, "appending", &err);
}

static void fill(struct log_writer *log)
{
    static struct log_entry entries[BATCH];
    struct tg_error err = {0};
    for (uint64_t i = 0; i < events;) {
        size_t count = 0;
        for (; count < BATCH && i < events; count++, i++)
            insist(make_entry(i, &entries[count], &err), "making an event", &err);
        append(log, entries, count);
        while (count > 0)
            free(entries[--count].body);
    }
}

static void write_key(const char *path)
{
    EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *bio = BIO_new(BIO_s_mem());
    struct tg_error err = {.text = "OpenSSL cannot make a key"};
    char *pem = NULL;
    if (pair == NULL || bio == NULL || PEM_write_bio_PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL) != 1)
        give_up(path, &err);
    long len = BIO_get_mem_data(bio, &pem);
    insist(file_write_new(path, pem, (size_t)len, &err), path, &err);
    BIO_free(bio);
    EVP_PKEY_free(pair);
}

static struct log_writer *make_log(void)
{
    char key_file[4096];
    struct tg_error err = {0};
    struct log_writer *log = NULL;
    snprintf(key_file, sizeof key_file, "%s/log.key", directory);
    write_key(key_file);
    const char *keys[] = {key_file};
    const struct tlog_options options = {
        .directory = directory, .origin = "bench.test/audit", .keys = keys, .key_count = 1};
    insist(tlog_open(&log, &options, &err), "opening the log", &err);
    insist(log->ops->start(log, &err), "starting the log", &err);
    fill(log);
    return log;
}

/* ---- searching ---- */

struct search {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done, more;
    uint64_t next;
    size_t found;
};

static void on_answer(void *arg, enum tg_code status, const char *text, const Tg__QueryResponse *response)
{
    struct search *search = arg;
    if (status != TG_OK) {
        fprintf(stderr, "tg-audit-search: a search failed: %s\n", text);
        exit(1);
    }
    pthread_mutex_lock(&search->lock);
    search->done = true;
    search->more = response->more;
    search->next = response->next_sequence;
    search->found += response->n_lines;
    pthread_cond_signal(&search->answered);
    pthread_mutex_unlock(&search->lock);
}

/* All pages; returns milliseconds. */
static uint64_t run(struct query_engine *engine, const char *name, Tg__QueryRequest request)
{
    struct search search = {.lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};
    uint64_t start_ms = clock_now_ms();
    unsigned pages = 0;
    request.limit = QUERY_LINES_MAX;
    do {
        search.done = false;
        request.from_sequence = search.next;
        query_submit(engine, &request, BUDGET_MS, on_answer, &search);
        pthread_mutex_lock(&search.lock);
        while (!search.done)
            pthread_cond_wait(&search.answered, &search.lock);
        pthread_mutex_unlock(&search.lock);
        pages++;
    } while (search.more);
    uint64_t took_ms = clock_now_ms() - start_ms;
    printf("%-40s %8zu found %6u pages %8" PRIu64 " ms\n", name, search.found, pages, took_ms);
    return took_ms;
}

static void search_all(struct query_engine *engine, uint64_t index_ms)
{
    Tg__QueryRequest user = TG__QUERY_REQUEST__INIT, trace = TG__QUERY_REQUEST__INIT,
                     never = TG__QUERY_REQUEST__INIT, hour = TG__QUERY_REQUEST__INIT;
    char id[40];
    snprintf(id, sizeof id, "%032" PRIx64, events / EVENTS_A_TRACE / 2);
    user.user = pb_string("rare");
    trace.trace_id = id;
    never.user = pb_string("user7");
    never.event = pb_string("key.revoked");
    hour.since_us = end_us - UINT64_C(3600) * 1000000;
    uint64_t user_ms = run(engine, "one user's five events", user);
    uint64_t trace_ms = run(engine, "one trace id", trace);
    uint64_t never_ms = run(engine, "user and event that never meet", never);
    uint64_t hour_ms = run(engine, "the newest hour", hour);
    printf("search_events=%" PRIu64 " user_ms=%" PRIu64 " trace_ms=%" PRIu64 " never_ms=%" PRIu64
           " hour_ms=%" PRIu64 " index_ms=%" PRIu64 "\n",
           events, user_ms, trace_ms, never_ms, hour_ms, index_ms);
}

static uint64_t make_index(struct log_writer *log)
{
    uint64_t start_ms = clock_now_ms();
    struct index *index = index_open(directory, log);
    while (index != NULL && index_advance(index, 256))
        ;
    uint64_t took_ms = clock_now_ms() - start_ms;
    printf("%-40s %8" PRIu64 " of %" PRIu64 " entries %8" PRIu64 " ms\n", "the index, made anew",
           index == NULL ? 0 : index_entries(index), log->ops->next(log), took_ms);
    index_close(index);
    return took_ms;
}

int main(int argc, char **argv)
{
    struct query_engine *engine = NULL;
    struct tg_error err = {0};
    events = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (events < 1000 || snprintf(directory, sizeof directory, "%s", argv[1]) >= (int)sizeof directory) {
        fprintf(stderr, "usage: tg-audit-search DIRECTORY EVENTS (1000 at least)\n");
        return EX_USAGE;
    }
    key = secret_new(RECORD_KEY_LEN);
    uint64_t start_ms = clock_now_ms();
    struct log_writer *log = make_log();
    printf("%-40s %8" PRIu64 " events %24" PRIu64 " ms\n", "the log", events, clock_now_ms() - start_ms);
    uint64_t index_ms = make_index(log);
    insist(query_engine_open(&engine, directory, log, &err), "opening the query engine", &err);
    insist(query_engine_start(engine, &err), "starting the query engine", &err);
    search_all(engine, index_ms);
    query_engine_close(engine);
    log->ops->close(log);
    secret_free(key);
    return 0;
}
