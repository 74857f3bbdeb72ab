/* The session against a scripted gateway: three threads, the gateway, a local program, and the session's
 * loop. What the threads saw is looked at when they have ended. */
#include <errno.h>
#include <semaphore.h>
#include <signal.h>

#include "client/session/session.h"
#include "tests/unit/client/scripted_gateway.h"

enum { LOCAL_MAX = 4, BULK = 3 * 1024 * 1024 + 17, TEXT_MAX = 256 };

struct bench;
typedef void local_script(struct bench *bench);

struct bench {
    struct gateway gateway;
    struct client client;
    struct forward_spec forward;
    int messages[2]; /* what the session says: a pipe in place of stderr */
    local_script *local;
    uint16_t port; /* where the session listens */
    sem_t turn;

    /* What was seen. */
    bool gateway_good, local_good;
    unsigned pings;
    int local_error;
    size_t received;
};

/* ---- the local program ---- */

/* "forwarding 127.0.0.1:PORT to …": the first line with that. */
static uint16_t read_port(int fd)
{
    char line[TEXT_MAX];
    size_t used = 0;
    while (used < sizeof line - 1 && read(fd, line + used, 1) == 1) {
        line[used + 1] = '\0';
        if (line[used++] != '\n')
            continue;
        const char *at = strstr(line, "forwarding 127.0.0.1:");
        if (at != NULL)
            return (uint16_t)strtoul(strchr(at, ':') + 1, NULL, 10);
        used = 0;
    }
    return 0;
}

static int local_connect(const struct bench *bench)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(bench->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void *local_thread(void *arg)
{
    struct bench *bench = arg;
    bench->port = read_port(bench->messages[0]);
    if (bench->port != 0)
        bench->local(bench);
    return NULL;
}

/* Byte i of a bulk transfer. */
static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static bool pattern_matches(const uint8_t *bytes, size_t len, size_t at)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != pattern(at + i))
            return false;
    }
    return true;
}

static void pattern_fill(uint8_t *bytes, size_t len, size_t at)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern(at + i);
}

/* Reads to the end; true if what came was the pattern. errno of the end is kept. */
static bool read_pattern(struct bench *bench, int fd)
{
    uint8_t bytes[20000];
    ssize_t n;
    bool good = true;
    while ((n = read(fd, bytes, sizeof bytes)) > 0) {
        good = good && pattern_matches(bytes, (size_t)n, bench->received);
        bench->received += (size_t)n;
    }
    bench->local_error = n < 0 ? errno : 0;
    return good;
}

/* Connects and waits until the session ends the connection. */
static void local_wait(struct bench *bench)
{
    int fd = local_connect(bench);
    bench->local_good = fd >= 0 && read_pattern(bench, fd);
    close(fd);
}

/* ---- the gateway's side of a session ---- */

static struct bench *bench_of(struct gateway *g)
{
    return g->context;
}

/* The next frame, whatever it is; false at the end. */
static bool next_frame(struct gateway *g)
{
    return gateway_read(g, g->frame, FRAME_HEADER_LEN) &&
           frame_decode(g->frame, FRAME_MAX, &g->header, NULL) == TG_OK &&
           gateway_read(g, g->frame + FRAME_HEADER_LEN, g->header.length);
}

static bool expect_frame(struct gateway *g, uint8_t type, uint32_t stream)
{
    return next_frame(g) && g->header.type == type && g->header.stream == stream;
}

static void send_opened(struct gateway *g, uint32_t stream, unsigned code)
{
    Tg__Opened opened = TG__OPENED__INIT;
    opened.code = code;
    opened.text = pb_string(code == TG_OK ? "" : "the policy does not allow this target");
    gateway_send(g, FRAME_OPENED, stream, &opened.base);
}

static void send_close(struct gateway *g, uint32_t stream, unsigned code)
{
    Tg__Close end = TG__CLOSE__INIT;
    end.code = code;
    gateway_send(g, FRAME_CLOSE, stream, &end.base);
}

