/* HTTP over TLS with mutual authentication, asked by curl and openssl. */
#include "http_fixture.h"

/* One CA for us, one for callers, one for nobody; the names say what each certificate is. */
static const char make_pki[] =
    "cd \"$DIR\" && exec 2>/dev/null\n"
    "ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj \"/CN=$1\" "
    "-keyout $1.key -out $1.crt; }\n"
    "leaf() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj \"/CN=$2\" -keyout $2.key "
    "-out $2.csr && echo \"$3\" >$2.ext && openssl x509 -req -in $2.csr -CA $1.crt -CAkey $1.key "
    "-CAcreateserial -days ${4:-2} -extfile $2.ext -out $2.crt && chmod 0400 $2.key; }\n"
    "ca server-ca && ca caller-ca && ca other-ca && leaf server-ca server subjectAltName=DNS:localhost &&\n"
    "leaf server-ca second subjectAltName=DNS:localhost &&\n"
    "leaf caller-ca caller subjectAltName=DNS:sae-1.example && leaf other-ca stranger "
    "subjectAltName=DNS:sae-1.example &&\n"
    "leaf caller-ca no-client extendedKeyUsage=serverAuth && leaf caller-ca expired "
    "extendedKeyUsage=clientAuth "
    "-1";

#define CALL "$C --cacert $DIR/server-ca.crt https://localhost:$PORT"
#define AS(who) " --cert $DIR/" who ".crt --key $DIR/" who ".key "

static void tls_use(struct rig *rig, const char *name, const char *ca)
{
    free(rig->tls.certificate);
    free(rig->tls.key);
    free(rig->tls.ca);
    assert_true(asprintf(&rig->tls.certificate, "%s/%s.crt", rig->dir, name) > 0 &&
                asprintf(&rig->tls.key, "%s/%s.key", rig->dir, name) > 0 &&
                asprintf(&rig->tls.ca, "%s/%s.crt", rig->dir, ca) > 0);
}

static char pki[64];

static int group_setup(void **state)
{
    struct rig *rig = rig_new();
    (void)state;
    (void)snprintf(pki, sizeof pki, "/tmp/tg-test-http-XXXXXX");
    assert_non_null(mkdtemp(pki));
    rig_open(rig, NULL);
    memcpy(rig->dir, pki, sizeof pki);
    int code = run(rig, make_pki);
    rig_free(rig);
    return code;
}

static int group_teardown(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -r %s", pki);
    return system(command);
}

static int setup(void **state)
{
    struct rig *rig = rig_new();
    memcpy(rig->dir, pki, sizeof pki);
    tls_use(rig, "server", "caller-ca");
    rig_serve(rig, NULL);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    free(rig->tls.certificate);
    free(rig->tls.key);
    free(rig->tls.ca);
    return rig_free(rig);
}

static void assert_refused(struct rig *rig, const char *command)
{
    int code = run(rig, command);
    if (code == 0 || strstr(rig->text, "hello") != NULL)
        fail_msg("%s ended with %d and said \"%s\"", command, code, rig->text);
    assert_int_equal(atomic_load(&rig->handled), 0);
}

static void who_does_not_prove_a_name_is_refused(void **state)
{
    struct rig *rig = *state;
    static const char *const versions[] = {"--tls-max 1.2", "--tlsv1.3"};
    for (size_t i = 0; i < 2; i++) {
        char command[256];
        static const char *const who[] = {"", AS("stranger"), AS("no-client"), AS("expired")};
        for (size_t j = 0; j < sizeof who / sizeof who[0]; j++) {
            (void)snprintf(command, sizeof command, "%s/hello %s %s 2>&1", CALL, versions[i], who[j]);
            assert_refused(rig, command);
        }
        (void)snprintf(command, sizeof command, "%s/hello %s %s", CALL, versions[i], AS("caller"));
        assert_says(rig, command, "hello\n");
        atomic_store(&rig->handled, 0);
    }
}

static void old_versions_and_plain_http_are_refused(void **state)
{
    struct rig *rig = *state;
    assert_refused(rig, CALL "/hello --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0" AS("caller") " 2>&1");
    assert_refused(rig, "$C http://localhost:$PORT/hello 2>&1");
    assert_says(rig, CALL "/hello" AS("caller"), "hello\n");
}

static void the_caller_is_named(void **state)
{
    struct rig *rig = *state;
    assert_says(rig, CALL "/peer" AS("caller"), "cn=caller san=1 other=0\n");
}

static void bounds_hold_under_tls(void **state)
{
    struct rig *rig = *state;
    assert_says(rig,
                "head -c 65536 /dev/zero | " CALL "/echo --data-binary @- -o /dev/null -w "
                "'%{size_download}'" AS("caller"),
                "65536");
    assert_says(rig,
                "head -c 65537 /dev/zero | " CALL
                "/echo --data-binary @- -H 'Expect: 100-continue' -w '%{http_code}'" AS("caller"),
                "413\n413");
    assert_says(rig, CALL "/nothing -w '%{http_code}'" AS("caller"), "404\n404");
}

