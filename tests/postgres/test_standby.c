/* Nothing is called done that no standby has, whatever breaks while a commit waits for one. */
#include "tests/postgres/pair.h"

#include <pthread.h>

struct rows {
    struct scratch scratch;
    struct pair pair;
    struct store *a, *b;
    struct store_fill fill;
    struct store_new_key keys[2]; /* one a test */
};

static struct store *connect_to(const struct rows *r, int wait_ms)
{
    struct tg_error err;
    struct store *store = NULL;
    const struct store_postgres_config config = {
        .conninfo = r->pair.conninfo, .password_file = r->pair.password_file, .wait_ms = wait_ms};
    must(store_postgres_open(&config, &store, &err), &err);
    return store;
}

static int open_rows(void **state)
{
    struct rows *r = calloc(1, sizeof *r);
    *state = r;
    scratch_open(&r->scratch);
    pair_open(&r->pair, &r->scratch);
    r->a = connect_to(r, 1500);
    r->b = connect_to(r, 1500);
    begin(r->a);
    add_qkud(r->a, "q1");
    add_shield(r->a, "s1");
    add_fill(r->a, "s1", &r->fill, r->keys, 2);
    confirm_fill(r->a, &r->fill);
    commit(r->a);
    return 0;
}

static int close_rows(void **state)
{
    struct rows *r = *state;
    r->a->ops->close(r->a);
    r->b->ops->close(r->b);
    pair_close(&r->pair);
    scratch_close(&r->scratch);
    free(r);
    return 0;
}

static const uint8_t request_id[REQUEST_ID_LEN] = "request request";

static enum tg_code spend(struct store *s, const uint8_t *key_id, struct tg_error *err)
{
    struct store_key key;
    TG_TRY(s->ops->key_find(s, key_id, &key, err));
    return s->ops->key_spend(s, &key,
                             &(struct store_spend){.now_s = 1500,
                                                   .qkud_id = "q1",
                                                   .request_id = request_id,
                                                   .answer = request_id,
                                                   .answer_len = sizeof request_id},
                             err);
}

#define WAITERS "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

/* A spend whose connection breaks while it waits: the primary has it, no standby does. */
static void spend_by_half(struct rows *r, const uint8_t *key_id)
{
    struct tg_error err;
    pair_wait_for(&r->pair, "nobody");
    begin(r->a);
    must(spend(r->a, key_id, &err), &err);
    assert_int_equal(r->a->ops->commit(r->a, &err), TG_ABORTED);
    cluster_run(&r->pair.primary, "SELECT pg_terminate_backend(pid) " WAITERS);
    EVENTUALLY(cluster_number(&r->pair.primary, "SELECT count(*) " WAITERS) == 0);
}

/* As another key store would, asked by the same request: is the answer given? */
static enum tg_code answer(struct store *s, const uint8_t *key_id, struct tg_error *err)
{
    struct store_key key;
    uint8_t out[STORE_ANSWER_MAX];
    size_t len = 0;
    begin(s);
    enum tg_code code = s->ops->key_find(s, key_id, &key, err);
    if (code == TG_OK) {
        assert_int_equal(key.state, KEY_SPENT);
        code = s->ops->key_answer(s, &key, 0, out, &len, err);
    }
    if (code == TG_OK)
        return s->ops->commit(s, err);
    s->ops->rollback(s);
    return code;
}

static void an_answer_is_not_given_again_before_a_standby_has_the_spend(void **state)
{
    struct rows *r = *state;
    struct tg_error err;
    spend_by_half(r, r->keys[0].key_id);
    assert_int_equal(answer(r->b, r->keys[0].key_id, &err), TG_ABORTED);
    pair_wait_for(&r->pair, "*");
    EVENTUALLY(answer(r->b, r->keys[0].key_id, &err) == TG_OK);
}

static void *spend_patiently(void *arg)
{
    struct rows *r = arg;
    struct store *s = connect_to(r, 60000);
    struct tg_error err;
    begin(s);
    must(spend(s, r->keys[1].key_id, &err), &err);
    enum tg_code code = s->ops->commit(s, &err);
    s->ops->close(s);
    return (void *)(uintptr_t)code; // NOLINT(performance-no-int-to-ptr)
}

static void a_commit_whose_wait_was_cancelled_is_not_done(void **state)
{
    struct rows *r = *state;
    pthread_t thread;
    void *code = NULL;
    pair_wait_for(&r->pair, "nobody");
    assert_int_equal(pthread_create(&thread, NULL, spend_patiently, r), 0);
    EVENTUALLY(cluster_number(&r->pair.primary, "SELECT count(*) " WAITERS) == 1);
    cluster_run(&r->pair.primary, "SELECT pg_cancel_backend(pid) " WAITERS);
    pthread_join(thread, &code);
    assert_int_equal((uintptr_t)code, TG_ABORTED);
    pair_wait_for(&r->pair, "*");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_not_given_again_before_a_standby_has_the_spend),
        cmocka_unit_test(a_commit_whose_wait_was_cancelled_is_not_done),
    };
    return cluster_available() ? cmocka_run_group_tests(tests, open_rows, close_rows) : 77; /* skipped */
}
