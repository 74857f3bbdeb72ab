/* PKCS#11 tokens, on SoftHSM 2: which token, the PIN, keys that stay inside, and what a failing token says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <p11-kit/pkcs11.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/pkcs11/internal.h"
#include "common/protocol/suite.h"
#include "tests/softhsm/softhsm.h"

static const char uri[] = "pkcs11:token=shield-17";
static struct secret *pin;

static int setup(void **state)
{
    (void)state;
    softhsm_start();
    softhsm_add_token("shield-17");
    pin = secret_copy(SOFTHSM_PIN, strlen(SOFTHSM_PIN));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    secret_free(pin);
    softhsm_stop();
    return 0;
}

static struct token *must_open(const char *module)
{
    struct token *token = NULL;
    struct tg_error err;
    if (token_open(&(struct token_where){.uri = uri, .module = module}, pin, &token, &err) != TG_OK)
        fail_msg("%s", err.text);
    return token;
}

static void assert_refused(const struct token_where *where, const struct secret *with, enum tg_code code,
                           const char *says)
{
    struct token *token = NULL;
    struct tg_error err = {0};
    enum tg_code got = token_open(where, with, &token, &err);
    if (got != code || strstr(err.text, says) == NULL)
        fail_msg("%s: %s, not %s with \"%s\"", tg_code_name(got), err.text, tg_code_name(code), says);
    assert_null(token);
}

static void bad_uris_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        enum tg_code code;
        const char *says;
    } bad[] = {
        {"/media/shield/alice.tgs", TG_INVALID_ARGUMENT, "URI"},
        {"pkcs11:token", TG_INVALID_ARGUMENT, "URI"},
        {"pkcs11:token=%zz", TG_INVALID_ARGUMENT, "URI"},
        {"pkcs11:tokne=shield-17", TG_INVALID_ARGUMENT, "RFC 7512"},
        {"pkcs11:token=shield-17?pin-value=135790", TG_INVALID_ARGUMENT, "PIN"},
        {"pkcs11:token=shield-17?pin-source=/etc/pin", TG_INVALID_ARGUMENT, "PIN"},
        {"pkcs11:token=shield-18", TG_NOT_FOUND, "plug it in"},
        {"pkcs11:token=shield-17;serial=1", TG_NOT_FOUND, "plug it in"},
        {"pkcs11:token=shield-17;manufacturer=Nobody", TG_NOT_FOUND, "plug it in"},
        {"pkcs11:token=shield-17?module-path=/nonexistent/p11.so", TG_NOT_FOUND, "/nonexistent/p11.so"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(&(struct token_where){.uri = bad[i].uri}, pin, bad[i].code, bad[i].says);
    assert_true(token_is_uri(uri) && token_is_uri("pkcs11:") && !token_is_uri("pkcs11") && !token_is_uri(""));
}

static void a_missing_module_is_named(void **state)
{
    (void)state;
    assert_refused(&(struct token_where){.uri = uri, .module = "/nonexistent/p11.so"}, pin, TG_NOT_FOUND,
                   "/nonexistent/p11.so");
    assert_refused(&(struct token_where){.uri = uri, .module = "/etc/passwd"}, pin, TG_NOT_FOUND,
                   "/etc/passwd");
}

static void one_of_two_tokens_must_be_meant(void **state)
{
    (void)state;
    softhsm_add_token("shield-17");
    assert_refused(&(struct token_where){.uri = uri}, pin, TG_FAILED_PRECONDITION, "serial=");
    softhsm_add_token("shield-18");
    struct token *token = NULL;
    struct token_where where = {.uri = "pkcs11:token=shield-18"};
    assert_int_equal(token_open(&where, pin, &token, NULL), TG_OK);
    assert_string_equal(token_label(token), "shield-18");
    char by_serial[64];
    snprintf(by_serial, sizeof by_serial, "pkcs11:serial=%s", token_serial(token));
    token_close(token);
    where.uri = by_serial;
    assert_int_equal(token_open(&where, pin, &token, NULL), TG_OK);
    assert_string_equal(token_label(token), "shield-18");
    token_close(token);
}

/* Through p11-kit's configuration, by path, and by the URI's own. */
static void a_module_is_found_in_three_ways(void **state)
{
    (void)state;
    char with_path[160];
    token_close(must_open(NULL));
    token_close(must_open(softhsm_module()));
    snprintf(with_path, sizeof with_path, "pkcs11:token=shield-17?module-path=%s", softhsm_module());
    struct token *token = NULL;
    assert_int_equal(token_open(&(struct token_where){.uri = with_path}, pin, &token, NULL), TG_OK);
    token_close(token);
    token_close(NULL);
}