static void send_bye(struct gateway *g, unsigned code)
{
    Tg__Bye bye = TG__BYE__INIT;
    bye.code = code;
    bye.text = pb_string("that was it");
    gateway_send(g, FRAME_BYE, 0, &bye.base);
    gateway_wait_until_gone(g); /* closing with unread bytes would destroy what the client has not read */
}

static void send_data(struct gateway *g, uint32_t stream, size_t at, size_t len)
{
    uint8_t bytes[FRAME_MAX];
    const struct frame_header header = {.type = FRAME_DATA, .length = (uint32_t)len, .stream = stream};
    frame_encode(&header, bytes);
    pattern_fill(bytes + FRAME_HEADER_LEN, len, at);
    gateway_write(g, bytes, FRAME_HEADER_LEN + len);
}

static bool accept_stream(struct gateway *g, uint32_t stream)
{
    ProtobufCMessage *message = gateway_receive(g, FRAME_OPEN, &tg__open__descriptor);
    const Tg__Open *open = (const Tg__Open *)message;
    bool good = open != NULL && g->header.stream == stream && strcmp(open->host, "intranet.test") == 0 &&
                open->port == 80;
    pb_free(message);
    if (good)
        send_opened(g, stream, TG_OK);
    return good;
}

static uint32_t credit_of(const struct gateway *g)
{
    ProtobufCMessage *message =
        pb_unpack(&tg__window__descriptor, g->frame + FRAME_HEADER_LEN, g->header.length);
    uint32_t credit = message != NULL ? ((const Tg__Window *)message)->credit : 0;
    pb_free(message);
    return credit;
}

/* ---- running it ---- */

static void bench_open(struct bench *bench, const struct plan *plan)
{
    *bench = (struct bench){0};
    sem_init(&bench->turn, 0, 0);
    gateway_start(&bench->gateway, plan);
    bench->gateway.context = bench;
    client_open(&bench->client, &bench->gateway);
    const struct login_request request = client_request(&bench->client, &bench->gateway);
    assert_int_equal(login_run(&request, &bench->client.session, &bench->client.err), EXIT_OK);
    assert_int_equal(forward_parse("0:intranet.test:80", &bench->forward, NULL), TG_OK);
}

static void bench_run(struct bench *bench, local_script *local, const struct host_port *stdio_target,
                      uint32_t keep_alive_ms)
{
    const struct say say = {.program = "test"};
    const struct session_options options = {.say = &say,
                                            .forwards = &bench->forward,
                                            .forward_count = local != NULL,
                                            .stdio_target = stdio_target,
                                            .keep_alive_ms = keep_alive_ms};
    pthread_t thread;
    int usual = dup(STDERR_FILENO);
    bench->local = local;
    assert_int_equal(pipe(bench->messages), 0);
    dup2(bench->messages[1], STDERR_FILENO);
    if (local != NULL)
        assert_int_equal(pthread_create(&thread, NULL, local_thread, bench), 0);
    bench->client.exit = session_run(&bench->client.session, &options, &bench->client.err);
    login_session_close(&bench->client.session);
    dup2(usual, STDERR_FILENO);
    close(usual);
    close(bench->messages[1]);
    if (local != NULL)
        pthread_join(thread, NULL);
    close(bench->messages[0]);
    client_close(&bench->client);
    gateway_join(&bench->gateway);
    gateway_stop(&bench->gateway);
    sem_destroy(&bench->turn);
}

/* ---- breaches of the protocol: the session ends, the local connection is cut ---- */

