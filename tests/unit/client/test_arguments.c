/* What users type: forwards, addresses, options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/address.h"
#include "client/arguments.h"
#include "client/charger/options.h"
#include "client/connect_options.h"

static void bad_forwards_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "80",
        "80:host",
        "x:host:80",
        "80:host:x",
        "80:host:0",
        "80::80",
        ":80:host:80",
        "65536:host:80",
        "80:host:65536",
        "80:host:80:extra:1",
        "-1:host:80",
        "80:ho st:80",
        "80:[::1:80",
        "80:[::1]x:80",
        "80:[]:80",
        "+80:host:80",
        "80:user@host:80",
        "80:host:",
        "80:ho\nst:80",
        "000080:host:80",
        "[::1:80:host:80",
        "1.2.3.4:80:host",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct forward_spec spec;
        struct tg_error err;
        if (forward_parse(bad[i], &spec, &err) != TG_INVALID_ARGUMENT)
            fail_msg("\"%s\" was taken", bad[i]);
    }
}

static void expect_forward(const char *text, const char *local, uint16_t local_port, const char *target,
                           uint16_t port)
{
    struct forward_spec spec;
    struct tg_error err = {0};
    if (forward_parse(text, &spec, &err) != TG_OK)
        fail_msg("\"%s\": %s", text, err.text);
    assert_string_equal(spec.local.host, local);
    assert_int_equal(spec.local.port, local_port);
    assert_string_equal(spec.target.host, target);
    assert_int_equal(spec.target.port, port);
}

static void forwards_are_read_in_all_their_forms(void **state)
{
    (void)state;
    expect_forward("8080:web.test:80", "127.0.0.1", 8080, "web.test", 80);
    expect_forward("0:web.test:65535", "127.0.0.1", 0, "web.test", 65535);
    expect_forward("localhost:8080:web.test:80", "localhost", 8080, "web.test", 80);
    expect_forward("*:8080:web.test:80", "*", 8080, "web.test", 80);
    expect_forward("8080:[2001:db8::1]:80", "127.0.0.1", 8080, "2001:db8::1", 80);
    expect_forward("[::1]:8080:[2001:db8::1]:80", "::1", 8080, "2001:db8::1", 80);
}

static void gateways_may_leave_out_the_port(void **state)
{
    (void)state;
    struct host_port address;
    char text[HOST_PORT_TEXT_LEN];
    assert_int_equal(host_port_parse("vpn.test", 8443, &address, NULL), TG_OK);
    assert_int_equal(address.port, 8443);
    assert_int_equal(host_port_parse("[2001:db8::1]:444", 8443, &address, NULL), TG_OK);
    assert_string_equal(address.host, "2001:db8::1");
    assert_int_equal(address.port, 444);
    host_port_text(&address, text, sizeof text);
    assert_string_equal(text, "[2001:db8::1]:444");
    assert_int_equal(host_port_parse("2001:db8::1", 8443, &address, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(host_port_parse("vpn.test", 0, &address, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(host_port_parse("vpn.test:", 8443, &address, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(host_port_parse("vpn.test:0", 8443, &address, NULL), TG_INVALID_ARGUMENT);
}

static void long_hosts_are_refused(void **state)
{
    (void)state;
    char text[ADDRESS_HOST_MAX + 8];
    struct host_port address;
    memset(text, 'a', sizeof text);
    memcpy(text + ADDRESS_HOST_MAX, ":80", 4);
    assert_int_equal(host_port_parse(text, 0, &address, NULL), TG_OK);
    memcpy(text + ADDRESS_HOST_MAX, "a:80", 5);
    assert_int_equal(host_port_parse(text, 0, &address, NULL), TG_INVALID_ARGUMENT);
}

/* ---- ticketgate connect ---- */

#define GOOD "--gateway", "vpn.test", "--ca", "ca.crt", "--user", "alice", "--shield", "s.tgs"

static enum tg_code parse(struct connect_options *out, struct tg_error *err, const char *const *arguments)
{
    static char texts[32][128]; /* getopt may move them */
    char *argv[33] = {NULL};
    int argc = 0;
    for (const char *const *a = arguments; *a != NULL; a++, argc++) {
        snprintf(texts[argc], sizeof texts[argc], "%s", *a);
        argv[argc] = texts[argc];
    }
    return connect_options_parse(argc, argv, out, err);
}
#define PARSE(out, err, ...) parse(out, err, (const char *const[]){"connect", __VA_ARGS__, NULL})

