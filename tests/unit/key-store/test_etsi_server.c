/* The key centre as a KME: exact bodies, codes and texts of ETSI GS QKD 014, and no key to anybody else. */
#include "etsi_rig.h"

#define JSON_TYPE " application/json"
#define NOT_FOUND "{\"message\":\"one or more keys specified are not found on KME\"}\n400" JSON_TYPE
#define UNKNOWN "0a782fb5-3434-48fe-aa4d-14f41d46cf92"
#define POST "-H 'Content-Type: application/json' -d "

enum { FAR_MS = 120000 };

/* ---- who may ask ---- */

static void strangers_do_not_get_through_tls(void **state)
{
    struct etsi_rig *e = *state;
    assert_string_equal(ask(e, &e->rogue, "$U/sae-b/enc_keys"), "\n000 ");
    char command[512];
    snprintf(command, sizeof command, "curl -s -m 60 --noproxy '*' --cacert %s %s/api/v1/keys/sae-b/status",
             e->saes.ca, e->url);
    assert_int_not_equal(system(command), 0);
}

static void an_sae_that_was_not_named_gets_401(void **state)
{
    struct etsi_rig *e = *state;
    static const char *const calls[] = {"status", "enc_keys", ("dec_keys?key_ID=" UNKNOWN)};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        assert_string_equal(ask(e, &e->unnamed, "'%s/api/v1/keys/sae-b/%s'", e->url, calls[i]),
                            "\n401" JSON_TYPE);
    struct event event = wait_event(e->r, "sae.refused", true);
    assert_string_equal(event.peer, "sae-d");
    assert_non_null(strstr(event.reason, "etsi014.saes"));
    assert_false(find_event(e->r, "sae.keys_made", false, &event));
}

static void the_other_sae_must_be_known(void **state)
{
    struct etsi_rig *e = *state;
    assert_string_equal(ask(e, &e->a, "$U/sae-d/status"),
                        "{\"message\":\"slave_SAE_ID is not known to this KME\"}\n400" JSON_TYPE);
    assert_string_equal(ask(e, &e->a, "$U/sae-d/enc_keys"),
                        "{\"message\":\"slave_SAE_ID is not known to this KME\"}\n400" JSON_TYPE);
    assert_string_equal(ask(e, &e->a, "$U/sae-d/dec_keys?key_ID=" UNKNOWN),
                        "{\"message\":\"master_SAE_ID is not known to this KME\"}\n400" JSON_TYPE);
}

