/* What a peer may send that no client of ours would: only its own connection suffers. */
#include "rpc_fixture.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/rpc/envelope.h"
#include "proto/rpc.pb-c.h"

/* nng's framing on ipc: eight bytes each way, then 1, the length in 64 bits, and for REQ an id with the
 * highest bit set. */
static const uint8_t req_hello[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
static const uint8_t sub_hello[8] = {0, 'S', 'P', 0, 0, 0x21, 0, 0};

static int dial_raw(const struct rig *rig)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", rig->address + strlen("ipc://"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

/* The peer may be gone already: that is for the caller to find out by reading. */
static void send_raw(int fd, const void *bytes, size_t len)
{
    (void)send(fd, bytes, len, MSG_NOSIGNAL);
}

static void receive_raw(int fd, void *bytes, size_t len)
{
    assert_int_equal(recv(fd, bytes, len, MSG_WAITALL), len);
}

static int dial_and_greet(const struct rig *rig)
{
    uint8_t hello[8];
    int fd = dial_raw(rig);
    send_raw(fd, req_hello, sizeof req_hello);
    receive_raw(fd, hello, sizeof hello);
    return fd;
}

static void send_frame_head(int fd, uint64_t len)
{
    uint8_t head[9] = {1};
    for (int i = 0; i < 8; i++)
        head[1 + i] = (uint8_t)(len >> (56 - 8 * i));
    send_raw(fd, head, sizeof head);
}

static void send_request(int fd, const void *body, size_t len)
{
    static const uint8_t id[4] = {0x80, 0, 0, 1};
    send_frame_head(fd, sizeof id + len);
    send_raw(fd, id, sizeof id);
    send_raw(fd, body, len);
}

static void assert_closed_by_peer(int fd)
{
    char bytes[256];
    ssize_t n;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    do {
        assert_int_equal(poll(&p, 1, 30000), 1);
        n = recv(fd, bytes, sizeof bytes, 0);
    } while (n > 0);
    close(fd);
}

static enum tg_code status_of_answer(int fd)
{
    uint8_t head[13], body[4096];
    receive_raw(fd, head, sizeof head);
    size_t len = (size_t)head[7] * 256 + head[8] - 4;
    assert_in_range(len, 0, sizeof body);
    receive_raw(fd, body, len);
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *m = pb_unpack(&tg__rpc_response__descriptor, body, len);
    assert_non_null(m);
    return (enum tg_code)((const Tg__RpcResponse *)(const void *)m)->status;
}

static void assert_others_are_served(struct rig *rig)
{
    assert_int_equal(ask(rig, "echo undisturbed", 20000, "undisturbed", NULL), TG_OK);
}

static void garbage_instead_of_a_greeting(void **state)
{
    static const char *const garbage[] = {"GET / HTTP/1.1\r\n\r\n",
                                          "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                          "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        int fd = dial_raw(*state);
        send_raw(fd, garbage[i], strlen(garbage[i]));
        assert_closed_by_peer(fd);
    }
    assert_others_are_served(*state);
}

static void another_protocol_than_request(void **state)
{
    int fd = dial_raw(*state);
    send_raw(fd, sub_hello, sizeof sub_hello);
    assert_closed_by_peer(fd);
    assert_others_are_served(*state);
}

static void a_frame_of_the_wrong_kind(void **state)
{
    int fd = dial_and_greet(*state);
    send_raw(fd, "\x02garbage that is not a frame", 28);
    assert_closed_by_peer(fd);
    assert_others_are_served(*state);
}

static void a_message_that_is_too_large(void **state)
{
    static const uint64_t sizes[] = {RPC_MESSAGE_MAX + 1, UINT32_MAX, UINT64_MAX, (uint64_t)INT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int fd = dial_and_greet(*state);
        send_frame_head(fd, sizes[i]);
        assert_closed_by_peer(fd);
    }
    assert_others_are_served(*state);
}

static void a_message_without_a_request_id(void **state)
{
    int fd = dial_and_greet(*state);
    send_frame_head(fd, 3);
    send_raw(fd, "abc", 3);
    assert_closed_by_peer(fd);
    assert_others_are_served(*state);
}

static void what_is_no_envelope_is_answered_as_such(void **state)
{
    int fd = dial_and_greet(*state);
    send_request(fd, "\xff\xff\xff garbage", 11);
    assert_int_equal(status_of_answer(fd), TG_INVALID_ARGUMENT);
    send_request(fd, "", 0);
    assert_int_equal(status_of_answer(fd), TG_INVALID_ARGUMENT);
    close(fd);
    assert_others_are_served(*state);
}

static void half_messages(void **state)
{
    for (int i = 0; i < 20; i++) {
        int fd = dial_and_greet(*state);
        send_frame_head(fd, 1000);
        send_raw(fd, "\x80\x00\x00\x01 and no more", 16);
        close(fd);
    }
    assert_others_are_served(*state);
}

/* nng's listener was stopped for good by this before nng_repairs.c. */
static void peers_that_vanish_while_they_negotiate(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 200; i++) {
        int fd = dial_raw(rig);
        if (i % 2 == 0)
            send_raw(fd, req_hello, (size_t)(i % 8));
        close(fd);
    }
    struct rpc_client *first = rig->client;
    rig_connect(rig);
    assert_others_are_served(rig);
    rpc_client_close(rig->client);
    rig->client = first;
    assert_others_are_served(rig);
}

/* A dialer must not give up either when the one it reaches vanishes. */
static void a_server_that_vanishes_while_it_negotiates(void **state)
{
    struct rig *rig = *state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    rig_stop(rig);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", rig->address + strlen("ipc://"));
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(listener, 16), 0);
    for (int i = 0; i < 10; i++)
        close(accept(listener, NULL, NULL));
    close(listener);
    unlink(sa.sun_path);
    rig_serve(rig, 4);
    for (int i = 0; i < 100 && ask(rig, "echo x", 1000, "x", NULL) != TG_OK; i++)
        usleep(10000);
    assert_others_are_served(rig);
}

static void an_answer_that_is_none(void **state)
{
    struct rig *rig = *state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct pending p;
    uint8_t bytes[512];
    rig_stop(rig);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", rig->address + strlen("ipc://"));
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(listener, 16), 0);
    static const uint8_t rep_hello[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    int fd = accept(listener, NULL, NULL);
    send_raw(fd, rep_hello, sizeof rep_hello);
    receive_raw(fd, bytes, 8);
    ask_later(rig, "echo x", 20000, false, &p);
    receive_raw(fd, bytes, 13);
    send_frame_head(fd, 4 + 7);
    send_raw(fd, bytes + 9, 4);
    send_raw(fd, "garbage", 7);
    assert_int_equal(pending_wait(&p), TG_DATA_LOSS);
    close(fd);
    close(listener);
    unlink(sa.sun_path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup_ipc, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(garbage_instead_of_a_greeting),
        TEST(another_protocol_than_request),
        TEST(a_frame_of_the_wrong_kind),
        TEST(a_message_that_is_too_large),
        TEST(a_message_without_a_request_id),
        TEST(what_is_no_envelope_is_answered_as_such),
        TEST(half_messages),
        TEST(peers_that_vanish_while_they_negotiate),
        TEST(a_server_that_vanishes_while_it_negotiates),
        TEST(an_answer_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
