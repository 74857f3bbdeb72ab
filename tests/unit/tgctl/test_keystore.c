/* tgctl's commands for the key centre, against a scripted key store: what they ask, and what they show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include "common/log.h"
#include "common/pb.h"
#include "tools/tgctl/keystore.h"

#define TICKET_ID "01020304-0506-0708-090a-0b0c0d0e0f10"

struct rig {
    char dir[64], address[96];
    char *endpoints[1];
    struct rpc_server *server;
    struct tgctl ctl;
    char *text; /* what the last command printed */
    size_t len;
    /* The key store's side: what it was last asked, and how it answers. */
    char asked[256];
    unsigned revokes;
    bool source_low, source_failed, no_stock;
};

static const uint8_t key_id[TICKET_KEY_ID_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

/* ---- the scripted key store ---- */

static void shields(struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct {
        const char *id, *owner;
        bool revoked;
        uint32_t ready;
    } all[] = {{"hq-1", "alice", false, 120}, {"hq-2", "bob", false, 3}, {"old-1", "alice", true, 0}};
    const Tg__ShieldListRequest *request = (const Tg__ShieldListRequest *)message;
    Tg__ShieldListResponse response = TG__SHIELD_LIST_RESPONSE__INIT;
    Tg__Shield item, *list[] = {&item};
    size_t i = 0; /* pages of one */
    while (i < 3 && strcmp(all[i].id, request->after_shield_id) <= 0)
        i++;
    tg__shield__init(&item);
    response.shields = list;
    response.n_shields = i < 3 ? 1 : 0;
    response.more = i < 2;
    if (i < 3) {
        item.shield_id = pb_string(all[i].id);
        item.owner = pb_string(all[i].owner);
        item.created_s = 1795378451;
        item.revoked = all[i].revoked;
        item.ready = all[i].ready;
    }
    rpc_reply(call, &response.base);
}

static void fill_key(Tg__Key *key)
{
    tg__key__init(key);
    key->key_id = pb_bytes(key_id, sizeof key_id);
    key->shield_id = pb_string("hq-1");
    key->state = pb_string("ready");
    key->created_s = 1795378451;
    key->expires_s = 1795378452;
}

static void keys(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Tg__KeyListRequest *request = (const Tg__KeyListRequest *)message;
    struct rig *rig = rpc_call_context(call);
    Tg__KeyListResponse response = TG__KEY_LIST_RESPONSE__INIT;
    Tg__Key item, *list[] = {&item};
    fill_key(&item);
    snprintf(rig->asked, sizeof rig->asked, "%s %s %s %llu", request->shield_id, request->owner,
             request->state, (unsigned long long)request->expires_before_s);
    response.keys = list;
    response.n_keys = 1;
    rpc_reply(call, &response.base);
}

static void find(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Tg__KeyFindRequest *request = (const Tg__KeyFindRequest *)message;
    Tg__KeyFindResponse response = TG__KEY_FIND_RESPONSE__INIT;
    Tg__Key item;
    if (request->key_id.len == sizeof key_id && memcmp(request->key_id.data, key_id, sizeof key_id) != 0) {
        rpc_fail(call, TG_NOT_FOUND, "no such key");
        return;
    }
    fill_key(&item);
    response.key = &item;
    response.owner = pb_string("alice");
    response.shield_revoked = true;
    rpc_reply(call, &response.base);
}

static void revoke_key(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Tg__KeyRevokeRequest *request = (const Tg__KeyRevokeRequest *)message;
    struct rig *rig = rpc_call_context(call);
    Tg__KeyRevokeResponse response = TG__KEY_REVOKE_RESPONSE__INIT;
    snprintf(rig->asked, sizeof rig->asked, "%zu %zu", request->key_id.len, request->ticket.len);
    rig->revokes++;
    rpc_reply(call, &response.base);
}

static void revoke_shield(struct rpc_call *call, const ProtobufCMessage *message)
{
    Tg__ShieldRevokeResponse response = TG__SHIELD_REVOKE_RESPONSE__INIT;
    (void)message;
    ((struct rig *)rpc_call_context(call))->revokes++;
    response.keys_revoked = 120;
    rpc_reply(call, &response.base);
}

static void revoke_qkud(struct rpc_call *call, const ProtobufCMessage *message)
{
    Tg__QkudRevokeResponse response = TG__QKUD_REVOKE_RESPONSE__INIT;
    (void)message;
    ((struct rig *)rpc_call_context(call))->revokes++;
    rpc_reply(call, &response.base);
}

static void source(struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct rig *rig = rpc_call_context(call);
    Tg__SourceStatusResponse response = TG__SOURCE_STATUS_RESPONSE__INIT;
    (void)message;
    response.source = pb_string(rig->no_stock ? "drbg" : "device");
    response.stock = rig->no_stock ? 0 : 480;
    response.capacity = rig->no_stock ? 0 : 2000;
    response.low_water = rig->no_stock ? 0 : 500;
    response.drawn = 7;
    response.bytes_per_s = 4096;
    response.low = rig->source_low;
    response.failed = rig->source_failed;
    response.problem = pb_string(rig->source_low ? "/dev/qrng0 gave nothing for 5000 ms" : "");
    rpc_reply(call, &response.base);
}

#define ROW(name, handler)                                                                                   \
    {                                                                                                        \
        &tg__key_store__descriptor, name, RPC_ROLE_OPERATOR, handler                                         \
    }
static const struct rpc_method methods[] = {
    ROW("ShieldList", shields),
    ROW("KeyList", keys),
    ROW("KeyFind", find),
    ROW("KeyRevoke", revoke_key),
    ROW("ShieldRevoke", revoke_shield),
    ROW("QkudRevoke", revoke_qkud),
    ROW("SourceStatus", source),
    {.name = NULL},
};

/* ---- the rig ---- */

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct tg_error err;
    struct rpc_listener listener = {.role = 3}; /* operator: of rpc_role_names */
    assert_non_null(rig);
    snprintf(rig->dir, sizeof rig->dir, "/tmp/tg-test-tgctl-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    snprintf(rig->address, sizeof rig->address, "ipc://%s/socket", rig->dir);
    listener.address = rig->address;
    assert_int_equal(rpc_server_open(&rig->server, methods, rig, 4, &err), TG_OK);
    assert_int_equal(rpc_server_listen(rig->server, &listener, &err), TG_OK);
    rig->endpoints[0] = rig->address;
    rig->ctl.config.endpoints[SERVICE_KEY_STORE] = (struct config_list){rig->endpoints, 1};
    rig->ctl.config.timeout = 60000;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    rpc_server_close(rig->server);
    (void)unlink(rig->address + strlen("ipc://"));
    int rc = rmdir(rig->dir);
    free(rig->text);
    free(rig);
    return rc;
}

/* Runs a command line after "tgctl"; its exit code. */
static enum tgctl_exit run(struct rig *rig, const char *const *words)
{
    static char copies[16][160];
    char *argv[17] = {NULL};
    struct tgctl_arguments arguments;
    struct tg_error err;
    int count = 0;
    int used = 0;
    for (; words[count] != NULL; count++) {
        snprintf(copies[count], sizeof copies[count], "%s", words[count]);
        argv[count] = copies[count];
    }
    const struct tgctl_command *command = tgctl_find(count, argv, &used);
    assert_non_null(command);
    assert_int_equal(arguments_read(command, count - used + 1, argv + used - 1, &arguments, &err), TG_OK);
    free(rig->text);
    rig->text = NULL;
    rig->ctl.json = arguments.json;
    rig->ctl.out = open_memstream(&rig->text, &rig->len);
    enum tgctl_exit code = command->run(&rig->ctl, &arguments);
    fclose(rig->ctl.out);
    return code;
}
#define RUN(...) run(rig, (const char *const[]){__VA_ARGS__, NULL})

/* ---- lists ---- */

static void shields_are_filtered(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(RUN("shield", "list", "--state", "lost"), EXIT_USAGE);
    assert_int_equal(RUN("shield", "list", "--fewer-than", "few"), EXIT_USAGE);
    assert_int_equal(RUN("shield", "list"), EXIT_DONE);
    assert_string_equal(rig->text,
                        "SHIELD  OWNER  POLICY  CREATED               REVOKED  MADE  READY  SPENT\n"
                        "hq-1    alice  -       2026-11-22T20:14:11Z  no          0    120      0\n"
                        "hq-2    bob    -       2026-11-22T20:14:11Z  no          0      3      0\n"
                        "old-1   alice  -       2026-11-22T20:14:11Z  yes         0      0      0\n");
    static const struct {
        const char *option, *value, *first, *second;
    } cases[] = {{"--owner", "alice", "hq-1", "old-1"}, {"--owner", "ali", NULL, NULL},
                 {"--prefix", "hq-", "hq-1", "hq-2"},   {"--state", "revoked", "old-1", NULL},
                 {"--state", "active", "hq-1", "hq-2"}, {"--fewer-than", "4", "hq-2", "old-1"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(RUN("shield", "list", "--json", cases[i].option, cases[i].value), EXIT_DONE);
        size_t lines = 0;
        for (const char *at = rig->text; (at = strchr(at, '\n')) != NULL; at++)
            lines++;
        assert_int_equal(lines, (cases[i].first != NULL) + (cases[i].second != NULL));
        assert_true(cases[i].first == NULL || strstr(rig->text, cases[i].first) != NULL);
        assert_true(cases[i].second == NULL || strstr(rig->text, cases[i].second) != NULL);
    }
    assert_int_equal(RUN("shield", "list", "--json", "--owner", "alice", "--state", "active"), EXIT_DONE);
    assert_string_equal(rig->text, "{\"shield_id\":\"hq-1\",\"owner\":\"alice\",\"policy\":null,\"created\":"
                                   "\"2026-11-22T20:14:11Z\",\"revoked\":false,\"made\":0,\"ready\":120,"
                                   "\"spent\":0}\n");
}

static void keys_are_asked_for(void **state)
{
    struct rig *rig = *state;
    uint64_t now_s = clock_unix_us() / 1000000;
    unsigned long long before_s = 0;
    assert_int_equal(RUN("key", "list", "--expires-before", "soon"), EXIT_USAGE);
    assert_int_equal(RUN("key", "list", "--shield", "hq-1", "--owner", "alice", "--state", "ready",
                         "--expires-before", "2026-11-22T20:14:11Z"),
                     EXIT_DONE);
    assert_string_equal(rig->asked, "hq-1 alice ready 1795378451");
    assert_string_equal(
        rig->text,
        "KEY                                   SHIELD  STATE  CREATED               EXPIRES              "
        " SPENT  SPENT BY\n" TICKET_ID
        "  hq-1    ready  2026-11-22T20:14:11Z  2026-11-22T20:14:12Z  -      -\n");
    assert_int_equal(RUN("key", "list", "--expires-before", "7d"), EXIT_DONE); /* in seven days */
    assert_int_equal(sscanf(rig->asked, "%llu", &before_s), 1);
    assert_true(before_s >= now_s + 604800 && before_s <= now_s + 604800 + 600);
    assert_int_equal(RUN("key", "list"), EXIT_DONE);
    assert_string_equal(rig->asked, "   0");
}

static void a_key_is_found_by_id_or_ticket(void **state)
{
    struct rig *rig = *state;
    struct secret *key = secret_new(TICKET_KEY_LEN);
    struct ticket ticket = {.expires_s = 1};
    uint8_t bytes[TICKET_LEN];
    char text[TICKET_TEXT_LEN + 1];
    memcpy(ticket.key_id, key_id, sizeof key_id);
    ticket_encode(&ticket, key, bytes);
    ticket_to_text(bytes, text);
    assert_int_equal(RUN("key", "find", "tgt1.AAAA"), EXIT_USAGE);
    assert_int_equal(RUN("key", "find", "01020304"), EXIT_USAGE);
    assert_int_equal(RUN("key", "find", "ffffffff-0506-0708-090a-0b0c0d0e0f10"), EXIT_NO);
    const char *const names[] = {text, TICKET_ID};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(RUN("key", "find", names[i], "--json"), EXIT_DONE);
        assert_string_equal(
            rig->text, "{\"key_id\":\"" TICKET_ID "\",\"shield_id\":\"hq-1\",\"state\":\"ready\",\"created\":"
                       "\"2026-11-22T20:14:11Z\",\"expires\":\"2026-11-22T20:14:12Z\",\"spent\":"
                       "null,\"spent_by\":null,\"owner\":\"alice\",\"policy\":null,"
                       "\"shield_revoked\":true}\n");
        assert_int_equal(RUN("key", "revoke", names[i]), EXIT_DONE);
        assert_string_equal(rig->asked, i == 0 ? "0 65" : "16 0");
        assert_int_equal(RUN("key", "find", names[i]), EXIT_DONE);
        assert_non_null(strstr(rig->text, "SHIELD REVOKED"));
    }
    secret_free(key);
}

/* ---- what cannot be undone ---- */

/* A terminal whose user has typed `answer`. */
static FILE *terminal(const char *answer, int *master)
{
    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(*master >= 0 && grantpt(*master) == 0 && unlockpt(*master) == 0);
    FILE *in = fopen(ptsname(*master), "re");
    assert_non_null(in);
    assert_int_equal(write(*master, answer, strlen(answer)), (ssize_t)strlen(answer));
    return in;
}

static enum tgctl_exit revoke_at_terminal(struct rig *rig, const char *answer, const char *what,
                                          const char *id, bool yes)
{
    int master = -1;
    rig->ctl.in = terminal(answer, &master);
    enum tgctl_exit code = yes ? RUN(what, "revoke", id, "--yes") : RUN(what, "revoke", id);
    fclose(rig->ctl.in);
    rig->ctl.in = NULL;
    close(master);
    return code;
}

static void revoking_is_confirmed_at_a_terminal(void **state)
{
    struct rig *rig = *state;
    static const char *const things[][2] = {{"shield", "hq-1"}, {"qkud", "branch-7"}, {"key", TICKET_ID}};
    static const char *const noes[] = {"\n", "n\n", "yellow\n", "yes please\n", "\x04"};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < sizeof noes / sizeof noes[0]; j++)
            assert_int_equal(revoke_at_terminal(rig, noes[j], things[i][0], things[i][1], false), EXIT_NO);
        assert_int_equal(rig->revokes, 0);
        assert_int_equal(revoke_at_terminal(rig, "y\n", things[i][0], things[i][1], false), EXIT_DONE);
        assert_int_equal(revoke_at_terminal(rig, "", things[i][0], things[i][1], true), EXIT_DONE);
        assert_int_equal(RUN(things[i][0], "revoke", things[i][1]), EXIT_DONE); /* a script */
        assert_int_equal(rig->revokes, 3);
        rig->revokes = 0;
    }
    assert_int_equal(RUN("shield", "revoke", "hq-1"), EXIT_DONE);
    assert_string_equal(rig->text, "revoked  keys\nhq-1      120\n");
}