static void wrong_arguments_are_named(void **state)
{
    (void)state;
    struct connect_options options;
    struct tg_error err;
    static const struct {
        const char *arguments[12];
        const char *text;
    } cases[] = {
        {{"connect", GOOD, "--colour", NULL}, "--colour: no such option"},
        {{"connect", GOOD, "extra", NULL}, "extra"},
        {{"connect", GOOD, "-L", NULL}, "-L: the value is missing"},
        {{"connect", GOOD, "--json=yes", NULL}, "--json=yes"},
        {{"connect", GOOD, "-L", "80", NULL}, "-L: \"80\": expected [bind:]port:host:hostport"},
        {{"connect", GOOD, "--suite", "RC4", NULL}, "--suite: \"RC4\" is neither"},
        {{"connect", GOOD, "--pin-fd", "x", NULL}, "--pin-fd: \"x\" is not a descriptor"},
        {{"connect", GOOD, "--pin-fd", "-3", NULL}, "--pin-fd: \"-3\" is not a descriptor"},
        {{"connect", GOOD, "--keep-alive", "0", NULL}, "--keep-alive: \"0\" is not a number from 1"},
        {{"connect", GOOD, "--low-water", "99999999999", NULL}, "--low-water"},
        {{"connect", GOOD, "--pkcs11-module", "m.so", NULL}, "--pkcs11-module is for tokens"},
        {{"connect", GOOD, "--when-shield-pulled", "lock", NULL}, "neither end nor stay"},
        {{"connect", GOOD, "--user", "", NULL}, "--user: the name is empty"},
        {{"connect", GOOD, "--ca", "", NULL}, "--ca: the FILE is empty"},
        {{"connect", GOOD, "--qkud", "no good", NULL}, "--qkud"},
        {{"connect", "--ca", "c", "--user", "u", "--shield", "s", NULL}, "--gateway"},
        {{"connect", "--gateway", "g", "--user", "u", "--shield", "s", NULL}, "--ca"},
        {{"connect", "--gateway", "g", "--ca", "c", "--shield", "s", NULL}, "--user"},
        {{"connect", "--gateway", "g", "--ca", "c", "--user", "u", NULL}, "--shield"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(&options, &err, cases[i].arguments), TG_INVALID_ARGUMENT);
        if (strstr(err.text, cases[i].text) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].text);
    }
}

static void a_secret_has_one_source(void **state)
{
    (void)state;
    struct connect_options options;
    assert_int_equal(PARSE(&options, NULL, GOOD, "--pin-fd", "3", "--pin-file", "p"), TG_INVALID_ARGUMENT);
    assert_int_equal(PARSE(&options, NULL, GOOD, "--password-fd", "3", "--password-file", "p"),
                     TG_INVALID_ARGUMENT);
}

static void forwards_have_a_limit(void **state)
{
    (void)state;
    char *argv[1 + 2 * (SESSION_FORWARDS_MAX + 1) + 1];
    char connect[] = "connect", option[] = "-L", value[] = "0:a:1";
    int argc = 0;
    argv[argc++] = connect;
    for (int i = 0; i <= SESSION_FORWARDS_MAX; i++) {
        argv[argc++] = option;
        argv[argc++] = value;
    }
    argv[argc] = NULL;
    struct connect_options options;
    struct tg_error err;
    assert_int_equal(connect_options_parse(argc, argv, &options, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "at most 64"));
}

static void all_options_are_taken(void **state)
{
    (void)state;
    struct connect_options o;
    struct tg_error err = {0};
    enum tg_code code =
        PARSE(&o, &err, GOOD, "-L", "0:a.test:80", "-L", "[::1]:1:b.test:2", "-W", "c.test:22", "--suite",
              "SM4-CTR-HMAC-SM3", "--qkud", "qkud-1", "--plain-login", "--pin-fd", "3", "--password-file",
              "pw", "--low-water", "5", "--keep-alive", "60", "--quiet", "--json");
    assert_string_equal(err.text, "");
    assert_int_equal(code, TG_OK);
    assert_int_equal(o.gateway.port, GATEWAY_DEFAULT_PORT);
    assert_int_equal(o.forward_count, 2);
    assert_string_equal(o.forwards[1].target.host, "b.test");
    assert_true(o.has_stdio_target);
    assert_int_equal(o.stdio_target.port, 22);
    assert_int_equal(o.suite_count, 1);
    assert_int_equal(suite_number(o.suites[0]), SUITE_SM4_CTR_HMAC_SM3);
    assert_true(o.plain_login && o.quiet && o.json);
    assert_int_equal(o.pin.fd, 3);
    assert_string_equal(o.password.file, "pw");
    assert_int_equal(o.low_water, 5);
    assert_int_equal(o.keep_alive_ms, 60000);
}