static void breach_unopened_stream(struct gateway *g)
{
    send_data(g, 3, 0, 10);
}
static void breach_even_stream(struct gateway *g)
{
    send_close(g, 2, TG_OK);
}
static void breach_empty_data(struct gateway *g)
{
    send_data(g, 1, 0, 0);
}
static void breach_opened_twice(struct gateway *g)
{
    send_opened(g, 1, TG_OK);
}
static void breach_data_after_close(struct gateway *g)
{
    send_close(g, 1, TG_OK);
    send_data(g, 1, 0, 10);
}
static void breach_no_credit(struct gateway *g)
{
    Tg__Window window = TG__WINDOW__INIT;
    gateway_send(g, FRAME_WINDOW, 1, &window.base);
}
static void breach_too_much_credit(struct gateway *g)
{
    Tg__Window window = TG__WINDOW__INIT;
    window.credit = STREAM_WINDOW_MAX;
    gateway_send(g, FRAME_WINDOW, 1, &window.base);
}
static void breach_open(struct gateway *g)
{
    Tg__Open open = TG__OPEN__INIT;
    gateway_send(g, FRAME_OPEN, 5, &open.base);
}
static void breach_login_frame(struct gateway *g)
{
    gateway_send(g, FRAME_WELCOME, 0, NULL);
}
static void breach_malformed(struct gateway *g)
{
    uint8_t bytes[FRAME_HEADER_LEN + 3];
    memset(bytes, 0xff, sizeof bytes);
    frame_encode(&(struct frame_header){.type = FRAME_PING, .length = 3}, bytes);
    gateway_write(g, bytes, sizeof bytes);
}
static void breach_too_long(struct gateway *g)
{
    uint8_t bytes[FRAME_HEADER_LEN];
    frame_encode(&(struct frame_header){.type = FRAME_DATA, .length = FRAME_PAYLOAD_MAX + 1, .stream = 1},
                 bytes);
    gateway_write(g, bytes, sizeof bytes);
}
static void breach_garbage(struct gateway *g)
{
    static const uint8_t garbage[] = "this is not TLS at all";
    send(g->fd, garbage, sizeof garbage, MSG_NOSIGNAL);
}

static void (*breach)(struct gateway *g); /* of the test under way */

static void gateway_breaks_the_protocol(struct gateway *g)
{
    bench_of(g)->gateway_good = accept_stream(g, 1);
    breach(g);
    gateway_wait_until_gone(g);
}

static void breaches_end_the_session(void **state)
{
    (void)state;
    static void (*const breaches[])(struct gateway *) = {
        breach_unopened_stream,  breach_even_stream, breach_empty_data,      breach_opened_twice,
        breach_data_after_close, breach_no_credit,   breach_too_much_credit, breach_open,
        breach_login_frame,      breach_malformed,   breach_too_long,        breach_garbage,
    };
    for (size_t i = 0; i < sizeof breaches / sizeof *breaches; i++) {
        struct bench bench;
        breach = breaches[i];
        bench_open(&bench, &(struct plan){.session = gateway_breaks_the_protocol});
        bench_run(&bench, local_wait, NULL, 60000);
        if (bench.client.exit != EXIT_PROTOCOL)
            fail_msg("breach %zu: exit %d, %s", i, (int)bench.client.exit, bench.client.err.text);
        assert_true(bench.gateway_good);
    }
}

/* What the kernel holds for the program that does not read is bounded, and so is what the client holds: its
 * window. */
static void gateway_ignores_credit(struct gateway *g)
{
    struct bench *bench = bench_of(g);
    bench->gateway_good = accept_stream(g, 1);
    uint8_t bytes[FRAME_MAX] = {0};
    frame_encode(&(struct frame_header){.type = FRAME_DATA, .length = FRAME_PAYLOAD_MAX, .stream = 1}, bytes);
    unsigned frames = 0;
    while (frames < 65536 && gateway_write(g, bytes, sizeof bytes))
        frames++;
    bench->gateway_good = bench->gateway_good && frames < 65536;
    sem_post(&bench->turn);
}

static void local_does_not_read(struct bench *bench)
{
    int fd = local_connect(bench);
    sem_wait(&bench->turn);
    close(fd);
}

static void more_than_the_credit_ends_the_session(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_ignores_credit});
    bench_run(&bench, local_does_not_read, NULL, 60000);
    assert_int_equal(bench.client.exit, EXIT_PROTOCOL);
    assert_true(bench.gateway_good);
}

static void gateway_vanishes(struct gateway *g)
{
    bench_of(g)->gateway_good = accept_stream(g, 1);
}

