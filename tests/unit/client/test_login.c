/* The login against a gateway that does one thing wrong, or none: how it ends, what is said, and that a
 * gateway that failed to prove itself never saw login info. */
#include <signal.h>

#include "tests/unit/client/scripted_gateway.h"

struct run {
    struct gateway gateway;
    struct client client;
};

static void prepare(struct run *run, const struct plan *plan)
{
    gateway_start(&run->gateway, plan);
    client_open(&run->client, &run->gateway);
}

static void log_in(struct run *run, const struct login_request *request)
{
    run->client.exit = login_run(request, &run->client.session, &run->client.err);
    if (run->client.exit != EXIT_OK) {
        assert_int_equal(run->client.session.fd, -1);
        assert_null(run->client.session.ssl);
    }
}

static void finish(struct run *run)
{
    client_close(&run->client);
    gateway_join(&run->gateway);
}

/* The usual case: a plan, and nothing special on the client's side. */
static void run_plan(struct run *run, const struct plan *plan)
{
    prepare(run, plan);
    struct login_request request = client_request(&run->client, &run->gateway);
    if (plan->misdeed == FALLS_SILENT)
        request.deadline_ms = 300;
    log_in(run, &request);
    finish(run);
}

static void expect_text(const struct run *run, const char *part)
{
    if (strstr(run->client.err.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", run->client.err.text, part);
}

/* ---- the gateway's certificate ---- */

static void certificate_of_another_ca_is_refused(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, &(struct plan){0});
    login_tls_close(run.client.tls);
    assert_int_equal(login_tls_open(run.gateway.pki.other_ca, &run.client.tls, NULL), TG_OK);
    const struct login_request request = client_request(&run.client, &run.gateway);
    log_in(&run, &request);
    finish(&run);
    assert_int_equal(run.client.exit, EXIT_CERTIFICATE);
    expect_text(&run, "not trusted");
    assert_false(run.gateway.saw_hello);
    gateway_stop(&run.gateway);
}

static void certificate_for_another_host_is_refused(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, &(struct plan){0});
    struct login_request request = client_request(&run.client, &run.gateway);
    request.host = "localhost"; /* the certificate is for 127.0.0.1 */
    log_in(&run, &request);
    finish(&run);
    assert_int_equal(run.client.exit, EXIT_CERTIFICATE);
    expect_text(&run, "ostname mismatch");
    assert_false(run.gateway.saw_hello);
    gateway_stop(&run.gateway);
}

static void missing_and_bad_ca_files_are_told_apart(void **state)
{
    (void)state;
    struct login_tls *tls = NULL;
    struct tg_error err;
    assert_int_equal(login_tls_open("/nonexistent/ca.crt", &tls, &err), TG_NOT_FOUND);
    assert_int_equal(login_tls_open("/dev/null", &tls, &err), TG_INVALID_ARGUMENT);
    assert_null(tls);
}

static void nobody_listening_is_unreachable(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, &(struct plan){0});
    gateway_join(&run.gateway);
    close(run.gateway.listener);
    const struct login_request request = client_request(&run.client, &run.gateway);
    log_in(&run, &request);
    assert_int_equal(run.client.exit, EXIT_GATEWAY_UNREACHABLE);
    expect_text(&run, "cannot reach the gateway");
    client_close(&run.client);
    run.gateway.listener = -1;
    gateway_stop(&run.gateway);
}

/* ---- IDENTITY ---- */

static void bad_identities_end_the_login_before_a_key_is_taken(void **state)
{
    (void)state;
    static const struct plan plans[] = {
        {.version = 2},
        {.suite = 77},
        {.nonce_len = 31},
        {.qkud_id = "not a good id"},
    };
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        struct run run;
        run_plan(&run, &plans[i]);
        assert_int_equal(run.client.exit, EXIT_PROTOCOL);
        assert_false(run.gateway.saw_ticket);
        gateway_stop(&run.gateway);
    }
}

