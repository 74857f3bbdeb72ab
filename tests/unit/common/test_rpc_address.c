/* Addresses, and what a listener does with the file system. */
#include "rpc_fixture.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/rpc/address.h"

static void anything_but_the_three_kinds_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "tcp://localhost:1",
                                      "ws://localhost:1",
                                      "localhost:1",
                                      "ipc://",
                                      "ipc://relative/path",
                                      "abstract://x",
                                      "inproc://",
                                      "tls+tcp://",
                                      "tls+tcp://:7001",
                                      "tls+tcp://localhost",
                                      "tls+tcp://localhost:",
                                      "tls+tcp://localhost:0",
                                      "tls+tcp://localhost:65536",
                                      "tls+tcp://localhost:+1",
                                      "tls+tcp://localhost:12x",
                                      "tls+tcp://local host:1",
                                      "tls+tcp://a/b:1",
                                      "tls+tcp://user@host:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rpc_address address;
        struct tg_error err = {0};
        assert_int_equal(rpc_address_parse(bad[i], &address, &err), TG_INVALID_ARGUMENT);
        assert_memory_equal(err.text, bad[i], strlen(bad[i]));
    }
}

static void a_path_must_fit_into_a_socket_address(void **state)
{
    (void)state;
    struct rpc_address address;
    char text[6 + RPC_IPC_PATH_MAX + 2] = "ipc://";
    memset(text + 6, 'x', RPC_IPC_PATH_MAX + 1);
    text[6] = '/';
    assert_int_equal(rpc_address_parse(text, &address, NULL), TG_INVALID_ARGUMENT);
    text[6 + RPC_IPC_PATH_MAX] = '\0';
    assert_int_equal(rpc_address_parse(text, &address, NULL), TG_OK);
    assert_int_equal(strlen(address.path), RPC_IPC_PATH_MAX);
}

static void a_host_has_at_most_253_bytes(void **state)
{
    (void)state;
    struct rpc_address address;
    char text[320];
    memset(text, 'h', sizeof text);
    memcpy(text, "tls+tcp://", 10);
    memcpy(text + 10 + RPC_HOST_MAX + 1, ":1", 3);
    assert_int_equal(rpc_address_parse(text, &address, NULL), TG_INVALID_ARGUMENT);
    memcpy(text + 10 + RPC_HOST_MAX, ":1", 3);
    assert_int_equal(rpc_address_parse(text, &address, NULL), TG_OK);
}

static void the_host_is_what_the_certificate_must_bear(void **state)
{
    (void)state;
    struct rpc_address address;
    assert_int_equal(rpc_address_parse("tls+tcp://key-store:7001", &address, NULL), TG_OK);
    assert_string_equal(address.host, "key-store");
    assert_int_equal(rpc_address_check_name(&address, NULL), TG_OK);
    assert_int_equal(rpc_address_parse("tls+tcp://127.0.0.1:7001", &address, NULL), TG_OK);
    assert_int_equal(rpc_address_check_name(&address, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(rpc_address_parse("tls+tcp://[::1]:7001", &address, NULL), TG_OK);
    assert_string_equal(address.host, "::1");
    assert_int_equal(rpc_address_check_name(&address, NULL), TG_INVALID_ARGUMENT);
}

/* ---- listening ---- */

static int setup(void **state)
{
    struct rig *rig = rig_new("ipc");
    assert_int_equal(rpc_server_open(&rig->server, script_methods, &rig->script, 2, NULL), TG_OK);
    *state = rig;
    return 0;
}

static const char *path_of(const struct rig *rig)
{
    return rig->address + strlen("ipc://");
}

static void a_file_in_the_way_is_left_alone(void **state)
{
    struct rig *rig = *state;
    struct tg_error err = {0};
    struct stat st;
    int fd = open(path_of(rig), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
    assert_int_equal(rig_listen(rig, 0, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, rig->address));
    assert_int_equal(stat(path_of(rig), &st), 0);
    assert_int_equal(st.st_size, 8);
}

static void a_socket_in_use_is_left_alone(void **state)
{
    struct rig *rig = *state;
    struct tg_error err = {0};
    assert_int_equal(rig_listen(rig, 0, NULL), TG_OK);
    assert_int_equal(rig_listen(rig, 1, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, rig->address));
    rig_connect(rig);
    assert_int_equal(ask(rig, "echo x", 5000, "x", NULL), TG_OK);
}

static void a_directory_that_is_missing_is_unavailable(void **state)
{
    struct rig *rig = *state;
    snprintf(rig->address, sizeof rig->address, "ipc://%s/missing/socket", rig->dir);
    assert_int_equal(rig_listen(rig, 0, NULL), TG_UNAVAILABLE);
}

static void a_stale_socket_is_replaced(void **state)
{
    struct rig *rig = *state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path_of(rig));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&sa, sizeof sa), 0);
    close(fd);
    assert_int_equal(rig_listen(rig, 0, NULL), TG_OK);
    rig_connect(rig);
    assert_int_equal(ask(rig, "echo x", 5000, "x", NULL), TG_OK);
}

static void the_socket_is_for_its_owner_only(void **state)
{
    struct rig *rig = *state;
    struct stat st;
    mode_t old = umask(0);
    assert_int_equal(rig_listen(rig, 0, NULL), TG_OK);
    umask(old);
    assert_int_equal(stat(path_of(rig), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_client_refuses_bad_endpoints(void **state)
{
    struct rig *rig = *state;
    struct rpc_peer none = {.endpoints = {.items = NULL, .count = 0}};
    struct tg_error err = {0};
    assert_int_equal(rpc_client_open(&rig->client, "key store", &none, &err), TG_INVALID_ARGUMENT);
    assert_memory_equal(err.text, "key store", 9);
    snprintf(rig->address, sizeof rig->address, "tcp://localhost:1");
    assert_int_equal(rig_dial(rig, &rig->client, &err), TG_INVALID_ARGUMENT);
    snprintf(rig->address, sizeof rig->address, "tls+tcp://localhost:1");
    assert_int_equal(rig_dial(rig, &rig->client, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "certificate"));
    assert_null(rig->client);
}

#define LISTENING(name) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anything_but_the_three_kinds_is_refused),
        cmocka_unit_test(a_path_must_fit_into_a_socket_address),
        cmocka_unit_test(a_host_has_at_most_253_bytes),
        cmocka_unit_test(the_host_is_what_the_certificate_must_bear),
        LISTENING(a_file_in_the_way_is_left_alone),
        LISTENING(a_socket_in_use_is_left_alone),
        LISTENING(a_directory_that_is_missing_is_unavailable),
        LISTENING(a_stale_socket_is_replaced),
        LISTENING(the_socket_is_for_its_owner_only),
        LISTENING(a_client_refuses_bad_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
