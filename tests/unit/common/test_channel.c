/* Two ends over a BIO pair, each configured right except for the one thing a test is about. */
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

#include "common/protocol/channel.h"
#include "common/protocol/labels.h"
#include "tests/unit/common/hex.h"

static char dir[] = "/tmp/tg-channel-XXXXXX";
static char ca_path[64], other_ca_path[64], cert_path[64], key_path[64], locked_key_path[64],
    other_key_path[64];
static const uint8_t identity[SUITE_HASH_LEN] = "the hash of the transcript here";

/* ---- certificates ---- */

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

static X509 *make_certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer == NULL ? 1 : 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer) : subject);
    if (issuer == NULL)
        add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
    else
        add_extension(cert, issuer, NID_subject_alt_name, "DNS:gateway.test");
    assert_true(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
    return cert;
}

static void write_certificate(const char *path, X509 *cert)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
}

static void write_key(const char *path, EVP_PKEY *key, const char *passphrase)
{
    union {
        const char *in;
        void *out;
    } phrase = {.in = passphrase};
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(
        PEM_write_PrivateKey(f, key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL, phrase.out), 1);
    fclose(f);
}

static int make_pki(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(ca_path, sizeof ca_path, "%s/ca.crt", dir);
    snprintf(other_ca_path, sizeof other_ca_path, "%s/other-ca.crt", dir);
    snprintf(cert_path, sizeof cert_path, "%s/gateway.crt", dir);
    snprintf(key_path, sizeof key_path, "%s/gateway.key", dir);
    snprintf(locked_key_path, sizeof locked_key_path, "%s/locked.key", dir);
    snprintf(other_key_path, sizeof other_key_path, "%s/other.key", dir);
    EVP_PKEY *ca_key = EVP_EC_gen("P-256");
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *ca = make_certificate("CA", ca_key, NULL, ca_key);
    X509 *other = make_certificate("Other CA", key, NULL, key);
    X509 *cert = make_certificate("gateway.test", key, ca, ca_key);
    write_certificate(ca_path, ca);
    write_certificate(other_ca_path, other);
    write_certificate(cert_path, cert);
    write_key(key_path, key, NULL);
    write_key(locked_key_path, key, "passphrase");
    write_key(other_key_path, ca_key, NULL);
    X509_free(ca);
    X509_free(other);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return 0;
}

static int remove_pki(void **state)
{
    (void)state;
    const char *const paths[] = {ca_path,  other_ca_path,   cert_path,
                                 key_path, locked_key_path, other_key_path};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        unlink(paths[i]);
    return rmdir(dir);
}

/* ---- two ends ---- */

struct pair {
    SSL_CTX *server_ctx, *client_ctx;
    SSL *server, *client;
    struct secret *server_psk, *client_psk;
};

static void connect_ends(struct pair *p)
{
    BIO *a = NULL;
    BIO *b = NULL;
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    p->server = SSL_new(p->server_ctx);
    p->client = SSL_new(p->client_ctx);
    SSL_set_bio(p->server, a, a);
    SSL_set_bio(p->client, b, b);
    SSL_set_accept_state(p->server);
    SSL_set_connect_state(p->client);
}

/* Runs both ends until neither gets on. True: both say that the handshake is complete. */
static bool handshake(struct pair *p)
{
    ERR_clear_error();
    for (int i = 0; i < 10; i++) {
        int c = SSL_do_handshake(p->client);
        ERR_clear_error();
        int s = SSL_do_handshake(p->server);
        ERR_clear_error();
        if (c == 1 && s == 1)
            return true;
    }
    return false;
}

static void end(struct pair *p)
{
    SSL_free(p->server);
    SSL_free(p->client);
    SSL_CTX_free(p->server_ctx);
    SSL_CTX_free(p->client_ctx);
    secret_free(p->server_psk);
    secret_free(p->client_psk);
}