static void suite_that_was_not_offered_is_refused(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, &(struct plan){.suite = SUITE_AES256_GCM_SHA256});
    struct login_request request = client_request(&run.client, &run.gateway);
    request.suites += 1; /* SM4 only */
    request.suite_count = 1;
    log_in(&run, &request);
    struct shield_status status;
    assert_int_equal(shield_get_status(run.client.shield, 1, &status, NULL), TG_OK);
    assert_int_equal(status.ready, 1);
    finish(&run);
    assert_int_equal(run.client.exit, EXIT_PROTOCOL);
    expect_text(&run, "did not offer");
    gateway_stop(&run.gateway);
}

static void another_gateway_than_the_wanted_one_is_refused(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, &(struct plan){0});
    struct login_request request = client_request(&run.client, &run.gateway);
    request.qkud_id = "qkud-other";
    log_in(&run, &request);
    finish(&run);
    assert_int_equal(run.client.exit, EXIT_CONFIG);
    assert_false(run.gateway.saw_ticket);
    gateway_stop(&run.gateway);
}

static void plain_login_is_not_even_tried_where_it_must_be_sealed(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, &(struct plan){.must_seal = true});
    struct login_request request = client_request(&run.client, &run.gateway);
    request.plain_login = true;
    log_in(&run, &request);
    finish(&run);
    assert_int_equal(run.client.exit, EXIT_CONFIG);
    assert_false(run.gateway.saw_ticket);
    gateway_stop(&run.gateway);
}

/* ---- shield ---- */

static void empty_shield_says_so(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, &(struct plan){0});
    struct shield_key *key = NULL;
    assert_int_equal(shield_take(run.client.shield, 1, &key, NULL), TG_OK);
    shield_key_free(key);
    const struct login_request request = client_request(&run.client, &run.gateway);
    log_in(&run, &request);
    finish(&run);
    assert_int_equal(run.client.exit, EXIT_SHIELD_EMPTY);
    expect_text(&run, "tg-charger fill");
    gateway_stop(&run.gateway);
}

/* ---- a gateway that cannot prove the key ---- */

static void gateway_without_the_key_never_sees_login_info(void **state)
{
    (void)state;
    static const struct plan plans[] = {
        {.alter_proof = true},
        {.short_proof = true},
        {.place = AT_CHANNEL, .misdeed = OTHER_PSK},
        {.place = AT_CHANNEL, .misdeed = NO_PSK},
    };
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        struct run run;
        run_plan(&run, &plans[i]);
        assert_int_equal(run.client.exit, EXIT_GATEWAY_UNPROVEN);
        expect_text(&run, "Your password was not sent");
        assert_true(run.gateway.saw_ticket);
        assert_false(run.gateway.saw_login);
        gateway_stop(&run.gateway);
    }
}

/* ---- misdeeds at each place ---- */

static const enum place places[] = {AT_IDENTITY, AT_AUTHENTICATED, AT_VERDICT};

static void misdeed_everywhere(enum misdeed misdeed, enum client_exit expected, const char *text)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct run run;
        run_plan(&run, &(struct plan){.place = places[i], .misdeed = misdeed});
        assert_int_equal(run.client.exit, expected);
        expect_text(&run, text);
        assert_false(run.gateway.done);
        gateway_stop(&run.gateway);
    }
}

static void frames_that_are_too_long_end_the_login(void **state)
{
    (void)state;
    misdeed_everywhere(TOO_LONG, EXIT_PROTOCOL, "");
}

static void frames_out_of_order_end_the_login(void **state)
{
    (void)state;
    misdeed_everywhere(OUT_OF_ORDER, EXIT_PROTOCOL, "while we were waiting for");
}

static void unknown_frames_end_the_login(void **state)
{
    (void)state;
    misdeed_everywhere(UNKNOWN_TYPE, EXIT_PROTOCOL, "");
}

static void malformed_messages_end_the_login(void **state)
{
    (void)state;
    misdeed_everywhere(MALFORMED, EXIT_PROTOCOL, "malformed");
}

static void frames_cut_off_end_the_login(void **state)
{
    (void)state;
    misdeed_everywhere(CUTS_OFF, EXIT_GATEWAY_UNREACHABLE, "closed the connection");
}

