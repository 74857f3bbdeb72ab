/* Nothing secret in the audit log, in any service's log or in what tgctl prints: passwords, PINs, one-time
 * codes, quantum and other keys, whole tickets, RADIUS State and Class, in any of the forms in which bytes
 * are written. */
#include <ctype.h>
#include <ftw.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "client/exit_code.h"
#include "common/file.h"
#include "common/pb.h"
#include "common/rpc/rpc.h"
#include "common/shield/shield.h"
#include "common/ticket.h"
#include "common/trace.h"
#include "proto/key_store.pb-c.h"
#include "tests/integration/harness.h"

enum { KEYS = 4, QUANTUM_KEY_BYTES = 32 };

#define PASSWORD "pass-word-of-carol-7141"
#define CODE "one-time-code-5127"
#define RADIUS_STATE "STATE-of-login-3"
#define RADIUS_CLASS "CLASS-of-carol-8083"

static struct instance *bank;
static uint8_t tickets[KEYS][TICKET_LEN];
static uint8_t keys[KEYS][QUANTUM_KEY_BYTES];

/* ---- searching ---- */

static const uint8_t *wanted;
static size_t wanted_len, files_read;

static int search_file(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)walk;
    if (type != FTW_F || info->st_size == 0)
        return 0;
    FILE *file = fopen(path, "re");
    char *bytes = malloc((size_t)info->st_size);
    assert_non_null(file);
    assert_non_null(bytes);
    size_t len = fread(bytes, 1, (size_t)info->st_size, file);
    bool found = memmem(bytes, len, wanted, wanted_len) != NULL;
    fclose(file);
    free(bytes);
    files_read++;
    if (found) {
        bank->failed = true;
        fail_msg("%s holds a secret: %.*s", path, (int)wanted_len, (const char *)wanted);
    }
    return 0;
}

static void nowhere(const void *bytes, size_t len)
{
    static const char *const places[] = {"log", "data/audit"};

    wanted = bytes;
    wanted_len = len;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        files_read = 0;
        assert_int_equal(nftw(instance_path(bank, "%s", places[i]), search_file, 16, FTW_PHYS), 0);
        assert_true(files_read > 0);
    }
}

/* As it is, in hex of both cases, in base64 and base64url. The last group is left out, since what follows the
 * bytes would change it. */
static void nowhere_in_any_form(const void *bytes, size_t len)
{
    char text[1024];

    assert_true(len >= 6 && len <= 256);
    nowhere(bytes, len);
    hex_encode(bytes, len, text);
    nowhere(text, 2 * len);
    for (char *at = text; *at != '\0'; at++)
        *at = (char)toupper((unsigned char)*at);
    nowhere(text, 2 * len);
    size_t whole = (size_t)EVP_EncodeBlock((unsigned char *)text, bytes, (int)(len / 3 * 3));
    nowhere(text, whole);
    for (size_t i = 0; i < whole; i++)
        text[i] = (char)(text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i]);
    nowhere(text, whole);
}

static void file_nowhere(const char *name)
{
    struct secret *secret = NULL;
    struct tg_error err;
    const char *path = instance_path(bank, "secrets/%s", name);

    if (file_read_secret(path, 32, &secret, &err) != TG_OK &&
        file_read_line_secret(path, &secret, &err) != TG_OK)
        fail_msg("%s", err.text);
    nowhere_in_any_form(secret_view(secret), secret_len(secret));
    secret_free(secret);
}

/* ---- a shield whose keys the test knows ---- */

static ProtobufCMessage *ask_key_store(const char *method, const ProtobufCMessage *message)
{
    char address[PROCESS_PATH_MAX];
    char *endpoint = address;
    struct rpc_peer peer = {.endpoints = {.items = &endpoint, .count = 1}};
    struct rpc_request request = {
        .service = &tg__key_store__descriptor, .method = method, .message = message, .budget_ms = 60000};
    struct rpc_client *client = NULL;
    ProtobufCMessage *response = NULL;
    struct tg_error err;

    snprintf(address, sizeof(address), "ipc://%s", instance_path(bank, "run/key-store-charger.sock"));
    assert_int_equal(rpc_client_open(&client, "key store", &peer, &err), TG_OK);
    if (rpc_call_wait(client, &request, &response, &err) != TG_OK)
        fail_msg("%s", err.text);
    rpc_client_close(client);
    return response;
}

