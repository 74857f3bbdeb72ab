/* The audit client with several audit services: how many must acknowledge, who is down, who is behind. */
#include "tests/unit/common/audit_rig.h"

enum { SERVICES = 3 };

static struct rig rigs[SERVICES];
static struct audit_client *audit;

static struct audit_services services_of(struct rig *from, size_t count, int64_t must_ack)
{
    static char *endpoints[SERVICES][1];
    static struct audit_replica_config others[SERVICES];
    for (size_t i = 0; i < count; i++)
        endpoints[i][0] = from[i].address;
    for (size_t i = 1; i < count; i++)
        others[i - 1].endpoints = (struct config_list){endpoints[i], 1};
    return (struct audit_services){
        .first.endpoints = {endpoints[0], 1}, .replicas = {others, count - 1}, .must_ack = must_ack};
}

static void open_client(size_t count, int64_t must_ack)
{
    struct audit_services services = services_of(rigs, count, must_ack);
    struct tg_error err = {0};
    if (audit_client_open(&audit, "gateway", &services, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static void stop(size_t number)
{
    rpc_server_close(rigs[number].server);
    rigs[number].server = NULL;
}

/* Readiness is asked for: there is nothing to wait on. */
static void await_trouble(bool trouble)
{
    while ((audit_client_trouble(audit) != NULL) != trouble)
        usleep(1000);
}

static int setup(void **state)
{
    (void)state;
    memset(rigs, 0, sizeof rigs);
    for (size_t i = 0; i < SERVICES; i++)
        rig_init(&rigs[i]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)audit_client_close(audit, 0);
    audit = NULL;
    for (size_t i = 0; i < SERVICES; i++)
        rig_fini(&rigs[i]);
    return 0;
}

static void more_acknowledgements_than_services_are_refused(void **state)
{
    struct tg_error err = {0};
    struct audit_services services = services_of(rigs, 2, 3);
    (void)state;
    assert_int_equal(audit_client_open(&audit, "gateway", &services, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "audit.must_ack is 3, but there are 2"));
    services.must_ack = 0;
    assert_int_equal(audit_client_open(&audit, "gateway", &services, &err), TG_INVALID_ARGUMENT);
    assert_null(audit);
}

static void one_acknowledgement_of_two_is_not_enough(void **state)
{
    struct result r = RESULT_INIT;
    (void)state;
    set_answer(&rigs[1], TG_OK, true);
    open_client(2, 2);
    report(audit, 1, 300, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_DEADLINE_EXCEEDED);
    assert_string_equal(r.text,
                        "1 of the 2 audit services that must have the event: audit-2: the event was not "
                        "durable in time");
    assert_int_equal(rigs[0].seen[1], 1);
}

static void a_refusal_counts_when_too_few_are_left(void **state)
{
    struct result r = RESULT_INIT;
    (void)state;
    set_answer(&rigs[0], TG_OK, true);
    set_answer(&rigs[1], TG_RESOURCE_EXHAUSTED, false);
    open_client(2, 2);
    report(audit, 1, 600000, &r); /* must not wait for that long */
    await_results(&r, 1);
    assert_int_equal(r.status, TG_RESOURCE_EXHAUSTED);
    assert_string_equal(r.text, "audit-2: disk is full");
}

static void with_too_few_reachable_it_is_in_trouble(void **state)
{
    struct result r = RESULT_INIT;
    (void)state;
    open_client(3, 2);
    await_trouble(false);
    stop(0);
    report(audit, 1, 20000, &r);
    await_results(&r, 1);
    assert_int_equal(r.status, TG_OK);
    stop(2);
    await_trouble(true);
    assert_string_equal(audit_client_trouble(audit),
                        "fewer audit services can be reached than must hold every event");
    report(audit, 2, 300, &r);
    await_results(&r, 2);
    assert_int_not_equal(r.status, TG_OK);
    serve(&rigs[0]);
    await_trouble(false); /* by itself */
    report(audit, 3, 20000, &r);
    await_results(&r, 3);
    assert_int_equal(r.status, TG_OK);
}

static void every_service_gets_every_event_under_one_id(void **state)
{
    struct result r = RESULT_INIT;
    static const uint8_t none[REQUEST_ID_LEN];
    (void)state;
    open_client(3, 2);
    for (unsigned i = 0; i < 500; i++)
        report(audit, i, 20000, i % 2 == 0 ? &r : NULL);
    await_results(&r, 250);
    assert_int_equal(r.durable, 250);
    for (size_t k = 0; k < SERVICES; k++)
        await_events(&rigs[k], 500);
    for (unsigned i = 0; i < 500; i++) {
        assert_memory_not_equal(rigs[0].ids[i], none, REQUEST_ID_LEN);
        for (size_t k = 0; k < SERVICES; k++) {
            assert_int_equal(rigs[k].seen[i], 1);
            assert_memory_equal(rigs[k].ids[i], rigs[0].ids[i], REQUEST_ID_LEN);
        }
    }
    assert_memory_not_equal(rigs[0].ids[0], rigs[0].ids[1], REQUEST_ID_LEN);
}

static void who_was_away_is_caught_up(void **state)
{
    struct result r = RESULT_INIT;
    (void)state;
    stop(1);
    open_client(2, 1);
    for (unsigned i = 0; i < 1000; i++)
        report(audit, i, 20000, &r);
    await_results(&r, 1000);
    assert_int_equal(r.durable, 1000);
    assert_int_equal(rigs[1].events, 0);
    serve(&rigs[1]);
    await_events(&rigs[1], 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(rigs[1].seen[i], 1);
    assert_int_equal(rigs[0].news_count + rigs[1].news_count, 0);
}

static void what_a_service_missed_is_counted_and_reported(void **state)
{
    enum { MORE = AUDIT_OWED_MAX + 1000 };
    struct result r = RESULT_INIT;
    size_t there = 0;
    (void)state;
    stop(1);
    open_client(2, 1);
    for (unsigned i = 0; i < MORE; i++) {
        report(audit, i, 60000, &r);
        await_results(&r, i + 1);
    }
    assert_int_equal(r.durable, MORE);
    await_events(&rigs[0], MORE + 1);
    assert_string_equal(rigs[0].news[0], "audit.replica_behind");
    assert_non_null(strstr(rigs[0].told[0], rigs[1].address));
    serve(&rigs[1]);
    await_events(&rigs[0], MORE + 2);
    assert_string_equal(rigs[0].news[1], "audit.replica_caught_up");
    assert_true(audit_client_close(audit, 20000));
    audit = NULL;
    for (unsigned i = 0; i < MORE; i++) {
        assert_int_equal(rigs[0].seen[i], 1);
        assert_true(rigs[1].seen[i] <= 1);
        there += rigs[1].seen[i];
    }
    assert_true(there < MORE);
    char expected[64];
    snprintf(expected, sizeof expected, "|%zu events are missing in its log;", MORE - there);
    assert_non_null(strstr(rigs[0].told[1], expected));
    assert_int_equal(rigs[1].news_count, 2); /* its own log says so as well */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(more_acknowledgements_than_services_are_refused), TEST(one_acknowledgement_of_two_is_not_enough),
        TEST(a_refusal_counts_when_too_few_are_left),          TEST(with_too_few_reachable_it_is_in_trouble),
        TEST(every_service_gets_every_event_under_one_id),     TEST(who_was_away_is_caught_up),
        TEST(what_a_service_missed_is_counted_and_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
