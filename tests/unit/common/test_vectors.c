/* Reads the vectors from docs/protocol.md, the page from which others implement the protocol, and recomputes
 * every one of them with our code. A vector that is missing there, or stands there and is not checked here,
 * fails. */
#include <stdio.h>

#include "common/pb.h"
#include "common/protocol/frame.h"
#include "common/protocol/schedule.h"
#include "common/ticket.h"
#include "proto/client.pb-c.h"
#include "tests/unit/common/hex.h"

static const char page[] = TG_SOURCE_DIR "/docs/protocol.md";
enum { VECTORS_MAX = 32, LINE_MAX_LEN = 1024 };

struct vector {
    char name[32];
    char value[LINE_MAX_LEN];
    bool checked;
};

struct block {
    struct vector vectors[VECTORS_MAX];
    size_t count;
};

static void read_vector(struct block *block, const char *line)
{
    assert_true(block->count < VECTORS_MAX);
    struct vector *v = &block->vectors[block->count++];
    if (sscanf(line, "%31s = %1023s", v->name, v->value) != 2)
        fail_msg("%s: not a vector: %s", page, line);
}

/* The lines between "```vectors NAME" and "```". */
static int read_block(struct block *block, const char *name)
{
    char line[LINE_MAX_LEN];
    char start[64];
    bool inside = false;
    FILE *f = fopen(page, "re");
    assert_non_null(f);
    snprintf(start, sizeof start, "```vectors %s\n", name);
    while (fgets(line, sizeof line, f) != NULL) {
        assert_non_null(strchr(line, '\n'));
        if (strcmp(line, start) == 0)
            inside = true;
        else if (inside && strcmp(line, "```\n") == 0)
            break;
        else if (inside)
            read_vector(block, line);
    }
    fclose(f);
    return block->count > 0 ? 0 : -1;
}

static const char *text_of(struct block *block, const char *name)
{
    for (size_t i = 0; i < block->count; i++)
        if (strcmp(block->vectors[i].name, name) == 0) {
            block->vectors[i].checked = true;
            return block->vectors[i].value;
        }
    fail_msg("%s has no vector %s", page, name);
    return NULL;
}

static struct bytes get(struct block *block, const char *name)
{
    return from_hex(text_of(block, name));
}

static struct secret *get_secret(struct block *block, const char *name)
{
    return secret_from_hex(text_of(block, name));
}

static void expect(struct block *block, const char *name, const void *bytes, size_t len)
{
    struct bytes want = get(block, name);
    if (len != want.len || memcmp(bytes, want.data, len) != 0)
        fail_msg("our %s is not that of %s", name, page);
}

static void expect_secret(struct block *block, const char *name, const struct secret *s)
{
    expect(block, name, secret_view(s), secret_len(s));
}

static void assert_all_checked(const struct block *block)
{
    for (size_t i = 0; i < block->count; i++)
        if (!block->vectors[i].checked)
            fail_msg("%s: vector %s is not checked", page, block->vectors[i].name);
}

/* ---- the ticket ---- */

static void ticket_is_as_on_the_page(void **state)
{
    (void)state;
    static struct block b;
    assert_int_equal(read_block(&b, "ticket"), 0);
    struct secret *key = get_secret(&b, "ticket_key");
    struct ticket t = {0};
    uint8_t bytes[TICKET_LEN];
    char text[TICKET_TEXT_LEN + 1];
    memcpy(t.key_id, get(&b, "key_id").data, sizeof t.key_id);
    memcpy(t.centre, get(&b, "centre").data, sizeof t.centre);
    struct bytes expires = get(&b, "expires_s");
    for (size_t i = 0; i < expires.len; i++)
        t.expires_s = t.expires_s << 8 | expires.data[i];
    ticket_encode(&t, key, bytes);
    expect(&b, "ticket", bytes, sizeof bytes);
    ticket_to_text(bytes, text);
    assert_string_equal(text, text_of(&b, "ticket_text"));
    assert_all_checked(&b);
    secret_free(key);
}

/* ---- a login ---- */

