/* A KEK in a PKCS#11 token (SoftHSM 2): it derives what the same key in a file would, says what is wrong,
 * comes back after the token was away; and the whole key store rotates into it. */
#include "process.h"

#include "common/pkcs11/token.h"
#include "common/protocol/labels.h"
#include "tests/softhsm/softhsm.h"

struct safe {
    struct scratch scratch;
    char pin_file[96];
    char uri[300]; /* of the key "kek2" in the token "centre" */
    uint8_t value[KEK_LEN];
    struct keyring *ring;
};

static void set_uri(char uri[256], const char *rest, const char *module)
{
    snprintf(uri, 256, "pkcs11:%s?module-path=%s", rest, module);
}

static void set_pin(const char *path, const char *pin)
{
    (void)unlink(path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%s\n", pin);
    assert_int_equal(fchmod(fileno(f), 0400), 0);
    fclose(f);
}

static void add_key(const char *label, const void *value)
{
    char uri[256];
    struct token *token = NULL;
    struct tg_error err;
    token_object key;
    set_uri(uri, "token=centre", softhsm_module());
    struct secret *pin = secret_copy(SOFTHSM_PIN, strlen(SOFTHSM_PIN));
    struct secret *secret = secret_copy(value, KEK_LEN);
    must(token_open(&(struct token_where){.uri = uri}, pin, &token, &err), &err);
    must(token_add_key(token, &(struct token_name){.label = label}, secret, &key, &err), &err);
    token_close(token);
    secret_free(secret);
    secret_free(pin);
}

static void prepare(struct safe *s)
{
    softhsm_start();
    softhsm_add_token("centre");
    random_bytes(s->value, sizeof s->value);
    add_key("kek2", s->value);
    snprintf(s->pin_file, sizeof s->pin_file, "%s/pin", s->scratch.dir);
    set_pin(s->pin_file, SOFTHSM_PIN);
    set_uri(s->uri, "token=centre;object=kek2", softhsm_module());
}

static int open_safe(void **state)
{
    struct safe *s = calloc(1, sizeof *s);
    *state = s;
    scratch_open(&s->scratch);
    prepare(s);
    return 0;
}

static int close_safe(void **state)
{
    struct safe *s = *state;
    keyring_close(s->ring);
    softhsm_stop();
    scratch_close(&s->scratch);
    free(s);
    return 0;
}

static enum tg_code open_kek(struct safe *s, struct tg_error *err)
{
    struct kek_config kek = {.id = 2, .pkcs11 = s->uri, .pin_file = s->pin_file};
    keyring_close(s->ring);
    s->ring = NULL;
    return keyring_open(&(struct config_list){&kek, 1}, &s->ring, err);
}

static void refused_at_start(struct safe *s, enum tg_code code, const char *says)
{
    struct tg_error err = {0};
    enum tg_code got = open_kek(s, &err);
    if (got != code || strstr(err.text, says) == NULL || strstr(err.text, "KEK 2") == NULL)
        fail_msg("%s: %s, not %s with \"%s\"", tg_code_name(got), err.text, tg_code_name(code), says);
    assert_null(s->ring);
}

static enum tg_code derive(const struct safe *s, uint8_t out[32], struct tg_error *err)
{
    struct secret *key = NULL;
    TG_TRY(keyring_derive(s->ring, 2, LABEL_AT_REST_WRAP " 00", &key, err));
    assert_int_equal(secret_len(key), 32);
    memcpy(out, secret_view(key), 32);
    secret_free(key);
    return TG_OK;
}

/* ---- what is refused ---- */

static void what_is_wrong_with_the_token_is_said_by_the_keks_id(void **state)
{
    struct safe *s = *state;
    char good[256];
    set_uri(good, "token=centre;object=kek2", softhsm_module());
    set_pin(s->pin_file, "999999");
    refused_at_start(s, TG_UNAUTHENTICATED, "wrong PIN");
    set_pin(s->pin_file, SOFTHSM_PIN);
    assert_int_equal(chmod(s->pin_file, 0444), 0);
    refused_at_start(s, TG_PERMISSION_DENIED, "chmod 0400");
    assert_int_equal(chmod(s->pin_file, 0400), 0);
    set_uri(s->uri, "token=elsewhere;object=kek2", softhsm_module());
    refused_at_start(s, TG_NOT_FOUND, "token");
    set_uri(s->uri, "token=centre;object=kek3", softhsm_module());
    refused_at_start(s, TG_NOT_FOUND, "key");
    set_uri(s->uri, "token=centre;object=kek2", "/nowhere/module.so");
    refused_at_start(s, TG_NOT_FOUND, "/nowhere/module.so");
    snprintf(s->uri, sizeof s->uri, "%s&pin-value=" SOFTHSM_PIN, good);
    refused_at_start(s, TG_INVALID_ARGUMENT, "PIN");
    snprintf(s->uri, sizeof s->uri, "file:kek2");
    refused_at_start(s, TG_INVALID_ARGUMENT, "URI");
    add_key("kek2", s->value);
    snprintf(s->uri, sizeof s->uri, "%s", good);
    refused_at_start(s, TG_FAILED_PRECONDITION, "kek2");
}

/* ---- deriving ---- */

/* So a KEK may move from a file into a token, and back, under its id. */
static void a_token_derives_what_a_file_would(void **state)
{
    struct safe *s = *state;
    struct tg_error err;
    uint8_t in_token[32];
    uint8_t in_file[32];
    must(open_kek(s, &err), &err);
    must(derive(s, in_token, &err), &err);
    keyring_close(s->ring);
    assert_int_equal(unlink(s->scratch.kek), 0);
    must(file_write_new(s->scratch.kek, s->value, sizeof s->value, &err), &err);
    struct kek_config kek = {.id = 2, .file = s->scratch.kek};
    must(keyring_open(&(struct config_list){&kek, 1}, &s->ring, &err), &err);
    must(derive(s, in_file, &err), &err);
    assert_memory_equal(in_token, in_file, sizeof in_token);
}

static void a_session_that_has_ended_is_opened_again(void **state)
{
    struct safe *s = *state;
    struct tg_error err;
    uint8_t before[32];
    uint8_t after[32];
    set_uri(s->uri, "token=centre;object=kek2", softhsm_faulty_module());
    must(open_kek(s, &err), &err);
    must(derive(s, before, &err), &err);
    static const char *const ends[] = {"0xB3", "0xB0", "0x101", "0x32"}; /* CKR_SESSION_HANDLE_INVALID … */
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        softhsm_fault("C_SignInit", 1, ends[i]);
        memset(after, 0, sizeof after);
        must(derive(s, after, &err), &err);
        assert_memory_equal(before, after, sizeof before);
    }
}

