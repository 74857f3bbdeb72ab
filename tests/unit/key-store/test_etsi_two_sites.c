/* Two sites, end to end, with nothing scripted but login and audit: the charger at site A draws keys from a
 * key centre that serves as KME, the key store at site B adopts the same keys from it by their ids, and what
 * is spent at B is what the shield holds. */
#include "etsi_rig.h"

#include "client/charger/fill.h"
#include "client/charger/pending.h"
#include "common/protocol/suite.h"
#include "services/key-store/source/source_etsi014.h"

struct sites {
    struct etsi_rig *kme; /* a key centre: "sae-a" is the charger's SAE, "sae-b" the store's */
    struct rig *b;
    struct etsi014_client *charger_kme;
    struct secret *password;
    struct shield *shield;
    struct tg_error err;
};

static void adopter_up(struct sites *s)
{
    const struct etsi014_peer peer = {.url = s->kme->url,
                                      .certificate = s->kme->b.certificate,
                                      .key = s->kme->b.key,
                                      .ca = s->kme->saes.ca,
                                      .timeout_ms = 60000};
    must(adopter_open(&peer, "sae-a", &s->b->ks->adopter, &s->err), &s->err);
    must(adopter_start(s->b->ks->adopter, &s->err), &s->err);
}

static int sites_open(void **state)
{
    struct sites *s = calloc(1, sizeof *s);
    void *kme = NULL, *rig = NULL;
    assert_int_equal(etsi_rig_open(&kme), 0);
    assert_int_equal(rig_open(&rig), 0);
    s->kme = kme;
    s->b = rig;
    *state = s;
    adopter_up(s);
    s->charger_kme = client_of(s->kme, &s->kme->a);
    s->password = secret_copy(password, strlen(password));
    must(shield_memory_open("s1", &s->shield, &s->err), &s->err);
    add_qkud_q1(s->b);
    add_shield_of(s->b, "s1", "alice");
    return 0;
}

static int sites_close(void **state)
{
    struct sites *s = *state;
    void *kme = s->kme, *rig = s->b;
    shield_close(s->shield);
    secret_free(s->password);
    etsi014_client_close(s->charger_kme);
    rig_close(&rig);
    etsi_rig_close(&kme);
    free(s);
    return 0;
}

