#include "services/gateway/wire.h"

#include <errno.h>
#include <openssl/bio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/protocol/channel.h"

/* Keeps what could not be sent. Over the bound the client does not read what it asked for: it is cut off, by
 * a socket that takes nothing more and so fails the next read. */
static void keep(struct connection *c, const uint8_t *bytes, size_t len)
{
    if (!byte_queue_append(&c->wire, bytes, len))
        shutdown(c->fd, SHUT_RDWR);
}

/* How much of it the socket took. A broken socket takes everything: reading reports it. */
static size_t send_now(struct connection *c, const uint8_t *bytes, size_t len)
{
    ssize_t n;
    do
        n = send(c->fd, bytes, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return (size_t)n;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : len;
}

void wire_flush(struct worker *worker)
{
    struct connection *c = worker->wire_owner;
    if (c == NULL)
        return;
    size_t sent = connection_blocked(c) ? 0 : send_now(c, worker->wire, worker->wire_len);
    if (sent < worker->wire_len)
        keep(c, worker->wire + sent, worker->wire_len - sent);
    worker->wire_owner = NULL;
    worker->wire_len = 0;
    connection_update_poll(c);
}

bool wire_push(struct connection *c)
{
    if (c->worker->wire_owner == c)
        wire_flush(c->worker);
    while (connection_blocked(c)) {
        size_t waiting = byte_queue_len(&c->wire);
        size_t sent = send_now(c, byte_queue_front(&c->wire), waiting);
        byte_queue_take(&c->wire, sent);
        if (sent < waiting)
            break;
    }
    connection_update_poll(c);
    return !connection_blocked(c);
}

void wire_forget(struct connection *c)
{
    if (c->worker->wire_owner == c) {
        c->worker->wire_owner = NULL;
        c->worker->wire_len = 0;
    }
}

/* ---- the BIO ---- */

static int wire_write(BIO *bio, const char *bytes, int len)
{
    struct connection *c = BIO_get_data(bio);
    struct worker *worker = c->worker;
    size_t size = (size_t)len;
    if (worker->wire_owner != c || size > sizeof worker->wire - worker->wire_len)
        wire_flush(worker);
    if (size > sizeof worker->wire) {
        keep(c, (const uint8_t *)bytes, size);
        return len;
    }
    memcpy(worker->wire + worker->wire_len, bytes, size);
    worker->wire_len += size;
    worker->wire_owner = c;
    return len;
}

static int wire_read(BIO *bio, char *bytes, int len)
{
    struct connection *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n;
    do
        n = recv(c->fd, bytes, (size_t)len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(bio);
    if (n == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)n;
}

static long wire_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static int wire_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

/* One method for the whole process, made on first use; workers may come here at the same time. */
static BIO_METHOD *method;
static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;

static void make_method(void)
{
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ticketgate wire");
    if (made == NULL || BIO_meth_set_write(made, wire_write) != 1 ||
        BIO_meth_set_read(made, wire_read) != 1 || BIO_meth_set_ctrl(made, wire_control) != 1 ||
        BIO_meth_set_create(made, wire_create) != 1) {
        BIO_meth_free(made);
        return;
    }
    method = made;
}

enum tg_code wire_attach(struct connection *c, SSL *ssl, struct tg_error *err)
{
    BIO *bio = CRYPTO_THREAD_run_once(&once, make_method) == 1 && method != NULL ? BIO_new(method) : NULL;
    if (bio == NULL)
        return channel_fail(err, TG_RESOURCE_EXHAUSTED, "cannot set up the connection for TLS");
    BIO_set_data(bio, c);
    SSL_set_bio(ssl, bio, bio); /* takes it once for both */
    return TG_OK;
}
