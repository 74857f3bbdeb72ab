#include "common/pb.h"
#include "common/ticket_info.h"
#include "proto/key_store.pb-c.h"
#include "tests/unit/common/hex.h"

struct fixture {
    struct ticket_info info;
    struct secret *key, *qkud_key;
    uint8_t request_id[REQUEST_ID_LEN];
    uint8_t *bytes;
    size_t len;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    memset(f->info.ticket, 0x5a, TICKET_LEN);
    strcpy(f->info.qkud_id, "qkud-1");
    strcpy(f->info.shield_id, "shield-7");
    strcpy(f->info.owner, "alice");
    strcpy(f->info.policy, "maintenance");
    f->key = secret_random(QUANTUM_KEY_LEN);
    f->qkud_key = secret_random(32);
    random_bytes(f->request_id, sizeof f->request_id);
    assert_int_equal(ticket_info_seal(&f->info, f->key, f->qkud_key, f->request_id, &f->bytes, &f->len, NULL),
                     TG_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    secret_free(f->key);
    secret_free(f->qkud_key);
    free(f->bytes);
    free(f);
    return 0;
}

static enum tg_code open_bytes(const struct fixture *f, const void *bytes, size_t len)
{
    struct ticket_info info;
    struct secret *key = NULL;
    struct tg_error err = {0};
    enum tg_code code =
        ticket_info_open(bytes, len, f->qkud_key, "qkud-1", f->info.ticket, f->request_id, &info, &key, &err);
    assert_int_equal(code, err.code);
    assert_int_equal(code == TG_OK, key != NULL);
    secret_free(key);
    return code;
}

static void every_flipped_bit_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_bytes(f, f->bytes, f->len), TG_OK);
    for (size_t bit = 0; bit < 8 * f->len; bit++) {
        f->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum tg_code code = open_bytes(f, f->bytes, f->len);
        assert_true(code == TG_UNAUTHENTICATED || code == TG_INVALID_ARGUMENT);
        f->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void cut_ones_are_refused(void **state)
{
    struct fixture *f = *state;
    for (size_t len = 0; len < f->len; len++)
        assert_int_not_equal(open_bytes(f, f->bytes, len), TG_OK);
    uint8_t large[2000] = {0};
    assert_int_equal(open_bytes(f, large, sizeof large), TG_INVALID_ARGUMENT);
}

/* Each field replaced by another that is well-formed: what a resolver in between could try. */
static void every_exchanged_field_is_refused(void **state)
{
    struct fixture *f = *state;
    enum { FIELDS = 8 };
    for (int field = 0; field < FIELDS; field++) {
        Tg__SealedTicketInfo *m =
            (Tg__SealedTicketInfo *)pb_unpack(&tg__sealed_ticket_info__descriptor, f->bytes, f->len);
        assert_non_null(m);
        ProtobufCBinaryData *const binaries[] = {&m->ticket, &m->request_id, &m->nonce, &m->sealed_key};
        char **const texts[] = {&m->qkud_id, &m->shield_id, &m->owner, &m->policy};
        char other[] = "another";
        if (field < 4)
            binaries[field]->data[0] ^= 0x80;
        else
            *texts[field - 4] = other;
        size_t len = 0;
        uint8_t *bytes = pb_pack(&m->base, &len);
        assert_int_equal(open_bytes(f, bytes, len), TG_UNAUTHENTICATED);
        pb_buffer_free(bytes, len);
        pb_free(&m->base);
    }
}

/* "ab" + "c" and "a" + "bc" must not be the same. */
static void texts_cannot_slide_into_each_other(void **state)
{
    struct fixture *f = *state;
    Tg__SealedTicketInfo *m =
        (Tg__SealedTicketInfo *)pb_unpack(&tg__sealed_ticket_info__descriptor, f->bytes, f->len);
    m->owner = pb_string("alic");
    m->policy = pb_string("emaintenance");
    size_t len = 0;
    uint8_t *bytes = pb_pack(&m->base, &len);
    assert_int_equal(open_bytes(f, bytes, len), TG_UNAUTHENTICATED);
    pb_buffer_free(bytes, len);
    pb_free(&m->base);
}

static void answers_to_others_are_refused(void **state)
{
    struct fixture *f = *state;
    struct ticket_info info;
    struct secret *key = NULL;
    struct secret *other_key = secret_random(32);
    uint8_t other_ticket[TICKET_LEN] = {0};
    uint8_t other_id[REQUEST_ID_LEN] = {0};
    assert_int_equal(ticket_info_open(f->bytes, f->len, other_key, "qkud-1", f->info.ticket, f->request_id,
                                      &info, &key, NULL),
                     TG_UNAUTHENTICATED);
    assert_int_equal(ticket_info_open(f->bytes, f->len, f->qkud_key, "qkud-2", f->info.ticket, f->request_id,
                                      &info, &key, NULL),
                     TG_UNAUTHENTICATED);
    assert_int_equal(ticket_info_open(f->bytes, f->len, f->qkud_key, "qkud-1", other_ticket, f->request_id,
                                      &info, &key, NULL),
                     TG_UNAUTHENTICATED);
    assert_int_equal(ticket_info_open(f->bytes, f->len, f->qkud_key, "qkud-1", f->info.ticket, other_id,
                                      &info, &key, NULL),
                     TG_UNAUTHENTICATED);
    assert_null(key);
    secret_free(other_key);
}

static enum tg_code open_packed(const struct fixture *f, Tg__SealedTicketInfo *m)
{
    size_t len = 0;
    uint8_t *bytes = pb_pack(&m->base, &len);
    enum tg_code code = open_bytes(f, bytes, len);
    pb_buffer_free(bytes, len);
    return code;
}

static void fields_of_wrong_length_are_refused(void **state)
{
    struct fixture *f = *state;
    char long_text[TICKET_INFO_TEXT_MAX + 2];
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    Tg__SealedTicketInfo *m =
        (Tg__SealedTicketInfo *)pb_unpack(&tg__sealed_ticket_info__descriptor, f->bytes, f->len);
    ProtobufCBinaryData *const binaries[] = {&m->ticket, &m->request_id, &m->nonce, &m->sealed_key};
    char **const texts[] = {&m->qkud_id, &m->shield_id, &m->owner, &m->policy};
    for (int i = 0; i < 4; i++) {
        binaries[i]->len--;
        assert_int_equal(open_packed(f, m), TG_INVALID_ARGUMENT);
        binaries[i]->len++;
        char *kept = *texts[i];
        *texts[i] = long_text;
        assert_int_equal(open_packed(f, m), TG_INVALID_ARGUMENT);
        *texts[i] = kept;
    }
    assert_int_equal(open_packed(f, m), TG_OK);
    pb_free(&m->base);
}

static void sealed_form_does_not_show_the_key(void **state)
{
    struct fixture *f = *state;
    assert_null(memmem(f->bytes, f->len, secret_view(f->key), 8));
    uint8_t *again = NULL;
    size_t len = 0;
    assert_int_equal(ticket_info_seal(&f->info, f->key, f->qkud_key, f->request_id, &again, &len, NULL),
                     TG_OK);
    assert_int_equal(len, f->len);
    assert_memory_not_equal(again, f->bytes, len); /* a fresh nonce each time */
    free(again);
}

static void the_longest_texts_fit(void **state)
{
    struct fixture *f = *state;
    char *const texts[] = {f->info.qkud_id, f->info.shield_id, f->info.owner, f->info.policy};
    for (int i = 0; i < 4; i++)
        memset(texts[i], 'a' + i, TICKET_INFO_TEXT_MAX);
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct ticket_info out;
    struct secret *key = NULL;
    assert_int_equal(ticket_info_seal(&f->info, f->key, f->qkud_key, f->request_id, &bytes, &len, NULL),
                     TG_OK);
    assert_int_equal(ticket_info_open(bytes, len, f->qkud_key, f->info.qkud_id, f->info.ticket, f->request_id,
                                      &out, &key, NULL),
                     TG_OK);
    assert_true(secret_equal(key, f->key));
    assert_memory_equal(out.ticket, f->info.ticket, TICKET_LEN);
    assert_string_equal(out.qkud_id, f->info.qkud_id);
    assert_string_equal(out.shield_id, f->info.shield_id);
    assert_string_equal(out.owner, f->info.owner);
    assert_string_equal(out.policy, f->info.policy);
    secret_free(key);
    free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_flipped_bit_is_refused),      TEST(cut_ones_are_refused),
        TEST(every_exchanged_field_is_refused),  TEST(texts_cannot_slide_into_each_other),
        TEST(answers_to_others_are_refused),     TEST(fields_of_wrong_length_are_refused),
        TEST(sealed_form_does_not_show_the_key), TEST(the_longest_texts_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
