/* What only a database over a network can do to a store, and what two stores on one database do to each
 * other. */
#include "backends.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>

#include "services/key-store/key-store.h"

enum { KEYS = 8 };

struct rows {
    struct store *a, *b; /* two key stores on one database */
    struct store_fill fill;
    struct store_new_key keys[KEYS];
};

static struct store *open_with(const char *conninfo, int wait_ms)
{
    struct tg_error err;
    struct store *store = NULL;
    const struct store_postgres_config config = {.conninfo = conninfo, .wait_ms = wait_ms};
    must(store_postgres_open(&config, &store, &err), &err);
    return store;
}

static int open_rows(void **state)
{
    struct rows *r = calloc(1, sizeof *r);
    *state = r;
    quiet();
    backends_empty_postgres();
    r->a = open_with(backends_cluster.conninfo, 60000);
    r->b = open_with(backends_cluster.conninfo, 60000);
    begin(r->a);
    add_qkud(r->a, "q1");
    add_shield(r->a, "s1");
    add_fill(r->a, "s1", &r->fill, r->keys, KEYS);
    confirm_fill(r->a, &r->fill);
    commit(r->a);
    return 0;
}

static int close_rows(void **state)
{
    struct rows *r = *state;
    r->a->ops->close(r->a);
    r->b->ops->close(r->b);
    free(r);
    return 0;
}

static enum tg_code spend_as(struct store *s, const uint8_t *key_id, const char *request,
                             struct tg_error *err)
{
    uint8_t request_id[REQUEST_ID_LEN] = {0};
    struct store_key key;
    memcpy(request_id, request, strlen(request));
    TG_TRY(s->ops->key_find(s, key_id, &key, err));
    TG_ENSURE(key.state == KEY_READY, err, TG_FAILED_PRECONDITION, "spent");
    return s->ops->key_spend(s, &key,
                             &(struct store_spend){.now_s = 1500,
                                                   .qkud_id = "q1",
                                                   .request_id = request_id,
                                                   .answer = (const uint8_t *)request,
                                                   .answer_len = strlen(request)},
                             err);
}

static enum key_state state_of(struct store *s, const uint8_t *key_id)
{
    begin(s);
    enum key_state state = find_key(s, key_id).state;
    commit(s);
    return state;
}

/* ---- opening ---- */

static void refused(const struct store_postgres_config *config, enum tg_code code, const char *word)
{
    struct tg_error err;
    struct store *store = NULL;
    assert_int_equal(store_postgres_open(config, &store, &err), code);
    assert_null(store);
    if (strstr(err.text, word) == NULL)
        fail_msg("%s", err.text);
}

static void a_password_outside_of_its_file_is_refused(void **state)
{
    (void)state;
    const struct store_postgres_config config = {.conninfo = "host=/nowhere password=secret",
                                                 .wait_ms = 1000};
    const struct store_postgres_config url = {.conninfo = "postgresql://me:secret@/keys", .wait_ms = 1000};
    const struct store_postgres_config none = {.conninfo = backends_cluster.conninfo, .wait_ms = 1000};
    refused(&config, TG_INVALID_ARGUMENT, "password_file");
    refused(&url, TG_INVALID_ARGUMENT, "password_file");
    setenv("PGPASSWORD", "secret", 1);
    refused(&none, TG_INVALID_ARGUMENT, "password_file");
    unsetenv("PGPASSWORD");
}

static void exactly_one_database_is_configured(void **state)
{
    (void)state;
    char path[] = "/nowhere/keys.db";
    char conninfo[] = "host=/nowhere";
    struct tg_error err;
    struct store *store = NULL;
    const struct key_store_config both = {.database = path, .postgres.conninfo = conninfo};
    const struct key_store_config neither = {.database = NULL};
    assert_int_equal(database_open(&both, &store, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "both"));
    assert_int_equal(database_open(&neither, &store, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "neither"));
    assert_null(store);
}

static void a_password_file_that_others_can_read_is_refused(void **state)
{
    (void)state;
    struct scratch s;
    scratch_open(&s);
    chmod(s.kek, 0644);
    const struct store_postgres_config config = {
        .conninfo = "host=/nowhere", .password_file = s.kek, .wait_ms = 1000};
    refused(&config, TG_PERMISSION_DENIED, s.kek);
    scratch_close(&s);
}