static void expect_frame(struct block *block, const char *name, enum frame_type type,
                         const ProtobufCMessage *message)
{
    uint8_t frame[FRAME_MAX_BEFORE_LOGIN];
    size_t len = 0;
    uint8_t *payload = pb_pack(message, &len);
    assert_true(payload != NULL && len <= sizeof frame - FRAME_HEADER_LEN);
    frame_encode(&(struct frame_header){.type = (uint8_t)type, .length = (uint32_t)len}, frame);
    memcpy(frame + FRAME_HEADER_LEN, payload, len);
    expect(block, name, frame, FRAME_HEADER_LEN + len);
    pb_buffer_free(payload, len);
}

static void check_hello(struct block *b, const struct suite *suite)
{
    struct bytes nonce = {.len = SCHEDULE_NONCE_LEN};
    uint32_t versions[] = {1};
    uint32_t suites[] = {suite_number(suite), 3 - suite_number(suite)};
    Tg__Hello hello = TG__HELLO__INIT;
    for (size_t i = 0; i < nonce.len; i++)
        nonce.data[i] = (uint8_t)(0x20 + i);
    hello.n_versions = 1;
    hello.versions = versions;
    hello.n_suites = 2;
    hello.suites = suites;
    hello.client_version = pb_string("ticketgate/0.1.0");
    hello.nonce = pb_bytes(nonce.data, nonce.len);
    expect_frame(b, "hello", FRAME_HELLO, &hello.base);
}

static void check_identity(struct block *b, const struct suite *suite)
{
    struct bytes nonce = {.len = SCHEDULE_NONCE_LEN};
    Tg__Identity identity = TG__IDENTITY__INIT;
    for (size_t i = 0; i < nonce.len; i++)
        nonce.data[i] = (uint8_t)(0x60 + i);
    identity.version = 1;
    identity.qkud_id = pb_string("qkud-demo-1");
    identity.nonce = pb_bytes(nonce.data, nonce.len);
    identity.suite = suite_number(suite);
    identity.login_must_be_sealed = true;
    expect_frame(b, "identity", FRAME_IDENTITY, &identity.base);
}

static void add_frame(struct block *b, const char *name, struct transcript *t)
{
    struct bytes frame = get(b, name);
    transcript_add(t, frame.data, frame.len);
}

static void expect_th(struct block *b, const char *name, const struct transcript *t,
                      const struct bytes *extra)
{
    uint8_t th[SUITE_HASH_LEN];
    transcript_hash(t, extra != NULL ? extra->data : NULL, extra != NULL ? extra->len : 0, th);
    expect(b, name, th, sizeof th);
}

static void expect_sealed(struct block *b, const char *name, const struct suite *suite,
                          const struct secret *key, uint64_t sequence, const char *aad_name,
                          const struct bytes *plain)
{
    struct bytes aad = get(b, aad_name);
    struct bytes sealed = {.len = plain->len + suite_tag_len(suite)};
    assert_int_equal(
        suite_seal(suite, key, sequence, aad.data, aad.len, plain->data, plain->len, sealed.data, NULL),
        TG_OK);
    expect(b, name, sealed.data, sealed.len);
    struct secret *opened = NULL;
    assert_int_equal(
        suite_open(suite, key, sequence, aad.data, aad.len, sealed.data, sealed.len, &opened, NULL), TG_OK);
    assert_int_equal(secret_len(opened), plain->len);
    assert_memory_equal(secret_view(opened), plain->data, plain->len);
    secret_free(opened);
}

static struct schedule check_keys(struct block *b, const struct suite *suite)
{
    struct secret *k = get_secret(b, "quantum_key");
    struct bytes th_ticket = get(b, "th_ticket");
    struct bytes exporter = get(b, "exporter");
    uint8_t input[SCHEDULE_ROOT_INPUT_LEN];
    schedule_root_input(th_ticket.data, exporter.data, input);
    expect(b, "root_input", input, sizeof input);
    struct secret *root = suite_hmac(suite, k, &(struct suite_part){input, sizeof input}, 1);
    expect_secret(b, "root", root);
    struct schedule s;
    assert_int_equal(schedule_derive(suite, root, &s, NULL), TG_OK);
    expect_secret(b, "k_random", s.random);
    expect_secret(b, "k_confirm", s.confirm);
    expect_secret(b, "k_login", s.login);
    expect_secret(b, "psk", s.psk);
    secret_free(k);
    secret_free(root);
    return s;
}

