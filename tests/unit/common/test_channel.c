/* The first TLS: both ends configured right except for the one thing a test is about. */
#include "tests/unit/common/tls_fixture.h"

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
    };
    return cmocka_run_group_tests(tests, make_pki, remove_pki);
}
