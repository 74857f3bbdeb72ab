/* Keys that a charger at another site drew: adopted whole or not at all, and each once. */
#include "rig.h"

#include "../etsi014/kme.h"

struct site {
    struct rig *r;
    struct authority authority;
    struct identity charger, store; /* the SAEs of the two sites */
    struct kme *kme;                /* both sites' */
    struct etsi014_client *draws;
    struct etsi014_keys drawn;
    ProtobufCBinaryData ids[ETSI014_KEYS_MAX];
};

static void adopter_up(struct site *s)
{
    const struct etsi014_peer peer = kme_peer(s->kme, &s->store, &s->authority);
    struct tg_error err;
    must(adopter_open(&peer, "charger", &s->r->ks->adopter, &err), &err);
    must(adopter_start(s->r->ks->adopter, &err), &err);
}

static int site_open(void **state)
{
    struct site *s = calloc(1, sizeof *s);
    void *rig = NULL;
    struct tg_error err;
    assert_int_equal(rig_open(&rig), 0);
    s->r = rig;
    *state = s;
    authority_open(&s->authority);
    s->charger = authority_issue(&s->authority, "charger");
    s->store = authority_issue(&s->authority, "store");
    s->kme = kme_start(&s->authority, &s->authority);
    const struct etsi014_peer peer = kme_peer(s->kme, &s->charger, &s->authority);
    must(etsi014_client_open(&peer, &s->draws, &err), &err);
    adopter_up(s);
    add_shield_of(s->r, "s1", "alice");
    return 0;
}

static int site_close(void **state)
{
    struct site *s = *state;
    void *rig = s->r;
    rig_close(&rig);
    etsi014_keys_fini(&s->drawn);
    etsi014_client_close(s->draws);
    kme_stop(s->kme);
    authority_close(&s->authority);
    free(s);
    return 0;
}

/* The charger draws; the request names what it has. */
static Tg__FillRequest drawn_fill(struct site *s, uint32_t count)
{
    struct tg_error err;
    etsi014_keys_fini(&s->drawn);
    must(etsi014_enc_keys(s->draws, "store", count, 256, clock_now_ms() + 60000, &s->drawn, &err), &err);
    Tg__FillRequest fill = fill_request("s1", "alice", count);
    for (uint32_t i = 0; i < count; i++)
        s->ids[i] = pb_bytes(s->drawn.ids[i], TICKET_KEY_ID_LEN);
    fill.key_ids = s->ids;
    fill.n_key_ids = count;
    return fill;
}

static void nothing_was_made(struct site *s)
{
    Tg__ShieldListRequest list = TG__SHIELD_LIST_REQUEST__INIT;
    Tg__ShieldListResponse *shields = answered(s->r->admin, "ShieldList", &list.base);
    assert_int_equal(shields->shields[0]->made + shields->shields[0]->ready, 0);
    rpc_free_response(&shields->base);
}

/* ---- refused before anything is asked ---- */

static void key_ids_are_checked(void **state)
{
    struct site *s = *state;
    Tg__FillRequest fill = drawn_fill(s, 3);
    fill.count = 2;
    refused(s->r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "2 keys, but 3 key ids");
    fill.count = 3;
    s->ids[1] = s->ids[0];
    refused(s->r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "twice");
    s->ids[1].len = 15;
    refused(s->r->charger, "Fill", &fill.base, TG_INVALID_ARGUMENT, "16 bytes");
    assert_int_equal(s->r->bridge.logins, 0);
    assert_int_equal(kme_count(s->kme, "dec_keys"), 0);
}

static void a_store_without_a_kme_adopts_nothing(void **state)
{
    struct site *s = *state;
    Tg__FillRequest fill = drawn_fill(s, 1);
    adopter_close(s->r->ks->adopter);
    s->r->ks->adopter = NULL;
    refused(s->r->charger, "Fill", &fill.base, TG_FAILED_PRECONDITION, "adopts no keys");
    assert_int_equal(s->r->bridge.logins, 0);
}

static void nobody_adopts_who_has_not_logged_in(void **state)
{
    struct site *s = *state;
    Tg__FillRequest fill = drawn_fill(s, 1);
    fill.password = pb_bytes("wrong", 5);
    refused(s->r->charger, "Fill", &fill.base, TG_UNAUTHENTICATED, "refused");
    assert_int_equal(kme_count(s->kme, "dec_keys"), 0);
    nothing_was_made(s);
}

/* ---- a KME that fails ---- */

static void keys_that_the_kme_has_not_are_refused(void **state)
{
    struct site *s = *state;
    Tg__FillRequest fill = drawn_fill(s, 2);
    ticket_new_key_id(s->drawn.ids[1]);
    refused(s->r->charger, "Fill", &fill.base, TG_FAILED_PRECONDITION, "not found on KME");
    nothing_was_made(s);
    struct event event = wait_event(s->r, "keys.refused", true);
    assert_non_null(strstr(event.reason, s->kme->url));
}