/* ---- source ---- */

static void the_source_is_shown(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(RUN("source"), EXIT_DONE);
    assert_string_equal(rig->text, "SOURCE  STATE  STOCK  OF    LOW WATER  DRAWN  BYTES/S  PROBLEM\n"
                                   "device  good     480  2000        500      7     4096  -\n");
    rig->source_low = true;
    assert_int_equal(RUN("source", "--json"), EXIT_NO);
    assert_string_equal(
        rig->text,
        "{\"source\":\"device\",\"state\":\"low\",\"stock\":480,\"capacity\":2000,\"low_water\":500,"
        "\"drawn\":7,\"bytes_per_s\":4096,\"problem\":\"/dev/qrng0 gave nothing for 5000 ms\"}\n");
    rig->source_failed = true;
    assert_int_equal(RUN("source"), EXIT_NO);
    assert_non_null(strstr(rig->text, "failed"));
    rig->source_low = rig->source_failed = false;
    rig->no_stock = true;
    assert_int_equal(RUN("source"), EXIT_DONE);
    assert_string_equal(rig->text, "SOURCE  STATE  STOCK  OF  LOW WATER  DRAWN  BYTES/S  PROBLEM\n"
                                   "drbg    good   -      -   -              7  -        -\n");
}

static void a_key_store_that_is_away_is_named(void **state)
{
    struct rig *rig = *state;
    rpc_server_close(rig->server);
    rig->server = NULL;
    rig->ctl.config.timeout = 200;
    assert_int_equal(RUN("source"), EXIT_UNREACHABLE);
    assert_int_equal(RUN("shield", "list"), EXIT_UNREACHABLE);
    assert_int_equal(RUN("key", "find", TICKET_ID), EXIT_UNREACHABLE);
    assert_int_equal(RUN("shield", "revoke", "hq-1"), EXIT_UNREACHABLE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(shields_are_filtered),
        T(keys_are_asked_for),
        T(a_key_is_found_by_id_or_ticket),
        T(revoking_is_confirmed_at_a_terminal),
        T(the_source_is_shown),
        T(a_key_store_that_is_away_is_named),
    };
    log_open("test", LOG_ERROR, open("/dev/null", O_WRONLY | O_CLOEXEC));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