/* A key of another pair: 401, and it stays where it is. */
static void a_key_of_others_is_401_and_stays(void **state)
{
    struct etsi_rig *e = *state;
    char id[1][37], key[1][48], expected[200];
    draw_keys(e, &e->a, "sae-b", 1, 256, id, key);
    assert_string_equal(ask(e, &e->c, "$U/sae-a/dec_keys?key_ID=%s", id[0]), "\n401" JSON_TYPE);
    assert_string_equal(ask(e, &e->a, "$U/sae-b/dec_keys?key_ID=%s", id[0]), NOT_FOUND); /* wrong way */
    assert_string_equal(ask(e, &e->b, "$U/sae-c/dec_keys?key_ID=%s", id[0]), NOT_FOUND);
    struct event event = wait_event(e->r, "sae.refused", true);
    assert_string_equal(event.peer, "sae-c");
    assert_non_null(strstr(event.detail, "master sae-a, slave sae-c"));
    snprintf(expected, sizeof expected, "{\"keys\":[{\"key_ID\":\"%s\",\"key\":\"%s\"}]}\n200" JSON_TYPE,
             id[0], key[0]);
    assert_string_equal(ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", id[0]), expected);
}

/* ---- requests ---- */

static void bad_requests_get_400_with_the_texts_of_the_standard(void **state)
{
    static const struct {
        const char *what, *message;
    } cases[] = {
        {POST "'{\"size\":255}' $U/sae-b/enc_keys", "size shall be a multiple of 8"},
        {"$U/sae-b/enc_keys?size=12", "size shall be a multiple of 8"},
        {POST "'{\"extension_mandatory\":[{\"abc_route_type\":\"direct\"}]}' $U/sae-b/enc_keys",
         "not all extension_mandatory parameters are supported"},
        {POST "'{\"additional_slave_SAE_IDs\":[\"sae-c\"]}' $U/sae-b/enc_keys",
         "additional_slave_SAE_IDs are not supported: max_SAE_ID_count is 0"},
        {POST "'{\"size\":264}' $U/sae-b/enc_keys", "size shall be 64 to 256"},
        {POST "'{\"size\":0}' $U/sae-b/enc_keys", "size shall be 64 to 256"},
        {POST "'{\"number\":0}' $U/sae-b/enc_keys", "number shall be 1 to 128"},
        {POST "'{\"number\":129}' $U/sae-b/enc_keys", "number shall be 1 to 128"},
        {POST "'{\"number\":\"1\"}' $U/sae-b/enc_keys", "number shall be a whole number"},
        {POST "'{\"number\":' $U/sae-b/enc_keys", "the key request is not a JSON object"},
        {"$U/sae-b/enc_keys?number=-1", "number shall be a whole number"},
        {"$U/sae-b/enc_keys?number=", "number shall be a whole number"},
        {"$U/sae-b/enc_keys?number=99999999999", "number shall be a whole number"},
        {"$U/sae-b/dec_keys", "key_ID shall be a UUID"},
        {"$U/sae-b/dec_keys?key_ID=1", "key_ID shall be a UUID"},
        {POST "'{\"key_IDs\":[]}' $U/sae-b/dec_keys", "key_IDs shall be an array of at least one key_ID"},
        {POST "'<xml/>' $U/sae-b/dec_keys", "the list of key_IDs is not a JSON object"},
        {POST "'{\"key_IDs\":[{\"key_ID\":\"" UNKNOWN "\"},{\"key_ID\":\"" UNKNOWN "\"}]}' $U/sae-b/dec_keys",
         "key_IDs shall not name a key twice"},
        {"$U/sae-b/dec_keys?key_ID=" UNKNOWN, "one or more keys specified are not found on KME"},
    };
    struct etsi_rig *e = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[256];
        snprintf(expected, sizeof expected, "{\"message\":\"%s\"}\n400" JSON_TYPE, cases[i].message);

        assert_string_equal(ask(e, &e->a, "%s", cases[i].what), expected);
    }
    struct event event;
    assert_false(find_event(e->r, "sae.keys_made", false, &event));
}

static void what_the_standard_does_not_know_is_not_there(void **state)
{
    struct etsi_rig *e = *state;
    assert_non_null(strstr(ask(e, &e->a, "$U/sae-b/keys"), "\n404 "));
    assert_non_null(strstr(ask(e, &e->a, "-X DELETE $U/sae-b/enc_keys"), "\n405 "));
    assert_non_null(strstr(ask(e, &e->a, "-d '{}' $U/sae-b/status"), "\n405 "));
    assert_non_null(strstr(ask(e, &e->a, "-I $U/sae-b/status"), "\n200 "));
    assert_non_null(strstr(ask(e, &e->a, "-I $U/sae-b/enc_keys"), "\n405 "));
    assert_non_null(strstr(ask(e, &e->a, "--data-binary @/proc/self/exe $U/sae-b/enc_keys"), "\n413 "));
}