/* Two of five keys have come when it breaks off. */
static void a_kme_that_fails_half_way_leaves_nothing(void **state)
{
    static const struct kme_step failures[] = {
        {.call = "dec_keys", .status = 500, .body = "{}"},
        {.call = "dec_keys", .status = 200, .body = "<html>"},
        {.call = "dec_keys", .status = 200, .body = "{\"keys\":[", .cut = true},
        {.call = "dec_keys", .status = 401, .body = ""},
    };
    struct site *s = *state;
    s->kme->per_request = 2;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        Tg__FillRequest fill = drawn_fill(s, 5);
        struct kme_step step = failures[i];
        char id[37];
        ticket_key_id_text(s->drawn.ids[2], id);
        step.call = id; /* the request that begins with the third */
        kme_script(s->kme, step);
        refused(s->r->charger, "Fill", &fill.base, TG_ABORTED, s->kme->url);
        assert_int_equal(kme_count(s->kme, id), 1);
        nothing_was_made(s);
    }
    assert_int_equal(count_events(s->r, "keys.made"), 0);
}

static void a_kme_that_hangs_is_given_up_in_time(void **state)
{
    struct site *s = *state;
    Tg__FillRequest fill = drawn_fill(s, 1);
    ProtobufCMessage *response = NULL;
    struct tg_error err = {0};
    kme_script(s->kme, (struct kme_step){.call = "dec_keys"});
    assert_int_equal(call_id(s->r->charger, "Fill", &fill.base, NULL, 8000, &response, &err), TG_ABORTED);
    assert_non_null(strstr(err.text, "does not answer in time"));
    nothing_was_made(s);
}

static void *close_when_asked(void *arg)
{
    struct site *s = arg;
    EVENTUALLY(kme_count(s->kme, "dec_keys") > 0);
    adopter_close(s->r->ks->adopter);
    s->r->ks->adopter = NULL;
    return NULL;
}

static void a_store_that_ends_waits_for_no_kme(void **state)
{
    struct site *s = *state;
    pthread_t thread;
    Tg__FillRequest fill = drawn_fill(s, 1);
    kme_script(s->kme, (struct kme_step){.call = "dec_keys"});
    assert_int_equal(pthread_create(&thread, NULL, close_when_asked, s), 0);
    refused(s->r->charger, "Fill", &fill.base, TG_ABORTED, "interrupted");
    pthread_join(thread, NULL);
}

static void a_key_is_adopted_once(void **state)
{
    struct site *s = *state;
    Tg__FillRequest fill = drawn_fill(s, 1);
    done(s->r->charger, "Fill", &fill.base);
    s->kme->keys[0].taken = false; /* a KME that forgets */
    refused(s->r->charger, "Fill", &fill.base, TG_FAILED_PRECONDITION, "here already");
}

/* ---- what works ---- */

static void adopted_keys_are_spent_like_all_others(void **state)
{
    struct site *s = *state;
    s->kme->reversed = true;
    Tg__FillRequest fill = drawn_fill(s, 3);
    Tg__FillResponse *filled = answered(s->r->charger, "Fill", &fill.base);
    assert_int_equal(filled->n_entries, 3);
    confirm(s->r, filled, "s1", 3);
    add_qkud_q1(s->r);
    for (size_t i = 0; i < 3; i++) {
        Tg__FillEntry entry = *filled->entries[i];
        struct ticket ticket;
        assert_int_equal(entry.key.len, 0);
        assert_int_equal(ticket_peek(entry.ticket.data, entry.ticket.len, &ticket, NULL), TG_OK);
        assert_memory_equal(ticket.key_id, s->drawn.ids[i], TICKET_KEY_ID_LEN);
        entry.key = pb_bytes(secret_view(s->drawn.bytes) + i * 32, 32);
        spend_ok(s->r, &entry);
    }
    rpc_free_response(&filled->base);
    struct event event;
    assert_true(find_event(s->r, "keys.made", false, &event));
    assert_string_equal(event.detail, "3 keys from master SAE charger by etsi014");
    assert_int_equal(kme_count(s->kme, "POST /api/v1/keys/charger/dec_keys"), 1);
}

static void the_largest_fill_is_adopted(void **state)
{
    struct site *s = *state;
    s->kme->per_request = 1000;
    Tg__FillRequest fill = drawn_fill(s, FILL_MAX);
    Tg__FillResponse *filled = answered(s->r->charger, "Fill", &fill.base);
    assert_int_equal(filled->n_entries, FILL_MAX);
    rpc_free_response(&filled->base);
}

#define SITE_TEST(f) cmocka_unit_test_setup_teardown(f, site_open, site_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(key_ids_are_checked),
        SITE_TEST(a_store_without_a_kme_adopts_nothing),
        SITE_TEST(nobody_adopts_who_has_not_logged_in),
        SITE_TEST(keys_that_the_kme_has_not_are_refused),
        SITE_TEST(a_kme_that_fails_half_way_leaves_nothing),
        SITE_TEST(a_kme_that_hangs_is_given_up_in_time),
        SITE_TEST(a_store_that_ends_waits_for_no_kme),
        SITE_TEST(a_key_is_adopted_once),
        SITE_TEST(adopted_keys_are_spent_like_all_others),
        SITE_TEST(the_largest_fill_is_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