static void what_is_no_connection_string_is_refused(void **state)
{
    (void)state;
    const struct store_postgres_config config = {.conninfo = "hosts=a", .wait_ms = 1000};
    refused(&config, TG_INVALID_ARGUMENT, "hosts");
}

static void a_server_that_is_not_there_is_named(void **state)
{
    (void)state;
    const struct store_postgres_config config = {.conninfo = "host=/nowhere dbname=keys", .wait_ms = 1000};
    refused(&config, TG_UNAVAILABLE, "database keys at /nowhere");
}

static void a_newer_version_is_refused(void **state)
{
    (void)state;
    const struct store_postgres_config config = {.conninfo = backends_cluster.conninfo, .wait_ms = 60000};
    cluster_run(&backends_cluster, "INSERT INTO ticketgate.schema_version VALUES (2)");
    refused(&config, TG_FAILED_PRECONDITION, "version 2");
}

static void *open_one(void *arg)
{
    (void)arg;
    struct store *s = open_with(backends_cluster.conninfo, 60000);
    s->ops->close(s);
    return NULL;
}

static void several_first_starts_at_once_make_one_schema(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int round = 0; round < 3; round++) {
        backends_empty_postgres();
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, open_one, NULL), 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
}

/* ---- connections that break ---- */

#define EVERYBODY                                                                                            \
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tg-key-store'"

static void a_connection_lost_before_the_commit_changes_nothing(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    begin(r->a);
    must(spend_as(r->a, r->keys[0].key_id, "one", &err), &err);
    cluster_run(&backends_cluster, EVERYBODY);
    assert_int_equal(r->a->ops->commit(r->a, &err), TG_ABORTED); /* apply it again */
    assert_int_equal(state_of(r->a, r->keys[0].key_id), KEY_READY);
    begin(r->a);
    must(spend_as(r->a, r->keys[0].key_id, "one", &err), &err);
    commit(r->a);
    assert_int_equal(state_of(r->a, r->keys[0].key_id), KEY_SPENT);
}

static void a_connection_lost_while_reading_loses_the_transaction(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    struct store_key key;
    const struct store_ops *ops = r->a->ops;
    begin(r->a);
    must(ops->mark(r->a, &err), &err);
    must(spend_as(r->a, r->keys[0].key_id, "one", &err), &err);
    must(ops->unmark(r->a, true, &err), &err);
    cluster_run(&backends_cluster, EVERYBODY);
    must(ops->mark(r->a, &err), &err);
    assert_int_equal(ops->key_find(r->a, r->keys[1].key_id, &key, &err), TG_ABORTED);
    assert_int_equal(ops->unmark(r->a, false, &err), TG_ABORTED);
    ops->rollback(r->a);
    assert_int_equal(state_of(r->a, r->keys[0].key_id), KEY_READY);
}

/* Somebody else holds a lock for as long as this lives: to who waits for it, the server hangs. */
static void let_go_of_lock(PGconn **holder)
{
    PQfinish(*holder);
}

static PGconn *hold_lock(const char *sql)
{
    PGconn *holder = PQconnectdb(backends_cluster.conninfo);
    PQclear(PQexec(holder, sql));
    return holder;
}

enum { HANG_WAIT_MS = 3000 /* long enough for what does not hang, on any machine */ };

static void a_server_that_hangs_in_a_commit_does_not_hang_us(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    struct store *s = open_with(backends_cluster.conninfo, HANG_WAIT_MS);
    {
        TG_CLEANUP(let_go_of_lock) PGconn *holder = hold_lock("BEGIN; LOCK TABLE ticketgate.answers");
        assert_non_null(holder);
        begin(s);
        must(spend_as(s, r->keys[0].key_id, "one", &err), &err);
        enum tg_code code = s->ops->commit(s, &err);
        assert_int_equal(code, TG_ABORTED);
        assert_non_null(strstr(err.text, "does not answer"));
    }
    s->ops->close(s); /* the server may still have done it: that is for whoever asks again to find out */
}

