/* tg-key-store itself: what it refuses to start with, and that kill -9 loses no acknowledged spend and spends
 * nothing twice. */
#include "process.h"

#include <sqlite3.h>

/* ---- what it does not start with ---- */

static void a_wrong_kek_is_refused_by_name(void **state)
{
    struct rig *r = *state;
    struct process p = start_ready(r);
    assert_int_equal(end(&p, SIGTERM), 0);
    assert_int_equal(unlink(r->scratch.kek), 0);
    write_key(r->scratch.kek);
    does_not_start(r, r->scratch.kek, "not the one that this database knows");
}

static void a_kek_that_is_still_needed_is_asked_for(void **state)
{
    struct rig *r = *state;
    char keks[256];
    struct process p = start_ready(r);
    wait_serving(r);
    rpc_free_response(&fill_s1(r, 3)->base);
    assert_int_equal(end(&p, SIGTERM), 0);
    snprintf(keks, sizeof keks, "[{id: 2, file: %s}]", r->scratch.ticket_key);
    write_config_keks(r, "CENTRE01", keks);
    does_not_start(r, "KEK 1", "4 keys in this database need it");
}

/* Another place is no other KEK. */
static void a_kek_may_move(void **state)
{
    struct rig *r = *state;
    char keks[256];
    char moved[128];
    struct process p = start_ready(r);
    wait_serving(r);
    Tg__FillResponse *filled = fill_s1(r, 1);
    assert_int_equal(end(&p, SIGTERM), 0);
    snprintf(moved, sizeof moved, "%s/moved", r->scratch.dir);
    assert_int_equal(rename(r->scratch.kek, moved), 0);
    setenv("CREDENTIALS_DIRECTORY", r->scratch.dir, 1);
    snprintf(keks, sizeof keks, "[{id: 1, credential: moved}]");
    write_config_keks(r, "CENTRE01", keks);
    p = start_ready(r);
    wait_serving(r);
    spend_ok(r, filled->entries[0]);
    assert_int_equal(end(&p, SIGTERM), 0);
    rpc_free_response(&filled->base);
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void another_centres_database_is_refused(void **state)
{
    struct rig *r = *state;
    struct process p = start_ready(r);
    assert_int_equal(end(&p, SIGTERM), 0);
    write_config(r, "CENTRE02");
    does_not_start(r, r->scratch.database, "another centre");
    write_config(r, "CENTRE01");
    p = start_ready(r);
    assert_int_equal(end(&p, SIGTERM), 0);
}

static void damaged_and_newer_databases_are_refused(void **state)
{
    struct rig *r = *state;
    sqlite3 *db = NULL;
    struct process p = start_ready(r);
    assert_int_equal(end(&p, SIGTERM), 0);
    assert_int_equal(sqlite3_open(r->scratch.database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 3", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    does_not_start(r, r->scratch.database, "version 3");
    assert_int_equal(truncate(r->scratch.database, 8192), 0);
    does_not_start(r, r->scratch.database, "damaged");
}

static void a_second_key_store_on_one_database_is_refused(void **state)
{
    struct rig *r = *state;
    struct process first = start_ready(r);
    char path[128];
    size_t len = 0;
    /* the same, but for the listeners */
    snprintf(path, sizeof path, "%s/key-store.yaml", r->scratch.dir);
    char *text = (char *)read_file(path, &len);
    text[len] = '\0';
    for (char *at = text; (at = strstr(at, "/resolver")) != NULL || (at = strstr(text, "/charger")) != NULL ||
                          (at = strstr(text, "/operator")) != NULL;)
        at[1] = 'X';
    write_text(path, text);
    free(text);
    does_not_start(r, r->scratch.database, "in use by another key store");
    assert_int_equal(end(&first, SIGTERM), 0);
}

static void a_kek_that_others_can_read_is_refused(void **state)
{
    struct rig *r = *state;
    assert_int_equal(chmod(r->scratch.kek, 0444), 0);
    does_not_start(r, r->scratch.kek, "chmod 0400");
    assert_int_not_equal(access(r->scratch.database, F_OK), 0); /* nothing was begun */
}

static void a_clean_end_leaves_the_database_alone_and_whole(void **state)
{
    struct rig *r = *state;
    char wal[128];
    struct process p = start_ready(r);
    wait_serving(r);
    Tg__FillResponse *filled = fill_s1(r, 3);
    assert_int_equal(end(&p, SIGTERM), 0);
    snprintf(wal, sizeof wal, "%s-wal", r->scratch.database);
    assert_int_not_equal(access(wal, F_OK), 0);
    p = start_ready(r);
    wait_serving(r);
    spend_ok(r, filled->entries[2]);
    assert_int_equal(end(&p, SIGTERM), 0);
    rpc_free_response(&filled->base);
}

/* ---- kill -9 ---- */

enum { ROUNDS = 8, PER_ROUND = 60 };

/* One spend, and what came of it before the key store died. */
struct attempt {
    struct killing *killing;
    const Tg__FillEntry *entry;
    uint8_t id[REQUEST_ID_LEN];
    bool acknowledged;
    uint8_t answer[STORE_ANSWER_MAX];
    size_t answer_len;
};

struct killing {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned acknowledged, over;
    struct attempt attempts[PER_ROUND];
};

static void attempt_done(void *arg, enum tg_code status, const char *text, const ProtobufCMessage *response)
{
    struct attempt *a = arg;
    struct killing *k = a->killing;
    (void)text;
    pthread_mutex_lock(&k->lock);
    if (status == TG_OK) {
        const ProtobufCBinaryData *info = &((const Tg__SpendResponse *)response)->ticket_info;
        TG_INVARIANT(info->len <= sizeof a->answer);
        memcpy(a->answer, info->data, info->len);
        a->answer_len = info->len;
        a->acknowledged = true;
        k->acknowledged++;
    }
    k->over++;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

static void wait_until(struct killing *k, const unsigned *counter, unsigned value)
{
    pthread_mutex_lock(&k->lock);
    while (*counter < value)
        pthread_cond_wait(&k->changed, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

static void start_attempts(struct rig *r, struct killing *k, const Tg__FillResponse *filled, size_t first)
{
    for (size_t i = 0; i < PER_ROUND; i++) {
        struct attempt *a = &k->attempts[i];
        a->killing = k;
        a->entry = filled->entries[first + i];
        random_bytes(a->id, sizeof a->id);
        Tg__SpendRequest spend = spend_request(a->entry);
        rpc_start(r->resolver,
                  &(struct rpc_request){.service = &tg__key_store__descriptor,
                                        .method = "Spend",
                                        .message = &spend.base,
                                        .budget_ms = 1000,
                                        .request_id = a->id},
                  attempt_done, a);
    }
}

static enum tg_code again(struct rig *r, const struct attempt *a, const uint8_t *id,
                          ProtobufCMessage **response)
{
    struct tg_error err;
    Tg__SpendRequest spend = spend_request(a->entry);
    return call_id(r->resolver, "Spend", &spend.base, id, BUDGET_MS, response, &err);
}

/* Acknowledged: spent, and its own request still gets the very same bytes. */
static void check_acknowledged(struct rig *r, const struct attempt *a)
{
    ProtobufCMessage *response = NULL;
    assert_int_equal(again(r, a, NULL, &response), TG_FAILED_PRECONDITION);
    assert_int_equal(again(r, a, a->id, &response), TG_OK);
    const ProtobufCBinaryData *info = &((const Tg__SpendResponse *)response)->ticket_info;
    assert_int_equal(info->len, a->answer_len);
    assert_memory_equal(info->data, a->answer, a->answer_len);
    rpc_free_response(response);
}

/* Not acknowledged: spent by its own request, or not at all and then by whoever comes first. Never both. */
static void check_unacknowledged(struct rig *r, const struct attempt *a)
{
    ProtobufCMessage *response = NULL;
    enum tg_code others = again(r, a, NULL, &response);
    if (others == TG_OK)
        rpc_free_response(response);
    enum tg_code own = again(r, a, a->id, &response);
    if (own == TG_OK)
        rpc_free_response(response);
    assert_true((others == TG_OK) != (own == TG_OK));
}

/* In the audit log, too, each ticket was spent by one request alone. */
static void check_audit(struct rig *r)
{
    pthread_mutex_lock(&r->audit.lock);
    for (size_t i = 0; i < r->audit.count; i++) {
        const struct event *a = &r->audit.events[i];
        for (size_t j = 0; j < i && strcmp(a->event, "key.spent") == 0; j++) {
            const struct event *b = &r->audit.events[j];
            if (strcmp(b->event, "key.spent") == 0 && memcmp(a->ticket, b->ticket, TICKET_LEN) == 0)
                assert_memory_equal(a->detail, b->detail, strlen("request ") + 2 * REQUEST_ID_LEN);
        }
    }
    pthread_mutex_unlock(&r->audit.lock);
}

static void kill_9_loses_no_acknowledged_spend_and_spends_none_twice(void **state)
{
    struct rig *r = *state;
    struct process p = start_ready(r);
    wait_serving(r);
    Tg__FillResponse *filled = fill_s1(r, ROUNDS * PER_ROUND);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct killing k = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
        start_attempts(r, &k, filled, (size_t)round * PER_ROUND);
        wait_until(&k, &k.acknowledged, 1 + round * 3); /* somewhere in the middle */
        end(&p, SIGKILL);
        wait_until(&k, &k.over, PER_ROUND);
        p = start_ready(r);
        wait_serving(r);
        for (size_t i = 0; i < PER_ROUND; i++) {
            if (k.attempts[i].acknowledged)
                check_acknowledged(r, &k.attempts[i]);
            else
                check_unacknowledged(r, &k.attempts[i]);
        }
    }
    check_audit(r);
    assert_int_equal(end(&p, SIGTERM), 0);
    rpc_free_response(&filled->base);
}

#define PROCESS_TEST(f) cmocka_unit_test_setup_teardown(f, peers_open, peers_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROCESS_TEST(a_wrong_kek_is_refused_by_name),
        PROCESS_TEST(a_kek_that_is_still_needed_is_asked_for),
        PROCESS_TEST(a_kek_may_move),
        PROCESS_TEST(another_centres_database_is_refused),
        PROCESS_TEST(damaged_and_newer_databases_are_refused),
        PROCESS_TEST(a_second_key_store_on_one_database_is_refused),
        PROCESS_TEST(a_kek_that_others_can_read_is_refused),
        PROCESS_TEST(a_clean_end_leaves_the_database_alone_and_whole),
        PROCESS_TEST(kill_9_loses_no_acknowledged_spend_and_spends_none_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
