/* Where exported events go: what a collector sees, and what happens when it takes nothing. */
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/unit/client/pki.h"
#include "tools/tgctl/export/sink.h"
#include "tools/tgctl/export/syslog.h"

#define LINE(n)                                                                                              \
    "{\"metadata\":{\"sequence\":" #n ",\"event_code\":\"login.refused\",\"product\":{\"feature\":"          \
    "{\"name\":\"gateway\"}}},\"time_dt\":\"2026-11-28T10:00:00.000001Z\",\"severity_id\":3}"

static struct pki pki;
static char file_path[64], socket_path[64];

static int setup(void **state)
{
    (void)state;
    pki_make(&pki);
    snprintf(file_path, sizeof file_path, "%s/events", pki.dir);
    snprintf(socket_path, sizeof socket_path, "%s/log", pki.dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file_path);
    unlink(socket_path);
    pki_remove(&pki);
    return 0;
}

static enum tg_code try_open(const char *to, uint64_t mark, const char *ca, struct sink **sink,
                             struct tg_error *err)
{
    const struct sink_options options = {.to = to, .mark = mark, .ca = ca};
    *sink = NULL;
    return sink_open(&options, sink, err);
}

static struct sink *open_sink(const char *to, uint64_t mark, const char *ca)
{
    struct tg_error err = {0};
    struct sink *sink = NULL;
    if (try_open(to, mark, ca, &sink, &err) != TG_OK)
        fail_msg("%s: %s", to, err.text);
    return sink;
}

static void refuse(const char *to, uint64_t mark, const char *ca, enum tg_code code)
{
    struct tg_error err = {0};
    struct sink *sink;
    assert_int_equal(try_open(to, mark, ca, &sink, &err), code);
    assert_true(strlen(err.text) > 0);
}

/* ---- messages ---- */

static void test_lines_that_are_no_events(void **state)
{
    static const char *const bad[] = {"", "x", "[]", "{}", "{\"metadata\":", "{\"severity_id\":1}"};
    char *message = NULL;
    size_t len = 0;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(syslog_message(bad[i], "host", &message, &len, NULL), TG_DATA_LOSS);
}

static void test_a_message(void **state)
{
    static const char wanted[] =
        "<108>1 2026-11-28T10:00:00.000001Z host tg-gateway - login.refused - \xef\xbb\xbf" LINE(7);
    char *message = NULL;
    size_t len = 0;
    (void)state;
    assert_int_equal(syslog_message(LINE(7), "host", &message, &len, NULL), TG_OK);
    assert_int_equal(len, sizeof wanted - 1);
    assert_memory_equal(message, wanted, len);
    free(message);
}

static void test_header_fields_are_clean(void **state)
{
    static const char line[] = "{\"metadata\":{\"event_code\":\"a b\\nc\"},\"time_dt\":5,\"severity_id\":99}";
    static const char wanted[] = "<110>1 - host tg-- - a?b?c - ";
    char *message = NULL;
    size_t len = 0;
    (void)state;
    assert_int_equal(syslog_message(line, "host", &message, &len, NULL), TG_OK);
    assert_memory_equal(message, wanted, sizeof wanted - 1);
    free(message);
}

/* ---- a file ---- */

static void assert_file(const char *wanted)
{
    char text[1024] = "";
    FILE *in = fopen(file_path, "re");
    assert_non_null(in);
    text[fread(text, 1, sizeof text - 1, in)] = '\0';
    fclose(in);
    assert_string_equal(text, wanted);
}

static void test_bad_files(void **state)
{
    (void)state;
    refuse("/nowhere/events", SINK_NO_MARK, NULL, TG_UNAVAILABLE);
    refuse("/dev/null", SINK_NO_MARK, NULL, TG_INVALID_ARGUMENT);
    unlink(file_path);
    refuse(file_path, 5, NULL, TG_DATA_LOSS); /* shorter than it was */
}

/* A crash after the lines were written and before the position was: they come once. */
static void test_a_file_goes_on_at_its_mark(void **state)
{
    bool settled = false;
    (void)state;
    unlink(file_path);
    struct sink *sink = open_sink(file_path, SINK_NO_MARK, NULL);
    assert_int_equal(sink->ops->put(sink, "{\"a\":1}", NULL), TG_OK);
    assert_int_equal(sink->ops->flush(sink, &settled, NULL), TG_OK);
    assert_true(settled);
    uint64_t mark = sink->ops->mark(sink);
    assert_int_equal(mark, 8);
    assert_int_equal(sink->ops->put(sink, "{\"b\":2}", NULL), TG_OK);
    assert_int_equal(sink->ops->finish(sink, NULL), TG_OK);
    sink->ops->close(sink);
    assert_file("{\"a\":1}\n{\"b\":2}\n");
    sink = open_sink(file_path, mark, NULL);
    assert_int_equal(sink->ops->put(sink, "{\"b\":2}", NULL), TG_OK);
    assert_int_equal(sink->ops->finish(sink, NULL), TG_OK);
    sink->ops->close(sink);
    assert_file("{\"a\":1}\n{\"b\":2}\n");
}