static struct pair certificate_pair(const char *ca)
{
    struct pair p = {0};
    struct tg_error err = {0};
    if (channel_server_context(cert_path, key_path, &p.server_ctx, &err) != TG_OK ||
        channel_client_context(ca, &p.client_ctx, &err) != TG_OK)
        fail_msg("%s", err.text);
    connect_ends(&p);
    assert_int_equal(SSL_set1_host(p.client, "gateway.test"), 1);
    return p;
}

static struct pair psk_contexts(void)
{
    struct pair p = {0};
    assert_int_equal(channel_psk_context(true, &p.server_ctx, NULL), TG_OK);
    assert_int_equal(channel_psk_context(false, &p.client_ctx, NULL), TG_OK);
    p.server_psk = secret_random(SUITE_KEY_LEN);
    p.client_psk = secret_copy(secret_view(p.server_psk), SUITE_KEY_LEN);
    return p;
}

static void set_psks(struct pair *p)
{
    connect_ends(p);
    assert_int_equal(channel_set_psk(p->server, p->server_psk, identity, NULL), TG_OK);
    assert_int_equal(channel_set_psk(p->client, p->client_psk, identity, NULL), TG_OK);
}

static void assert_nobody_in(struct pair *p)
{
    assert_false(handshake(p));
    assert_false(channel_is_protected(p->server));
    assert_false(channel_is_protected(p->client));
    end(p);
}

/* ---- the first TLS ---- */

static void a_certificate_of_another_ca_is_refused(void **state)
{
    (void)state;
    struct pair p = certificate_pair(other_ca_path);
    assert_nobody_in(&p);
}

static void a_certificate_for_another_name_is_refused(void **state)
{
    (void)state;
    struct pair p = certificate_pair(ca_path);
    assert_int_equal(SSL_set1_host(p.client, "elsewhere.test"), 1);
    assert_nobody_in(&p);
}

static void tls_1_2_is_refused_by_both(void **state)
{
    (void)state;
    for (int old_end = 0; old_end < 2; old_end++) {
        struct pair p = certificate_pair(ca_path);
        SSL *old = old_end == 0 ? p.server : p.client;
        assert_int_equal(SSL_set_min_proto_version(old, TLS1_2_VERSION), 1);
        assert_int_equal(SSL_set_max_proto_version(old, TLS1_2_VERSION), 1);
        assert_nobody_in(&p);
    }
}

static void other_groups_are_refused(void **state)
{
    (void)state;
    struct pair p = certificate_pair(ca_path);
    assert_int_equal(SSL_set1_groups_list(p.client, "P-256"), 1);
    assert_nobody_in(&p);
}

static void bad_files_are_named(void **state)
{
    (void)state;
    struct tg_error err;
    SSL_CTX *ctx = NULL;
    assert_int_equal(channel_server_context("/nonexistent.crt", key_path, &ctx, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "/nonexistent.crt: No such file"));
    assert_int_equal(channel_server_context(cert_path, other_key_path, &ctx, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, other_key_path));
    assert_int_equal(channel_server_context(cert_path, locked_key_path, &ctx, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, locked_key_path));
    assert_int_equal(channel_server_context(key_path, key_path, &ctx, &err), TG_INVALID_ARGUMENT);
    assert_int_equal(channel_client_context(key_path, &ctx, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, key_path));
    assert_null(ctx);
    assert_int_equal(ERR_peek_error(), 0);
}

