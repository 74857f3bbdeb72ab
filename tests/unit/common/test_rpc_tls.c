/* Mutual TLS: who is refused, which broken file is named, and that calls work. */
#include "rpc_tls_fixture.h"

static int setup(void **state)
{
    *state = rig_new_tls();
    return 0;
}

/* No connection may come about; the reason is not the peer's business, so all it sees is UNAVAILABLE. */
static void assert_refused(struct rig *rig)
{
    struct tg_error err = {0};
    rig_serve(rig, 2);
    rig_connect(rig);
    assert_int_equal(ask(rig, "echo x", 600, NULL, &err), TG_UNAVAILABLE);
    assert_false(rpc_client_ready(rig->client));
    assert_int_equal(rig->script.handled, 0);
}

static void replace(char **path, const char *dir, const char *file)
{
    free(*path);
    *path = path_in(dir, file);
}

static void a_caller_of_another_ca_is_refused(void **state)
{
    struct rig *rig = *state;
    make_ca(rig->dir, "other");
    make_certificate(rig->dir, "other", "other", "gateway");
    replace(&rig->client_tls.certificate, rig->dir, "other.crt");
    replace(&rig->client_tls.key, rig->dir, "other.key");
    assert_refused(rig);
}

static void a_server_of_another_ca_is_refused(void **state)
{
    struct rig *rig = *state;
    make_ca(rig->dir, "other");
    replace(&rig->client_tls.ca, rig->dir, "other-ca.crt");
    assert_refused(rig);
}

static void a_server_with_another_name_is_refused(void **state)
{
    struct rig *rig = *state;
    make_certificate(rig->dir, "server", "elsewhere", "elsewhere");
    replace(&rig->server_tls.certificate, rig->dir, "elsewhere.crt");
    replace(&rig->server_tls.key, rig->dir, "elsewhere.key");
    assert_refused(rig);
}

static void a_caller_without_tls_is_refused(void **state)
{
    struct rig *rig = *state;
    static const uint8_t sp_header[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    rig_serve(rig, 2);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sa.sin_port = htons((uint16_t)atoi(strrchr(rig->address, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint8_t byte;
    assert_int_equal(connect(fd, (const struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(write(fd, sp_header, sizeof sp_header), sizeof sp_header);
    while (read(fd, &byte, 1) > 0)
        continue;
    close(fd);
    rig_connect(rig);
    assert_int_equal(ask(rig, "echo x", 10000, "x", NULL), TG_OK);
}

static void assert_listen_names(struct rig *rig, enum tg_code code, const char *file)
{
    struct tg_error err = {0};
    assert_int_equal(rpc_server_open(&rig->server, script_methods, &rig->script, 2, NULL), TG_OK);
    assert_int_equal(rig_listen(rig, 0, &err), code);
    if (strstr(err.text, file) == NULL)
        fail_msg("\"%s\" does not name %s", err.text, file);
    struct rpc_client *client = NULL;
    rig->client_tls = rig->server_tls;
    assert_int_equal(rig_dial(rig, &client, &err), code);
    assert_non_null(strstr(err.text, file));
    assert_null(client);
    rig->client_tls = (struct rpc_tls){0};
}

static void a_missing_file_is_named(void **state)
{
    struct rig *rig = *state;
    tls_files_free(&rig->client_tls);
    replace(&rig->server_tls.certificate, rig->dir, "missing.crt");
    assert_listen_names(rig, TG_NOT_FOUND, "missing.crt");
}

static void a_broken_certificate_is_named(void **state)
{
    struct rig *rig = *state;
    tls_files_free(&rig->client_tls);
    run("sed -i '5s/^..../!!!!/' %s/server.crt", rig->dir);
    assert_listen_names(rig, TG_INVALID_ARGUMENT, "server.crt");
}

static void a_broken_ca_is_named(void **state)
{
    struct rig *rig = *state;
    tls_files_free(&rig->client_tls);
    run("echo garbage > %s/client-ca.crt", rig->dir);
    assert_listen_names(rig, TG_INVALID_ARGUMENT, "client-ca.crt");
}

static void an_empty_file_is_named(void **state)
{
    struct rig *rig = *state;
    tls_files_free(&rig->client_tls);
    run(": > %s/client-ca.crt", rig->dir);
    assert_listen_names(rig, TG_INVALID_ARGUMENT, "client-ca.crt");
}

static void a_broken_key_is_named(void **state)
{
    struct rig *rig = *state;
    tls_files_free(&rig->client_tls);
    run("echo garbage > %s/server.key", rig->dir);
    assert_listen_names(rig, TG_INVALID_ARGUMENT, "server.key");
}

static void a_key_of_another_certificate_is_named(void **state)
{
    struct rig *rig = *state;
    tls_files_free(&rig->client_tls);
    run("cp %s/client.key %s/server.key", rig->dir, rig->dir);
    assert_listen_names(rig, TG_INVALID_ARGUMENT, "server.key");
}

static void a_key_that_others_can_read_is_named(void **state)
{
    struct rig *rig = *state;
    tls_files_free(&rig->client_tls);
    run("chmod 0644 %s/server.key", rig->dir);
    assert_listen_names(rig, TG_PERMISSION_DENIED, "server.key");
}

static void files_that_are_not_given_are_asked_for(void **state)
{
    struct rig *rig = *state;
    tls_files_free(&rig->client_tls);
    tls_files_free(&rig->server_tls);
    assert_listen_names(rig, TG_INVALID_ARGUMENT, "certificate, key and ca");
}

static void calls_work_in_all_sizes(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(ask(rig, "echo over TLS", 10000, "over TLS", NULL), TG_OK);
    assert_true(rpc_client_ready(rig->client));
    assert_int_equal(ask(rig, "big 200000", 10000, NULL, NULL), TG_OK);
    char *script = calloc(1, 200001);
    memset(script, 'y', 200000);
    memcpy(script, "echo ", 5);
    assert_int_equal(ask(rig, script, 10000, script + 5, NULL), TG_OK);
    free(script);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, rig_teardown_tls)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_caller_of_another_ca_is_refused),
        TEST(a_server_of_another_ca_is_refused),
        TEST(a_server_with_another_name_is_refused),
        TEST(a_caller_without_tls_is_refused),
        TEST(a_missing_file_is_named),
        TEST(a_broken_certificate_is_named),
        TEST(a_broken_ca_is_named),
        TEST(an_empty_file_is_named),
        TEST(a_broken_key_is_named),
        TEST(a_key_of_another_certificate_is_named),
        TEST(a_key_that_others_can_read_is_named),
        TEST(files_that_are_not_given_are_asked_for),
        cmocka_unit_test_setup_teardown(calls_work_in_all_sizes, rig_setup_tls, rig_teardown_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