/* The same within the first page, when the file was empty before it. */
static void test_a_file_begins_anew_at_mark_0(void **state)
{
    (void)state;
    unlink(file_path);
    struct sink *sink = open_sink(file_path, SINK_NO_MARK, NULL);
    assert_int_equal(sink->ops->mark(sink), 0);
    assert_int_equal(sink->ops->put(sink, "{\"torn\":", NULL), TG_OK);
    sink->ops->close(sink);
    sink = open_sink(file_path, 0, NULL);
    assert_int_equal(sink->ops->put(sink, "{\"a\":1}", NULL), TG_OK);
    sink->ops->close(sink);
    assert_file("{\"a\":1}\n");
}

static void test_a_file_is_written_by_one(void **state)
{
    (void)state;
    struct sink *sink = open_sink(file_path, SINK_NO_MARK, NULL);
    refuse(file_path, 0, NULL, TG_FAILED_PRECONDITION);
    sink->ops->close(sink);
    sink = open_sink(file_path, 0, NULL);
    sink->ops->close(sink);
}

static void test_a_full_disk_is_said(void **state)
{
    struct tg_error err = {0};
    bool settled = true;
    (void)state;
    unlink(file_path);
    struct sink *sink = open_sink(file_path, SINK_NO_MARK, NULL);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct stat about;
    assert_int_equal(stat(file_path, &about), 0);
    for (int fd = 3; fd < 64; fd++) { /* the sink's descriptor becomes the full disk's */
        struct stat other;
        if (fstat(fd, &other) == 0 && other.st_ino == about.st_ino && other.st_dev == about.st_dev)
            assert_true(dup2(full, fd) == fd);
    }
    (void)sink->ops->put(sink, "{}", NULL);
    assert_int_equal(sink->ops->flush(sink, &settled, &err), TG_UNAVAILABLE);
    assert_false(settled);
    sink->ops->close(sink);
    close(full);
}

/* ---- a local daemon ---- */