static void closed_connections_end_the_login(void **state)
{
    (void)state;
    misdeed_everywhere(CLOSES, EXIT_GATEWAY_UNREACHABLE, "closed the connection");
    struct run run;
    run_plan(&run, &(struct plan){.place = AT_CHANNEL, .misdeed = CLOSES});
    assert_int_equal(run.client.exit, EXIT_GATEWAY_UNREACHABLE);
    gateway_stop(&run.gateway);
}

static void silence_ends_at_the_deadline(void **state)
{
    (void)state;
    misdeed_everywhere(FALLS_SILENT, EXIT_GATEWAY_UNREACHABLE, "did not answer in time");
    struct run run;
    run_plan(&run, &(struct plan){.place = AT_CHANNEL, .misdeed = FALLS_SILENT});
    assert_int_equal(run.client.exit, EXIT_GATEWAY_UNREACHABLE);
    expect_text(&run, "did not answer in time");
    gateway_stop(&run.gateway);
}

static void refusals_are_shown_in_each_state(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        enum client_exit expected;
    } cases[] = {
        {TG_UNAUTHENTICATED, EXIT_REFUSED},
        {TG_PERMISSION_DENIED, EXIT_REFUSED},
        {TG_RESOURCE_EXHAUSTED, EXIT_TRY_LATER},
        {TG_UNAVAILABLE, EXIT_TRY_LATER},
        {TG_INVALID_ARGUMENT, EXIT_PROTOCOL},
        {TG_OK, EXIT_REFUSED},
        {4711, EXIT_REFUSED},
    };
    for (size_t i = 0; i < 3 * sizeof cases / sizeof *cases; i++) {
        struct run run;
        run_plan(&run, &(struct plan){.place = places[i % 3],
                                      .misdeed = REFUSES,
                                      .refusal = cases[i / 3].code,
                                      .refusal_text = "no\033[2J entry"});
        assert_int_equal(run.client.exit, cases[i / 3].expected);
        expect_text(&run, "the gateway refused: no\ufffd[2J entry (trace 0123456789abcdef0123456789abcdef)");
        assert_int_not_equal(run.client.err.code, TG_OK);
        gateway_stop(&run.gateway);
    }
}

/* ---- CHALLENGE ---- */

static void questions_are_answered_up_to_eight_times(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        struct run run;
        prepare(&run, &(struct plan){.challenges = 8});
        struct login_request request = client_request(&run.client, &run.gateway);
        request.plain_login = plain;
        log_in(&run, &request);
        finish(&run);
        assert_int_equal(run.client.exit, EXIT_OK);
        assert_int_equal(run.gateway.answers_right, 8);
        assert_int_equal(run.gateway.login_sealed, !plain);
        gateway_stop(&run.gateway);
    }
}

static void the_ninth_question_ends_the_login(void **state)
{
    (void)state;
    struct run run;
    run_plan(&run, &(struct plan){.challenges = 9});
    assert_int_equal(run.client.exit, EXIT_PROTOCOL);
    assert_int_equal(run.client.questions, 8);
    expect_text(&run, "more than 8 questions");
    gateway_stop(&run.gateway);
}

/* The round is the nonce of the answer: one that repeats or jumps must not be used. */
static void questions_with_wrong_numbers_end_the_login(void **state)
{
    (void)state;
    struct run run;
    run_plan(&run, &(struct plan){.challenges = 1, .first_round = 2});
    assert_int_equal(run.client.exit, EXIT_PROTOCOL);
    assert_int_equal(run.client.questions, 0);
    gateway_stop(&run.gateway);
}

static enum tg_code give_up(void *arg, const char *question, bool echo, struct secret **answer,
                            struct tg_error *err)
{
    (void)arg;
    (void)question;
    (void)echo;
    (void)answer;
    return tg_fail(err, TG_CANCELLED, "nothing was entered");
}