static void progress(void *arg, uint32_t filled, uint32_t count)
{
    (void)arg;
    assert_true(filled <= count);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static enum client_exit fill(struct sites *s, uint32_t count, uint32_t chunk, uint32_t *filled)
{
    const struct fill_request request = {.key_store = s->b->charger,
                                         .timeout_ms = BUDGET_MS,
                                         .kme = s->charger_kme,
                                         .slave_sae = "sae-b",
                                         .shield = s->shield,
                                         .shield_id = "s1",
                                         .user = "alice",
                                         .password = s->password,
                                         .count = count,
                                         .chunk = chunk,
                                         .progress = progress,
                                         .stop = never};
    return fill_run(&request, filled, &s->err);
}

static size_t on_shield(struct sites *s)
{
    struct shield_status status;
    must(shield_get_status(s->shield, 1, &status, &s->err), &s->err);
    return status.ready;
}

/* Takes the next key off the shield, spends its ticket at B: both must have the same key. */
static void spend_one(struct sites *s)
{
    static const uint8_t input[] = "whatever both sides derive from";
    const struct suite *suite = suite_find(SUITE_AES256_GCM_SHA256);
    struct shield_key *key = NULL;
    struct secret *ours = NULL, *theirs = NULL, *quantum_key = NULL;
    struct ticket_info info;
    uint8_t id[REQUEST_ID_LEN];
    ProtobufCMessage *response = NULL;
    must(shield_take(s->shield, 1, &key, &s->err), &s->err);
    Tg__FillEntry entry = TG__FILL_ENTRY__INIT;
    entry.ticket = pb_bytes(shield_key_ticket(key), TICKET_LEN);
    Tg__SpendRequest spend = spend_request(&entry);
    random_bytes(id, sizeof id);
    must(call_id(s->b->resolver, "Spend", &spend.base, id, BUDGET_MS, &response, &s->err), &s->err);
    const ProtobufCBinaryData *sealed = &((const Tg__SpendResponse *)response)->ticket_info;
    struct secret *qkud_key = secret_copy(s->b->qkud_key, sizeof s->b->qkud_key);
    must(ticket_info_open(sealed->data, sealed->len, qkud_key, "q1", shield_key_ticket(key), id, &info,
                          &quantum_key, &s->err),
         &s->err);
    must(shield_derive(key, suite, input, sizeof input, &ours, &s->err), &s->err);
    theirs = suite_hmac(suite, quantum_key, &(struct suite_part){input, sizeof input}, 1);
    assert_true(secret_equal(ours, theirs));
    secret_free(ours);
    secret_free(theirs);
    secret_free(quantum_key);
    secret_free(qkud_key);
    shield_key_free(key);
    rpc_free_response(response);
}

static enum tg_code draw_dry(struct source *source, struct secret *out, struct tg_error *err)
{
    (void)out;
    return tg_fail(err, TG_RESOURCE_EXHAUSTED, "key source %s is dry", source->name);
}

static void a_dry_kme_fills_nothing_and_asks_no_password(void **state)
{
    struct sites *s = *state;
    struct source *good = s->kme->r->ks->source, dry = *good;
    uint32_t filled = 0;
    dry.draw = draw_dry;
    s->kme->r->ks->source = &dry;
    assert_int_equal(fill(s, 3, 3, &filled), EXIT_TRY_LATER);
    assert_non_null(strstr(s->err.text, "is dry"));
    assert_non_null(strstr(s->err.text, s->kme->url));
    s->kme->r->ks->source = good;
    assert_int_equal(filled, 0);
    assert_int_equal(on_shield(s), 0);
    assert_int_equal(s->b->bridge.logins, 0);
}

/* The KME goes away between the two sites' calls. */
static void a_kme_that_is_gone_at_b_leaves_the_shield_alone(void **state)
{
    struct sites *s = *state;
    uint32_t filled = 0;
    adopter_close(s->b->ks->adopter);
    char gone[] = "https://127.0.0.1:1";
    const struct etsi014_peer peer = {.url = gone,
                                      .certificate = s->kme->b.certificate,
                                      .key = s->kme->b.key,
                                      .ca = s->kme->saes.ca,
                                      .timeout_ms = 60000};
    must(adopter_open(&peer, "sae-a", &s->b->ks->adopter, &s->err), &s->err);
    must(adopter_start(s->b->ks->adopter, &s->err), &s->err);
    assert_int_equal(fill(s, 3, 3, &filled), EXIT_TRY_LATER);
    assert_non_null(strstr(s->err.text, gone));
    assert_int_equal(filled, 0);
    assert_int_equal(on_shield(s), 0);
    struct pending pending;
    bool found = true;
    must(pending_read(s->shield, &pending, &found, &s->err), &s->err);
    assert_false(found);
}

/* The store at B is another SAE than the charger thinks: it gets none of the keys. */
static void the_wrong_sae_adopts_nothing(void **state)
{
    struct sites *s = *state;
    uint32_t filled = 0;
    adopter_close(s->b->ks->adopter);
    const struct etsi014_peer peer = {.url = s->kme->url,
                                      .certificate = s->kme->c.certificate,
                                      .key = s->kme->c.key,
                                      .ca = s->kme->saes.ca,
                                      .timeout_ms = 60000};
    must(adopter_open(&peer, "sae-a", &s->b->ks->adopter, &s->err), &s->err);
    must(adopter_start(s->b->ks->adopter, &s->err), &s->err);
    assert_int_equal(fill(s, 1, 1, &filled), EXIT_TRY_LATER);
    assert_non_null(strstr(s->err.text, "status 401"));
    assert_int_equal(on_shield(s), 0);
}

static void what_is_drawn_at_a_is_spent_at_b(void **state)
{
    struct sites *s = *state;
    uint32_t filled = 0;
    struct event event;
    assert_int_equal(fill(s, 5, 2, &filled), EXIT_OK);
    assert_int_equal(filled, 5);
    assert_int_equal(on_shield(s), 5);
    for (int i = 0; i < 5; i++)
        spend_one(s);
    assert_true(find_event(s->kme->r, "sae.keys_made", false, &event));
    assert_string_equal(event.peer, "sae-a");
    assert_true(find_event(s->kme->r, "sae.keys_taken", false, &event));
    assert_string_equal(event.peer, "sae-b");
    assert_true(find_event(s->b, "keys.made", false, &event));
    assert_string_equal(event.detail, "2 keys from master SAE sae-a by etsi014");
}

/* The other way to use a KME: the store draws for itself, and makes shields' keys of it. */
static void a_store_fills_from_a_kme(void **state)
{
    struct sites *s = *state;
    struct source *source = NULL, *drbg = s->b->ks->source;
    struct source_fetch fetch;
    const struct etsi014_peer peer = {.url = s->kme->url,
                                      .certificate = s->kme->b.certificate,
                                      .key = s->kme->b.key,
                                      .ca = s->kme->saes.ca,
                                      .timeout_ms = 60000};
    const struct source_stock_options options = {.capacity = SOURCE_STOCK_MIN, .low_water = 1024};
    assert_int_equal(source_etsi014_open(&peer, NULL, &fetch, &s->err), TG_INVALID_ARGUMENT);
    must(source_etsi014_open(&peer, "sae-c", &fetch, &s->err), &s->err);
    must(source_stock_open(&fetch, &options, &source, &s->err), &s->err);
    must(source->start(source, &s->err), &s->err);
    s->b->ks->source = source;
    struct source_status status;
    EVENTUALLY((source->status(source, &status), status.stock >= 32 * 64));
    Tg__FillRequest request = fill_request("s1", "alice", 50);
    Tg__FillResponse *filled = answered(s->b->charger, "Fill", &request.base);
    assert_int_equal(filled->n_entries, 50);
    rpc_free_response(&filled->base);
    struct event event;
    assert_true(find_event(s->b, "keys.made", false, &event));
    assert_string_equal(event.detail, "50 keys from etsi014");
    s->b->ks->source = drbg;
    source->close(source);
}

static void a_store_whose_kme_is_dry_says_so(void **state)
{
    struct sites *s = *state;
    struct source *source = NULL, *drbg = s->b->ks->source, *good = s->kme->r->ks->source, dry = *good;
    struct source_fetch fetch;
    const struct etsi014_peer peer = {.url = s->kme->url,
                                      .certificate = s->kme->b.certificate,
                                      .key = s->kme->b.key,
                                      .ca = s->kme->saes.ca,
                                      .timeout_ms = 60000};
    const struct source_stock_options options = {.capacity = SOURCE_STOCK_MIN, .low_water = 1024};
    dry.draw = draw_dry;
    s->kme->r->ks->source = &dry;
    must(source_etsi014_open(&peer, "sae-c", &fetch, &s->err), &s->err);
    must(source_stock_open(&fetch, &options, &source, &s->err), &s->err);
    must(source->start(source, &s->err), &s->err);
    s->b->ks->source = source;
    struct source_status status;
    EVENTUALLY((source->status(source, &status), status.problem[0] != '\0'));
    Tg__FillRequest request = fill_request("s1", "alice", 1);
    refused(s->b->charger, "Fill", &request.base, TG_RESOURCE_EXHAUSTED, s->kme->url);
    s->b->ks->source = drbg;
    source->close(source);
    s->kme->r->ks->source = good;
}

#define SITES_TEST(f) cmocka_unit_test_setup_teardown(f, sites_open, sites_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITES_TEST(a_dry_kme_fills_nothing_and_asks_no_password),
        SITES_TEST(a_kme_that_is_gone_at_b_leaves_the_shield_alone),
        SITES_TEST(the_wrong_sae_adopts_nothing),
        SITES_TEST(what_is_drawn_at_a_is_spent_at_b),
        SITES_TEST(a_store_fills_from_a_kme),
        SITES_TEST(a_store_whose_kme_is_dry_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
