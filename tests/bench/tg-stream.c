/* How fast bytes go through whatever listens on a port: `serve` is the far end (a source and a sink),
 * `measure` the near one. A connection's first byte says which way its data goes; going up, the far end
 * answers with the number of bytes it has received, so that nothing counts that is still on its way. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/trace.h"

enum { BLOCK = 256 * 1024, STREAMS_MAX = 64 };

static uint8_t block[BLOCK]; /* what is sent; never written to */

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "tg-stream: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in loopback(const char *port)
{
    // NOLINTNEXTLINE(cert-err34-c): port 0 cannot be connected to
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)atoi(port)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void send_all(int fd)
{
    while (send(fd, block, BLOCK, MSG_NOSIGNAL) > 0)
        ;
}

static uint64_t receive_all(int fd)
{
    uint8_t *buffer = malloc(BLOCK);
    uint64_t received = 0;
    ssize_t got;

    while (buffer != NULL && (got = recv(fd, buffer, BLOCK, 0)) > 0)
        received += (uint64_t)got;
    free(buffer);
    return received;
}

static void *serve_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char way;

    if (recv(fd, &way, 1, 0) == 1 && way == 'u') {
        uint64_t received = receive_all(fd);

        (void)send(fd, &received, sizeof(received), MSG_NOSIGNAL);
    } else {
        send_all(fd);
    }
    close(fd);
    return NULL;
}

static int serve(const char *port)
{
    struct sockaddr_in address = loopback(port);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (const struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 64) != 0)
        die("cannot listen");
    puts("ready");
    fflush(stdout);
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            die("accept");
        if (pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
        else
            close(fd);
    }
}

struct stream {
    pthread_t thread;
    const char *port;
    bool up;
    uint64_t until_ms;
    uint64_t bytes;
};

static void run_up(struct stream *stream, int fd)
{
    uint64_t acknowledged = 0;

    while (clock_now_ms() < stream->until_ms && send(fd, block, BLOCK, MSG_NOSIGNAL) > 0)
        ;
    shutdown(fd, SHUT_WR);
    if (recv(fd, &acknowledged, sizeof(acknowledged), MSG_WAITALL) != sizeof(acknowledged))
        die("the far end did not say how much it received");
    stream->bytes = acknowledged;
}

static void run_down(struct stream *stream, int fd)
{
    uint8_t *buffer = malloc(BLOCK);
    ssize_t got = 1;

    while (buffer != NULL && got > 0 && clock_now_ms() < stream->until_ms) {
        got = recv(fd, buffer, BLOCK, 0);
        stream->bytes += got > 0 ? (uint64_t)got : 0;
    }
    free(buffer);
    if (got <= 0)
        die("the stream ended early");
}

static void *run_stream(void *arg)
{
    struct stream *stream = arg;
    struct sockaddr_in address = loopback(stream->port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(fd, stream->up ? "u" : "d", 1, MSG_NOSIGNAL) != 1)
        die("cannot connect");
    if (stream->up)
        run_up(stream, fd);
    else
        run_down(stream, fd);
    close(fd);
    return NULL;
}

/* Prints MB/s of `count` streams together. */
static int measure(bool up, const char *port, unsigned seconds, unsigned count)
{
    struct stream streams[STREAMS_MAX] = {0};
    uint64_t start = clock_now_ms();
    uint64_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        streams[i] = (struct stream){.port = port, .up = up, .until_ms = start + 1000 * (uint64_t)seconds};
        if (pthread_create(&streams[i].thread, NULL, run_stream, &streams[i]) != 0)
            die("cannot start a thread");
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(streams[i].thread, NULL);
        bytes += streams[i].bytes;
    }
    printf("%.0f\n", (double)bytes / 1000.0 / (double)(clock_now_ms() - start));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (argc == 6 && strcmp(argv[1], "measure") == 0) {
        long seconds = strtol(argv[4], NULL, 10);
        long count = strtol(argv[5], NULL, 10);

        if (seconds > 0 && seconds <= 3600 && count > 0 && count <= STREAMS_MAX)
            return measure(strcmp(argv[2], "up") == 0, argv[3], (unsigned)seconds, (unsigned)count);
    }
    fputs("Usage: tg-stream serve PORT\n"
          "       tg-stream measure up|down PORT SECONDS STREAMS\n",
          stderr);
    return 64;
}
