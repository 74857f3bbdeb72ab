/* Our SAE against a KME that answers slowly, wrongly, with HTML, with null members, with extra ones, or not
 * at all: it gets all the keys that it asked for, or says what is wrong and has none. */
#include "kme.h"

#define ID_A "bc490419-7d60-487f-adc1-4ddcc177c139"
#define ID_B "0a782fb5-3434-48fe-aa4d-14f41d46cf92"
#define KEY "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define ITEM(id, key) "{\"key_ID\":\"" id "\",\"key\":\"" key "\"}"

enum { FAR_MS = 120000 };

struct bench {
    struct authority authority, other;
    struct identity sae, stranger;
    struct kme *kme;
    struct etsi014_peer peer;
    struct etsi014_client *client;
    struct etsi014_keys keys;
    struct tg_error err;
};

static void must(const struct bench *b, enum tg_code code)
{
    if (code != TG_OK)
        fail_msg("%s: %s", tg_code_name(code), b->err.text);
}

/* Ended with `code`, a text that has `word` in it, and no keys. */
static void must_fail(const struct bench *b, enum tg_code got, enum tg_code code, const char *word)
{
    if (got != code || strstr(b->err.text, word) == NULL)
        fail_msg("%s: %s, instead of %s with \"%s\"", tg_code_name(got), b->err.text, tg_code_name(code),
                 word);
    assert_null(b->keys.bytes);
}

static int bench_open(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    *state = b;
    authority_open(&b->authority);
    authority_open(&b->other);
    b->sae = authority_issue(&b->authority, "sae-a");
    b->stranger = authority_issue(&b->other, "sae-a");
    b->kme = kme_start(&b->authority, &b->authority);
    b->peer = kme_peer(b->kme, &b->sae, &b->authority);
    return 0;
}

static void connect_to(struct bench *b)
{
    etsi014_client_close(b->client);
    b->client = NULL;
    must(b, etsi014_client_open(&b->peer, &b->client, &b->err));
}

static int bench_close(void **state)
{
    struct bench *b = *state;
    etsi014_keys_fini(&b->keys);
    etsi014_client_close(b->client);
    kme_stop(b->kme);
    authority_close(&b->authority);
    authority_close(&b->other);
    free(b);
    return 0;
}

static enum tg_code enc(struct bench *b, size_t count)
{
    etsi014_keys_fini(&b->keys);
    return etsi014_enc_keys(b->client, "sae-b", count, 256, clock_now_ms() + FAR_MS, &b->keys, &b->err);
}

static enum tg_code dec(struct bench *b, const uint8_t (*ids)[TICKET_KEY_ID_LEN], size_t count)
{
    etsi014_keys_fini(&b->keys);
    return etsi014_dec_keys(b->client, "sae-b", ids, count, 256, clock_now_ms() + FAR_MS, &b->keys, &b->err);
}

static enum tg_code dec_a(struct bench *b)
{
    uint8_t id[1][TICKET_KEY_ID_LEN];
    assert_true(etsi014_id_decode(ID_A, id[0]));
    return dec(b, id, 1);
}

/* ---- before anything is sent ---- */

static void a_peer_that_cannot_be_used_is_named(void **state)
{
    struct bench *b = *state;
    struct etsi014_client *client = NULL;
    char plain[] = "http://127.0.0.1:80", nowhere[] = "https://", missing[] = "/nonexistent";
    struct etsi014_peer peer = {0};
    must_fail(b, etsi014_client_open(&peer, &client, &b->err), TG_INVALID_ARGUMENT, "url");
    peer = b->peer;
    peer.url = plain;
    must_fail(b, etsi014_client_open(&peer, &client, &b->err), TG_INVALID_ARGUMENT, "https");
    peer.url = nowhere;
    must_fail(b, etsi014_client_open(&peer, &client, &b->err), TG_INVALID_ARGUMENT, "https");
    peer = b->peer;
    peer.key = NULL;
    must_fail(b, etsi014_client_open(&peer, &client, &b->err), TG_INVALID_ARGUMENT, "must be given");
    peer.key = missing;
    must_fail(b, etsi014_client_open(&peer, &client, &b->err), TG_NOT_FOUND, missing);
    assert_int_equal(chmod(b->sae.key, 0644), 0);
    must_fail(b, etsi014_client_open(&b->peer, &client, &b->err), TG_PERMISSION_DENIED, "chmod 0400");
}