static void put_on_shield(const struct secret *pin)
{
    struct shield *shield = NULL;
    struct shield_entry entries[KEYS];
    struct secret *copies[KEYS];
    struct tg_error err;
    const char *path = instance_path(bank, "shields/s-carol");

    assert_int_equal(shield_file_create(path, "s-carol", pin, &err), TG_OK);
    assert_int_equal(shield_file_open(path, pin, &shield, &err), TG_OK);
    for (size_t i = 0; i < KEYS; i++) {
        copies[i] = secret_copy(keys[i], sizeof(keys[i]));
        entries[i] = (struct shield_entry){.ticket = tickets[i], .key = copies[i]};
    }
    assert_int_equal(shield_add(shield, entries, KEYS, &err), TG_OK);
    for (size_t i = 0; i < KEYS; i++)
        secret_free(copies[i]);
    shield_close(shield);
}

static void fill(void)
{
    Tg__FillRequest request = TG__FILL_REQUEST__INIT;
    Tg__ConfirmFillRequest confirm = TG__CONFIRM_FILL_REQUEST__INIT;
    struct secret *pin = NULL;
    struct secret *password = NULL;
    struct tg_error err;

    RESULT added = TGCTL(bank, "shield", "add", "s-carol", "--owner", "bob");
    assert_int_equal(added.code, 0);
    assert_int_equal(file_read_line_secret(instance_path(bank, "secrets/bob.pin"), &pin, &err), TG_OK);
    assert_int_equal(file_read_line_secret(instance_path(bank, "secrets/bob.password"), &password, &err),
                     TG_OK);
    request.shield_id = confirm.shield_id = pb_string("s-carol");
    request.user = pb_string("bob");
    request.password = pb_bytes(secret_view(password), secret_len(password));
    request.count = KEYS;
    Tg__FillResponse *filled = (Tg__FillResponse *)ask_key_store("Fill", &request.base);
    assert_int_equal(filled->n_entries, KEYS);
    for (size_t i = 0; i < KEYS; i++) {
        memcpy(tickets[i], filled->entries[i]->ticket.data, TICKET_LEN);
        memcpy(keys[i], filled->entries[i]->key.data, QUANTUM_KEY_BYTES);
    }
    put_on_shield(pin);
    confirm.fill_id = filled->fill_id;
    rpc_free_response(ask_key_store("ConfirmFill", &confirm.base));
    rpc_free_response(&filled->base);
    secret_free(pin);
    secret_free(password);
}

/* ---- a login with everything in it ---- */

static void await_prompt(int terminal)
{
    struct pollfd shown = {.fd = terminal, .events = POLLIN};
    char screen[1024] = "";
    size_t used = 0;

    while (strstr(screen, "One-time code") == NULL) {
        if (used == sizeof(screen) - 1 || poll(&shown, 1, LOGIN_TIMEOUT_MS) != 1)
            fail_msg("no prompt, but: %s", screen);
        ssize_t got = read(terminal, screen + used, sizeof(screen) - 1 - used);
        used += got > 0 ? (size_t)got : 0;
        screen[used] = '\0';
    }
}

static void log_in_with_code(const char *code)
{
    const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL};
    struct process client = {0};
    struct process_options options = {.input = instance_path(bank, "request.http")};
    int terminal = -1;
    size_t count = login_arguments(bank, "bob", "s-carol", argv);
    char target[32];

    snprintf(target, sizeof(target), "127.0.0.1:%d", bank->web_port);
    const char *const more[] = {"--password-file", secret_line(bank, "carol.password", PASSWORD "\n"), "-W",
                                target};
    memcpy(argv + count, more, sizeof(more));
    assert_int_equal(openpty(&terminal, &options.terminal, NULL, NULL, NULL), 0);
    run_start(bank, &client, &options, argv);
    await_prompt(terminal);
    assert_int_equal(write(terminal, code, strlen(code)), (ssize_t)strlen(code));
    RESULT result = run_end(bank, &client, LOGIN_TIMEOUT_MS);
    close(terminal);
    close(options.terminal);
    if (strcmp(code, CODE "\n") == 0)
        assert_logged_in(bank, &result);
    else
        assert_refused(bank, &result, EXIT_REFUSED);
}

