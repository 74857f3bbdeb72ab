#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/pb.h"
#include "common/trace.h"
#include "proto/audit.pb-c.h"
#include "tests/crash/crash.h"

enum { PROBES = 12, PROBE_CALLERS = 3, PAGE = 500, SET_FIRST = 1 << 16, AGAIN_US = 5000 };

/* ---- request ids that stand in the log: a hash table that only grows ---- */

static struct {
    uint8_t (*ids)[REQUEST_ID_LEN]; /* all zeroes: free */
    size_t size, count;
} seen;

static size_t slot_of(const uint8_t id[REQUEST_ID_LEN])
{
    static const uint8_t nothing[REQUEST_ID_LEN];
    uint64_t hash;
    memcpy(&hash, id, sizeof hash); /* ids are random */
    size_t at = hash & (seen.size - 1);
    while (memcmp(seen.ids[at], nothing, REQUEST_ID_LEN) != 0 &&
           memcmp(seen.ids[at], id, REQUEST_ID_LEN) != 0)
        at = (at + 1) & (seen.size - 1);
    return at;
}

static bool is_seen(const uint8_t id[REQUEST_ID_LEN])
{
    return seen.size > 0 && memcmp(seen.ids[slot_of(id)], id, REQUEST_ID_LEN) == 0;
}

static void resize(size_t size)
{
    uint8_t(*old)[REQUEST_ID_LEN] = seen.ids;
    size_t old_size = seen.size;
    static const uint8_t nothing[REQUEST_ID_LEN];
    seen.ids = calloc(size, sizeof *seen.ids);
    seen.size = size;
    if (seen.ids == NULL)
        abort();
    for (size_t i = 0; i < old_size; i++)
        if (memcmp(old[i], nothing, REQUEST_ID_LEN) != 0)
            memcpy(seen.ids[slot_of(old[i])], old[i], REQUEST_ID_LEN);
    free(old);
}

static void see(const uint8_t id[REQUEST_ID_LEN])
{
    if (2 * seen.count >= seen.size)
        resize(seen.size == 0 ? SET_FIRST : 2 * seen.size);
    if (!is_seen(id))
        seen.count++;
    memcpy(seen.ids[slot_of(id)], id, REQUEST_ID_LEN);
}

/* ---- events of our own ---- */

static struct {
    uint8_t ids[PROBES][REQUEST_ID_LEN];
    bool given[PROBES];
    atomic_uint next, ended;
    pthread_mutex_t lock;
    pthread_cond_t all_ended;
} probes = {.lock = PTHREAD_MUTEX_INITIALIZER, .all_ended = PTHREAD_COND_INITIALIZER};

static void report_next(void);

static void on_appended(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    (void)text;
    (void)response;
    *(bool *)arg = status == TG_OK;
    report_next();
    pthread_mutex_lock(&probes.lock);
    if (atomic_fetch_add(&probes.ended, 1) + 1 == PROBES)
        pthread_cond_signal(&probes.all_ended);
    pthread_mutex_unlock(&probes.lock);
}

/* Shaped like the detail of key.spent, so that one reader finds both. */
static void report_next(void)
{
    unsigned at = atomic_fetch_add(&probes.next, 1);
    if (at >= PROBES)
        return;
    char detail[2 * REQUEST_ID_LEN + 16] = "request ";
    hex_encode(probes.ids[at], REQUEST_ID_LEN, detail + strlen(detail));
    Tg__Event event = TG__EVENT__INIT;
    Tg__Event *events[] = {&event};
    Tg__AppendRequest append = TG__APPEND_REQUEST__INIT;
    event.event = pb_string("crash.probe");
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.time_us = clock_unix_us();
    event.service = pb_string("crash");
    event.detail = detail;
    append.n_events = 1;
    append.events = events;
    rpc_start(bank.audit,
              &(struct rpc_request){.service = &tg__audit__descriptor,
                                    .method = "Append",
                                    .message = &append.base,
                                    .budget_ms = BUDGET_MS},
              on_appended, &probes.given[at]);
}

void events_begin(void)
{
    random_bytes(probes.ids, sizeof probes.ids);
    memset(probes.given, 0, sizeof probes.given);
    atomic_store(&probes.next, 0);
    atomic_store(&probes.ended, 0);
    for (int i = 0; i < PROBE_CALLERS; i++)
        report_next();
}

void events_end(void)
{
    pthread_mutex_lock(&probes.lock);
    while (atomic_load(&probes.ended) < PROBES)
        pthread_cond_wait(&probes.all_ended, &probes.lock);
    pthread_mutex_unlock(&probes.lock);
    for (int i = 0; i < PROBES; i++)
        tally.probes += probes.given[i];
}

/* ---- reading ---- */

static void read_line(const char *line)
{
    static const char before[] = "\"request ";
    uint8_t id[REQUEST_ID_LEN];
    const char *at = strstr(line, before);
    if (at != NULL && hex_decode(at + sizeof before - 1, REQUEST_ID_LEN, id))
        see(id);
}

static bool call(const char *method, const ProtobufCMessage *message, ProtobufCMessage **response)
{
    struct tg_error err;
    uint64_t deadline_ms = clock_now_ms() + SETTLE_MS;
    const struct rpc_request request = {.service = &tg__audit__descriptor,
                                        .method = method,
                                        .message = message,
                                        .budget_ms = FIXED_BUDGET_MS};
    enum tg_code code;
    while ((code = rpc_call_wait(bank.operator, & request, response, &err)) != TG_OK) {
        if (code == TG_DATA_LOSS || code == TG_INTERNAL || clock_now_ms() > deadline_ms) {
            found(OTHER, "the audit log cannot be read: %s", err.text);
            return false;
        }
        usleep(AGAIN_US);
    }
    return true;
}

/* What has come since the last time. */
static void read_log(void)
{
    static uint64_t from;
    bool more = true;
    while (more) {
        Tg__QueryRequest query = TG__QUERY_REQUEST__INIT;
        ProtobufCMessage *response = NULL;
        query.from_sequence = from;
        query.limit = PAGE;
        if (!call("Query", &query.base, &response))
            return;
        const Tg__QueryResponse *page = (const void *)response;
        for (size_t i = 0; i < page->n_lines; i++)
            read_line(page->lines[i]);
        from = page->next_sequence;
        more = page->more;
        rpc_free_response(response);
    }
}

static void must_stand(const uint8_t id[REQUEST_ID_LEN])
{
    char hex[2 * REQUEST_ID_LEN + 1];
    hex_encode(id, REQUEST_ID_LEN, hex);
    if (!is_seen(id))
        found(AUDIT_LOST, "request %s", hex);
}

void events_check(void)
{
    read_log();
    spends_each_given(must_stand);
    for (int i = 0; i < PROBES; i++)
        if (probes.given[i])
            must_stand(probes.ids[i]);
}

void events_verify(void)
{
    Tg__AuditVerifyRequest request = TG__AUDIT_VERIFY_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    if (!call("Verify", &request.base, &response))
        return;
    const Tg__AuditVerifyResponse *verdict = (const void *)response;
    if (!verdict->intact)
        found(INCONSISTENT, "after %llu entries: %s", (unsigned long long)verdict->entries, verdict->problem);
    rpc_free_response(response);
}
