/* A key store whose keys come from a file of a generator's bytes: dry, filled up again, and ill. */
#include "rig.h"

#include <openssl/rand.h>

#include "services/key-store/source/health_tests.h"

enum { STOCK = FILL_MAX, LOW_WATER = 100 };

static char noise_path[] = "/tmp/tg-test-source-XXXXXX";
static uint8_t noise[HEALTH_STARTUP + 2 * STOCK * 32];

/* A new file in the old one's place, as an operator puts it there. */
static void put_file(size_t len)
{
    char fresh[sizeof noise_path + 4];
    (void)snprintf(fresh, sizeof fresh, "%s.new", noise_path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, noise, len), (ssize_t)len);
    close(fd);
    assert_int_equal(rename(fresh, noise_path), 0);
}

static int open_with_file(void **state)
{
    assert_int_equal(RAND_bytes(noise, sizeof noise), 1);
    put_file(HEALTH_STARTUP + STOCK * 32);
    rig_source = (struct source_config){.kind = SOURCE_DEVICE,
                                        .stock = STOCK,
                                        .low_water = LOW_WATER,
                                        .device = {noise_path, HEALTH_ENTROPY_MAX, true, 5000}};
    return rig_open(state);
}

static int open_with_drbg(void **state)
{
    rig_source = (struct source_config){.kind = SOURCE_DRBG};
    return rig_open(state);
}

static Tg__SourceStatusResponse *status_of(struct rig *r)
{
    Tg__SourceStatusRequest request = TG__SOURCE_STATUS_REQUEST__INIT;
    return answered(r->admin, "SourceStatus", &request.base);
}

static bool has_stock(struct rig *r, uint64_t keys)
{
    Tg__SourceStatusResponse *status = status_of(r);
    bool has = status->stock >= keys;
    rpc_free_response(&status->base);
    return has;
}

static void only_operators_ask_for_it(void **state)
{
    struct rig *r = *state;
    Tg__SourceStatusRequest request = TG__SOURCE_STATUS_REQUEST__INIT;
    refused(r->charger, "SourceStatus", &request.base, TG_PERMISSION_DENIED, "");
    refused(r->resolver, "SourceStatus", &request.base, TG_PERMISSION_DENIED, "");
}

static void the_drbg_is_never_dry(void **state)
{
    struct rig *r = *state;
    rpc_free_response(&fill_s1(r, 10)->base);
    Tg__SourceStatusResponse *status = status_of(r);
    assert_string_equal(status->source, "drbg");
    assert_int_equal(status->capacity, 0);
    assert_true(status->drawn >= 10);
    assert_false(status->low);
    assert_string_equal(status->problem, "");
    rpc_free_response(&status->base);
}

static void a_dry_source_refuses_fills_and_nothing_else(void **state)
{
    struct rig *r = *state;
    EVENTUALLY(has_stock(r, 990)); /* no room for what one more fetch may bring */
    Tg__FillResponse *filled = fill_s1(r, 950);
    struct event made = wait_event(r, "keys.made", false);
    assert_string_equal(made.detail, "950 keys from conditioned device");
    struct event low = wait_event(r, "source.low", true);
    assert_non_null(strstr(low.detail, "key source conditioned device: "));

    Tg__FillRequest fill = fill_request("s1", "alice", 200);
    refused(r->charger, "Fill", &fill.base, TG_RESOURCE_EXHAUSTED, "key source conditioned device is dry");
    Tg__SourceStatusResponse *status = status_of(r);
    assert_true(status->low);
    assert_false(status->failed);
    assert_int_equal(status->low_water, LOW_WATER);
    assert_int_equal(status->drawn, 950);
    rpc_free_response(&status->base);
    spend_ok(r, filled->entries[0]);
    assert_null(key_store_not_serving(r->ks));
    rpc_free_response(&filled->base);

    put_file(sizeof noise);
    (void)wait_event(r, "source.recovered", false);
    EVENTUALLY(has_stock(r, 900));
    done(r->charger, "Fill", &fill.base);
    assert_int_equal(count_events(r, "source.low"), 1);
}