static void a_cut_connection_cuts_the_local_ones(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_vanishes});
    bench_run(&bench, local_wait, NULL, 60000);
    assert_int_equal(bench.client.exit, EXIT_CONNECTION_LOST);
    assert_int_equal(bench.local_error, ECONNRESET); /* not a clean end: the program must know */
}

static void gateway_is_silent(struct gateway *g)
{
    while (next_frame(g))
        bench_of(g)->pings += g->header.type == FRAME_PING;
}

static void a_silent_gateway_is_given_up(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_is_silent});
    bench_run(&bench, NULL, NULL, 40);
    assert_int_equal(bench.client.exit, EXIT_CONNECTION_LOST);
    assert_true(bench.pings > 0);
}

static void a_local_port_in_use_is_an_error(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_is_silent});
    bench.forward.local.port = bench.gateway.port; /* the gateway's listener has it */
    bench_run(&bench, local_wait, NULL, 60000);
    assert_int_equal(bench.client.exit, EXIT_CONFIG);
    assert_non_null(strstr(bench.client.err.text, "cannot listen on 127.0.0.1:"));
}

/* ---- BYE ---- */

static unsigned bye_code; /* of the test under way */

static void gateway_says_bye(struct gateway *g)
{
    send_bye(g, bye_code);
}

static void byes_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        enum client_exit expected;
    } cases[] = {{TG_OK, EXIT_OK},
                 {TG_DEADLINE_EXCEEDED, EXIT_TIMED_OUT},
                 {TG_PERMISSION_DENIED, EXIT_ENDED_BY_OPERATOR},
                 {TG_UNAVAILABLE, EXIT_TRY_LATER},
                 {9999, EXIT_PROTOCOL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench bench;
        bye_code = cases[i].code;
        bench_open(&bench, &(struct plan){.session = gateway_says_bye});
        bench_run(&bench, NULL, NULL, 60000);
        assert_int_equal(bench.client.exit, cases[i].expected);
        assert_string_equal(bench.client.err.text, "the gateway ended the session: that was it");
    }
}

static void gateway_expects_bye(struct gateway *g)
{
    struct bench *bench = bench_of(g);
    bool opened = accept_stream(g, 1);
    sem_post(&bench->turn);
    ProtobufCMessage *message = gateway_receive(g, FRAME_BYE, &tg__bye__descriptor);
    bench->gateway_good = opened && message != NULL && ((const Tg__Bye *)message)->code == TG_OK;
    pb_free(message);
    gateway_wait_until_gone(g);
    bench->gateway_good = bench->gateway_good && SSL_get_shutdown(g->ssl) == SSL_RECEIVED_SHUTDOWN;
}

static void local_sends_signal(struct bench *bench)
{
    int fd = local_connect(bench);
    sem_wait(&bench->turn);
    kill(getpid(), SIGTERM);
    bench->local_good = fd >= 0 && read_pattern(bench, fd);
    close(fd);
}

static void a_signal_ends_the_session_with_bye(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_expects_bye});
    bench_run(&bench, local_sends_signal, NULL, 60000);
    assert_int_equal(bench.client.exit, EXIT_OK);
    assert_true(bench.gateway_good);
}

/* ---- streams ---- */

/* Takes all of a stream, checking bytes and credit, then answers with what local_wait expects and closes. */
static void gateway_takes_bulk(struct gateway *g)
{
    struct bench *bench = bench_of(g);
    struct stream_flow flow;
    size_t received = 0;
    bool good = accept_stream(g, 1);
    stream_init(&flow, STREAM_WINDOW_MIN);
    good = good && stream_opened(&flow, NULL) == TG_OK;
    while (good && next_frame(g) && g->header.type == FRAME_DATA) {
        size_t len = g->header.length;
        good = stream_received(&flow, len, NULL) == TG_OK &&
               pattern_matches(g->frame + FRAME_HEADER_LEN, len, received);
        received += len;
        Tg__Window window = TG__WINDOW__INIT;
        window.credit = stream_give_back(&flow, len);
        if (window.credit > 0)
            gateway_send(g, FRAME_WINDOW, 1, &window.base);
    }
    bench->gateway_good = good && g->header.type == FRAME_CLOSE && received == BULK;
    send_data(g, 1, 0, 100);
    send_close(g, 1, TG_OK);
    send_bye(g, TG_OK);
}