static void check_authenticate(struct block *b, const struct suite *suite, const struct schedule *s)
{
    struct bytes client_random = get(b, "client_random");
    struct bytes digest = {.len = SM3_LEN};
    sm3(client_random.data, client_random.len, digest.data);
    expect(b, "digest", digest.data, digest.len);
    expect_sealed(b, "encrypted_random", suite, s->random, 0, "th_ticket", &digest);
    struct bytes ticket = get(b, "ticket");
    struct bytes encrypted = get(b, "encrypted_random");
    Tg__Authenticate m = TG__AUTHENTICATE__INIT;
    m.ticket = pb_bytes(ticket.data, ticket.len);
    m.encrypted_random = pb_bytes(encrypted.data, encrypted.len);
    expect_frame(b, "authenticate", FRAME_AUTHENTICATE, &m.base);
}

static void check_authenticated(struct block *b, const struct suite *suite, const struct schedule *s)
{
    struct bytes th = get(b, "th_proof");
    struct bytes proof = {.len = SUITE_HASH_LEN};
    assert_int_equal(schedule_proof(suite, s, th.data, proof.data, NULL), TG_OK);
    expect(b, "proof", proof.data, proof.len);
    assert_int_equal(schedule_check_proof(suite, s, th.data, proof.data, proof.len, NULL), TG_OK);
    Tg__Authenticated m = TG__AUTHENTICATED__INIT;
    m.proof = pb_bytes(proof.data, proof.len);
    expect_frame(b, "authenticated", FRAME_AUTHENTICATED, &m.base);
}

static void check_login(struct block *b, const struct suite *suite, const struct schedule *s)
{
    struct bytes client_random = get(b, "client_random");
    Tg__LoginInfo info = TG__LOGIN_INFO__INIT;
    info.user = pb_string("alice");
    info.password = pb_bytes("correct horse", strlen("correct horse"));
    info.client_random = pb_bytes(client_random.data, client_random.len);
    struct bytes plain = {.len = protobuf_c_message_get_packed_size(&info.base)};
    protobuf_c_message_pack(&info.base, plain.data);
    expect(b, "login_info", plain.data, plain.len);
    expect_sealed(b, "sealed_login", suite, s->login, 0, "th_login", &plain);
    struct bytes sealed = get(b, "sealed_login");
    Tg__Login m = TG__LOGIN__INIT;
    m.info_case = TG__LOGIN__INFO_SEALED;
    m.sealed = pb_bytes(sealed.data, sealed.len);
    expect_frame(b, "login", FRAME_LOGIN, &m.base);
}

static void check_answer(struct block *b, const struct suite *suite, const struct schedule *s)
{
    struct bytes answer = get(b, "answer_text");
    assert_memory_equal(answer.data, "493021", 6);
    expect_sealed(b, "sealed_answer_1", suite, s->login, 1, "th_login", &answer);
    struct bytes sealed = get(b, "sealed_answer_1");
    Tg__Answer m = TG__ANSWER__INIT;
    m.info_case = TG__ANSWER__INFO_SEALED;
    m.sealed = pb_bytes(sealed.data, sealed.len);
    expect_frame(b, "answer_1", FRAME_ANSWER, &m.base);
}

static void check_transcript(struct block *b, const struct suite *suite)
{
    struct transcript *t = transcript_new();
    struct bytes ticket = get(b, "ticket");
    add_frame(b, "hello", t);
    add_frame(b, "identity", t);
    transcript_choose(t, suite);
    expect_th(b, "th_ticket", t, &ticket);
    add_frame(b, "authenticate", t);
    expect_th(b, "th_proof", t, NULL);
    add_frame(b, "authenticated", t);
    expect_th(b, "th_login", t, NULL);
    transcript_free(t);
}

static void logins_are_as_on_the_page(void **state)
{
    (void)state;
    for (unsigned number = 1; number <= 2; number++) {
        static struct block b;
        const struct suite *suite = suite_find(number);
        memset(&b, 0, sizeof b);
        assert_int_equal(read_block(&b, suite_name(suite)), 0);
        check_hello(&b, suite);
        check_identity(&b, suite);
        check_transcript(&b, suite);
        struct schedule s = check_keys(&b, suite);
        check_authenticate(&b, suite, &s);
        check_authenticated(&b, suite, &s);
        check_login(&b, suite, &s);
        check_answer(&b, suite, &s);
        schedule_wipe(&s);
        assert_all_checked(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticket_is_as_on_the_page),
        cmocka_unit_test(logins_are_as_on_the_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