/* bob's entry in FreeRADIUS with challenge and Class; and a State that the test knows. */
static void prepare_radius(void)
{
    const char *path = instance_path(bank, "freeradius/radiusd.conf");
    char *text = file_text(path);
    static const char before[] = "&Reply-Message := \"One-time code:\"";
    char *at = strstr(text, before);
    FILE *out = fopen(path, "we");
    char state[2 * sizeof(RADIUS_STATE)];

    assert_non_null(at);
    assert_non_null(out);
    hex_encode(RADIUS_STATE, sizeof(RADIUS_STATE) - 1, state);
    fprintf(out, "%.*s&State := 0x%s\n\t\t\t\t\t%s", (int)(at - text), text, state, at);
    assert_int_equal(fclose(out), 0);
    free(text);
    char *users = file_text(instance_path(bank, "freeradius/users"));
    out = fopen(instance_path(bank, "freeradius/users"), "we");
    assert_non_null(out);
    fprintf(out,
            "bob NAS-Identifier != \"charger\", Cleartext-Password := \"" PASSWORD
            "\", Tmp-String-0 := \"" CODE "\"\n"
            "\tFilter-Id = \"core-ops\", Class = \"" RADIUS_CLASS "\"\n\n%s",
            users);
    assert_int_equal(fclose(out), 0);
    free(users);
}

static void expect_found_by_hash(const uint8_t ticket[TICKET_LEN])
{
    char text[TICKET_TEXT_LEN + 1];
    char hmac[65];

    ticket_to_text(ticket, text);
    RESULT hashed = TGCTL(bank, "--json", "audit", "hash", text);
    json_t *row = json_loads(hashed.out, JSON_DISABLE_EOF_CHECK, NULL);
    assert_int_equal(hashed.code, 0);
    snprintf(hmac, sizeof(hmac), "%s", audit_text(row, "hmac"));
    json_decref(row);
    json_t *lines = AUDIT(bank, "--ticket", hmac, "--event", "login.accepted");
    assert_int_equal(json_array_size(lines), 1);
    const json_t *line = json_array_get(lines, 0);
    assert_non_null(audit_text(line, "unmapped.class_hmac"));
    assert_non_null(audit_text(line, "unmapped.client_random_hmac"));
    json_decref(lines);
}

static void test_no_secret_anywhere(void **state)
{
    static const char *const files[] = {"bob.password", "bob.pin",    "qkud.key",
                                        "kek.key",      "ticket.key", "audit.key"};
    char text[TICKET_TEXT_LEN + 1];

    (void)state;
    fill();
    log_in_with_code(CODE "\n");
    log_in_with_code("wrong-code-9999\n");
    expect_found_by_hash(tickets[0]);
    RESULT listed = TGCTL(bank, "audit", "list"); /* its output lies in log/ as well */
    assert_int_equal(listed.code, 0);

    nowhere_in_any_form(PASSWORD, sizeof(PASSWORD) - 1);
    nowhere_in_any_form(CODE, sizeof(CODE) - 1);
    nowhere_in_any_form("wrong-code-9999", 15);
    nowhere_in_any_form(RADIUS_STATE, sizeof(RADIUS_STATE) - 1);
    nowhere_in_any_form(RADIUS_CLASS, sizeof(RADIUS_CLASS) - 1);
    for (size_t i = 0; i < KEYS; i++) {
        nowhere_in_any_form(keys[i], sizeof(keys[i]));
        nowhere_in_any_form(tickets[i], sizeof(tickets[i]));
        nowhere_in_any_form(tickets[i] + TICKET_LEN - TICKET_MAC_LEN, TICKET_MAC_LEN);
        ticket_to_text(tickets[i], text);
        nowhere(text, TICKET_TEXT_LEN);
    }
    nowhere("tgt1.", 5);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        file_nowhere(files[i]);
}

static int setup(void **state)
{
    (void)state;
    bank = instance_new("ipc");
    prepare_radius();
    instance_start(bank);
    part_start(bank, PART_WEB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    instance_end(bank);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_secret_anywhere)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