static void while_the_token_is_away_callers_may_come_again(void **state)
{
    struct safe *s = *state;
    struct tg_error err;
    uint8_t before[32];
    uint8_t after[32];
    set_uri(s->uri, "token=centre;object=kek2", softhsm_faulty_module());
    must(open_kek(s, &err), &err);
    must(derive(s, before, &err), &err);
    softhsm_fault("C_Sign", 1, "pulled");
    for (int i = 0; i < 3; i++)
        assert_int_equal(derive(s, after, &err), TG_UNAVAILABLE);
    softhsm_fault(NULL, 0, NULL);
    must(derive(s, after, &err), &err);
    assert_memory_equal(before, after, sizeof before);
}

/* A PIN that was changed must not be tried until the token locks. */
static void a_pin_that_is_refused_is_not_tried_again(void **state)
{
    struct safe *s = *state;
    struct tg_error err;
    uint8_t out[32];
    set_uri(s->uri, "token=centre;object=kek2", softhsm_faulty_module());
    must(open_kek(s, &err), &err);
    softhsm_fault("C_Sign", 1, "pulled");
    assert_int_equal(derive(s, out, &err), TG_UNAVAILABLE);
    softhsm_fault("C_Login", 1, "0xA0"); /* CKR_PIN_INCORRECT: a second try would go well */
    assert_int_equal(derive(s, out, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, "PIN"));
    softhsm_fault(NULL, 0, NULL);
    assert_int_equal(derive(s, out, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, "correct pin_file"));
}