/* ---- TLS ---- */

static void a_kme_of_another_ca_gets_no_question(void **state)
{
    struct bench *b = *state;
    b->peer.ca = b->other.ca;
    connect_to(b);
    must_fail(b, enc(b, 1), TG_UNAVAILABLE, b->kme->url);
    assert_int_equal(b->kme->requests, 0);
}

static void a_kme_of_another_name_gets_no_question(void **state)
{
    struct bench *b = *state;
    char url[64];
    snprintf(url, sizeof url, "https://localhost%s", strrchr(b->kme->url, ':'));
    b->peer.url = url;
    connect_to(b);
    must_fail(b, enc(b, 1), TG_UNAVAILABLE, "cannot be asked");
    assert_int_equal(b->kme->requests, 0);
}

static void a_kme_that_does_not_trust_us_is_an_error(void **state)
{
    struct bench *b = *state;
    b->peer.certificate = b->stranger.certificate;
    b->peer.key = b->stranger.key;
    connect_to(b);
    must_fail(b, enc(b, 1), TG_UNAVAILABLE, "cannot be asked");
    assert_int_equal(b->kme->requests, 0);
}

static void a_kme_that_is_away_is_an_error(void **state)
{
    struct bench *b = *state;
    connect_to(b);
    struct authority *a = &b->authority;
    kme_stop(b->kme);
    must_fail(b, enc(b, 1), TG_UNAVAILABLE, "cannot be asked");
    b->kme = kme_start(a, a);
}

/* ---- time ---- */

static void a_slow_kme_has_its_deadline(void **state)
{
    struct bench *b = *state;
    struct etsi014_status status;
    b->peer.timeout_ms = 300;
    connect_to(b);
    for (int i = 0; i < 2; i++)
        kme_script(b->kme, (struct kme_step){.call = "status"});
    must_fail(b, enc(b, 1), TG_DEADLINE_EXCEEDED, "in time"); /* the configured one, and the caller's: */
    b->peer.timeout_ms = FAR_MS;
    connect_to(b);
    must_fail(b, etsi014_get_status(b->client, "sae-b", clock_now_ms() + 300, &status, &b->err),
              TG_DEADLINE_EXCEEDED, "in time");
}

static void a_deadline_in_the_past_asks_nobody(void **state)
{
    struct bench *b = *state;
    connect_to(b);
    must_fail(b, etsi014_enc_keys(b->client, "sae-b", 1, 256, clock_now_ms(), &b->keys, &b->err),
              TG_DEADLINE_EXCEEDED, "no time");
    assert_int_equal(b->kme->requests, 0);
}

static void *interrupt_soon(void *arg)
{
    struct bench *b = arg;
    while (kme_count(b->kme, "enc_keys") == 0)
        usleep(1000);
    etsi014_client_interrupt(b->client);
    return NULL;
}

static void a_call_can_be_interrupted(void **state)
{
    struct bench *b = *state;
    pthread_t thread;
    connect_to(b);
    kme_script(b->kme, (struct kme_step){.call = "enc_keys"});
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, b), 0);
    must_fail(b, enc(b, 1), TG_CANCELLED, "interrupted");
    pthread_join(thread, NULL);
    must_fail(b, enc(b, 1), TG_CANCELLED, "interrupted");
}

/* ---- statuses ---- */