static void a_user_who_does_not_answer_is_not_in(void **state)
{
    (void)state;
    for (int nobody = 0; nobody < 2; nobody++) {
        struct run run;
        prepare(&run, &(struct plan){.challenges = 1});
        struct login_request request = client_request(&run.client, &run.gateway);
        request.ask = nobody ? NULL : give_up;
        log_in(&run, &request);
        finish(&run);
        assert_int_equal(run.client.exit, EXIT_REFUSED);
        expect_text(&run, nobody ? "nobody to answer" : "nothing was entered");
        assert_false(run.gateway.done);
        gateway_stop(&run.gateway);
    }
}

/* ---- WELCOME ---- */

static void welcomes_that_make_no_sense_end_the_login(void **state)
{
    (void)state;
    static const struct plan plans[] = {
        {.session_id_len = 15}, {.window = STREAM_WINDOW_MIN - 1}, {.window = STREAM_WINDOW_MAX + 1}};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        struct run run;
        run_plan(&run, &plans[i]);
        assert_int_equal(run.client.exit, EXIT_PROTOCOL);
        gateway_stop(&run.gateway);
    }
}

static void login_info_that_is_too_long_is_not_sent(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, &(struct plan){0});
    secret_free(run.client.password);
    run.client.password = secret_new(5000);
    const struct login_request request = client_request(&run.client, &run.gateway);
    log_in(&run, &request);
    finish(&run);
    assert_int_not_equal(run.client.exit, EXIT_OK);
    expect_text(&run, "too long");
    assert_false(run.gateway.saw_login);
    gateway_stop(&run.gateway);
}

static void a_login_works_in_both_suites_plain_and_sealed(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct run run;
        prepare(&run, &(struct plan){.must_seal = (i & 1) == 0});
        struct login_request request = client_request(&run.client, &run.gateway);
        request.suites += i / 2;
        request.suite_count = 1;
        request.plain_login = (i & 1) != 0;
        log_in(&run, &request);
        assert_int_equal(run.client.exit, EXIT_OK);
        assert_string_equal(run.client.session.welcome->policy, "core-ops");
        assert_string_equal(run.client.session.qkud_id, "qkud-test");
        assert_ptr_equal(run.client.session.suite, request.suites[0]);
        finish(&run);
        assert_true(run.gateway.done);
        assert_true(run.gateway.random_right);
        assert_int_equal(run.gateway.login_sealed, (i & 1) == 0);
        gateway_stop(&run.gateway);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificate_of_another_ca_is_refused),
        cmocka_unit_test(certificate_for_another_host_is_refused),
        cmocka_unit_test(missing_and_bad_ca_files_are_told_apart),
        cmocka_unit_test(nobody_listening_is_unreachable),
        cmocka_unit_test(bad_identities_end_the_login_before_a_key_is_taken),
        cmocka_unit_test(suite_that_was_not_offered_is_refused),
        cmocka_unit_test(another_gateway_than_the_wanted_one_is_refused),
        cmocka_unit_test(plain_login_is_not_even_tried_where_it_must_be_sealed),
        cmocka_unit_test(empty_shield_says_so),
        cmocka_unit_test(gateway_without_the_key_never_sees_login_info),
        cmocka_unit_test(frames_that_are_too_long_end_the_login),
        cmocka_unit_test(frames_out_of_order_end_the_login),
        cmocka_unit_test(unknown_frames_end_the_login),
        cmocka_unit_test(malformed_messages_end_the_login),
        cmocka_unit_test(frames_cut_off_end_the_login),
        cmocka_unit_test(closed_connections_end_the_login),
        cmocka_unit_test(silence_ends_at_the_deadline),
        cmocka_unit_test(refusals_are_shown_in_each_state),
        cmocka_unit_test(questions_are_answered_up_to_eight_times),
        cmocka_unit_test(the_ninth_question_ends_the_login),
        cmocka_unit_test(questions_with_wrong_numbers_end_the_login),
        cmocka_unit_test(a_user_who_does_not_answer_is_not_in),
        cmocka_unit_test(welcomes_that_make_no_sense_end_the_login),
        cmocka_unit_test(login_info_that_is_too_long_is_not_sent),
        cmocka_unit_test(a_login_works_in_both_suites_plain_and_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