/* Its answer would have no body: the key would be gone, and nobody would have it. */
static void head_takes_no_key(void **state)
{
    struct etsi_rig *e = *state;
    char id[1][37], key[1][48], expected[160];
    draw_keys(e, &e->a, "sae-b", 1, 256, id, key);
    assert_non_null(strstr(ask(e, &e->b, "-I $U/sae-a/dec_keys?key_ID=%s", id[0]), "\n405 "));
    snprintf(expected, sizeof expected, "{\"keys\":[{\"key_ID\":\"%s\",\"key\":\"%s\"}]}\n200" JSON_TYPE,
             id[0], key[0]);
    assert_string_equal(ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", id[0]), expected);
}

/* ---- trouble ---- */

static enum tg_code draw_dry(struct source *source, struct secret *out, struct tg_error *err)
{
    (void)out;
    return tg_fail(err, TG_RESOURCE_EXHAUSTED, "key source %s is dry", source->name);
}

static void a_dry_source_is_503_and_names_itself(void **state)
{
    struct etsi_rig *e = *state;
    struct source dry = *e->r->ks->source, *good = e->r->ks->source;
    dry.name = "rng0";
    dry.draw = draw_dry;
    e->r->ks->source = &dry;
    assert_string_equal(ask(e, &e->a, "$U/sae-b/enc_keys"),
                        "{\"message\":\"key source rng0 is dry\"}\n503" JSON_TYPE);
    e->r->ks->source = good;
    assert_non_null(strstr(ask(e, &e->a, "$U/sae-b/enc_keys"), "\n200 "));
}

static void without_audit_no_key_leaves_and_none_is_lost(void **state)
{
    struct etsi_rig *e = *state;
    char id[1][37], key[1][48];
    draw_keys(e, &e->a, "sae-b", 1, 256, id, key);
    audit_down(e->r);
    assert_non_null(strstr(ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", id[0]), "\n503 "));
    assert_non_null(strstr(ask(e, &e->a, "$U/sae-b/enc_keys"), "\n503 "));
    audit_up(e->r);
    EVENTUALLY(audit_client_ready(e->r->ks->audit));
    assert_non_null(strstr(ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", id[0]), key[0]));
}

/* The answer waits for the audit log, and says nothing of what went wrong inside. */
static void keys_that_are_not_audited_are_withheld(void **state)
{
    struct etsi_rig *e = *state;
    audit_set(e->r, AUDIT_REFUSES);
    const char *answer = ask(e, &e->a, "$U/sae-b/enc_keys");
    assert_string_equal(answer,
                        "{\"message\":\"the key centre cannot answer now: try again later\"}\n503" JSON_TYPE);
    audit_set(e->r, AUDIT_TAKES);
    struct event event = wait_event(e->r, "sae.keys_made", true);
    assert_non_null(strstr(event.reason, "withheld"));
}

static void one_unknown_key_id_takes_none(void **state)
{
    struct etsi_rig *e = *state;
    char id[1][37], key[1][48];
    draw_keys(e, &e->a, "sae-b", 1, 256, id, key);
    assert_string_equal(ask(e, &e->b,
                            POST "'{\"key_IDs\":[{\"key_ID\":\"%s\"},{\"key_ID\":\"" UNKNOWN
                                 "\"}]}' $U/sae-a/dec_keys",
                            id[0]),
                        NOT_FOUND);
    assert_non_null(strstr(ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", id[0]), key[0]));
}

static void a_key_past_its_time_is_not_found(void **state)
{
    struct etsi_rig *e = *state;
    char id[1][37], key[1][48];
    draw_keys(e, &e->a, "sae-b", 1, 256, id, key);
    rig_time_s += 60;
    assert_string_equal(ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", id[0]), NOT_FOUND);
}

/* ---- what works ---- */

static void status_is_that_of_the_standard(void **state)
{
    struct etsi_rig *e = *state;
    char ids[3][37], keys[3][48];
    static const char format[] =
        "{\"source_KME_ID\":\"kme-1\",\"target_KME_ID\":\"kme-1\",\"master_SAE_ID\":\"sae-a\","
        "\"slave_SAE_ID\":\"sae-b\",\"key_size\":256,\"stored_key_count\":%d,\"max_key_count\":10000,"
        "\"max_key_per_request\":128,\"max_key_size\":256,\"min_key_size\":64,\"max_SAE_ID_count\":0}"
        "\n200" JSON_TYPE;
    char expected[512];
    snprintf(expected, sizeof expected, format, 10000);
    assert_string_equal(ask(e, &e->a, "$U/sae-b/status"), expected);
    draw_keys(e, &e->a, "sae-b", 3, 256, ids, keys);
    snprintf(expected, sizeof expected, format, 9997);
    assert_string_equal(ask(e, &e->a, "$U/sae-b/status"), expected);
}

static void master_and_slave_get_the_same_keys_once(void **state)
{
    struct etsi_rig *e = *state;
    char ids[2][37], keys[2][48], expected[512];
    draw_keys(e, &e->a, "sae-b", 2, 256, ids, keys);
    assert_string_not_equal(keys[0], keys[1]);
    snprintf(
        expected, sizeof expected,
        "{\"keys\":[{\"key_ID\":\"%s\",\"key\":\"%s\"},{\"key_ID\":\"%s\",\"key\":\"%s\"}]}\n200" JSON_TYPE,
        ids[1], keys[1], ids[0], keys[0]);
    assert_string_equal(
        ask(e, &e->b, POST "'{\"key_IDs\":[{\"key_ID\":\"%s\"},{\"key_ID\":\"%s\"}]}' $U/sae-a/dec_keys",
            ids[1], ids[0]),
        expected);
    for (int i = 0; i < 2; i++)
        assert_string_equal(ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", ids[i]), NOT_FOUND);
    struct event event;
    assert_true(find_event(e->r, "sae.keys_made", false, &event));
    assert_string_equal(event.peer, "sae-a");
    assert_string_equal(event.detail, "2 keys of 256 bits from drbg, master sae-a, slave sae-b");
    assert_true(find_event(e->r, "sae.keys_taken", false, &event));
    assert_string_equal(event.peer, "sae-b");
}

static void short_keys_are_as_long_as_asked(void **state)
{
    struct etsi_rig *e = *state;
    char ids[1][37], keys[1][48];
    draw_keys(e, &e->a, "sae-b", 1, 64, ids, keys);
    assert_int_equal(strlen(keys[0]), 12); /* 8 bytes */
    assert_non_null(strstr(ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", ids[0]), keys[0]));
    draw_keys(e, &e->a, "sae-b", 1, 128, ids, keys);
    assert_int_equal(strlen(keys[0]), 24);
    assert_non_null(strstr(ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", ids[0]), keys[0]));
}

static void keys_wait_for_the_slave_sealed_and_durable(void **state)
{
    struct etsi_rig *e = *state;
    char ids[1][37], keys[1][48];
    uint8_t bytes[48];
    draw_keys(e, &e->a, "sae-b", 1, 256, ids, keys);
    assert_int_equal(EVP_DecodeBlock(bytes, (const uint8_t *)keys[0], 44), 33);
    assert_false(on_disk(&e->r->scratch, bytes, 32));
    key_store_down(e->r);
    assert_false(on_disk(&e->r->scratch, bytes, 32));
    key_store_up(e->r);
    etsi_up(e);
    assert_non_null(strstr(ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", ids[0]), keys[0]));
}

/* ---- many at once, and for long ---- */

enum { RACERS = 6 };

struct racer {
    struct etsi_rig *e;
    const uint8_t (*id)[TICKET_KEY_ID_LEN];
    enum tg_code code;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    struct etsi014_client *b = client_of(racer->e, &racer->e->b);
    struct etsi014_keys keys = {0};
    struct tg_error err;
    racer->code = etsi014_dec_keys(b, "sae-a", racer->id, 1, 256, clock_now_ms() + FAR_MS, &keys, &err);
    etsi014_keys_fini(&keys);
    etsi014_client_close(b);
    return NULL;
}

static void of_many_one_gets_the_key(void **state)
{
    struct etsi_rig *e = *state;
    for (int round = 0; round < 5; round++) {
        char id[1][37], key[1][48];
        uint8_t bytes[1][TICKET_KEY_ID_LEN];
        struct racer racers[RACERS];
        pthread_t threads[RACERS];
        unsigned winners = 0;
        draw_keys(e, &e->a, "sae-b", 1, 256, id, key);
        assert_true(etsi014_id_decode(id[0], bytes[0]));
        for (int i = 0; i < RACERS; i++) {
            racers[i] = (struct racer){e, (const uint8_t(*)[TICKET_KEY_ID_LEN])bytes, TG_UNKNOWN};
            assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
        }
        for (int i = 0; i < RACERS; i++) {
            pthread_join(threads[i], NULL);
            winners += racers[i].code == TG_OK;
            assert_true(racers[i].code == TG_OK || racers[i].code == TG_NOT_FOUND);
        }
        assert_int_equal(winners, 1);
    }
}

static void certificates_are_renewed_without_a_restart(void **state)
{
    struct etsi_rig *e = *state;
    struct tg_error err;
    struct etsi_config bad = e->config, fresh = e->config;
    char missing[] = "/nonexistent";
    bad.tls.certificate = missing;
    assert_int_equal(etsi_server_reload(e->r->ks->etsi, &bad, &err), TG_NOT_FOUND);
    assert_non_null(strstr(ask(e, &e->a, "$U/sae-b/status"), "\n200 "));
    struct identity renewed = authority_issue(&e->other, "kme");
    fresh.tls.certificate = renewed.certificate;
    fresh.tls.key = renewed.key;
    must(etsi_server_reload(e->r->ks->etsi, &fresh, &err), &err);
    assert_string_equal(ask(e, &e->a, "$U/sae-b/status"), "\n000 ");
    assert_non_null(strstr(ask(e, &e->a, "--cacert %s $U/sae-b/status", e->other.ca), "\n200 "));
}

static void what_happens_is_counted(void **state)
{
    struct etsi_rig *e = *state;
    struct etsi_counts counts;
    char ids[3][37], keys[3][48];
    draw_keys(e, &e->a, "sae-b", 3, 256, ids, keys);
    ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", ids[0]);
    ask(e, &e->b, "$U/sae-a/dec_keys?key_ID=%s", ids[0]);
    ask(e, &e->unnamed, "$U/sae-a/status");
    etsi_server_counts(e->r->ks->etsi, &counts);
    assert_int_equal(counts.made, 3);
    assert_int_equal(counts.taken, 1);
    assert_int_equal(counts.refused, 2);
}

/* ---- our own client ---- */

static void our_client_and_our_server_agree(void **state)
{
    struct etsi_rig *e = *state;
    struct etsi014_client *a = client_of(e, &e->a), *b = client_of(e, &e->b);
    struct etsi014_keys drawn = {0}, adopted = {0};
    struct tg_error err;
    must(etsi014_enc_keys(a, "sae-b", 300, 256, clock_now_ms() + FAR_MS, &drawn, &err), &err);
    const uint8_t(*ids)[TICKET_KEY_ID_LEN] = (const uint8_t(*)[TICKET_KEY_ID_LEN])drawn.ids;
    must(etsi014_dec_keys(b, "sae-a", ids, 300, 256, clock_now_ms() + FAR_MS, &adopted, &err), &err);
    assert_memory_equal(drawn.ids, adopted.ids, 300 * sizeof *ids);
    assert_true(secret_equal(drawn.bytes, adopted.bytes));
    etsi014_keys_fini(&adopted);
    etsi014_keys_fini(&drawn);
    etsi014_client_close(a);
    etsi014_client_close(b);
}

/* Every error that our server has, as our client tells it. */
static void every_error_reaches_our_client(void **state)
{
    struct etsi_rig *e = *state;
    struct etsi014_client *a = client_of(e, &e->a), *c = client_of(e, &e->c),
                          *unnamed = client_of(e, &e->unnamed), *rogue = client_of(e, &e->rogue);
    uint8_t unknown[1][TICKET_KEY_ID_LEN];
    const uint8_t(*ids)[TICKET_KEY_ID_LEN] = (const uint8_t(*)[TICKET_KEY_ID_LEN])unknown;
    struct etsi014_keys keys = {0}, none = {0};
    struct tg_error err;
    uint64_t deadline_ms = clock_now_ms() + FAR_MS;
    assert_true(etsi014_id_decode(UNKNOWN, unknown[0]));
    assert_int_equal(etsi014_enc_keys(rogue, "sae-b", 1, 256, deadline_ms, &none, &err), TG_UNAVAILABLE);
    assert_int_equal(etsi014_enc_keys(unnamed, "sae-b", 1, 256, deadline_ms, &none, &err),
                     TG_UNAUTHENTICATED);
    assert_int_equal(etsi014_enc_keys(a, "sae-d", 1, 256, deadline_ms, &none, &err), TG_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "slave_SAE_ID is not known"));
    assert_int_equal(etsi014_enc_keys(a, "sae-b", 1, 512, deadline_ms, &none, &err), TG_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "64 to 256 bits"));
    assert_int_equal(etsi014_dec_keys(a, "sae-b", ids, 1, 256, deadline_ms, &none, &err), TG_NOT_FOUND);
    must(etsi014_enc_keys(a, "sae-b", 1, 256, deadline_ms, &keys, &err), &err);
    ids = (const uint8_t(*)[TICKET_KEY_ID_LEN])keys.ids;
    assert_int_equal(etsi014_dec_keys(c, "sae-a", ids, 1, 256, deadline_ms, &none, &err), TG_UNAUTHENTICATED);
    struct source dry = *e->r->ks->source, *good = e->r->ks->source;
    dry.draw = draw_dry;
    e->r->ks->source = &dry;
    assert_int_equal(etsi014_enc_keys(a, "sae-b", 1, 256, deadline_ms, &none, &err), TG_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(err.text, "is dry"));
    e->r->ks->source = good;
    assert_null(none.bytes);
    etsi014_keys_fini(&keys);
    etsi014_client_close(a);
    etsi014_client_close(c);
    etsi014_client_close(unnamed);
    etsi014_client_close(rogue);
}

/* ---- configuration ---- */

static void an_incomplete_configuration_is_refused(void **state)
{
    struct etsi_rig *e = *state;
    struct etsi_server *server = NULL;
    struct tg_error err;
    struct etsi_config config = e->config;
    config.saes.count = 1;
    assert_int_equal(etsi_server_open(&server, e->r->ks, &config, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "saes"));
    config = e->config;
    config.kme_id = NULL;
    assert_int_equal(etsi_server_open(&server, e->r->ks, &config, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "kme_id"));
    config = e->config;
    config.tls.ca = NULL;
    assert_int_equal(etsi_server_open(&server, e->r->ks, &config, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "ca must be given"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ETSI_TEST(strangers_do_not_get_through_tls),
        ETSI_TEST(an_sae_that_was_not_named_gets_401),
        ETSI_TEST(the_other_sae_must_be_known),
        ETSI_TEST(a_key_of_others_is_401_and_stays),
        ETSI_TEST(bad_requests_get_400_with_the_texts_of_the_standard),
        ETSI_TEST(what_the_standard_does_not_know_is_not_there),
        ETSI_TEST(head_takes_no_key),
        ETSI_TEST(a_dry_source_is_503_and_names_itself),
        ETSI_TEST(without_audit_no_key_leaves_and_none_is_lost),
        ETSI_TEST(keys_that_are_not_audited_are_withheld),
        ETSI_TEST(one_unknown_key_id_takes_none),
        ETSI_TEST(a_key_past_its_time_is_not_found),
        ETSI_TEST(status_is_that_of_the_standard),
        ETSI_TEST(master_and_slave_get_the_same_keys_once),
        ETSI_TEST(short_keys_are_as_long_as_asked),
        ETSI_TEST(keys_wait_for_the_slave_sealed_and_durable),
        ETSI_TEST(of_many_one_gets_the_key),
        ETSI_TEST(certificates_are_renewed_without_a_restart),
        ETSI_TEST(what_happens_is_counted),
        ETSI_TEST(our_client_and_our_server_agree),
        ETSI_TEST(every_error_reaches_our_client),
        ETSI_TEST(an_incomplete_configuration_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
