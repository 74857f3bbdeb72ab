#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/pb.h"
#include "common/trace.h"
#include "proto/ticket_resolver.pb-c.h"
#include "tests/crash/crash.h"

enum { CALLERS = 16, RIVALS_PERCENT = 20, OLD_ONES = 10, AGAIN_US = 5000, TEXT_LEN = 160, NOBODY = -1 };

/* The books. */
static struct entry *entries;
static size_t entry_count, entry_room;
static size_t round_first; /* the first entry of this round */

/* One question: may `who` have the key of this ticket? NOBODY: someone who has no right to it. */
struct ask {
    size_t entry;
    int who;
    enum tg_code status;
    char text[TEXT_LEN];
    uint8_t digest[ANSWER_DIGEST_LEN];
};

/* What is being asked now. */
static struct {
    struct ask *asks;
    size_t count, room;
    atomic_size_t next, ended;
    pthread_mutex_t lock;
    pthread_cond_t all_ended;
} asking = {.lock = PTHREAD_MUTEX_INITIALIZER, .all_ended = PTHREAD_COND_INITIALIZER};

static void *grow(void *array, size_t *room, size_t size)
{
    *room = *room == 0 ? 1024 : 2 * *room;
    void *grown = realloc(array, *room * size);
    if (grown == NULL)
        abort();
    return grown;
}

void spends_add(const uint8_t ticket[TICKET_LEN])
{
    if (entry_count == entry_room)
        entries = grow(entries, &entry_room, sizeof *entries);
    struct entry *entry = &entries[entry_count++];
    *entry = (struct entry){.rival = chance(RIVALS_PERCENT)};
    memcpy(entry->ticket, ticket, TICKET_LEN);
    random_bytes(entry->ids, sizeof entry->ids);
}

/* ---- asking ---- */

static void ask(size_t entry, int who)
{
    if (asking.count == asking.room)
        asking.asks = grow(asking.asks, &asking.room, sizeof *asking.asks);
    asking.asks[asking.count++] = (struct ask){.entry = entry, .who = who};
}

static void ask_next(void);

static void on_answer(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct ask *a = arg;
    a->status = status;
    snprintf(a->text, sizeof a->text, "%s", text);
    if (status == TG_OK) {
        const ProtobufCBinaryData *info = &((const Tg__ResolveResponse *)response)->ticket_info;
        if (EVP_Digest(info->data, info->len, a->digest, NULL, EVP_sha256(), NULL) != 1)
            abort();
    }
    ask_next();
    pthread_mutex_lock(&asking.lock);
    if (atomic_fetch_add(&asking.ended, 1) + 1 == asking.count)
        pthread_cond_signal(&asking.all_ended);
    pthread_mutex_unlock(&asking.lock);
}

static void ask_next(void)
{
    size_t at = atomic_fetch_add(&asking.next, 1);
    if (at >= asking.count)
        return;
    struct ask *a = &asking.asks[at];
    const struct entry *entry = &entries[a->entry];
    Tg__ResolveRequest request = TG__RESOLVE_REQUEST__INIT;
    request.ticket = pb_bytes(entry->ticket, TICKET_LEN);
    request.qkud_id = pb_string("qkud-demo-1");
    request.source = pb_string("192.0.2.1:1");
    rpc_start(bank.resolver,
              &(struct rpc_request){.service = &tg__ticket_resolver__descriptor,
                                    .method = "Resolve",
                                    .message = &request.base,
                                    .budget_ms = BUDGET_MS,
                                    .request_id = a->who == NOBODY ? NULL : entry->ids[a->who],
                                    .idempotent = true},
              on_answer, a);
}

static void start_asking(void)
{
    atomic_store(&asking.next, 0);
    atomic_store(&asking.ended, 0);
    for (size_t i = 0; i < CALLERS; i++)
        ask_next();
}

static void await_answers(void)
{
    pthread_mutex_lock(&asking.lock);
    while (atomic_load(&asking.ended) < asking.count)
        pthread_cond_wait(&asking.all_ended, &asking.lock);
    pthread_mutex_unlock(&asking.lock);
}

/* ---- judging ---- */

static bool is_undecided(enum tg_code code)
{
    return code == TG_UNAVAILABLE || code == TG_UNKNOWN || code == TG_DEADLINE_EXCEEDED ||
           code == TG_RESOURCE_EXHAUSTED || code == TG_CANCELLED || code == TG_ABORTED;
}

