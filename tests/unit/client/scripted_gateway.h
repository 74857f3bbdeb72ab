/* A gateway with a script: one thread, one connection, blocking OpenSSL, no other services. It does all of
 * the handshake right except for the one thing that a test's plan says. Nothing here asserts in the gateway's
 * thread: what it saw, the test looks at after gateway_join. */
#ifndef TG_TESTS_UNIT_CLIENT_SCRIPTED_GATEWAY_H
#define TG_TESTS_UNIT_CLIENT_SCRIPTED_GATEWAY_H

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "client/login/login.h"
#include "common/pb.h"
#include "common/protocol/channel.h"
#include "common/protocol/frame.h"
#include "common/protocol/labels.h"
#include "common/protocol/order.h"
#include "common/protocol/schedule.h"
#include "common/protocol/stream.h"
#include "tests/unit/client/pki.h"

enum place { NOWHERE, AT_IDENTITY, AT_AUTHENTICATED, AT_CHANNEL, AT_VERDICT };

enum misdeed {
    BEHAVES,
    REFUSES,      /* with plan.refusal */
    FALLS_SILENT, /* until the client has gone */
    CLOSES,
    CUTS_OFF, /* in the middle of a frame */
    TOO_LONG, /* a header that announces more than 4 KiB */
    OUT_OF_ORDER,
    UNKNOWN_TYPE,
    MALFORMED, /* the right type, but not its message */
    OTHER_PSK, /* AT_CHANNEL */
    NO_PSK     /* AT_CHANNEL: an ordinary TLS with the gateway's own certificate */
};

struct gateway;

struct plan {
    enum place place;
    enum misdeed misdeed;
    unsigned refusal;     /* enum tg_code */
    unsigned version;     /* 0: 1 */
    unsigned suite;       /* 0: the client's first choice */
    unsigned challenges;  /* how many questions before WELCOME */
    unsigned first_round; /* 0: 1 */
    uint32_t window;      /* 0: STREAM_WINDOW_MIN */
    uint32_t max_streams; /* 0: 4 */
    bool must_seal, alter_proof, short_proof;
    const char *refusal_text;
    size_t nonce_len;      /* 0: 32 */
    const char *qkud_id;   /* NULL: "qkud-test" */
    size_t session_id_len; /* 0: 16 */
    const char *banner;
    void (*session)(struct gateway *gateway); /* after WELCOME; NULL: close */
};

struct gateway {
    struct plan plan;
    struct pki pki;
    int listener, fd;
    uint16_t port;
    pthread_t thread;
    SSL_CTX *server_ctx, *psk_ctx;
    SSL *ssl;

    uint8_t ticket[TICKET_LEN];
    struct secret *key;
    const struct suite *suite;
    struct transcript *transcript;
    struct schedule schedule;
    uint8_t exporter[SCHEDULE_EXPORTER_LEN];
    uint8_t th_login[SUITE_HASH_LEN];
    uint8_t digest[SM3_LEN];

    struct frame_header header; /* the latest frame from the client */
    uint8_t frame[FRAME_MAX];
    void *context; /* the test's own */

    /* What the gateway saw. */
    bool saw_hello, saw_ticket, saw_login, login_sealed, login_right, random_right;
    unsigned answers_right;
    bool done; /* the script came to its end */
};

static inline bool gateway_write(struct gateway *g, const void *bytes, size_t len)
{
    return SSL_write(g->ssl, bytes, (int)len) == (int)len;
}

static inline bool gateway_send(struct gateway *g, uint8_t type, uint32_t stream,
                                const ProtobufCMessage *message)
{
    uint8_t bytes[FRAME_MAX];
    size_t len = message != NULL ? protobuf_c_message_pack(message, bytes + FRAME_HEADER_LEN) : 0;
    frame_encode(&(struct frame_header){.type = type, .length = (uint32_t)len, .stream = stream}, bytes);
    if (g->transcript != NULL)
        transcript_add(g->transcript, bytes, FRAME_HEADER_LEN + len);
    return gateway_write(g, bytes, FRAME_HEADER_LEN + len);
}

