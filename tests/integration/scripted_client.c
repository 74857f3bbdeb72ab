#include "tests/integration/scripted_client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/pb.h"
#include "common/protocol/channel.h"
#include "common/trace.h"

struct scripted {
    int fd;
    SSL_CTX *tls, *channel;
    SSL *ssl;
    char problem[512];
    struct scripted_faults faults;

    struct transcript *transcript;
    const struct suite *suite;
    uint8_t exporter[SCHEDULE_EXPORTER_LEN];
    uint8_t client_random[SCHEDULE_CLIENT_RANDOM_LEN];
    uint8_t th[SUITE_HASH_LEN];
    struct schedule keys;
    ProtobufCMessage *identity, *welcome;
};

static bool problem(struct scripted *s, const char *what, const char *why)
{
    snprintf(s->problem, sizeof s->problem, "%s: %s", what, why);
    return false;
}

/* ---- connecting ---- */

static int connect_from(const struct addrinfo *to, const char *from)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = SCRIPTED_PATIENCE_MS / 1000};
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (from != NULL) {
        struct addrinfo hints = {.ai_family = to->ai_family, .ai_flags = AI_NUMERICHOST}, *source;
        if (getaddrinfo(from, NULL, &hints, &source) != 0 ||
            bind(fd, source->ai_addr, source->ai_addrlen) != 0) {
            close(fd);
            return -1;
        }
        freeaddrinfo(source);
    }
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return fd;
    close(fd);
    return -1;
}

static int connect_to(const char *gateway, const char *from)
{
    char host[64];
    const char *colon = strrchr(gateway, ':');
    snprintf(host, sizeof host, "%.*s", (int)(colon - gateway), gateway);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = from != NULL ? AF_INET : AF_UNSPEC},
                    *found;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return -1;
    int fd = -1;
    for (const struct addrinfo *to = found; to != NULL && fd < 0; to = to->ai_next)
        fd = connect_from(to, from);
    freeaddrinfo(found);
    return fd;
}

struct scripted *scripted_connect(const char *gateway, const char *from)
{
    int fd = connect_to(gateway, from);
    if (fd < 0)
        return NULL;
    struct scripted *s = calloc(1, sizeof *s);
    TG_INVARIANT(s != NULL);
    s->fd = fd;
    s->transcript = transcript_new();
    s->tls = SSL_CTX_new(TLS_client_method()); /* trusts any certificate: that is not its job */
    TG_INVARIANT(s->transcript != NULL && s->tls != NULL);
    TG_INVARIANT(channel_psk_context(false, &s->channel, NULL) == TG_OK);
    return s;
}

void scripted_close(struct scripted *s)
{
    if (s == NULL)
        return;
    SSL_free(s->ssl);
    SSL_CTX_free(s->tls);
    SSL_CTX_free(s->channel);
    close(s->fd);
    transcript_free(s->transcript);
    schedule_wipe(&s->keys);
    pb_free(s->identity);
    pb_free(s->welcome);
    free(s);
}

const char *scripted_problem(const struct scripted *s)
{
    return s->problem;
}

struct scripted_faults *scripted_faults(struct scripted *s)
{
    return &s->faults;
}

int scripted_fd(const struct scripted *s)
{
    return s->fd;
}

/* ---- bytes and frames ---- */