static void both_ends_export_the_same(void **state)
{
    (void)state;
    struct pair p = certificate_pair(ca_path);
    struct pair q = certificate_pair(ca_path);
    assert_true(handshake(&p) && handshake(&q));
    uint8_t a[SCHEDULE_EXPORTER_LEN];
    uint8_t b[SCHEDULE_EXPORTER_LEN];
    assert_int_equal(channel_exporter(p.server, a, NULL), TG_OK);
    assert_int_equal(channel_exporter(p.client, b, NULL), TG_OK);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(channel_exporter(q.client, b, NULL), TG_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_false(channel_is_protected(p.server)); /* certificates only: not the channel */
    end(&p);
    end(&q);
}

static void no_exporter_before_the_handshake(void **state)
{
    (void)state;
    struct pair p = certificate_pair(ca_path);
    struct tg_error err;
    uint8_t out[SCHEDULE_EXPORTER_LEN];
    assert_int_equal(channel_exporter(p.client, out, &err), TG_INTERNAL);
    end(&p);
}

/* ---- the channel ---- */

static void another_psk_is_refused(void **state)
{
    (void)state;
    struct pair p = psk_contexts();
    secret_bytes(p.client_psk)[31] ^= 1;
    set_psks(&p);
    assert_nobody_in(&p);
}

static void another_identity_is_refused(void **state)
{
    (void)state;
    for (size_t at = 0; at < SUITE_HASH_LEN; at += 31) {
        struct pair p = psk_contexts();
        uint8_t other[SUITE_HASH_LEN];
        memcpy(other, identity, sizeof other);
        other[at] ^= 0x80;
        connect_ends(&p);
        assert_int_equal(channel_set_psk(p.server, p.server_psk, identity, NULL), TG_OK);
        assert_int_equal(channel_set_psk(p.client, p.client_psk, other, NULL), TG_OK);
        assert_nobody_in(&p);
    }
}

static void no_psk_is_refused(void **state)
{
    (void)state;
    struct pair p = psk_contexts();
    connect_ends(&p);
    assert_int_equal(channel_set_psk(p.server, p.server_psk, identity, NULL), TG_OK);
    assert_nobody_in(&p);
    p = psk_contexts();
    connect_ends(&p);
    assert_int_equal(channel_set_psk(p.client, p.client_psk, identity, NULL), TG_OK);
    assert_nobody_in(&p);
}

/* A client that drops the PSK and would take anybody's certificate finds none. */
static void a_client_without_psk_support_is_refused(void **state)
{
    (void)state;
    struct pair p = psk_contexts();
    SSL_CTX_free(p.client_ctx);
    assert_int_equal(channel_client_context(ca_path, &p.client_ctx, NULL), TG_OK);
    connect_ends(&p);
    SSL_set_verify(p.client, SSL_VERIFY_NONE, NULL);
    assert_int_equal(channel_set_psk(p.server, p.server_psk, identity, NULL), TG_OK);
    assert_nobody_in(&p);
}

/* The gateway of the first TLS, with its true certificate, is no channel. */
static void a_certificate_instead_of_the_psk_is_refused(void **state)
{
    (void)state;
    struct pair p = psk_contexts();
    SSL_CTX_free(p.server_ctx);
    assert_int_equal(channel_server_context(cert_path, key_path, &p.server_ctx, NULL), TG_OK);
    connect_ends(&p);
    assert_int_equal(channel_set_psk(p.client, p.client_psk, identity, NULL), TG_OK);
    assert_nobody_in(&p);
}

static void channel_over_tls_1_2_is_refused(void **state)
{
    (void)state;
    struct pair p = psk_contexts();
    SSL_CTX_set_min_proto_version(p.client_ctx, TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(p.client_ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(p.client_ctx, "ALL:PSK@SECLEVEL=0");
    set_psks(&p);
    assert_nobody_in(&p);
}

/* No common group, and a client that would do without: only a gateway that was told to gives in. The second
 * half shows that the first does not fail for another reason, and that channel_is_protected sees the
 * difference. */
static void psk_without_dh_is_refused(void **state)
{
    (void)state;
    for (int allowed = 0; allowed < 2; allowed++) {
        struct pair p = psk_contexts();
        SSL_CTX_set_options(p.client_ctx, SSL_OP_ALLOW_NO_DHE_KEX);
        assert_int_equal(SSL_CTX_set1_groups_list(p.client_ctx, "P-256"), 1);
        if (allowed)
            SSL_CTX_set_options(p.server_ctx, SSL_OP_ALLOW_NO_DHE_KEX);
        set_psks(&p);
        assert_int_equal(handshake(&p), allowed);
        assert_int_equal(SSL_session_reused(p.client), allowed);
        assert_false(channel_is_protected(p.server));
        assert_false(channel_is_protected(p.client));
        end(&p);
    }
}

static void assert_data_flows(SSL *from, SSL *to)
{
    char in[8] = {0};
    assert_int_equal(SSL_write(from, "hello", 5), 5);
    assert_int_equal(SSL_read(to, in, sizeof in), 5);
    assert_string_equal(in, "hello");
}

static void the_right_psk_with_dh_is_protected(void **state)
{
    (void)state;
    static const char *const ciphers[] = {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"};
    for (int i = 0; i < 2; i++) {
        struct pair p = psk_contexts();
        if (i == 1)
            assert_int_equal(SSL_CTX_set_ciphersuites(p.client_ctx, ciphers[i]), 1);
        set_psks(&p);
        assert_true(handshake(&p));
        assert_true(channel_is_protected(p.server) && channel_is_protected(p.client));
        assert_string_equal(SSL_get_cipher_name(p.server), ciphers[i]);
        assert_data_flows(p.client, p.server);
        assert_data_flows(p.server, p.client);
        end(&p);
    }
}

/* After the handshake neither the borrowed key nor OpenSSL's copy of it is needed, key updates included. */
static void the_psk_is_forgotten(void **state)
{
    (void)state;
    struct pair p = psk_contexts();
    set_psks(&p);
    assert_true(handshake(&p));
    SSL *const ends[] = {p.server, p.client};
    for (int i = 0; i < 2; i++) {
        uint8_t copy[SUITE_KEY_LEN] = {0};
        SSL_SESSION_get_master_key(SSL_get_session(ends[i]), copy, sizeof copy);
        assert_memory_not_equal(copy, secret_view(p.server_psk), sizeof copy);
    }
    secret_free(p.server_psk);
    secret_free(p.client_psk);
    p.server_psk = p.client_psk = NULL;
    assert_int_equal(SSL_key_update(p.client, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_data_flows(p.client, p.server);
    assert_data_flows(p.server, p.client);
    assert_data_flows(p.client, p.server);
    end(&p);
}

/* One connection's PSK opens no other connection of the same context. */
static void connections_have_their_own_keys(void **state)
{
    (void)state;
    struct pair p = psk_contexts();
    struct secret *other = secret_random(SUITE_KEY_LEN);
    SSL *bystander = SSL_new(p.server_ctx);
    assert_int_equal(channel_set_psk(bystander, other, identity, NULL), TG_OK);
    set_psks(&p);
    assert_true(handshake(&p));
    SSL_free(bystander);
    secret_free(other);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_of_another_ca_is_refused),
        cmocka_unit_test(a_certificate_for_another_name_is_refused),
        cmocka_unit_test(tls_1_2_is_refused_by_both),
        cmocka_unit_test(other_groups_are_refused),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(both_ends_export_the_same),
        cmocka_unit_test(no_exporter_before_the_handshake),
        cmocka_unit_test(another_psk_is_refused),
        cmocka_unit_test(another_identity_is_refused),
        cmocka_unit_test(no_psk_is_refused),
        cmocka_unit_test(a_client_without_psk_support_is_refused),
        cmocka_unit_test(a_certificate_instead_of_the_psk_is_refused),
        cmocka_unit_test(channel_over_tls_1_2_is_refused),
        cmocka_unit_test(psk_without_dh_is_refused),
        cmocka_unit_test(the_right_psk_with_dh_is_protected),
        cmocka_unit_test(the_psk_is_forgotten),
        cmocka_unit_test(connections_have_their_own_keys),
    };
    return cmocka_run_group_tests(tests, make_pki, remove_pki);
}