static void every_status_has_its_meaning(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum tg_code code;
        const char *word;
    } cases[] = {
        {400, "{\"message\":\"one or more keys specified are not found on KME\"}", TG_NOT_FOUND, "not found"},
        {400, "{\"message\":\"One or more keys specified are not found on KME\"}", TG_NOT_FOUND, "not found"},
        {400, "{\"message\":\"size shall be a multiple of 8\"}", TG_FAILED_PRECONDITION, "multiple of 8"},
        {400,
         "{\"message\":\"not all extension_mandatory parameters are supported\",\"details\":[{\"x\":1}]}",
         TG_FAILED_PRECONDITION, "extension_mandatory"},
        {400, "<html>Bad Request</html>", TG_FAILED_PRECONDITION, "status 400"},
        {400, "", TG_FAILED_PRECONDITION, "status 400"},
        {401, "", TG_UNAUTHENTICATED, "status 401"},
        {403, "{\"message\":null}", TG_FAILED_PRECONDITION, "status 403"},
        {404, "{\"message\":\"no such SAE\"}", TG_FAILED_PRECONDITION, "no such SAE"},
        {301, "", TG_FAILED_PRECONDITION, "status 301"},
        {204, "", TG_FAILED_PRECONDITION, "status 204"},
        {500, "{\"message\":\"oops\\u001b[2J\"}", TG_UNAVAILABLE, "oops"},
        {502, "<html>Bad Gateway</html>", TG_UNAVAILABLE, "status 502"},
    };
    struct bench *b = *state;
    connect_to(b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t before = kme_count(b->kme, "dec_keys");
        kme_script(b->kme,
                   (struct kme_step){.call = "dec_keys", .status = cases[i].status, .body = cases[i].body});
        must_fail(b, dec_a(b), cases[i].code, cases[i].word);
        assert_null(strchr(b->err.text, 27));
        assert_int_equal(kme_count(b->kme, "dec_keys"), before + 1); /* never tried again */
    }
    assert_int_equal(kme_count(b->kme, "elsewhere"), 0);
}

static void a_dry_kme_is_tried_again_and_then_names_itself(void **state)
{
    static const char dry[] = "{\"message\":\"not enough keys\"}";
    struct bench *b = *state;
    connect_to(b);
    for (int i = 0; i < 4; i++)
        kme_script(b->kme, (struct kme_step){.call = "enc_keys", .status = 503, .body = dry});
    must_fail(b, enc(b, 1), TG_RESOURCE_EXHAUSTED, "not enough keys");
    assert_non_null(strstr(b->err.text, b->kme->url));
    assert_int_equal(kme_count(b->kme, "enc_keys"), 4);
    for (int i = 0; i < 3; i++)
        kme_script(b->kme, (struct kme_step){.call = "enc_keys", .status = 503, .body = "<html>"});
    must(b, enc(b, 1));
    assert_int_equal(b->keys.count, 1);
}

/* ---- bodies ---- */

static void wrong_bodies_give_no_keys(void **state)
{
    static const struct {
        const char *body, *word;
        size_t repeat;
    } cases[] = {
        {"<!DOCTYPE html><html><body>It works!</body></html>", "not a JSON object", 1},
        {"", "not a JSON object", 1},
        {"{\"keys\":[" ITEM(ID_A, KEY), "not a JSON object", 1},
        {"[[[[[[[[", "not a JSON object", 8000},
        {"{\"keys\":null}", "no list", 1},
        {"{\"keys\":[null]}", "key_ID", 1},
        {"{\"keys\":[{\"key_ID\":null,\"key\":\"" KEY "\"}]}", "key_ID", 1},
        {"{\"keys\":[{\"key_ID\":\"" ID_A "\",\"key\":null}]}", "256 bits", 1},
        {"{\"keys\":[" ITEM(ID_A, "MDEyMzQ1Njc4OWFiY2RlZg==") "]}", "256 bits", 1},
        {"{\"keys\":[" ITEM(ID_A, KEY) "," ITEM(ID_B, KEY) "]}", "2 keys instead of 1", 1},
        {"{\"keys\":[]}", "0 keys instead of 1", 1},
        {"{\"keys\":[" ITEM(ID_B, KEY) "]}", "not asked for", 1},
        {"                                                                ", "more than", 10000},
    };
    struct bench *b = *state;
    connect_to(b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kme_script(b->kme,
                   (struct kme_step){
                       .call = "dec_keys", .status = 200, .body = cases[i].body, .repeat = cases[i].repeat});
        must_fail(b, dec_a(b), TG_DATA_LOSS, cases[i].word);
        assert_non_null(strstr(b->err.text, b->kme->url));
    }
}

