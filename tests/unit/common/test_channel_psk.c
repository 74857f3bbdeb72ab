/* The channel: both ends configured right except for the one thing a test is about. */
#include "tests/unit/common/tls_fixture.h"

static const uint8_t identity[SUITE_HASH_LEN] = "the hash of the transcript here";

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