static void local_sends_bulk(struct bench *bench)
{
    int fd = local_connect(bench);
    uint8_t bytes[50000];
    bool good = fd >= 0;
    for (size_t sent = 0; good && sent < BULK;) {
        size_t len = BULK - sent < sizeof bytes ? BULK - sent : sizeof bytes;
        pattern_fill(bytes, len, sent);
        good = send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
        sent += len;
    }
    shutdown(fd, SHUT_WR);
    bench->local_good = good && read_pattern(bench, fd); /* after our end, the other direction still works */
    close(fd);
}

static void bulk_goes_up_within_the_credit(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_takes_bulk});
    bench_run(&bench, local_sends_bulk, NULL, 60000);
    assert_int_equal(bench.client.exit, EXIT_OK);
    assert_true(bench.gateway_good);
    assert_true(bench.local_good);
    assert_int_equal(bench.received, 100);
    assert_int_equal(bench.local_error, 0);
}

/* Sends one stream's pattern as credit allows; false when a frame came that makes no sense. */
static bool send_bulk(struct gateway *g, uint32_t stream, size_t total)
{
    size_t credit = STREAM_WINDOW_MIN;
    for (size_t sent = 0; sent < total;) {
        size_t len = total - sent < FRAME_PAYLOAD_MAX ? total - sent : FRAME_PAYLOAD_MAX;
        if (credit == 0) {
            if (!expect_frame(g, FRAME_WINDOW, stream))
                return false;
            credit += credit_of(g);
            if (credit > STREAM_WINDOW_MIN)
                return false; /* more than was passed on */
            continue;
        }
        len = len < credit ? len : credit;
        send_data(g, stream, sent, len);
        sent += len;
        credit -= len;
    }
    return true;
}

static void gateway_gives_bulk(struct gateway *g)
{
    bool good = accept_stream(g, 1) && send_bulk(g, 1, BULK);
    send_close(g, 1, TG_OK);
    while (good && next_frame(g) && g->header.type != FRAME_CLOSE)
        good = g->header.type == FRAME_WINDOW;
    bench_of(g)->gateway_good = good;
    send_bye(g, TG_OK);
}

static void bulk_comes_down_within_the_credit(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_gives_bulk});
    bench_run(&bench, local_wait, NULL, 60000);
    assert_int_equal(bench.client.exit, EXIT_OK);
    assert_true(bench.gateway_good);
    assert_true(bench.local_good);
    assert_int_equal(bench.received, BULK);
}

/* Stream 1 belongs to a program that does not read: it gets what credit there is. Stream 3 must get all of
 * its bytes. */
static void gateway_serves_two(struct gateway *g)
{
    size_t sent[4] = {0}, credit[4] = {0};
    bool good = accept_stream(g, 1) && accept_stream(g, 3);
    credit[1] = credit[3] = STREAM_WINDOW_MIN;
    while (good && sent[3] < BULK) {
        uint32_t stream = credit[3] > 0 ? 3 : credit[1] > 0 ? 1 : 0;
        if (stream != 0) {
            size_t len = credit[stream] < FRAME_PAYLOAD_MAX ? credit[stream] : FRAME_PAYLOAD_MAX;
            len = stream == 3 && BULK - sent[3] < len ? BULK - sent[3] : len;
            send_data(g, stream, sent[stream], len);
            sent[stream] += len;
            credit[stream] -= len;
            continue;
        }
        good = next_frame(g) && g->header.type == FRAME_WINDOW && (g->header.stream & ~2U) == 1;
        if (good)
            credit[g->header.stream] += credit_of(g);
    }
    bench_of(g)->gateway_good = good;
    send_close(g, 3, TG_OK);
    while (good && next_frame(g) && !(g->header.type == FRAME_CLOSE && g->header.stream == 3))
        ;
    send_bye(g, TG_OK);
}