static void a_body_that_breaks_off_gives_no_keys(void **state)
{
    struct bench *b = *state;
    connect_to(b);
    kme_script(b->kme, (struct kme_step){.call = "dec_keys",
                                         .status = 200,
                                         .body = "{\"keys\":[" ITEM(ID_A, KEY) "]}",
                                         .cut = true});
    must_fail(b, dec_a(b), TG_UNAVAILABLE, "cannot be asked");
}

static void a_status_that_is_wrong_stops_all(void **state)
{
    struct bench *b = *state;
    connect_to(b);
    kme_script(b->kme, (struct kme_step){.call = "status", .status = 200, .body = "<html>"});
    must_fail(b, enc(b, 1), TG_DATA_LOSS, "the status");
    kme_script(b->kme, (struct kme_step){.call = "status", .status = 401, .body = ""});
    must_fail(b, enc(b, 1), TG_UNAUTHENTICATED, "401");
    assert_int_equal(kme_count(b->kme, "enc_keys"), 0);
}

/* The first request was good, the second is not: none of the keys comes. */
static void half_of_the_keys_is_none(void **state)
{
    struct bench *b = *state;
    b->kme->per_request = 2;
    connect_to(b);
    kme_script(b->kme, (struct kme_step){.call = "\"number\":1", .status = 400, .body = "{}"});
    must_fail(b, enc(b, 3), TG_FAILED_PRECONDITION, "400");
    assert_int_equal(kme_count(b->kme, "enc_keys"), 2);
}

static void the_same_key_in_two_answers_is_refused(void **state)
{
    struct bench *b = *state;
    b->kme->per_request = 1;
    connect_to(b);
    for (int i = 0; i < 2; i++)
        kme_script(
            b->kme,
            (struct kme_step){.call = "enc_keys", .status = 200, .body = "{\"keys\":[" ITEM(ID_A, KEY) "]}"});
    must_fail(b, enc(b, 2), TG_DATA_LOSS, "came twice");
}

/* ---- limits ---- */

static void what_the_status_excludes_is_not_asked(void **state)
{
    struct bench *b = *state;
    b->kme->max_bits = 128;
    connect_to(b);
    must_fail(b, enc(b, 1), TG_FAILED_PRECONDITION, "64 to 128 bits");
    assert_int_equal(kme_count(b->kme, "enc_keys"), 0);
    b->kme->max_bits = 256; /* seen at once: a failure forgets the status */
    must(b, enc(b, 1));
}

static void many_keys_are_several_requests_on_one_connection(void **state)
{
    struct bench *b = *state;
    b->kme->per_request = 4;
    connect_to(b);
    must(b, enc(b, 10));
    assert_int_equal(b->keys.count, 10);
    assert_int_equal(kme_count(b->kme, "POST /api/v1/keys/sae-b/enc_keys HTTP/1.1: "
                                       "{\"number\":4,\"size\":256}"),
                     2);
    assert_int_equal(kme_count(b->kme, "{\"number\":2,\"size\":256}"), 1);
    for (size_t i = 0; i < 10; i++)
        assert_memory_equal(secret_view(b->keys.bytes) + i * 32, b->kme->keys[i].bytes, 32);
    must(b, enc(b, 1));
    assert_int_equal(kme_count(b->kme, "/status"), 1); /* kept */
    assert_int_equal(b->kme->connections, 1);
}

static void keys_come_back_by_their_ids_in_any_order(void **state)
{
    struct bench *b = *state;
    struct etsi014_keys drawn = {0};
    b->kme->per_request = 3;
    b->kme->reversed = true;
    connect_to(b);
    must(b, enc(b, 7));
    drawn = b->keys;
    b->keys = (struct etsi014_keys){0};
    must(b, dec(b, (const uint8_t(*)[TICKET_KEY_ID_LEN])drawn.ids, 7));
    assert_memory_equal(drawn.ids, b->keys.ids, 7 * sizeof *drawn.ids);
    assert_true(secret_equal(drawn.bytes, b->keys.bytes));
    must_fail(b, dec(b, (const uint8_t(*)[TICKET_KEY_ID_LEN])drawn.ids, 1), TG_NOT_FOUND, "not found");
    etsi014_keys_fini(&drawn);
}