static inline bool gateway_read(struct gateway *g, uint8_t *out, size_t len)
{
    for (size_t have = 0; have < len;) {
        int n = SSL_read(g->ssl, out + have, (int)(len - have));
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    return true;
}

/* The client's next frame into g->header and g->frame; its message if type is not NULL (pb_free it). */
static inline ProtobufCMessage *gateway_receive(struct gateway *g, uint8_t type,
                                                const ProtobufCMessageDescriptor *descriptor)
{
    if (!gateway_read(g, g->frame, FRAME_HEADER_LEN) ||
        frame_decode(g->frame, FRAME_MAX, &g->header, NULL) != TG_OK ||
        !gateway_read(g, g->frame + FRAME_HEADER_LEN, g->header.length) || g->header.type != type)
        return NULL;
    return pb_unpack(descriptor, g->frame + FRAME_HEADER_LEN, g->header.length);
}

static inline void gateway_add_received(struct gateway *g)
{
    transcript_add(g->transcript, g->frame, FRAME_HEADER_LEN + g->header.length);
}

static inline void gateway_wait_until_gone(struct gateway *g)
{
    uint8_t byte;
    while (SSL_read(g->ssl, &byte, 1) > 0)
        ;
}

static inline void gateway_refuse(struct gateway *g)
{
    Tg__Refused refused = TG__REFUSED__INIT;
    refused.code = g->plan.refusal;
    refused.text = pb_string(g->plan.refusal_text);
    refused.trace_id = pb_string("0123456789abcdef0123456789abcdef");
    gateway_send(g, FRAME_REFUSED, 0, &refused.base);
}

/* True: the plan has something bad for this place; it is done, and the script ends. */
static inline bool gateway_misbehaves(struct gateway *g, enum place place, uint8_t expected_type)
{
    if (g->plan.place != place || g->plan.misdeed == BEHAVES)
        return false;
    uint8_t bytes[FRAME_HEADER_LEN + 4] = {0};
    struct frame_header header = {.type = expected_type, .length = 4};
    frame_encode(&header, bytes);
    memset(bytes + FRAME_HEADER_LEN, 0xff, 4);
    switch (g->plan.misdeed) {
    case REFUSES:
        gateway_refuse(g);
        break;
    case CLOSES:
        return true;
    case CUTS_OFF:
        gateway_write(g, bytes, FRAME_HEADER_LEN + 2);
        return true;
    case TOO_LONG:
        header.length = FRAME_MAX_BEFORE_LOGIN;
        frame_encode(&header, bytes);
        gateway_write(g, bytes, FRAME_HEADER_LEN);
        break;
    case OUT_OF_ORDER:
        gateway_send(g, place == AT_VERDICT ? FRAME_AUTHENTICATED : FRAME_WELCOME, 0, NULL);
        break;
    case UNKNOWN_TYPE:
        bytes[0] = 99;
        gateway_write(g, bytes, sizeof bytes);
        break;
    case MALFORMED:
        gateway_write(g, bytes, sizeof bytes);
        break;
    case FALLS_SILENT:
    case BEHAVES:
    case OTHER_PSK:
    case NO_PSK:
        break;
    }
    gateway_wait_until_gone(g);
    return true;
}

static inline bool gateway_hello(struct gateway *g)
{
    ProtobufCMessage *message = gateway_receive(g, FRAME_HELLO, &tg__hello__descriptor);
    const Tg__Hello *hello = (const Tg__Hello *)message;
    g->saw_hello = hello != NULL && hello->n_versions == 1 && hello->versions[0] == 1 &&
                   hello->n_suites > 0 && hello->nonce.len == SCHEDULE_NONCE_LEN;
    if (g->saw_hello)
        g->suite = suite_find(hello->suites[0]);
    pb_free(message);
    gateway_add_received(g);
    return g->saw_hello && g->suite != NULL;
}

static inline bool gateway_identity(struct gateway *g)
{
    uint8_t nonce[SCHEDULE_NONCE_LEN];
    random_bytes(nonce, sizeof nonce);
    Tg__Identity identity = TG__IDENTITY__INIT;
    identity.version = g->plan.version != 0 ? g->plan.version : 1;
    identity.qkud_id = pb_string(g->plan.qkud_id != NULL ? g->plan.qkud_id : "qkud-test");
    identity.nonce = pb_bytes(nonce, g->plan.nonce_len != 0 ? g->plan.nonce_len : sizeof nonce);
    identity.suite = g->plan.suite != 0 ? g->plan.suite : suite_number(g->suite);
    identity.login_must_be_sealed = g->plan.must_seal;
    bool sent = gateway_send(g, FRAME_IDENTITY, 0, &identity.base);
    transcript_choose(g->transcript, g->suite);
    return sent;
}

static inline bool gateway_derive(struct gateway *g, const uint8_t th_ticket[SUITE_HASH_LEN])
{
    uint8_t input[SCHEDULE_ROOT_INPUT_LEN];
    schedule_root_input(th_ticket, g->exporter, input);
    const struct suite_part part = {input, sizeof input};
    struct secret *root = suite_hmac(g->suite, g->key, &part, 1);
    bool good = root != NULL && schedule_derive(g->suite, root, &g->schedule, NULL) == TG_OK;
    secret_free(root);
    return good;
}

static inline bool gateway_open_random(struct gateway *g, const Tg__Authenticate *message,
                                       const uint8_t *th_ticket)
{
    struct secret *digest = NULL;
    if (suite_open(g->suite, g->schedule.random, 0, th_ticket, SUITE_HASH_LEN, message->encrypted_random.data,
                   message->encrypted_random.len, &digest, NULL) != TG_OK)
        return false;
    bool good = secret_len(digest) == SM3_LEN;
    if (good)
        memcpy(g->digest, secret_view(digest), SM3_LEN);
    secret_free(digest);
    return good;
}

static inline bool gateway_authenticate(struct gateway *g)
{
    ProtobufCMessage *message = gateway_receive(g, FRAME_AUTHENTICATE, &tg__authenticate__descriptor);
    const Tg__Authenticate *authenticate = (const Tg__Authenticate *)message;
    bool good = authenticate != NULL && authenticate->ticket.len == TICKET_LEN &&
                memcmp(authenticate->ticket.data, g->ticket, TICKET_LEN) == 0;
    g->saw_ticket = good;
    uint8_t th_ticket[SUITE_HASH_LEN];
    if (good)
        transcript_hash(g->transcript, g->ticket, TICKET_LEN, th_ticket);
    good = good && gateway_derive(g, th_ticket) && gateway_open_random(g, authenticate, th_ticket);
    pb_free(message);
    gateway_add_received(g);
    return good;
}

static inline bool gateway_prove(struct gateway *g)
{
    uint8_t th[SUITE_HASH_LEN], proof[SUITE_HASH_LEN];
    transcript_hash(g->transcript, NULL, 0, th);
    if (schedule_proof(g->suite, &g->schedule, th, proof, NULL) != TG_OK)
        return false;
    proof[7] ^= g->plan.alter_proof ? 1 : 0;
    Tg__Authenticated message = TG__AUTHENTICATED__INIT;
    message.proof = pb_bytes(proof, g->plan.short_proof ? 31 : sizeof proof);
    bool sent = gateway_send(g, FRAME_AUTHENTICATED, 0, &message.base);
    transcript_hash(g->transcript, NULL, 0, g->th_login);
    transcript_free(g->transcript);
    g->transcript = NULL;
    return sent;
}

static inline bool gateway_channel(struct gateway *g)
{
    enum misdeed misdeed = g->plan.place == AT_CHANNEL ? g->plan.misdeed : BEHAVES;
    if (misdeed == CLOSES)
        return false;
    if (misdeed == FALLS_SILENT) {
        uint8_t byte;
        while (recv(g->fd, &byte, 1, 0) > 0)
            ;
        return false;
    }
    SSL_free(g->ssl);
    g->ssl = SSL_new(misdeed == NO_PSK ? g->server_ctx : g->psk_ctx);
    SSL_set_fd(g->ssl, g->fd);
    struct secret *other = secret_random(SUITE_KEY_LEN);
    bool good = misdeed == NO_PSK || channel_set_psk(g->ssl, misdeed == OTHER_PSK ? other : g->schedule.psk,
                                                     g->th_login, NULL) == TG_OK;
    good = good && SSL_accept(g->ssl) == 1;
    secret_free(other);
    return good;
}

static inline void gateway_check_info(struct gateway *g, const uint8_t *bytes, size_t len)
{
    ProtobufCMessage *message = pb_unpack(&tg__login_info__descriptor, bytes, len);
    const Tg__LoginInfo *info = (const Tg__LoginInfo *)message;
    g->login_right = info != NULL && strcmp(info->user, "alice") == 0 && info->password.len == 6 &&
                     memcmp(info->password.data, "secret", 6) == 0;
    uint8_t digest[SM3_LEN] = {0};
    if (info != NULL && info->client_random.len == SCHEDULE_CLIENT_RANDOM_LEN)
        sm3(info->client_random.data, info->client_random.len, digest);
    g->random_right = memcmp(digest, g->digest, SM3_LEN) == 0;
    pb_free(message);
}

static inline bool gateway_login(struct gateway *g)
{
    ProtobufCMessage *message = gateway_receive(g, FRAME_LOGIN, &tg__login__descriptor);
    const Tg__Login *login = (const Tg__Login *)message;
    g->saw_login = login != NULL;
    struct secret *plain = NULL;
    if (login != NULL && login->info_case == TG__LOGIN__INFO_SEALED) {
        g->login_sealed = true;
        if (suite_open(g->suite, g->schedule.login, 0, g->th_login, SUITE_HASH_LEN, login->sealed.data,
                       login->sealed.len, &plain, NULL) == TG_OK)
            gateway_check_info(g, secret_view(plain), secret_len(plain));
    } else if (login != NULL && login->info_case == TG__LOGIN__INFO_PLAIN) {
        uint8_t bytes[FRAME_MAX];
        gateway_check_info(g, bytes, tg__login_info__pack(login->plain, bytes));
    }
    secret_free(plain);
    pb_free(message);
    return g->login_right;
}

static inline bool answer_is(const void *bytes, size_t len, unsigned round)
{
    char expected[16];
    int n = snprintf(expected, sizeof expected, "answer %u", round);
    return len == (size_t)n && memcmp(bytes, expected, len) == 0;
}

static inline void gateway_check_answer(struct gateway *g, const Tg__Answer *answer, unsigned round)
{
    struct secret *plain = NULL;
    if (answer->info_case == TG__ANSWER__INFO_PLAIN) {
        g->answers_right += answer_is(answer->plain.data, answer->plain.len, round);
    } else if (suite_open(g->suite, g->schedule.login, round, g->th_login, SUITE_HASH_LEN,
                          answer->sealed.data, answer->sealed.len, &plain, NULL) == TG_OK) {
        g->answers_right += answer_is(secret_view(plain), secret_len(plain), round);
    }
    secret_free(plain);
}

static inline bool gateway_challenge(struct gateway *g)
{
    unsigned first = g->plan.first_round != 0 ? g->plan.first_round : 1;
    for (unsigned round = first; round < first + g->plan.challenges; round++) {
        Tg__Challenge challenge = TG__CHALLENGE__INIT;
        char prompt[32];
        snprintf(prompt, sizeof prompt, "question \033[1m%u", round);
        challenge.prompt = prompt;
        challenge.round = round;
        gateway_send(g, FRAME_CHALLENGE, 0, &challenge.base);
        ProtobufCMessage *answer = gateway_receive(g, FRAME_ANSWER, &tg__answer__descriptor);
        if (answer == NULL)
            return false;
        gateway_check_answer(g, (const Tg__Answer *)answer, round);
        pb_free(answer);
    }
    return true;
}

static inline bool gateway_welcome(struct gateway *g)
{
    static const uint8_t id[32] = "0123456789abcdef0123456789abcde";
    Tg__Welcome welcome = TG__WELCOME__INIT;
    welcome.session_id = pb_bytes(id, g->plan.session_id_len != 0 ? g->plan.session_id_len : 16);
    welcome.session_timeout_s = 3600;
    welcome.max_streams = g->plan.max_streams != 0 ? g->plan.max_streams : 4;
    welcome.stream_window = g->plan.window != 0 ? g->plan.window : STREAM_WINDOW_MIN;
    welcome.banner = pb_string(g->plan.banner);
    welcome.policy = pb_string("core-ops");
    return gateway_send(g, FRAME_WELCOME, 0, &welcome.base);
}

static inline void gateway_talk(struct gateway *g)
{
    if (!gateway_hello(g) || gateway_misbehaves(g, AT_IDENTITY, FRAME_IDENTITY) || !gateway_identity(g) ||
        !gateway_authenticate(g) || gateway_misbehaves(g, AT_AUTHENTICATED, FRAME_AUTHENTICATED) ||
        !gateway_prove(g) || !gateway_channel(g) || !gateway_login(g) ||
        gateway_misbehaves(g, AT_VERDICT, FRAME_WELCOME) || !gateway_challenge(g) || !gateway_welcome(g))
        return;
    g->done = true;
    if (g->plan.session != NULL)
        g->plan.session(g);
}

static inline void *gateway_thread(void *arg)
{
    struct gateway *g = arg;
    g->fd = accept(g->listener, NULL, NULL);
    if (g->fd < 0)
        return NULL;
    g->ssl = SSL_new(g->server_ctx);
    SSL_set_fd(g->ssl, g->fd);
    if (SSL_accept(g->ssl) == 1 && channel_exporter(g->ssl, g->exporter, NULL) == TG_OK)
        gateway_talk(g);
    SSL_free(g->ssl);
    close(g->fd);
    return NULL;
}

static inline void gateway_start(struct gateway *g, const struct plan *plan)
{
    *g = (struct gateway){.plan = *plan, .fd = -1};
    pki_make(&g->pki);
    assert_int_equal(channel_server_context(g->pki.certificate, g->pki.key, &g->server_ctx, NULL), TG_OK);
    assert_int_equal(channel_psk_context(true, &g->psk_ctx, NULL), TG_OK);
    g->transcript = transcript_new();
    g->key = secret_random(32);
    struct secret *ticket_key = secret_random(TICKET_KEY_LEN);
    struct ticket ticket = {.centre = "CENTRE01", .expires_s = UINT64_C(4000000000)};
    ticket_new_key_id(ticket.key_id);
    ticket_encode(&ticket, ticket_key, g->ticket);
    secret_free(ticket_key);

    g->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    assert_int_equal(bind(g->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(g->listener, 1), 0);
    assert_int_equal(getsockname(g->listener, (struct sockaddr *)&address, &len), 0);
    g->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&g->thread, NULL, gateway_thread, g), 0);
}