bool scripted_send_raw(struct scripted *s, const void *bytes, size_t len)
{
    return send(s->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

bool scripted_send_bytes(struct scripted *s, const void *bytes, size_t len)
{
    size_t sent;
    ERR_clear_error();
    return SSL_write_ex(s->ssl, bytes, len, &sent) == 1 || problem(s, "sending", "the gateway closed");
}

static void add_to_transcript(struct scripted *s, const uint8_t *frame, size_t len)
{
    if (len <= FRAME_MAX_BEFORE_LOGIN && s->welcome == NULL)
        transcript_add(s->transcript, frame, len);
}

static size_t make_frame(enum frame_type type, uint32_t stream, const void *payload, size_t len,
                         uint8_t *frame)
{
    TG_INVARIANT(len <= FRAME_PAYLOAD_MAX);
    frame_encode(&(struct frame_header){.type = (uint8_t)type, .length = (uint32_t)len, .stream = stream},
                 frame);
    if (len > 0)
        memcpy(frame + FRAME_HEADER_LEN, payload, len);
    return FRAME_HEADER_LEN + len;
}

bool scripted_send(struct scripted *s, enum frame_type type, uint32_t stream, const void *payload, size_t len)
{
    uint8_t frame[FRAME_MAX];
    return scripted_send_bytes(s, frame, make_frame(type, stream, payload, len, frame));
}

static size_t pack_frame(enum frame_type type, uint32_t stream, const ProtobufCMessage *message,
                         uint8_t *frame)
{
    size_t len;
    uint8_t *payload = pb_pack(message, &len);
    TG_INVARIANT(payload != NULL);
    size_t whole = make_frame(type, stream, payload, len, frame);
    pb_buffer_free(payload, len);
    return whole;
}

bool scripted_send_message(struct scripted *s, enum frame_type type, uint32_t stream,
                           const ProtobufCMessage *message)
{
    uint8_t frame[FRAME_MAX];
    size_t len = pack_frame(type, stream, message, frame);
    add_to_transcript(s, frame, len);
    return scripted_send_bytes(s, frame, len);
}

static bool receive_bytes(struct scripted *s, uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t n;
        ERR_clear_error();
        errno = 0;
        if (SSL_read_ex(s->ssl, bytes, len, &n) != 1)
            return problem(s, "receiving",
                           errno == EAGAIN ? "the gateway says nothing" : "the gateway closed");
        bytes += n;
        len -= n;
    }
    return true;
}

bool scripted_receive(struct scripted *s, struct scripted_frame *frame)
{
    uint8_t bytes[FRAME_MAX];
    struct tg_error err;
    if (!receive_bytes(s, bytes, FRAME_HEADER_LEN))
        return false;
    if (frame_decode(bytes, s->welcome == NULL ? FRAME_MAX_BEFORE_LOGIN : FRAME_MAX, &frame->header, &err) !=
        TG_OK)
        return problem(s, "receiving", err.text);
    if (!receive_bytes(s, bytes + FRAME_HEADER_LEN, frame->header.length))
        return false;
    memcpy(frame->payload, bytes + FRAME_HEADER_LEN, frame->header.length);
    return true;
}

bool scripted_expect(struct scripted *s, enum frame_type type, struct scripted_frame *frame)
{
    if (!scripted_receive(s, frame))
        return false;
    return frame->header.type == type || problem(s, "unexpected frame", frame_name(frame->header.type));
}

static bool expect_raw_close(struct scripted *s)
{
    char bytes[512];
    ssize_t n;
    while ((n = recv(s->fd, bytes, sizeof bytes, 0)) > 0)
        ;
    return n == 0 || errno == ECONNRESET || problem(s, "closing", "the connection stays open");
}

bool scripted_expect_close(struct scripted *s)
{
    struct scripted_frame frame;
    if (s->ssl != NULL && SSL_is_init_finished(s->ssl))
        while (scripted_receive(s, &frame))
            ;
    return expect_raw_close(s);
}

static int code_of(const struct scripted_frame *frame)
{
    ProtobufCMessage *refused = pb_unpack(&tg__refused__descriptor, frame->payload, frame->header.length);
    int code = refused != NULL ? (int)((Tg__Refused *)refused)->code : -1;
    pb_free(refused);
    return code;
}

int scripted_expect_refused(struct scripted *s)
{
    struct scripted_frame frame;
    if (!scripted_expect(s, FRAME_REFUSED, &frame))
        return -1;
    return scripted_expect_close(s) ? code_of(&frame) : -1;
}

int scripted_expect_opened(struct scripted *s, uint32_t stream)
{
    struct scripted_frame frame;
    do
        if (!scripted_receive(s, &frame))
            return -1;
    while (frame.header.stream != stream || frame.header.type == FRAME_WINDOW);
    ProtobufCMessage *opened = NULL;
    if (frame.header.type == FRAME_OPENED)
        opened = pb_unpack(&tg__opened__descriptor, frame.payload, frame.header.length);
    int code = opened != NULL ? (int)((Tg__Opened *)opened)->code : -1;
    pb_free(opened);
    return code;
}

/* ---- the handshake ---- */

bool scripted_tls(struct scripted *s)
{
    s->ssl = SSL_new(s->tls);
    TG_INVARIANT(s->ssl != NULL && SSL_set_fd(s->ssl, s->fd) == 1);
    if (SSL_connect(s->ssl) != 1)
        return problem(s, "first TLS", "the handshake failed");
    return channel_exporter(s->ssl, s->exporter, NULL) == TG_OK;
}

bool scripted_hello(struct scripted *s)
{
    uint32_t version = s->faults.version > 0 ? s->faults.version : 1;
    uint32_t suites[] = {s->faults.suite > 0 ? s->faults.suite : SUITE_SM4_CTR_HMAC_SM3,
                         SUITE_AES256_GCM_SHA256};
    uint8_t nonce[SCHEDULE_NONCE_LEN];
    char client[] = "scripted";
    Tg__Hello hello = TG__HELLO__INIT;
    random_bytes(nonce, sizeof nonce);
    hello.versions = &version;
    hello.n_versions = 1;
    hello.suites = suites;
    hello.n_suites = s->faults.suite > 0 ? 1 : 2;
    hello.client_version = client;
    hello.nonce = pb_bytes(nonce, sizeof nonce);
    return scripted_send_message(s, FRAME_HELLO, 0, &hello.base);
}

static void add_received(struct scripted *s, const struct scripted_frame *frame)
{
    uint8_t bytes[FRAME_MAX];
    add_to_transcript(s, bytes,
                      make_frame(frame->header.type, 0, frame->payload, frame->header.length, bytes));
}

bool scripted_identity(struct scripted *s)
{
    struct scripted_frame frame;
    if (!scripted_expect(s, FRAME_IDENTITY, &frame))
        return false;
    s->identity = pb_unpack(&tg__identity__descriptor, frame.payload, frame.header.length);
    if (s->identity == NULL)
        return problem(s, "IDENTITY", "malformed");
    s->suite = suite_find(scripted_gateway(s)->suite);
    if (s->suite == NULL)
        return problem(s, "IDENTITY", "unknown suite");
    add_received(s, &frame);
    transcript_choose(s->transcript, s->suite);
    return true;
}

static bool derive_keys(struct scripted *s, struct shield_key *key)
{
    uint8_t input[SCHEDULE_ROOT_INPUT_LEN];
    struct tg_error err;
    TG_CLEANUP(secret_cleanup) struct secret *root = NULL;
    transcript_hash(s->transcript, shield_key_ticket(key), TICKET_LEN, s->th);
    schedule_root_input(s->th, s->exporter, input);
    if (shield_derive(key, s->suite, input, sizeof input, &root, &err) != TG_OK ||
        schedule_derive(s->suite, root, &s->keys, &err) != TG_OK)
        return problem(s, "deriving keys", err.text);
    return true;
}

bool scripted_authenticate(struct scripted *s, struct shield_key *key)
{
    uint8_t digest[SM3_LEN], sealed[SM3_LEN + SUITE_TAG_MAX], frame[2 * FRAME_MAX_BEFORE_LOGIN];
    if (!derive_keys(s, key))
        return false;
    random_bytes(s->client_random, sizeof s->client_random);
    sm3(s->client_random, sizeof s->client_random, digest);
    if (suite_seal(s->suite, s->keys.random, 0, s->th, sizeof s->th, digest, sizeof digest, sealed, NULL) !=
        TG_OK)
        return problem(s, "AUTHENTICATE", "cannot seal");
    sealed[5] ^= s->faults.other_digest_bit;
    Tg__Authenticate authenticate = TG__AUTHENTICATE__INIT;
    authenticate.ticket = pb_bytes(shield_key_ticket(key), TICKET_LEN);
    authenticate.encrypted_random = pb_bytes(sealed, SM3_LEN + suite_tag_len(s->suite));
    size_t len = pack_frame(FRAME_AUTHENTICATE, 0, &authenticate.base, frame);
    add_to_transcript(s, frame, len);
    transcript_hash(s->transcript, NULL, 0, s->th);
    if (s->faults.pipeline)
        len += make_frame(FRAME_LOGIN, 0, "early", 5, frame + len);
    return scripted_send_bytes(s, frame, len);
}

bool scripted_authenticated(struct scripted *s)
{
    struct scripted_frame frame;
    if (!scripted_expect(s, FRAME_AUTHENTICATED, &frame))
        return false;
    ProtobufCMessage *authenticated =
        pb_unpack(&tg__authenticated__descriptor, frame.payload, frame.header.length);
    if (authenticated == NULL)
        return problem(s, "AUTHENTICATED", "malformed");
    const ProtobufCBinaryData *proof = &((Tg__Authenticated *)authenticated)->proof;
    bool good = schedule_check_proof(s->suite, &s->keys, s->th, proof->data, proof->len, NULL) == TG_OK;
    pb_free(authenticated);
    add_received(s, &frame);
    transcript_hash(s->transcript, NULL, 0, s->th);
    return good || problem(s, "AUTHENTICATED", "the gateway did not prove the key");
}

bool scripted_channel(struct scripted *s)
{
    TG_CLEANUP(secret_cleanup) struct secret *other = secret_random(SUITE_KEY_LEN);
    SSL_free(s->ssl);
    s->ssl = SSL_new(s->channel);
    TG_INVARIANT(s->ssl != NULL && SSL_set_fd(s->ssl, s->fd) == 1);
    if (channel_set_psk(s->ssl, s->faults.other_psk ? other : s->keys.psk, s->th, NULL) != TG_OK)
        return problem(s, "channel", "cannot set the key");
    if (SSL_connect(s->ssl) != 1)
        return problem(s, "channel", "the handshake failed");
    return channel_is_protected(s->ssl) || problem(s, "channel", "not protected");
}

static bool seal_payload(struct scripted *s, uint64_t sequence, const void *plain, size_t len,
                         uint8_t *sealed)
{
    if (suite_seal(s->suite, s->keys.login, sequence, s->th, sizeof s->th, plain, len, sealed, NULL) != TG_OK)
        return problem(s, "sealing", "failed");
    sealed[0] ^= s->faults.other_login_bit;
    return true;
}

bool scripted_login(struct scripted *s, const char *user, const char *password)
{
    uint8_t sealed[FRAME_MAX_BEFORE_LOGIN], other[SCHEDULE_CLIENT_RANDOM_LEN] = {0};
    size_t len;
    Tg__LoginInfo info = TG__LOGIN_INFO__INIT;
    Tg__Login login = TG__LOGIN__INIT;
    info.user = pb_string(user);
    info.password = pb_bytes(password, strlen(password));
    info.client_random = pb_bytes(s->faults.other_random ? other : s->client_random, sizeof s->client_random);
    login.info_case = TG__LOGIN__INFO_PLAIN;
    login.plain = &info;
    if (s->faults.plain)
        return scripted_send_message(s, FRAME_LOGIN, 0, &login.base);
    uint8_t *plain = pb_pack(&info.base, &len);
    bool good = plain != NULL && seal_payload(s, 0, plain, len, sealed);
    pb_buffer_free(plain, len);
    login.info_case = TG__LOGIN__INFO_SEALED;
    login.sealed = pb_bytes(sealed, len + suite_tag_len(s->suite));
    return good && scripted_send_message(s, FRAME_LOGIN, 0, &login.base);
}

bool scripted_answer(struct scripted *s, uint32_t round, const char *text)
{
    uint8_t sealed[FRAME_MAX_BEFORE_LOGIN];
    Tg__Answer answer = TG__ANSWER__INIT;
    answer.info_case = TG__ANSWER__INFO_PLAIN;
    answer.plain = pb_bytes(text, strlen(text));
    if (s->faults.plain)
        return scripted_send_message(s, FRAME_ANSWER, 0, &answer.base);
    if (!seal_payload(s, round + s->faults.answer_ahead, text, strlen(text), sealed))
        return false;
    answer.info_case = TG__ANSWER__INFO_SEALED;
    answer.sealed = pb_bytes(sealed, strlen(text) + suite_tag_len(s->suite));
    return scripted_send_message(s, FRAME_ANSWER, 0, &answer.base);
}

bool scripted_welcome(struct scripted *s)
{
    struct scripted_frame frame;
    if (!scripted_expect(s, FRAME_WELCOME, &frame))
        return false;
    s->welcome = pb_unpack(&tg__welcome__descriptor, frame.payload, frame.header.length);
    return s->welcome != NULL || problem(s, "WELCOME", "malformed");
}

const Tg__Welcome *scripted_terms(const struct scripted *s)
{
    return (const Tg__Welcome *)s->welcome;
}

const Tg__Identity *scripted_gateway(const struct scripted *s)
{
    return (const Tg__Identity *)s->identity;
}

bool scripted_until(struct scripted *s, enum scripted_stage last, struct shield_key *key, const char *user,
                    const char *password)
{
    return scripted_tls(s) && (last < SCRIPTED_IDENTITY || (scripted_hello(s) && scripted_identity(s))) &&
           (last < SCRIPTED_AUTHENTICATE || scripted_authenticate(s, key)) &&
           (last < SCRIPTED_AUTHENTICATED || scripted_authenticated(s)) &&
           (last < SCRIPTED_CHANNEL || scripted_channel(s)) &&
           (last < SCRIPTED_LOGIN || scripted_login(s, user, password)) &&
           (last < SCRIPTED_WELCOME || scripted_welcome(s));
}

/* ---- the session ---- */

bool scripted_open(struct scripted *s, uint32_t stream, const char *host, uint32_t port)
{
    Tg__Open open = TG__OPEN__INIT;
    open.host = pb_string(host);
    open.port = port;
    return scripted_send_message(s, FRAME_OPEN, stream, &open.base);
}

bool scripted_window(struct scripted *s, uint32_t stream, uint32_t credit)
{
    Tg__Window window = TG__WINDOW__INIT;
    window.credit = credit;
    return scripted_send_message(s, FRAME_WINDOW, stream, &window.base);
}

bool scripted_finish(struct scripted *s, uint32_t stream, uint32_t code)
{
    Tg__Close close = TG__CLOSE__INIT;
    close.code = code;
    return scripted_send_message(s, FRAME_CLOSE, stream, &close.base);
}

bool scripted_bye(struct scripted *s)
{
    Tg__Bye bye = TG__BYE__INIT;
    return scripted_send_message(s, FRAME_BYE, 0, &bye.base);
}