static void judge_given(struct entry *entry, const struct ask *a)
{
    bool before = entry->given[0] || entry->given[1];
    if (a->who == NOBODY || entry->given[1 - a->who]) {
        found(SPENT_TWICE, "entry %zu", a->entry);
        return;
    }
    if (before && memcmp(entry->digest, a->digest, ANSWER_DIGEST_LEN) != 0)
        found(LOST, "entry %zu: the same request was answered otherwise", a->entry);
    tally.spends += !before;
    entry->given[a->who] = true;
    memcpy(entry->digest, a->digest, ANSWER_DIGEST_LEN);
}

/* A ticket without a rival belongs to whoever asks first: to refuse him is to have lost it. */
static void judge_refused(struct entry *entry, const struct ask *a)
{
    if (a->who == NOBODY)
        return;
    bool lost =
        entry->given[a->who] || !entry->rival || (entry->refused[1 - a->who] && !entry->refused[a->who]);
    entry->refused[a->who] = true;
    if (lost)
        found(LOST, "entry %zu: %s: %s", a->entry, tg_code_name(a->status), a->text);
}

/* True: this has to be asked again. */
static bool judge(const struct ask *a)
{
    struct entry *entry = &entries[a->entry];
    if (is_undecided(a->status))
        return true;
    if (a->status == TG_OK)
        judge_given(entry, a);
    else if (a->status == TG_FAILED_PRECONDITION)
        judge_refused(entry, a);
    else
        found(LOST, "entry %zu: %s: %s", a->entry, tg_code_name(a->status), a->text);
    return false;
}

/* Leaves what must be asked again. */
static void judge_all(void)
{
    size_t left = 0;
    for (size_t i = 0; i < asking.count; i++)
        if (judge(&asking.asks[i]))
            asking.asks[left++] = asking.asks[i];
    asking.count = left;
}

static void ask_until_known(void)
{
    uint64_t deadline_ms = clock_now_ms() + SETTLE_MS;
    for (;;) {
        await_answers();
        judge_all();
        if (asking.count == 0)
            return;
        if (clock_now_ms() > deadline_ms) {
            found(OTHER, "%zu spends are still not answered: %s", asking.count, asking.asks[0].text);
            asking.count = 0;
            return;
        }
        usleep(AGAIN_US);
        start_asking();
    }
}

/* ---- a round ---- */

void spends_begin(void)
{
    asking.count = 0;
    for (size_t i = round_first; i < entry_count; i++) {
        ask(i, 0);
        if (entries[i].rival)
            ask(i, 1);
    }
    start_asking();
}

size_t spends_ended(void)
{
    return atomic_load(&asking.ended);
}

size_t spends_begun(void)
{
    return asking.count;
}

/* A disk that fails is no reason to say anything but "not now". */
static void check_codes(void)
{
    await_answers();
    for (size_t i = 0; i < asking.count; i++) {
        enum tg_code code = asking.asks[i].status;
        if (code != TG_OK && code != TG_FAILED_PRECONDITION && code != TG_UNAVAILABLE &&
            code != TG_RESOURCE_EXHAUSTED && code != TG_DEADLINE_EXCEEDED)
            found(OTHER, "%s under a failing disk: %s", tg_code_name(code), asking.asks[i].text);
    }
}

void spends_settle(bool faults)
{
    if (faults)
        check_codes();
    ask_until_known();
}

static void ask_twice_more(size_t i)
{
    if (entries[i].given[0] || entries[i].given[1]) {
        ask(i, entries[i].given[0] ? 0 : 1);
        ask(i, NOBODY);
    }
}

void spends_check(bool all)
{
    asking.count = 0;
    for (size_t i = all ? 0 : round_first; i < entry_count; i++)
        ask_twice_more(i);
    for (int i = 0; i < OLD_ONES && round_first > 0; i++)
        ask_twice_more((size_t)random_below(round_first));
    start_asking();
    if (asking.count > 0)
        ask_until_known();
    round_first = entry_count;
}

void spends_each_given(void (*each)(const uint8_t id[REQUEST_ID_LEN]))
{
    for (size_t i = round_first; i < entry_count; i++)
        for (int who = 0; who < 2; who++)
            if (entries[i].given[who])
                each(entries[i].ids[who]);
}