static void a_failed_health_test_is_an_alarm(void **state)
{
    struct rig *r = *state;
    add_shield_of(r, "s1", "alice");
    Tg__FillRequest fill = fill_request("s1", "alice", 800);
    EVENTUALLY(has_stock(r, 800));
    memset(noise, 0, 4096);
    put_file(4096);
    done(r->charger, "Fill", &fill.base);
    struct event failed = wait_event(r, "source.failed", true);
    assert_non_null(strstr(failed.reason, "repetition count test failed"));
    assert_non_null(strstr(failed.reason, noise_path));
    fill.count = 1;
    refused(r->charger, "Fill", &fill.base, TG_UNAVAILABLE, "out of use");
    Tg__SourceStatusResponse *status = status_of(r);
    assert_true(status->failed);
    assert_int_equal(status->stock, 0);
    rpc_free_response(&status->base);
}

static char *metrics_of(struct rig *r)
{
    struct metrics *out = metrics_new();
    size_t len = 0;
    assert_non_null(out);
    key_store_metrics(r->ks, out);
    char *text = metrics_finish(out, &len);
    assert_non_null(text);
    return text;
}

static void counts(struct rig *r, const char *line)
{
    char *text = metrics_of(r);
    if (strstr(text, line) == NULL)
        fail_msg("\"%s\" is not in\n%s", line, text);
    free(text);
}

static void each_key_is_counted_once(void **state)
{
    struct rig *r = *state;
    uint8_t id[REQUEST_ID_LEN] = {1};
    struct tg_error err;
    counts(r, "\nticketgate_keys_made_total 0\n");
    EVENTUALLY(has_stock(r, 100));
    Tg__FillResponse *filled = fill_s1(r, 3);
    Tg__SpendRequest spend = spend_request(filled->entries[0]);
    for (int i = 0; i < 2; i++) { /* the answer was lost: the same request again */
        ProtobufCMessage *response = NULL;
        must(call_id(r->resolver, "Spend", &spend.base, id, BUDGET_MS, &response, &err), &err);
        rpc_free_response(response);
    }
    refused(r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "spent");
    Tg__FillRequest fill = fill_request("s2", "alice", 5); /* no such shield */
    refused(r->charger, "Fill", &fill.base, TG_NOT_FOUND, "s2");
    counts(r, "\nticketgate_keys_made_total 3\n");
    counts(r, "\nticketgate_keys_spent_total 1\n");
    counts(r, "\nticketgate_source_stock_keys{source=\"conditioned device\"} ");
    counts(r, "\nticketgate_source_drawn_bytes_total{source=\"conditioned device\"} 256\n");
    counts(r, "\nticketgate_source_failed{source=\"conditioned device\"} 0\n");
    counts(r, "\nticketgate_audit_events_lost_total 0\n");
    counts(r, "\nticketgate_audit_connected 1\n");
    rpc_free_response(&filled->base);
}

static void settings_that_do_not_fit_are_refused(void **state)
{
    struct key_store ks = {0};
    struct tg_error err;
    struct source_config config = {.kind = SOURCE_DEVICE, .stock = STOCK, .low_water = LOW_WATER};
    (void)state;
    assert_int_equal(key_store_open_source(&ks, &config, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "device.path"));
    config.low_water = STOCK / 2 + 1;
    assert_int_equal(key_store_open_source(&ks, &config, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "source_low_water"));
}

int main(void)
{
    int fd = mkstemp(noise_path);
    if (fd < 0)
        return 1;
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_operators_ask_for_it, open_with_drbg, rig_close),
        cmocka_unit_test_setup_teardown(the_drbg_is_never_dry, open_with_drbg, rig_close),
        cmocka_unit_test_setup_teardown(a_dry_source_refuses_fills_and_nothing_else, open_with_file,
                                        rig_close),
        cmocka_unit_test_setup_teardown(a_failed_health_test_is_an_alarm, open_with_file, rig_close),
        cmocka_unit_test_setup_teardown(each_key_is_counted_once, open_with_file, rig_close),
        cmocka_unit_test(settings_that_do_not_fit_are_refused),
    };
    quiet();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(noise_path);
    return failed;
}