static void wrong_pins_are_told_with_what_is_left(void **state)
{
    (void)state;
    const struct token_where where = {.uri = uri, .module = softhsm_faulty_module()};
    static const struct {
        const char *flags, *says;
        enum tg_code code;
    } left[] = {{"0", "wrong PIN", TG_UNAUTHENTICATED},
                {"0x10000", "Few tries", TG_UNAUTHENTICATED},
                {"0x20000", "ONE try", TG_UNAUTHENTICATED},
                {"0x40000", "locked", TG_OUT_OF_RANGE}};
    struct secret *wrong = secret_copy("135791", 6);
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        setenv("TG_TEST_TOKEN_FLAGS", left[i].flags, 1);
        assert_refused(&where, wrong, left[i].code, left[i].says);
    }
    unsetenv("TG_TEST_TOKEN_FLAGS");
    secret_free(wrong);
    wrong = secret_copy("1", 1);
    assert_refused(&where, wrong, TG_UNAUTHENTICATED, "wrong PIN");
    assert_refused(&where, NULL, TG_INVALID_ARGUMENT, "needs a PIN");
    secret_free(wrong);
    token_close(must_open(NULL)); /* and the right one still opens it */
}

static struct secret *quantum_key(void)
{
    struct secret *key = secret_random(32);
    assert_non_null(key);
    return key;
}

static token_object must_add(struct token *token, const char *label, const char *id, const struct secret *key)
{
    token_object object = 0;
    struct tg_error err;
    const struct token_name name = {.label = label, .id = id, .id_len = strlen(id)};
    if (token_add_key(token, &name, key, &object, &err) != TG_OK)
        fail_msg("%s", err.text);
    return object;
}

static void hmac_is_that_of_the_key(void **state)
{
    (void)state;
    struct token *token = must_open(NULL);
    struct secret *key = quantum_key();
    token_object object = must_add(token, "a", "1", key);
    for (size_t len = 0; len < 300; len += 99) {
        static const uint8_t input[300] = {1, 2, 3};
        struct secret *mac = NULL;
        struct secret *want =
            suite_hmac(suite_find(SUITE_AES256_GCM_SHA256), key, &(struct suite_part){input, len}, 1);
        assert_int_equal(token_hmac(token, object, input, len, &mac, NULL), TG_OK);
        assert_true(secret_equal(mac, want));
        secret_free(mac);
        secret_free(want);
    }
    secret_free(key);
    token_close(token);
}

/* Asked past our own code: the value does not come out, neither to us nor to who has not logged in. */
static void a_key_does_not_come_out(void **state)
{
    (void)state;
    struct token *token = must_open(NULL);
    struct secret *key = quantum_key();
    token_object added = must_add(token, "a", "1", key), made = 0;
    assert_int_equal(token_make_key(token, &(struct token_name){.label = "b"}, 32, &made, NULL), TG_OK);
    const token_object keys[] = {added, made};
    for (size_t i = 0; i < 2; i++) {
        uint8_t value[64];
        CK_BBOOL private = CK_FALSE;
        CK_ATTRIBUTE at = {CKA_VALUE, value, sizeof value}, of_private = {CKA_PRIVATE, &private, 1};
        assert_int_equal(token->calls->C_GetAttributeValue(token->session, keys[i], &at, 1),
                         CKR_ATTRIBUTE_SENSITIVE);
        assert_int_equal(token->calls->C_GetAttributeValue(token->session, keys[i], &of_private, 1), CKR_OK);
        assert_true(private);
    }
    secret_free(key);
    token_close(token);
}

static void keys_are_found_by_name_id_and_uri(void **state)
{
    (void)state;
    struct token *token = must_open(NULL);
    struct secret *key = quantum_key();
    struct tg_error err;
    token_object a1 = must_add(token, "a", "1", key), found = 0;
    token_object a2 = must_add(token, "a", "2", key);
    assert_int_equal(token_find_key(token, &(struct token_name){.label = "c"}, &found, &err), TG_NOT_FOUND);
    assert_int_equal(token_find_key(token, &(struct token_name){.label = "a"}, &found, &err),
                     TG_FAILED_PRECONDITION);
    assert_int_equal(token_find_key(token, &(struct token_name){.id = "2", .id_len = 1}, &found, &err),
                     TG_OK);
    assert_int_equal(found, a2);
    assert_int_equal(token_find_key(token, NULL, &found, &err), TG_INVALID_ARGUMENT); /* the URI names none */
    token_close(token);
    const struct token_where where = {.uri = "pkcs11:token=shield-17;object=a;id=1", .read_only = true};
    assert_int_equal(token_open(&where, pin, &token, &err), TG_OK);
    assert_int_equal(token_find_key(token, NULL, &found, &err), TG_OK);
    struct secret *mac = NULL;
    assert_int_equal(token_hmac(token, found, "x", 1, &mac, &err), TG_OK);
    secret_free(mac);
    assert_int_equal(token_destroy(token, found, &err), TG_PERMISSION_DENIED); /* read only */
    secret_free(key);
    token_close(token);
    (void)a1;
}