static void openssl_can_ask_too(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(run(rig,
                         "printf 'GET /hello HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | "
                         "openssl s_client -quiet -verify_return_error -CAfile $DIR/server-ca.crt "
                         "-connect localhost:$PORT -cert $DIR/caller.crt -key $DIR/caller.key 2>/dev/null"),
                     0);
    assert_non_null(strstr(rig->text, "HTTP/1.1 200 OK"));
    assert_non_null(strstr(rig->text, "\r\n\r\nhello\n"));
    (void)run(rig, "printf 'GET /hello HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | openssl "
                   "s_client -quiet -CAfile $DIR/server-ca.crt -connect localhost:$PORT 2>&1");
    assert_null(strstr(rig->text, "hello"));
    assert_int_equal(atomic_load(&rig->handled), 1);
}

static void garbage_before_tls_closes_one_connection(void **state)
{
    struct rig *rig = *state;
    static const char *const garbage[] = {"GET /hello HTTP/1.0\r\n\r\n", "\x16\x03\x01\xff\xff garbage",
                                          "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"};
    int silent = dial(rig);
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        int fd = dial(rig);
        say(fd, garbage[i], i == 2 ? 10 : strlen(garbage[i]));
        shutdown(fd, SHUT_WR);
        assert_null(strstr(hear_all(rig, fd), "hello"));
        close(fd);
    }
    assert_says(rig, CALL "/hello" AS("caller"), "hello\n");
    close(silent);
}

static void an_answer_may_come_later(void **state)
{
    struct rig *rig = *state;
    FILE *pipe;
    char command[512];
    (void)snprintf(command, sizeof command,
                   "DIR=%s; exec curl -sS -m 60 --noproxy '*' --cacert $DIR/server-ca.crt %s "
                   "https://localhost:%u/held",
                   pki, AS("caller"), http_server_port(rig->server));
    pipe = popen(command, "re");
    assert_non_null(pipe);
    struct http_request *request = rig_await_held(rig, 1);
    assert_says(rig, CALL "/hello" AS("caller"), "hello\n");
    http_reply_text(request, 200, "late");
    assert_int_equal(fread(command, 1, 6, pipe), 5);
    assert_memory_equal(command, "late\n", 5);
    assert_int_equal(pclose(pipe), 0);
}

static void certificates_and_the_callers_ca_can_be_changed(void **state)
{
    struct rig *rig = *state;
    struct tg_error err;
    const char *subject = "echo | openssl s_client -connect localhost:$PORT 2>/dev/null | sed -n "
                          "'s/^subject=//p'";
    int old = dial(rig); /* has the old ones; ends after they are gone */
    assert_says(rig, subject, "CN = server\n");
    struct rpc_tls missing = rig->tls;
    missing.key = missing.ca;
    assert_int_equal(http_server_reload(rig->server, &missing, &err), TG_PERMISSION_DENIED);
    assert_says(rig, CALL "/hello" AS("caller"), "hello\n");
    tls_use(rig, "second", "other-ca");
    assert_int_equal(http_server_reload(rig->server, &rig->tls, &err), TG_OK);
    assert_says(rig, subject, "CN = second\n");
    atomic_store(&rig->handled, 0);
    assert_refused(rig, CALL "/hello" AS("caller") " 2>&1");
    assert_says(rig, CALL "/hello" AS("stranger"), "hello\n");
    close(old);
}

static void files_that_do_not_do_are_named(void **state)
{
    struct rig *rig = *state;
    struct tg_error err;
    struct http_server *server = NULL;
    const struct {
        const char *name, *ca, *names;
        enum tg_code code;
    } cases[] = {{"none", "caller-ca", "none.crt", TG_NOT_FOUND},
                 {"server", "none", "none.crt", TG_NOT_FOUND},
                 {"server", "server.ext", "server.ext", TG_NOT_FOUND}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tls_use(rig, cases[i].name, cases[i].ca);
        struct http_options options = {.address = "127.0.0.1:0", .tls = &rig->tls, .routes = rig_routes};
        assert_int_equal(http_server_open(&server, &options, &err), cases[i].code);
        assert_non_null(strstr(err.text, cases[i].names));
    }
    tls_use(rig, "server", "caller-ca");
    struct rpc_tls mixed = rig->tls; /* a certificate with another's key */
    char *key = NULL;
    assert_true(asprintf(&key, "%s/second.key", rig->dir) > 0);
    mixed.key = key;
    struct http_options options = {.address = "127.0.0.1:0", .tls = &mixed, .routes = rig_routes};
    assert_int_equal(http_server_open(&server, &options, &err), TG_INVALID_ARGUMENT);
    mixed.key = NULL;
    assert_int_equal(http_server_open(&server, &options, &err), TG_INVALID_ARGUMENT);
    free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_does_not_prove_a_name_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(old_versions_and_plain_http_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_caller_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_hold_under_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(openssl_can_ask_too, setup, teardown),
        cmocka_unit_test_setup_teardown(garbage_before_tls_closes_one_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_may_come_later, setup, teardown),
        cmocka_unit_test_setup_teardown(certificates_and_the_callers_ca_can_be_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_do_not_do_are_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
