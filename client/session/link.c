#include "client/session/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"

static void arm(struct link *link);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;
    if (status < 0) {
        link_fail(link, TG_UNAVAILABLE, uv_strerror(status));
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        link->stalled = false;
        arm(link);
    }
    if ((events & UV_READABLE) != 0)
        link_receive(link);
}

static void arm(struct link *link)
{
    if (!link->dead)
        uv_poll_start(&link->poll, link->stalled ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_poll);
}

/* Before each wait for events: what callbacks and timers have queued goes out together. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct link *link = prepare->data;
    if (link->overflown)
        link_fail(link, TG_UNAVAILABLE, "the gateway has stopped reading");
    if (link->dead || link->stalled)
        return;
    bool waited = link->out_len > 0 || link->wire_len > 0;
    if (link_flush(link)) {
        if (waited)
            link->events->room(link->context);
    } else {
        arm(link);
    }
}

static void on_idle(uv_idle_t *idle)
{
    link_receive(idle->data);
}

/* The SSL writes its records into link->wire; link_flush sends them. */
static int sink_write(BIO *bio, const char *bytes, int len)
{
    struct link *link = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    if ((size_t)len > LINK_WIRE_SIZE - link->wire_len) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(link->wire + link->wire_len, bytes, (size_t)len);
    link->wire_len += (size_t)len;
    return len;
}

static long sink_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int sink_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static bool set_sink(struct link *link)
{
    link->sink = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "link");
    if (link->sink == NULL)
        return false;
    BIO_meth_set_write(link->sink, sink_write);
    BIO_meth_set_ctrl(link->sink, sink_control);
    BIO_meth_set_create(link->sink, sink_create);
    BIO *bio = BIO_new(link->sink);
    if (bio == NULL)
        return false;
    BIO_set_data(bio, link);
    SSL_set0_wbio(link->ssl, bio);
    return true;
}

static bool handles_open(struct link *link, uv_loop_t *loop)
{
    if (uv_poll_init(loop, &link->poll, link->fd) != 0)
        return false;
    uv_prepare_init(loop, &link->prepare);
    uv_idle_init(loop, &link->idle);
    link->poll.data = link->prepare.data = link->idle.data = link;
    uv_prepare_start(&link->prepare, on_prepare);
    uv_idle_start(&link->idle, on_idle); /* the login may have left input inside the SSL */
    return true;
}

enum tg_code link_open(struct link *link, uv_loop_t *loop, SSL *ssl, int fd, const struct link_events *events,
                       void *context, struct tg_error *err)
{
    *link = (struct link){.events = events, .context = context, .ssl = ssl, .fd = fd, .heard = true};
    link->out = malloc(LINK_OUT_SIZE);
    link->wire = malloc(LINK_WIRE_SIZE);
    link->in = malloc(LINK_IN_SIZE);
    bool good = link->out != NULL && link->wire != NULL && link->in != NULL && set_sink(link);
    if (!good || !handles_open(link, loop)) {
        link_fini(link);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "out of memory or descriptors");
    }
    arm(link);
    return TG_OK;
}

void link_close(struct link *link)
{
    link->dead = true;
    uv_close((uv_handle_t *)&link->poll, NULL);
    uv_close((uv_handle_t *)&link->prepare, NULL);
    uv_close((uv_handle_t *)&link->idle, NULL);
}

/* The buffers held what users sent and received. */
void link_fini(struct link *link)
{
    if (link->ssl != NULL)
        SSL_set0_wbio(link->ssl, NULL);
    BIO_meth_free(link->sink);
    if (link->out != NULL)
        secret_wipe(link->out, LINK_OUT_SIZE);
    if (link->in != NULL)
        secret_wipe(link->in, LINK_IN_SIZE);
    free(link->out);
    free(link->wire);
    free(link->in);
    *link = (struct link){.fd = -1, .dead = true};
}

void link_fail(struct link *link, enum tg_code code, const char *text)
{
    if (link->dead)
        return;
    link->dead = true;
    uv_poll_stop(&link->poll);
    uv_prepare_stop(&link->prepare);
    uv_idle_stop(&link->idle);
    struct tg_error why;
    tg_fail(&why, code, "%s", text);
    link->events->lost(link->context, &why);
}
