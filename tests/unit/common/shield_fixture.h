/* Entries for shields under test. */
#ifndef TG_TESTS_UNIT_COMMON_SHIELD_FIXTURE_H
#define TG_TESTS_UNIT_COMMON_SHIELD_FIXTURE_H

#include "common/shield/shield.h"
#include "tests/unit/common/hex.h"

enum { ENTRIES_MAX = 8, NOW = 1000 };

struct entries {
    uint8_t tickets[ENTRIES_MAX][TICKET_LEN];
    struct secret *keys[ENTRIES_MAX];
    struct shield_entry list[ENTRIES_MAX];
};

/* Tickets that expire at the given seconds, for fresh keys. */
static inline void entries_init(struct entries *e, const uint64_t *expires_s, size_t count)
{
    struct secret *ticket_key = secret_random(TICKET_KEY_LEN);
    memset(e, 0, sizeof *e);
    for (size_t i = 0; i < count; i++) {
        struct ticket t = {.expires_s = expires_s[i]};
        ticket_new_key_id(t.key_id);
        ticket_encode(&t, ticket_key, e->tickets[i]);
        e->keys[i] = secret_random(32);
        e->list[i] = (struct shield_entry){.ticket = e->tickets[i], .key = e->keys[i]};
    }
    secret_free(ticket_key);
}

static inline void entries_fini(struct entries *e)
{
    for (size_t i = 0; i < ENTRIES_MAX; i++)
        secret_free(e->keys[i]);
}

static inline size_t ready(struct shield *shield)
{
    struct shield_status status;
    assert_int_equal(shield_get_status(shield, NOW, &status, NULL), TG_OK);
    return status.ready;
}

/* Takes the next key and checks that it is the one expected, by ticket and by what it derives. */
static inline void assert_next_is(struct shield *shield, const struct entries *e, size_t index)
{
    struct tg_error err = {0};
    struct shield_key *key = NULL;
    if (shield_take(shield, NOW, &key, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_memory_equal(shield_key_ticket(key), e->tickets[index], TICKET_LEN);
    struct secret *root = NULL;
    struct secret *want = suite_hmac(suite_find(1), e->keys[index], &(struct suite_part){"input", 5}, 1);
    assert_int_equal(shield_derive(key, suite_find(1), "input", 5, &root, NULL), TG_OK);
    assert_true(secret_equal(root, want));
    secret_free(root);
    secret_free(want);
    shield_key_free(key);
}

#endif