static void a_server_that_hangs_while_reading_does_not_hang_us(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    struct store_key key;
    struct store *s = open_with(backends_cluster.conninfo, HANG_WAIT_MS);
    {
        TG_CLEANUP(let_go_of_lock) PGconn *holder = hold_lock("BEGIN; LOCK TABLE ticketgate.keys");
        assert_non_null(holder);
        begin(s);
        enum tg_code code = s->ops->key_find(s, r->keys[0].key_id, &key, &err);
        s->ops->rollback(s);
        assert_int_equal(code, TG_ABORTED);
    }
    s->ops->close(s);
    begin(r->a);
    must(spend_as(r->a, r->keys[0].key_id, "two", &err), &err);
    commit(r->a);
}

/* ---- two key stores ---- */

struct racer {
    struct store *store;
    const uint8_t *key_id;
    const char *request;
    int spent;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    struct store *s = racer->store;
    struct tg_error err;
    enum tg_code code = TG_ABORTED;
    for (int i = 0; i < 10 && code == TG_ABORTED; i++) {
        if (s->ops->begin(s, &err) != TG_OK)
            return NULL;
        code = spend_as(s, racer->key_id, racer->request, &err);
        if (code == TG_OK)
            code = s->ops->commit(s, &err);
        else
            s->ops->rollback(s);
    }
    racer->spent = code == TG_OK;
    return NULL;
}

static void a_key_is_spent_by_one_of_two(void **state)
{
    struct rows *r = *state;
    for (int i = 0; i < KEYS; i++) {
        struct racer racers[2] = {{r->a, r->keys[i].key_id, "a", 0}, {r->b, r->keys[i].key_id, "b", 0}};
        pthread_t threads[2];
        for (int t = 0; t < 2; t++)
            assert_int_equal(pthread_create(&threads[t], NULL, race, &racers[t]), 0);
        for (int t = 0; t < 2; t++)
            pthread_join(threads[t], NULL);
        assert_int_equal(racers[0].spent + racers[1].spent, 1);
    }
}

/* Each locks what the other wants: PostgreSQL ends one of them, and that one is told to begin again. */
static void *lock_the_other_way_round(void *arg)
{
    struct rows *r = arg;
    struct tg_error err;
    struct store_key key;
    begin(r->b);
    must(r->b->ops->key_find(r->b, r->keys[1].key_id, &key, &err), &err);
    enum tg_code code = r->b->ops->key_find(r->b, r->keys[0].key_id, &key, &err);
    r->b->ops->rollback(r->b);
    return (void *)(uintptr_t)code; // NOLINT(performance-no-int-to-ptr)
}

static void a_deadlock_is_to_be_tried_again(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    struct store_key key;
    pthread_t thread;
    void *other = NULL;
    begin(r->a);
    must(r->a->ops->key_find(r->a, r->keys[0].key_id, &key, &err), &err);
    assert_int_equal(pthread_create(&thread, NULL, lock_the_other_way_round, r), 0);
    PGconn *conn = PQconnectdb(backends_cluster.conninfo); /* until the other one waits for us */
    for (bool waits = false; !waits;) {
        PGresult *result = PQexec(conn, "SELECT 1 FROM pg_locks WHERE NOT granted");
        waits = PQntuples(result) > 0;
        PQclear(result);
    }
    PQfinish(conn);
    enum tg_code mine = r->a->ops->key_find(r->a, r->keys[1].key_id, &key, &err);
    r->a->ops->rollback(r->a);
    pthread_join(thread, &other);
    enum tg_code theirs = (enum tg_code)(uintptr_t)other;
    assert_true((mine == TG_ABORTED) != (theirs == TG_ABORTED));
    assert_int_equal(mine == TG_ABORTED ? theirs : mine, TG_OK);
}

static void the_other_ones_spend_is_seen_and_its_answer_given(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    uint8_t out[STORE_ANSWER_MAX];
    size_t len = 0;
    begin(r->a);
    must(spend_as(r->a, r->keys[0].key_id, "one", &err), &err);
    commit(r->a);
    begin(r->b);
    struct store_key key = find_key(r->b, r->keys[0].key_id);
    assert_int_equal(key.state, KEY_SPENT);
    assert_string_equal(key.spent_by, "q1");
    must(r->b->ops->key_answer(r->b, &key, 1500, out, &len, &err), &err);
    assert_memory_equal(out, "one", 3);
    commit(r->b);
}