static void by_get_key_ids_go_one_by_one(void **state)
{
    struct bench *b = *state;
    struct etsi014_keys drawn = {0};
    b->peer.method = ETSI014_GET;
    connect_to(b);
    must(b, enc(b, 3));
    assert_int_equal(kme_count(b->kme, "GET /api/v1/keys/sae-b/enc_keys?number=3&size=256 HTTP/1.1: "), 1);
    drawn = b->keys;
    b->keys = (struct etsi014_keys){0};
    must(b, dec(b, (const uint8_t(*)[TICKET_KEY_ID_LEN])drawn.ids, 3));
    assert_true(secret_equal(drawn.bytes, b->keys.bytes));
    assert_int_equal(kme_count(b->kme, "GET /api/v1/keys/sae-b/dec_keys?key_ID="), 3);
    etsi014_keys_fini(&drawn);
}

static void a_kme_that_gives_a_slave_no_status_is_asked_key_by_key(void **state)
{
    struct bench *b = *state;
    struct etsi014_keys drawn = {0};
    connect_to(b);
    must(b, enc(b, 2));
    drawn = b->keys;
    b->keys = (struct etsi014_keys){0};
    connect_to(b);
    kme_script(b->kme, (struct kme_step){.call = "status", .status = 404, .body = "{}"});
    must(b, dec(b, (const uint8_t(*)[TICKET_KEY_ID_LEN])drawn.ids, 2));
    assert_true(secret_equal(drawn.bytes, b->keys.bytes));
    assert_int_equal(kme_count(b->kme, "dec_keys"), 2);
    etsi014_keys_fini(&drawn);
}

static void sae_ids_are_escaped(void **state)
{
    struct bench *b = *state;
    struct etsi014_status status;
    connect_to(b);
    must(b, etsi014_get_status(b->client, "a b/../?c", clock_now_ms() + FAR_MS, &status, &b->err));
    assert_int_equal(kme_count(b->kme, "GET /api/v1/keys/a%20b%2F..%2F%3Fc/status HTTP/1.1"), 1);
    assert_int_equal(status.max_key_per_request, 100);
    assert_string_equal(status.target_kme, "kme-b");
}

static void extra_members_are_passed_over(void **state)
{
    struct bench *b = *state;
    connect_to(b);
    kme_script(b->kme, (struct kme_step){.call = "dec_keys",
                                         .status = 200,
                                         .body = "{\"Keys\":[{\"key_ID\":\"" ID_A "\",\"key\":\"" KEY
                                                 "\",\"key_extension\":null,\"q\":1}],\"z\":{\"keys\":[]}}"});
    must(b, dec_a(b));
    assert_memory_equal(secret_view(b->keys.bytes), "0123456789abcdef0123456789abcdef", 32);
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_open, bench_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(a_peer_that_cannot_be_used_is_named),
        BENCH_TEST(a_kme_of_another_ca_gets_no_question),
        BENCH_TEST(a_kme_of_another_name_gets_no_question),
        BENCH_TEST(a_kme_that_does_not_trust_us_is_an_error),
        BENCH_TEST(a_kme_that_is_away_is_an_error),
        BENCH_TEST(a_slow_kme_has_its_deadline),
        BENCH_TEST(a_deadline_in_the_past_asks_nobody),
        BENCH_TEST(a_call_can_be_interrupted),
        BENCH_TEST(every_status_has_its_meaning),
        BENCH_TEST(a_dry_kme_is_tried_again_and_then_names_itself),
        BENCH_TEST(wrong_bodies_give_no_keys),
        BENCH_TEST(a_body_that_breaks_off_gives_no_keys),
        BENCH_TEST(a_status_that_is_wrong_stops_all),
        BENCH_TEST(half_of_the_keys_is_none),
        BENCH_TEST(the_same_key_in_two_answers_is_refused),
        BENCH_TEST(what_the_status_excludes_is_not_asked),
        BENCH_TEST(many_keys_are_several_requests_on_one_connection),
        BENCH_TEST(keys_come_back_by_their_ids_in_any_order),
        BENCH_TEST(by_get_key_ids_go_one_by_one),
        BENCH_TEST(a_kme_that_gives_a_slave_no_status_is_asked_key_by_key),
        BENCH_TEST(sae_ids_are_escaped),
        BENCH_TEST(extra_members_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