static void local_reads_one_of_two(struct bench *bench)
{
    int lazy = local_connect(bench);
    int busy = local_connect(bench);
    bench->local_good = lazy >= 0 && busy >= 0 && read_pattern(bench, busy);
    close(busy);
    close(lazy);
}

static void a_program_that_does_not_read_stops_no_other(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_serves_two});
    bench_run(&bench, local_reads_one_of_two, NULL, 60000);
    assert_int_equal(bench.client.exit, EXIT_OK);
    assert_true(bench.gateway_good);
    assert_true(bench.local_good);
    assert_int_equal(bench.received, BULK);
}

/* Two streams are allowed; the third connection must wait for one of them to end. */
static void gateway_allows_two(struct gateway *g)
{
    struct bench *bench = bench_of(g);
    bool good = accept_stream(g, 1) && accept_stream(g, 3);
    sem_wait(&bench->turn); /* all three are connected */
    Tg__Ping ping = TG__PING__INIT;
    ping.opaque = 42;
    gateway_send(g, FRAME_PING, 0, &ping.base);
    good = good && expect_frame(g, FRAME_PONG, 0);
    send_close(g, 1, TG_ABORTED);
    bench->gateway_good = good && accept_stream(g, 5);
    send_bye(g, TG_OK);
}

static void local_connects_three_times(struct bench *bench)
{
    int fds[3];
    bool good = true;
    for (size_t i = 0; i < 3; i++) {
        fds[i] = local_connect(bench);
        good = good && fds[i] >= 0;
    }
    sem_post(&bench->turn);
    for (size_t i = 0; i < 3; i++) {
        read_pattern(bench, fds[i]);
        close(fds[i]);
    }
    bench->local_good = good;
}

static void streams_beyond_the_limit_wait(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_allows_two, .max_streams = 2});
    bench_run(&bench, local_connects_three_times, NULL, 60000);
    assert_int_equal(bench.client.exit, EXIT_OK);
    assert_true(bench.local_good);
    assert_true(bench.gateway_good);
}

/* A refused stream is the local connection's end, not the session's. */
static void gateway_refuses_the_first(struct gateway *g)
{
    bool good = expect_frame(g, FRAME_OPEN, 1);
    send_opened(g, 1, TG_PERMISSION_DENIED);
    send_data(g, 1, 0, 10); /* crosses the end: ignored */
    bench_of(g)->gateway_good = good && accept_stream(g, 3);
    send_bye(g, TG_OK);
}

static void local_connects_twice(struct bench *bench)
{
    local_wait(bench);
    local_wait(bench);
}

static void a_refused_stream_leaves_the_session_alone(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_refuses_the_first});
    bench_run(&bench, local_connects_twice, NULL, 60000);
    assert_int_equal(bench.client.exit, EXIT_OK);
    assert_true(bench.gateway_good);
    assert_int_equal(bench.received, 0);
}

static void gateway_sees_the_reset(struct gateway *g)
{
    struct bench *bench = bench_of(g);
    bool good = accept_stream(g, 1);
    sem_post(&bench->turn);
    ProtobufCMessage *message = gateway_receive(g, FRAME_CLOSE, &tg__close__descriptor);
    bench->gateway_good = good && message != NULL && ((const Tg__Close *)message)->code != TG_OK;
    pb_free(message);
    send_data(g, 1, 0, 10); /* crosses the end: ignored */
    send_bye(g, TG_OK);
}

static void local_resets(struct bench *bench)
{
    const struct linger at_once = {.l_onoff = 1};
    int fd = local_connect(bench);
    sem_wait(&bench->turn);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static void a_program_that_breaks_off_resets_its_stream(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, &(struct plan){.session = gateway_sees_the_reset});
    bench_run(&bench, local_resets, NULL, 60000);
    assert_int_equal(bench.client.exit, EXIT_OK);
    assert_true(bench.gateway_good);
}

/* ---- -W ---- */

struct stdio {
    int in, out; /* the test's ends of the session's stdin and stdout */
    int usual_in, usual_out;
};