static void a_revoked_qkud_waits_for_spends_on_their_way(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    struct store_qkud qkud;
    struct store *impatient = open_with(backends_cluster.conninfo, 300);
    begin(r->a);
    must(r->a->ops->qkud_find(r->a, "q1", &qkud, &err), &err);
    begin(impatient);
    assert_int_equal(impatient->ops->qkud_revoke(impatient, "q1", 1, &err), TG_ABORTED);
    impatient->ops->rollback(impatient);
    must(spend_as(r->a, r->keys[0].key_id, "one", &err), &err);
    commit(r->a);
    begin(r->b);
    must(r->b->ops->qkud_revoke(r->b, "q1", 1, &err), &err);
    commit(r->b);
    begin(r->a);
    must(r->a->ops->qkud_find(r->a, "q1", &qkud, &err), &err);
    assert_true(qkud.revoked);
    commit(r->a);
    impatient->ops->close(impatient);
}

static void upkeep_skips_what_another_has_in_hand(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    bool more = false;
    const struct store_upkeep late = {.now_s = 5000, .answers_before_s = 4000};
    begin(r->a);
    must(r->a->ops->upkeep(r->a, &late, &more, &err), &err);
    assert_true(more);
    begin(r->b);
    must(r->b->ops->upkeep(r->b, &late, &more, &err), &err);
    assert_false(more);
    commit(r->b);
    commit(r->a);
    assert_int_equal(state_of(r->b, r->keys[0].key_id), KEY_EXPIRED);
}

/* The other one's clock is five seconds behind. */
static void upkeep_leaves_answers_from_a_clock_that_is_ahead(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    bool more = false;
    uint8_t out[STORE_ANSWER_MAX];
    size_t len = 0;
    begin(r->a);
    must(spend_as(r->a, r->keys[0].key_id, "one", &err), &err);
    commit(r->a);
    begin(r->b);
    const struct store_upkeep behind = {.now_s = 1495, .answers_before_s = 1435};
    must(r->b->ops->upkeep(r->b, &behind, &more, &err), &err);
    commit(r->b);
    begin(r->a);
    struct store_key key = find_key(r->a, r->keys[0].key_id);
    must(r->a->ops->key_answer(r->a, &key, 1440, out, &len, &err), &err);
    commit(r->a);
}

#define ROWS_TEST(f)                                                                                         \
    {                                                                                                        \
        cmocka_unit_test_setup_teardown(f, open_rows, close_rows), 1 << ON_POSTGRES                          \
    }

int main(void)
{
    const struct backend_test tests[] = {
        ROWS_TEST(a_password_outside_of_its_file_is_refused),
        ROWS_TEST(exactly_one_database_is_configured),
        ROWS_TEST(a_password_file_that_others_can_read_is_refused),
        ROWS_TEST(what_is_no_connection_string_is_refused),
        ROWS_TEST(a_server_that_is_not_there_is_named),
        ROWS_TEST(a_newer_version_is_refused),
        ROWS_TEST(several_first_starts_at_once_make_one_schema),
        ROWS_TEST(a_connection_lost_before_the_commit_changes_nothing),
        ROWS_TEST(a_connection_lost_while_reading_loses_the_transaction),
        ROWS_TEST(a_server_that_hangs_in_a_commit_does_not_hang_us),
        ROWS_TEST(a_server_that_hangs_while_reading_does_not_hang_us),
        ROWS_TEST(a_key_is_spent_by_one_of_two),
        ROWS_TEST(a_deadlock_is_to_be_tried_again),
        ROWS_TEST(the_other_ones_spend_is_seen_and_its_answer_given),
        ROWS_TEST(a_revoked_qkud_waits_for_spends_on_their_way),
        ROWS_TEST(upkeep_skips_what_another_has_in_hand),
        ROWS_TEST(upkeep_leaves_answers_from_a_clock_that_is_ahead),
    };
    return backends_run(tests, sizeof tests / sizeof *tests);
}