/* Waits for the script's end. `connected`: the client has connected, or the script waits for nobody. */
static inline void gateway_join(struct gateway *g)
{
    shutdown(g->listener, SHUT_RDWR); /* wakes accept(), if nobody came */
    assert_int_equal(pthread_join(g->thread, NULL), 0);
}

static inline void gateway_stop(struct gateway *g)
{
    close(g->listener);
    transcript_free(g->transcript);
    schedule_wipe(&g->schedule);
    secret_free(g->key);
    SSL_CTX_free(g->server_ctx);
    SSL_CTX_free(g->psk_ctx);
    pki_remove(&g->pki);
}

/* ---- the client's side of a test ---- */

struct client {
    struct login_tls *tls;
    struct secret *password;
    struct shield *shield;
    struct login_session session;
    struct tg_error err;
    enum client_exit exit;
    unsigned questions;
};

static inline enum tg_code client_answer(void *arg, const char *question, bool echo, struct secret **answer,
                                         struct tg_error *err)
{
    (void)err;
    (void)echo;
    struct client *client = arg;
    char text[32], expected[64];
    client->questions++;
    snprintf(expected, sizeof expected, "question \ufffd[1m%u", client->questions);
    assert_string_equal(question, expected); /* what could steer the terminal is gone */
    int len = snprintf(text, sizeof text, "answer %u", client->questions);
    *answer = secret_copy(text, (size_t)len);
    return TG_OK;
}