static void a_name_is_made_once(void **state)
{
    (void)state;
    struct token *token = must_open(NULL);
    token_object key = 0;
    const struct token_name name = {.label = "kek-1", .id = "k1", .id_len = 2};
    assert_int_equal(token_make_key(token, &name, 32, &key, NULL), TG_OK);
    assert_int_equal(token_make_key(token, &name, 32, &key, NULL), TG_ALREADY_EXISTS);
    token_close(token);
}

static void a_destroyed_key_is_gone(void **state)
{
    (void)state;
    struct token *token = must_open(NULL);
    struct secret *key = quantum_key(), *mac = NULL;
    char label[TOKEN_OBJECT_LABEL_MAX + 1];
    token_object object = must_add(token, "a", "1", key);
    assert_int_equal(token_get_label(token, object, label, NULL), TG_OK);
    assert_string_equal(label, "a");
    assert_int_equal(token_destroy(token, object, NULL), TG_OK);
    assert_int_equal(token_destroy(token, object, NULL), TG_NOT_FOUND);
    assert_int_equal(token_hmac(token, object, "x", 1, &mac, NULL), TG_NOT_FOUND);
    assert_int_equal(token_get_label(token, object, label, NULL), TG_NOT_FOUND);
    assert_null(mac);
    secret_free(key);
    token_close(token);
}

static void many_objects_are_found(void **state)
{
    (void)state;
    struct token *token = must_open(NULL);
    struct secret *key = quantum_key();
    token_object *objects = NULL;
    size_t count = 1;
    assert_int_equal(token_find(token, TOKEN_KEY, &(struct token_name){0}, &objects, &count, NULL), TG_OK);
    assert_int_equal(count, 0);
    assert_null(objects);
    for (char i = 0; i < 70; i++)
        must_add(token, "many", (char[]){(char)(i + 1), '\0'}, key);
    assert_int_equal(
        token_find(token, TOKEN_KEY, &(struct token_name){.label = "many"}, &objects, &count, NULL), TG_OK);
    assert_int_equal(count, 70);
    free(objects);
    secret_free(key);
    token_close(token);
}

static void data_comes_back(void **state)
{
    (void)state;
    static uint8_t bytes[2000] = {7};
    struct token *token = must_open(NULL);
    assert_int_equal(token_add_data(token, "note", bytes, sizeof bytes, NULL), TG_OK);
    token_close(token);
    token = must_open(NULL);
    token_object *objects = NULL;
    size_t count = 0, len = 0;
    uint8_t *out = NULL;
    assert_int_equal(
        token_find(token, TOKEN_DATA, &(struct token_name){.label = "note"}, &objects, &count, NULL), TG_OK);
    assert_int_equal(count, 1);
    assert_int_equal(token_read_data(token, objects[0], &out, &len, NULL), TG_OK);
    assert_int_equal(len, sizeof bytes);
    assert_memory_equal(out, bytes, len);
    free(out);
    assert_int_equal(token_destroy(token, objects[0], NULL), TG_OK);
    free(objects);
    token_close(token);
}

static void what_a_token_says_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *call, *action;
        enum tg_code code;
        const char *says;
    } faults[] = {
        {"C_CreateObject", "0x31", TG_RESOURCE_EXHAUSTED, "full (CKR_DEVICE_MEMORY)"},
        {"C_CreateObject", "0xE2", TG_PERMISSION_DENIED, "write-protected"},
        {"C_CreateObject", "0x32", TG_UNAVAILABLE, "insert it again"},
        {"C_CreateObject", "0x54", TG_UNIMPLEMENTED, "another kind of token"},
        {"C_CreateObject", "0x5", TG_INTERNAL, "CKR 0x5"},
        {"C_GetAttributeValue", "0x5", TG_UNIMPLEMENTED, "does not keep keys to itself"},
    };
    struct token *token = must_open(softhsm_faulty_module());
    struct secret *key = quantum_key();
    token_object object = 0, *objects = NULL;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct tg_error err = {0};
        softhsm_fault(faults[i].call, 1, faults[i].action);
        assert_int_equal(token_add_key(token, &(struct token_name){.label = "a"}, key, &object, &err),
                         faults[i].code);
        if (strstr(err.text, faults[i].says) == NULL || strstr(err.text, "shield-17") == NULL)
            fail_msg("%s", err.text);
    }
    size_t count = 1;
    assert_int_equal(token_find(token, TOKEN_KEY, &(struct token_name){0}, &objects, &count, NULL), TG_OK);
    assert_int_equal(count, 0); /* nothing half-made is left */
    secret_free(key);
    token_close(token);
}

