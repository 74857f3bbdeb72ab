/* Keys that the charger drew go to the tickets that are for them, and to no others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "client/charger/drawn.h"
#include "common/pb.h"
#include "common/ticket_info.h"

enum { COUNT = 3 };

struct chunk {
    struct drawn drawn;
    uint8_t tickets[COUNT][TICKET_LEN];
    Tg__FillEntry entries[COUNT];
    Tg__FillEntry *list[COUNT];
    Tg__FillResponse response;
};

/* What a key store answers that does it right. */
static int chunk_open(void **state)
{
    struct chunk *c = test_calloc(1, sizeof *c);
    struct secret *ticket_key = secret_random(TICKET_KEY_LEN);
    tg__fill_response__init(&c->response);
    assert_int_equal(etsi014_keys_init(&c->drawn.keys, COUNT, QUANTUM_KEY_LEN, NULL), TG_OK);
    for (size_t i = 0; i < COUNT; i++) {
        struct ticket ticket = {.centre = "CENTRE01", .expires_s = 4000000000};
        ticket_new_key_id(c->drawn.keys.ids[i]);
        memcpy(ticket.key_id, c->drawn.keys.ids[i], TICKET_KEY_ID_LEN);
        memset(secret_bytes(c->drawn.keys.bytes) + i * QUANTUM_KEY_LEN, (int)i + 1, QUANTUM_KEY_LEN);
        ticket_encode(&ticket, ticket_key, c->tickets[i]);
        tg__fill_entry__init(&c->entries[i]);
        c->entries[i].ticket = pb_bytes(c->tickets[i], TICKET_LEN);
        c->list[i] = &c->entries[i];
    }
    c->response.entries = c->list;
    c->response.n_entries = COUNT;
    secret_free(ticket_key);
    *state = c;
    return 0;
}

static int chunk_close(void **state)
{
    struct chunk *c = *state;
    drawn_fini(&c->drawn);
    test_free(c);
    return 0;
}

static void refused(struct chunk *c, const char *word)
{
    struct tg_error err = {0};
    assert_int_equal(drawn_join(&c->drawn, &c->response, &err), TG_DATA_LOSS);
    assert_non_null(strstr(err.text, word));
}

static void tickets_must_be_as_many_as_keys(void **state)
{
    struct chunk *c = *state;
    c->response.n_entries = COUNT - 1;
    refused(c, "2 tickets for 3 keys");
}

static void a_ticket_for_another_key_is_refused(void **state)
{
    struct chunk *c = *state;
    uint8_t *id = c->drawn.keys.ids[1];
    id[0] ^= 1;
    refused(c, "not for the key we drew");
}

static void tickets_in_another_order_are_refused(void **state)
{
    struct chunk *c = *state;
    c->list[0] = &c->entries[1];
    c->list[1] = &c->entries[0];
    refused(c, "not for the key we drew");
}

static void a_key_store_that_sends_keys_is_refused(void **state)
{
    struct chunk *c = *state;
    static const uint8_t key[QUANTUM_KEY_LEN] = {7};
    c->entries[2].key = pb_bytes(key, sizeof key);
    refused(c, "not for the key we drew");
}

static void what_is_no_ticket_is_refused(void **state)
{
    struct chunk *c = *state;
    c->entries[0].ticket.len = TICKET_LEN - 1;
    refused(c, "not for the key we drew");
}

static void each_ticket_gets_its_key(void **state)
{
    struct chunk *c = *state;
    assert_int_equal(drawn_join(&c->drawn, &c->response, NULL), TG_OK);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(c->entries[i].key.len, QUANTUM_KEY_LEN);
        assert_int_equal(c->entries[i].key.data[31], i + 1);
    }
}

#define CHUNK_TEST(f) cmocka_unit_test_setup_teardown(f, chunk_open, chunk_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHUNK_TEST(tickets_must_be_as_many_as_keys),      CHUNK_TEST(a_ticket_for_another_key_is_refused),
        CHUNK_TEST(tickets_in_another_order_are_refused), CHUNK_TEST(a_key_store_that_sends_keys_is_refused),
        CHUNK_TEST(what_is_no_ticket_is_refused),         CHUNK_TEST(each_ticket_gets_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