static void both_suites_are_offered_unless_told_otherwise(void **state)
{
    (void)state;
    struct connect_options o;
    assert_int_equal(PARSE(&o, NULL, GOOD), TG_OK);
    assert_int_equal(o.suite_count, 2);
    assert_int_equal(suite_number(o.suites[0]), SUITE_AES256_GCM_SHA256);
    assert_int_equal(o.pin.fd, -1);
    assert_null(o.pin.file);
}

/* ---- tg-charger ---- */

static enum tg_code charge(struct charger_options *out, struct tg_error *err, const char *const *arguments)
{
    static char texts[32][128];
    char *argv[33] = {NULL};
    int argc = 0;
    for (const char *const *a = arguments; *a != NULL; a++, argc++) {
        snprintf(texts[argc], sizeof texts[argc], "%s", *a);
        argv[argc] = texts[argc];
    }
    return charger_options_parse(argc, argv, out, err);
}
#define CHARGE(out, err, ...) charge(out, err, (const char *const[]){"tg-charger", __VA_ARGS__, NULL})
#define FILL "--shield", "s", "--shield-id", "shield-1", "--user", "alice"

static void charger_names_what_is_missing(void **state)
{
    (void)state;
    struct charger_options o;
    struct tg_error err;
    assert_int_equal(CHARGE(&o, &err, FILL, "--count", "3"), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "--config"));
    assert_int_equal(CHARGE(&o, &err, "--config", "c", FILL), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "--count"));
    assert_int_equal(CHARGE(&o, &err, "--config", "c", FILL, "--count", "0"), TG_INVALID_ARGUMENT);
    assert_int_equal(CHARGE(&o, &err, "--config", "c", FILL, "--count", "4097"), TG_INVALID_ARGUMENT);
    assert_int_equal(CHARGE(&o, &err, "--config", "c", FILL, "--count", "1", "--chunk", "1001"),
                     TG_INVALID_ARGUMENT);
    assert_int_equal(CHARGE(&o, &err, "empty", "--config", "c", FILL, "--count", "1"), TG_INVALID_ARGUMENT);
    assert_int_equal(CHARGE(&o, &err, "--config", "c", FILL, "--count", "1", "--shield-id", "a b"),
                     TG_INVALID_ARGUMENT);
}

static void charger_takes_its_arguments_in_place_of_the_file(void **state)
{
    (void)state;
    struct charger_options o;
    struct charger_config config;
    assert_int_equal(CHARGE(&o, NULL, "fill", "--key-store", "ipc:///run/ks.sock", "--ca", "/ca.crt", FILL,
                            "--count", "7"),
                     TG_OK);
    assert_int_equal(o.count, 7);
    assert_int_equal(o.chunk, 100);
    assert_int_equal(charger_config_load(&o, &config, NULL), TG_OK);
    assert_int_equal(config.key_store.endpoints.count, 1);
    assert_string_equal(((char **)config.key_store.endpoints.items)[0], "ipc:///run/ks.sock");
    assert_string_equal(config.key_store.tls.ca, "/ca.crt");
    assert_int_equal(config.timeout_ms, 30000);
    charger_config_free(&config);
}

static void charger_without_its_file_says_so(void **state)
{
    (void)state;
    struct charger_options o;
    struct charger_config config;
    assert_int_equal(CHARGE(&o, NULL, "--config", "/nonexistent/c.yaml", FILL, "--count", "7"), TG_OK);
    assert_int_equal(charger_config_load(&o, &config, NULL), TG_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_forwards_are_refused),
        cmocka_unit_test(forwards_are_read_in_all_their_forms),
        cmocka_unit_test(gateways_may_leave_out_the_port),
        cmocka_unit_test(long_hosts_are_refused),
        cmocka_unit_test(wrong_arguments_are_named),
        cmocka_unit_test(a_secret_has_one_source),
        cmocka_unit_test(forwards_have_a_limit),
        cmocka_unit_test(all_options_are_taken),
        cmocka_unit_test(both_suites_are_offered_unless_told_otherwise),
        cmocka_unit_test(charger_names_what_is_missing),
        cmocka_unit_test(charger_takes_its_arguments_in_place_of_the_file),
        cmocka_unit_test(charger_without_its_file_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