static void stdio_replace(struct stdio *s)
{
    int in[2], out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    s->usual_in = dup(STDIN_FILENO);
    s->usual_out = dup(STDOUT_FILENO);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    close(in[0]);
    close(out[1]);
    s->in = in[1];
    s->out = out[0];
}

static void stdio_restore(const struct stdio *s)
{
    dup2(s->usual_in, STDIN_FILENO);
    dup2(s->usual_out, STDOUT_FILENO);
    close(s->usual_in);
    close(s->usual_out);
    close(s->out);
}

static void gateway_answers_hello(struct gateway *g)
{
    bool good = accept_stream(g, 1) && expect_frame(g, FRAME_DATA, 1) && g->header.length == 5 &&
                memcmp(g->frame + FRAME_HEADER_LEN, "hello", 5) == 0 && expect_frame(g, FRAME_CLOSE, 1);
    send_data(g, 1, 0, 1000);
    send_close(g, 1, TG_OK);
    bench_of(g)->gateway_good = good && expect_frame(g, FRAME_BYE, 0);
}

static void stdin_and_stdout_are_one_stream(void **state)
{
    (void)state;
    static const struct host_port target = {.host = "intranet.test", .port = 80};
    struct bench bench;
    struct stdio stdio;
    bench_open(&bench, &(struct plan){.session = gateway_answers_hello});
    stdio_replace(&stdio);
    assert_int_equal(write(stdio.in, "hello", 5), 5);
    close(stdio.in);
    bench_run(&bench, NULL, &target, 60000);
    uint8_t bytes[2000];
    ssize_t n = read(stdio.out, bytes, sizeof bytes);
    stdio_restore(&stdio);
    assert_int_equal(n, 1000);
    assert_true(pattern_matches(bytes, 1000, 0));
    assert_int_equal(bench.client.exit, EXIT_OK);
    assert_true(bench.gateway_good);
}

static void gateway_refuses_the_target(struct gateway *g)
{
    bench_of(g)->gateway_good = expect_frame(g, FRAME_OPEN, 1);
    send_opened(g, 1, TG_PERMISSION_DENIED);
    gateway_wait_until_gone(g);
}

static void gateway_breaks_off_the_target(struct gateway *g)
{
    bench_of(g)->gateway_good = accept_stream(g, 1);
    send_close(g, 1, TG_UNAVAILABLE);
    gateway_wait_until_gone(g);
}

static void a_target_that_fails_ends_the_program(void **state)
{
    (void)state;
    static const struct host_port target = {.host = "intranet.test", .port = 80};
    void (*const scripts[])(struct gateway *) = {gateway_refuses_the_target, gateway_breaks_off_the_target};
    for (size_t i = 0; i < 2; i++) {
        struct bench bench;
        struct stdio stdio;
        bench_open(&bench, &(struct plan){.session = scripts[i]});
        stdio_replace(&stdio);
        bench_run(&bench, NULL, &target, 60000);
        close(stdio.in);
        stdio_restore(&stdio);
        assert_int_equal(bench.client.exit, EXIT_TARGET);
        assert_true(bench.gateway_good);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breaches_end_the_session),
        cmocka_unit_test(more_than_the_credit_ends_the_session),
        cmocka_unit_test(a_cut_connection_cuts_the_local_ones),
        cmocka_unit_test(a_silent_gateway_is_given_up),
        cmocka_unit_test(a_local_port_in_use_is_an_error),
        cmocka_unit_test(byes_are_told_apart),
        cmocka_unit_test(a_signal_ends_the_session_with_bye),
        cmocka_unit_test(bulk_goes_up_within_the_credit),
        cmocka_unit_test(bulk_comes_down_within_the_credit),
        cmocka_unit_test(a_program_that_does_not_read_stops_no_other),
        cmocka_unit_test(streams_beyond_the_limit_wait),
        cmocka_unit_test(a_refused_stream_leaves_the_session_alone),
        cmocka_unit_test(a_program_that_breaks_off_resets_its_stream),
        cmocka_unit_test(stdin_and_stdout_are_one_stream),
        cmocka_unit_test(a_target_that_fails_ends_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