static void a_pulled_token_is_noticed(void **state)
{
    (void)state;
    struct token *token = must_open(softhsm_faulty_module());
    struct secret *key = quantum_key(), *mac = NULL;
    token_object object = must_add(token, "a", "1", key);
    assert_int_equal(token_check(token, NULL), TG_OK);
    softhsm_fault("C_GetSlotInfo", 1, "pulled");
    assert_int_equal(token_check(token, NULL), TG_UNAVAILABLE);
    assert_int_equal(token_hmac(token, object, "x", 1, &mac, NULL), TG_UNAVAILABLE);
    assert_int_equal(token_destroy(token, object, NULL), TG_UNAVAILABLE);
    softhsm_fault(NULL, 0, NULL);
    assert_int_equal(token_hmac(token, object, "x", 1, &mac, NULL), TG_OK);
    secret_free(mac);
    secret_free(key);
    token_close(token);
}

/* A token that cannot do the one operation is refused before anything is put onto it. */
static void a_token_without_hmac_is_refused(void **state)
{
    (void)state;
    softhsm_fault("C_GetMechanismInfo", 1, "0x70");
    assert_refused(&(struct token_where){.uri = uri, .module = softhsm_faulty_module()}, pin,
                   TG_UNIMPLEMENTED, "CKM_SHA256_HMAC");
}

/* Opens the token, says so, waits for the start, destroys. Answers whether it was told that it did. */
static int rival(int ready, int go)
{
    char word = 0;
    token_object object = 0;
    struct token *token = NULL;
    bool found = token_open(&(struct token_where){.uri = uri}, pin, &token, NULL) == TG_OK &&
                 token_find_key(token, &(struct token_name){.label = "contended"}, &object, NULL) == TG_OK;
    if (write(ready, "", 1) != 1 || read(go, &word, 1) != 0 || !found)
        return 99;
    return token_destroy(token, object, NULL) == TG_OK;
}

/* Starts a rival with the writing end of `ready` and the reading end of `go`. */
static pid_t start_rival(const int ready[2], const int go[2])
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        close(go[1]);
        _exit(rival(ready[1], go[0]));
    }
    return pid;
}

static int count_winners(const pid_t *rivals, size_t count)
{
    int winners = 0;
    for (size_t i = 0; i < count; i++) {
        int status = 0;
        assert_int_equal(waitpid(rivals[i], &status, 0), rivals[i]);
        assert_true(WIFEXITED(status));
        winners += WEXITSTATUS(status);
    }
    return winners;
}

/* Several processes destroy the same object at once: exactly one of them is told that it did. */
static void one_of_many_destroys(void **state)
{
    (void)state;
    enum { RIVALS = 4, ROUNDS = 10 };
    struct secret *key = quantum_key();
    for (int round = 0; round < ROUNDS; round++) {
        struct token *token = must_open(NULL);
        must_add(token, "contended", "1", key);
        token_close(token);
        int ready[2] = {0}, go[2] = {0};
        char word;
        pid_t rivals[RIVALS] = {0};
        assert_true(pipe(ready) == 0 && pipe(go) == 0);
        for (size_t i = 0; i < RIVALS;
             i++) { /* one by one: SoftHSM stumbles over two that log in at once (757) */
            rivals[i] = start_rival(ready, go);
            assert_int_equal(read(ready[0], &word, 1), 1);
        }
        close(ready[1]);
        close(go[1]); /* off they go */
        assert_int_equal(count_winners(rivals, RIVALS), 1);
        close(ready[0]);
        close(go[0]);
    }
    secret_free(key);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_uris_are_refused),
        TEST(a_missing_module_is_named),
        TEST(one_of_two_tokens_must_be_meant),
        TEST(a_module_is_found_in_three_ways),
        TEST(wrong_pins_are_told_with_what_is_left),
        TEST(hmac_is_that_of_the_key),
        TEST(a_key_does_not_come_out),
        TEST(keys_are_found_by_name_id_and_uri),
        TEST(a_name_is_made_once),
        TEST(a_destroyed_key_is_gone),
        TEST(many_objects_are_found),
        TEST(data_comes_back),
        TEST(what_a_token_says_is_told),
        TEST(a_pulled_token_is_noticed),
        TEST(a_token_without_hmac_is_refused),
        TEST(one_of_many_destroys),
    };
    return softhsm_installed() ? cmocka_run_group_tests(tests, NULL, NULL) : SOFTHSM_SKIPPED;
}
