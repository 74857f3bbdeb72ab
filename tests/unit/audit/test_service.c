/* The service as its callers see it: method table, roles, and the parts together. */
#include "tests/unit/audit/archive_fixture.h"

#include <sys/stat.h>

#include "common/audit_client.h"
#include "common/file.h"
#include "common/pb.h"
#include "services/audit/audit.h"

struct rig {
    void *audit;
    struct rpc_server *server;
    struct rpc_client *service;
    struct rpc_client *operator;
};

static int role_index(const char *name)
{
    int i = 0;
    while (strcmp(rpc_role_names[i], name) != 0)
        i++;
    return i;
}

static struct rpc_client *connect_as(struct rig *rig, const char *role)
{
    char address[64];
    snprintf(address, sizeof address, "inproc://audit-%s", role);
    struct rpc_listener listener = {.address = address, .role = role_index(role)};
    assert_int_equal(rpc_server_listen(rig->server, &listener, NULL), TG_OK);
    char *endpoints[] = {address};
    struct rpc_peer peer = {.endpoints = {endpoints, 1}};
    struct rpc_client *client = NULL;
    assert_int_equal(rpc_client_open(&client, "audit", &peer, NULL), TG_OK);
    return client;
}

static void rig_open_with(struct rig *rig, char *directory, char *archive)
{
    char key_path[256];
    struct tg_error err = {0};
    uint8_t key[RECORD_KEY_LEN] = {1};
    snprintf(key_path, sizeof key_path, "%s/audit.key", directory);
    if (access(key_path, F_OK) != 0)
        assert_int_equal(file_write_new(key_path, key, sizeof key, &err), TG_OK);
    char signing_key[512];
    make_key_file(directory, "log.key", signing_key);
    char origin[] = TEST_ORIGIN;
    char *signing_keys[] = {signing_key};
    struct audit_config config = {.directory = directory,
                                  .ticket_key = key_path,
                                  .origin = origin,
                                  .signing_keys = {signing_keys, 1},
                                  .queue_events = 1024,
                                  .disk_timeout = 60000,
                                  .archive = {archive, INT64_C(86400000)}};
    if (audit_open(&config, &rig->audit, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(rpc_server_open(&rig->server, audit_methods, rig->audit, 16, NULL), TG_OK);
    assert_int_equal(audit_start(rig->audit, NULL), TG_OK);
    rig->service = connect_as(rig, "service");
    rig->operator= connect_as(rig, "operator");
}

static void rig_open(struct rig *rig, char *directory)
{
    rig_open_with(rig, directory, NULL);
}

static void rig_close(struct rig *rig)
{
    audit_drain(rig->audit, 1000);
    rpc_client_close(rig->service);
    rpc_client_close(rig->operator);
    rpc_server_close(rig->server);
    audit_close(rig->audit);
}

static enum tg_code call(struct rpc_client *client, const char *method, const ProtobufCMessage *message,
                         const uint8_t *id, ProtobufCMessage **response)
{
    struct rpc_request request = {.service = &tg__audit__descriptor,
                                  .method = method,
                                  .message = message,
                                  .budget_ms = 20000,
                                  .request_id = id,
                                  .idempotent = true};
    return rpc_call_wait(client, &request, response, NULL);
}

static enum tg_code append(struct rpc_client *client, const char *name, const uint8_t *id, uint64_t *first)
{
    Tg__AppendRequest request = TG__APPEND_REQUEST__INIT;
    Tg__Event event = TG__EVENT__INIT;
    Tg__Event *events[] = {&event, &event};
    ProtobufCMessage *response = NULL;
    event.event = pb_string(name);
    request.n_events = 2;
    request.events = events;
    enum tg_code code = call(client, "Append", &request.base, id, &response);
    if (code == TG_OK)
        *first = ((const Tg__AppendResponse *)(const void *)response)->first_sequence;
    rpc_free_response(response);
    return code;
}

static size_t query(struct rpc_client *client, const char *event, uint32_t wait_ms)
{
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    request.limit = 500;
    request.event = pb_string(event);
    request.wait_ms = wait_ms;
    ProtobufCMessage *response = NULL;
    assert_int_equal(call(client, "Query", &request.base, NULL, &response), TG_OK);
    size_t lines = ((const Tg__QueryResponse *)(const void *)response)->n_lines;
    rpc_free_response(response);
    return lines;
}

static void test_bad_events_leave_no_trace(void **state)
{
    struct rig rig = {0};
    uint64_t first = 0;
    ProtobufCMessage *response = NULL;
    Tg__AppendRequest empty = TG__APPEND_REQUEST__INIT;
    rig_open(&rig, *state);
    assert_int_equal(append(rig.service, "Not A Name", NULL, &first), TG_INVALID_ARGUMENT);
    assert_int_equal(call(rig.service, "Append", &empty.base, NULL, &response), TG_INVALID_ARGUMENT);
    assert_int_equal(query(rig.operator, "", 10000), 1); /* audit.started, which nobody has waited for */
    rig_close(&rig);
}

static void test_roles_are_kept_apart(void **state)
{
    struct rig rig = {0};
    uint64_t first = 0;
    ProtobufCMessage *response = NULL;
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    request.limit = 1;
    rig_open(&rig, *state);
    assert_int_equal(append(rig.operator, "login.accepted", NULL, &first), TG_PERMISSION_DENIED);
    assert_int_equal(call(rig.service, "Query", &request.base, NULL, &response), TG_PERMISSION_DENIED);
    rig_close(&rig);
}

static void test_append_query_verify(void **state)
{
    struct rig rig = {0};
    uint64_t first = 0;
    uint64_t again = 0;
    uint8_t id[REQUEST_ID_LEN] = {7};
    rig_open(&rig, *state);
    assert_int_equal(append(rig.service, "login.accepted", id, &first), TG_OK);
    assert_int_equal(append(rig.service, "login.accepted", id, &again), TG_OK);
    assert_int_equal(first, again);
    assert_int_equal(query(rig.operator, "login.", 1000), 2);
    assert_null(audit_not_serving(rig.audit));

    ProtobufCMessage *response = NULL;
    Tg__AuditVerifyRequest request = TG__AUDIT_VERIFY_REQUEST__INIT;
    assert_int_equal(call(rig.operator, "Verify", &request.base, NULL, &response), TG_OK);
    const Tg__AuditVerifyResponse *verified = (const void *)response;
    assert_true(verified->intact);
    assert_int_equal(verified->entries, 3);
    rpc_free_response(response);
    rig_close(&rig);

    rig_open(&rig, *state); /* what it did last is there when it starts again */
    assert_int_equal(append(rig.service, "login.accepted", NULL, &first),
                     TG_OK); /* audit.started is durable before it */
    assert_int_equal(query(rig.operator, "audit.", 0), 3);
    rig_close(&rig);
}

static char *hash_of(struct rpc_client *client, const uint8_t *value, size_t len)
{
    Tg__HashRequest request = TG__HASH_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    request.value = pb_bytes(value, len);
    if (call(client, "Hash", &request.base, NULL, &response) != TG_OK)
        return NULL;
    char *hmac = strdup(((const Tg__HashResponse *)(const void *)response)->hmac);
    rpc_free_response(response);
    return hmac;
}

static bool is_hashed(struct rpc_client *client, const uint8_t *value, size_t len)
{
    char *hmac = hash_of(client, value, len);
    bool hashed = hmac != NULL;
    free(hmac);
    return hashed;
}

static size_t query_ticket(struct rpc_client *client, char *hmac)
{
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    request.limit = 10;
    request.ticket_hmac = hmac;
    assert_int_equal(call(client, "Query", &request.base, NULL, &response), TG_OK);
    size_t lines = ((const Tg__QueryResponse *)(const void *)response)->n_lines;
    rpc_free_response(response);
    return lines;
}

/* Who has a ticket finds it, by what stands in the log instead; services do not. */
static void test_hash_finds_a_ticket(void **state)
{
    struct rig rig = {0};
    Tg__AppendRequest append = TG__APPEND_REQUEST__INIT;
    Tg__Event event = TG__EVENT__INIT;
    Tg__Event *events[] = {&event};
    ProtobufCMessage *response = NULL;
    uint8_t ticket[65] = {1, 2, 3}, other[RECORD_HIDDEN_MAX + 1] = {1, 2, 4};
    rig_open(&rig, *state);
    event.event = pb_string("key.spent");
    event.ticket = pb_bytes(ticket, sizeof ticket);
    append.n_events = 1;
    append.events = events;
    assert_int_equal(call(rig.service, "Append", &append.base, NULL, &response), TG_OK);
    rpc_free_response(response);

    assert_false(is_hashed(rig.service, ticket, sizeof ticket));
    assert_false(is_hashed(rig.operator, ticket, 0));
    assert_false(is_hashed(rig.operator, other, sizeof other));
    char *hmac = hash_of(rig.operator, ticket, sizeof ticket);
    char *another = hash_of(rig.operator, other, sizeof ticket);
    assert_int_equal(query_ticket(rig.operator, hmac), 1);
    assert_int_equal(query_ticket(rig.operator, another), 0);
    free(hmac);
    free(another);
    rig_close(&rig);
}

/* ---- retention ---- */

enum { OLD = 800, MOVED = 768 };

/* All pages; *status says how the last one ended. */
static size_t query_all(struct rpc_client *client, const char *event, enum tg_code *status)
{
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    size_t lines = 0;
    request.limit = 500;
    request.event = pb_string(event);
    for (bool more = true; more;) {
        ProtobufCMessage *response = NULL;
        *status = call(client, "Query", &request.base, NULL, &response);
        if (*status != TG_OK)
            break;
        const Tg__QueryResponse *page = (const void *)response;
        lines += page->n_lines;
        more = page->more;
        request.from_sequence = page->next_sequence;
        rpc_free_response(response);
    }
    return lines;
}

static void assert_verified(struct rpc_client *client, uint64_t archived)
{
    ProtobufCMessage *response = NULL;
    Tg__AuditVerifyRequest request = TG__AUDIT_VERIFY_REQUEST__INIT;
    assert_int_equal(call(client, "Verify", &request.base, NULL, &response), TG_OK);
    const Tg__AuditVerifyResponse *verified = (const void *)response;
    if (!verified->intact)
        fail_msg("%s", verified->problem);
    assert_int_equal(verified->archived, archived);
    assert_true(verified->entries > OLD);
    rpc_free_response(response);
}

/* False: it is still in the log after a minute. */
static bool wait_until_gone(const char *path)
{
    for (unsigned i = 0; i < 6000 && access(path, F_OK) == 0; i++)
        usleep(10000);
    return access(path, F_OK) != 0;
}

static void test_only_the_service_announces(void **state)
{
    struct rig rig = {0};
    uint64_t first = 0;
    rig_open(&rig, *state);
    assert_int_equal(append(rig.service, "audit.archived", NULL, &first), TG_INVALID_ARGUMENT);
    rig_close(&rig);
}

static void test_old_entries_are_archived(void **state)
{
    struct rig rig = {0};
    enum tg_code status = TG_OK;
    char archive[256];
    char away[256];
    char last[256];
    snprintf(archive, sizeof archive, "%s/archive", (const char *)*state);
    snprintf(away, sizeof away, "%s/away", (const char *)*state);
    snprintf(last, sizeof last, "%s/tile/entries/002", (const char *)*state);
    struct log_writer *log = open_log(*state);
    append_of(log, OLD, OLD_MS);
    log->ops->close(log);
    rig_open_with(&rig, *state, archive); /* which is away: everything else works */
    assert_int_equal(query_all(rig.operator, "test.", &status), OLD);
    rig_close(&rig);
    assert_int_equal(access(last, F_OK), 0);

    assert_int_equal(mkdir(archive, 0700), 0);
    rig_open_with(&rig, *state, archive);
    assert_int_equal(query(rig.operator, "audit.archived", 60000), 1);
    assert_true(wait_until_gone(last));
    assert_int_equal(query_all(rig.operator, "test.", &status), OLD);
    assert_int_equal(status, TG_OK);
    assert_verified(rig.operator, 0);

    assert_int_equal(rename(archive, away), 0);
    (void)query_all(rig.operator, "test.", &status);
    assert_int_equal(status, TG_UNAVAILABLE);
    assert_int_equal(query_all(rig.operator, "audit.archived", &status),
                     1); /* the index knows where to look */
    assert_verified(rig.operator, MOVED);
    assert_int_equal(rename(away, archive), 0);
    assert_int_equal(query_all(rig.operator, "test.", &status), OLD);
    rig_close(&rig);
}

/* A file in it that never answers: events are taken all the same, and the service ends. */
static void test_hanging_archive_holds_nobody_up(void **state)
{
    struct rig rig = {0};
    uint64_t first = 0;
    char path[512];
    struct log_writer *log = open_log(*state);
    append_of(log, OLD, OLD_MS);
    log->ops->close(log);
    char archive[256];
    snprintf(archive, sizeof archive, "%s/archive", (const char *)*state);
    assert_int_equal(mkdir(archive, 0700), 0);
    snprintf(path, sizeof path, "%s/tile", archive);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/tile/entries", archive);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/tile/entries/000", archive);
    assert_int_equal(mkfifo(path, 0600), 0);
    rig_open_with(&rig, *state, archive);
    assert_int_equal(append(rig.service, "login.accepted", NULL, &first), TG_OK);
    assert_true(first >= OLD);
    assert_null(audit_not_serving(rig.audit));
    rig_close(&rig);
}

static void test_open_fails_without_its_key(void **state)
{
    void *audit = NULL;
    struct tg_error err = {0};
    char path[] = "/tmp/tg-test-audit-no-such-key";
    struct audit_config config = {.directory = *state, .ticket_key = path};
    assert_int_equal(audit_open(&config, &audit, &err), TG_NOT_FOUND);
    assert_null(audit);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bad_events_leave_no_trace),
        TEST(test_roles_are_kept_apart),
        TEST(test_append_query_verify),
        TEST(test_hash_finds_a_ticket),
        TEST(test_only_the_service_announces),
        TEST(test_old_entries_are_archived),
        TEST(test_hanging_archive_holds_nobody_up),
        TEST(test_open_fails_without_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