static int listen_at(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    unlink(socket_path);
    strcpy(address.sun_path, socket_path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void test_bad_sockets(void **state)
{
    char to[80];
    (void)state;
    refuse("unix:", SINK_NO_MARK, NULL, TG_INVALID_ARGUMENT);
    refuse("unix:/nowhere/log", SINK_NO_MARK, NULL, TG_UNAVAILABLE);
    close(listen_at(SOCK_DGRAM)); /* a socket that nobody has open */
    snprintf(to, sizeof to, "unix:%s", socket_path);
    refuse(to, SINK_NO_MARK, NULL, TG_UNAVAILABLE);
}

static void receive(int fd, char *out, size_t size)
{
    ssize_t len = recv(fd, out, size - 1, 0);
    assert_true(len > 0);
    out[len] = '\0';
}

static void test_datagrams_and_streams(void **state)
{
    static const int types[] = {SOCK_DGRAM, SOCK_STREAM};
    char to[80], got[1024];
    (void)state;
    for (int i = 0; i < 2; i++) {
        int server = listen_at(types[i]);
        snprintf(to, sizeof to, "unix:%s", socket_path);
        struct sink *sink = open_sink(to, SINK_NO_MARK, NULL);
        assert_int_equal(sink->ops->put(sink, LINE(1), NULL), TG_OK);
        assert_int_equal(sink->ops->finish(sink, NULL), TG_OK);
        sink->ops->close(sink);
        int from = types[i] == SOCK_STREAM ? accept(server, NULL, NULL) : server;
        receive(from, got, sizeof got);
        assert_int_equal(strncmp(got, "<108>1 2026-11-28T", 18), 0);
        assert_int_equal(got[strlen(got) - 1], types[i] == SOCK_STREAM ? '\n' : '}');
        if (from != server)
            close(from);
        close(server);
    }
}

/* ---- a collector ---- */

struct collector {
    pthread_t thread;
    int fd;
    char to[32];
    bool confirm; /* answers the end of TLS, rather than leaving */
    char got[4096];
};

static void *collect(void *arg)
{
    struct collector *collector = arg;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate_chain_file(ctx, pki.certificate);
    SSL_CTX_use_PrivateKey_file(ctx, pki.key, SSL_FILETYPE_PEM);
    SSL *ssl = SSL_new(ctx);
    int fd = accept(collector->fd, NULL, NULL);
    size_t len = 0;
    SSL_set_fd(ssl, fd);
    for (int got = SSL_accept(ssl); got > 0; len += (size_t)got) {
        got = SSL_read(ssl, collector->got + len, (int)(sizeof collector->got - 1 - len));
        if (got <= 0 || (!collector->confirm && len > 0))
            break;
    }
    if (collector->confirm)
        SSL_shutdown(ssl);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return NULL;
}

static void collector_start(struct collector *collector, bool confirm)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    *collector = (struct collector){.confirm = confirm, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(collector->fd, (const struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(collector->fd, 1), 0);
    assert_int_equal(getsockname(collector->fd, (struct sockaddr *)&address, &len), 0);
    snprintf(collector->to, sizeof collector->to, "tls:127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&collector->thread, NULL, collect, collector), 0);
}

static void collector_end(struct collector *collector)
{
    pthread_join(collector->thread, NULL);
    close(collector->fd);
}

static void test_bad_collectors(void **state)
{
    struct collector collector;
    (void)state;
    refuse("tls:127.0.0.1:1", SINK_NO_MARK, NULL, TG_INVALID_ARGUMENT); /* no CA */
    refuse("tls:127.0.0.1:1", SINK_NO_MARK, "/nowhere", TG_UNAVAILABLE);
    refuse("tls:127.0.0.1:1", SINK_NO_MARK, pki.ca, TG_UNAVAILABLE); /* nobody there */
    collector_start(&collector, true);
    refuse(collector.to, SINK_NO_MARK, pki.other_ca, TG_UNAVAILABLE); /* nobody whom that CA knows */
    collector_end(&collector);
    collector_start(&collector, true);
    char to[48];
    snprintf(to, sizeof to, "tls:localhost:%s", strrchr(collector.to, ':') + 1);
    refuse(to, SINK_NO_MARK, pki.ca, TG_UNAVAILABLE); /* its certificate names 127.0.0.1 */
    collector_end(&collector);
}

static void test_over_tls(void **state)
{
    struct collector collector;
    bool settled = true;
    size_t len = 0;
    (void)state;
    collector_start(&collector, true);
    struct sink *sink = open_sink(collector.to, SINK_NO_MARK, pki.ca);
    assert_int_equal(sink->ops->put(sink, LINE(1), NULL), TG_OK);
    assert_int_equal(sink->ops->put(sink, LINE(2), NULL), TG_OK);
    assert_int_equal(sink->ops->flush(sink, &settled, NULL), TG_OK);
    assert_false(settled); /* nobody has confirmed anything yet */
    assert_int_equal(sink->ops->finish(sink, NULL), TG_OK);
    sink->ops->close(sink);
    collector_end(&collector);
    const char *first = strchr(collector.got, ' ') + 1;
    assert_int_equal(sscanf(collector.got, "%zu ", &len), 1);
    assert_int_equal(strncmp(first, "<108>1 ", 7), 0);
    assert_non_null(strstr(first, "\"sequence\":1,"));
    const char *second = strchr(first + len, ' ') + 1; /* right behind the first */
    assert_int_equal(strncmp(second, "<108>1 ", 7), 0);
    assert_non_null(strstr(second, "\"sequence\":2,"));
}

static void test_a_collector_that_leaves(void **state)
{
    struct collector collector;
    struct tg_error err = {0};
    (void)state;
    collector_start(&collector, false);
    struct sink *sink = open_sink(collector.to, SINK_NO_MARK, pki.ca);
    enum tg_code code = sink->ops->put(sink, LINE(1), &err);
    if (code == TG_OK)
        code = sink->ops->put(sink, LINE(2), &err);
    if (code == TG_OK)
        code = sink->ops->finish(sink, &err);
    assert_int_equal(code, TG_UNAVAILABLE);
    sink->ops->close(sink);
    collector_end(&collector);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_that_are_no_events),
        cmocka_unit_test(test_a_message),
        cmocka_unit_test(test_header_fields_are_clean),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_a_file_goes_on_at_its_mark),
        cmocka_unit_test(test_a_file_begins_anew_at_mark_0),
        cmocka_unit_test(test_a_file_is_written_by_one),
        cmocka_unit_test(test_a_full_disk_is_said),
        cmocka_unit_test(test_bad_sockets),
        cmocka_unit_test(test_datagrams_and_streams),
        cmocka_unit_test(test_bad_collectors),
        cmocka_unit_test(test_over_tls),
        cmocka_unit_test(test_a_collector_that_leaves),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