struct crowd {
    const struct safe *s;
    uint8_t expected[32];
    unsigned wrong;
};

static void *derive_often(void *arg)
{
    struct crowd *crowd = arg;
    for (int i = 0; i < 1000; i++) {
        uint8_t out[32] = {0};
        struct tg_error err;
        if (derive(crowd->s, out, &err) != TG_OK || memcmp(out, crowd->expected, sizeof out) != 0)
            __atomic_add_fetch(&crowd->wrong, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void many_threads_may_derive(void **state)
{
    struct safe *s = *state;
    struct tg_error err;
    struct crowd crowd = {.s = s};
    pthread_t threads[8];
    must(open_kek(s, &err), &err);
    must(derive(s, crowd.expected, &err), &err);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, derive_often, &crowd), 0);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd.wrong, 0);
}

/* ---- the whole key store ---- */

static void configure(const struct rig *r, const struct safe *s, bool first)
{
    char keks[768];
    snprintf(keks, sizeof keks, "[%s%s%s{id: 2, pkcs11: \"%s\", pin_file: %s}]",
             first ? "{id: 1, file: " : "", first ? r->scratch.kek : "", first ? "}, " : "", s->uri,
             s->pin_file);
    write_config_keks(r, "CENTRE01", keks);
}

static bool is_over(struct rig *r)
{
    Tg__KekListRequest request = TG__KEK_LIST_REQUEST__INIT;
    Tg__KekListResponse *list = answered(r->admin, "KekList", &request.base);
    bool over = !list->rotating && list->n_keks == 2 && list->keks[0]->removable;
    rpc_free_response(&list->base);
    return over;
}

static void a_key_store_rotates_from_a_file_into_a_token(void **state)
{
    struct rig *r = *state;
    struct safe s = {.scratch = r->scratch};
    char out[OUTPUT_MAX];
    prepare(&s);
    struct process p = start_ready(r);
    wait_serving(r);
    Tg__FillResponse *filled = fill_s1(r, 300);
    configure(r, &s, true);
    kill(p.pid, SIGHUP);
    if (!wait_output(&p, "kek.added", out))
        fail_msg("%s", out);
    Tg__KekRotateRequest rotate = TG__KEK_ROTATE_REQUEST__INIT;
    done(r->admin, "KekRotate", &rotate.base);
    end(&p, SIGKILL);
    p = start_ready(r);
    wait_serving(r);
    EVENTUALLY(is_over(r));
    spend_ok(r, filled->entries[0]);
    assert_int_equal(end(&p, SIGTERM), 0);

    configure(r, &s, false);
    p = start_ready(r);
    wait_serving(r);
    spend_ok(r, filled->entries[299]);
    assert_int_equal(end(&p, SIGTERM), 0);
    set_pin(s.pin_file, "999999");
    does_not_start(r, "KEK 2", "wrong PIN");
    rpc_free_response(&filled->base);
    softhsm_stop();
}

#define SAFE_TEST(f) cmocka_unit_test_setup_teardown(f, open_safe, close_safe)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFE_TEST(what_is_wrong_with_the_token_is_said_by_the_keks_id),
        SAFE_TEST(a_token_derives_what_a_file_would),
        SAFE_TEST(a_session_that_has_ended_is_opened_again),
        SAFE_TEST(while_the_token_is_away_callers_may_come_again),
        SAFE_TEST(a_pin_that_is_refused_is_not_tried_again),
        SAFE_TEST(many_threads_may_derive),
        cmocka_unit_test_setup_teardown(a_key_store_rotates_from_a_file_into_a_token, peers_open,
                                        peers_close),
    };
    return softhsm_installed() ? cmocka_run_group_tests(tests, NULL, NULL) : SOFTHSM_SKIPPED;
}