static inline void client_open(struct client *client, const struct gateway *g)
{
    *client = (struct client){.session.fd = -1};
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(login_tls_open(g->pki.ca, &client->tls, NULL), TG_OK);
    client->password = secret_copy("secret", 6);
    assert_int_equal(shield_memory_open("shield-1", &client->shield, NULL), TG_OK);
    const struct shield_entry entry = {.ticket = g->ticket, .key = g->key};
    assert_int_equal(shield_add(client->shield, &entry, 1, NULL), TG_OK);
}

/* A request that does everything right; suites: a static list. */
static inline struct login_request client_request(struct client *client, const struct gateway *g)
{
    static const struct suite *suites[2];
    suites[0] = suite_find(SUITE_AES256_GCM_SHA256);
    suites[1] = suite_find(SUITE_SM4_CTR_HMAC_SM3);
    return (struct login_request){.tls = client->tls,
                                  .host = "127.0.0.1",
                                  .port = g->port,
                                  .user = "alice",
                                  .password = client->password,
                                  .shield = client->shield,
                                  .suites = suites,
                                  .suite_count = 2,
                                  .ask = client_answer,
                                  .ask_arg = client,
                                  .deadline_ms = 20000};
}

static inline void client_close(struct client *client)
{
    login_session_close(&client->session);
    shield_close(client->shield);
    secret_free(client->password);
    login_tls_close(client->tls);
}

#endif
