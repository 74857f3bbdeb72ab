/* The channel of a session as frames: a TLS connection on a libuv loop. No allocation after link_open; what
 * waits to be sent is bounded, and data gives way to control frames.
 *
 *   up:   a tunnel reads its local socket straight behind the headers of up to LINK_DATA_FRAMES frames in
 * `out`; once per turn of the loop these become TLS records in `wire`, and one write() sends them. down: one
 * read() takes several records (read ahead, client/login/channel.c); their frames stay in `in` until the
 *         batch has been delivered, so that one writev() can pass on several. */
#ifndef TG_CLIENT_SESSION_LINK_H
#define TG_CLIENT_SESSION_LINK_H

#include <openssl/ssl.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <sys/uio.h>
#include <uv.h>

#include "common/error.h"
#include "common/protocol/frame.h"

enum link_sizes {
    LINK_DATA_FRAMES = 16,
    LINK_CONTROL_SIZE = 64 * 1024,     /* kept free for control frames */
    LINK_CONTROL_FRAME_MAX = 1024,     /* what we send is always smaller */
    LINK_RECORD_MAX = FRAME_MAX + 256, /* RFC 8446 5.2: a record adds at most 256 bytes */
    LINK_DATA_SIZE = LINK_DATA_FRAMES * FRAME_MAX,
    LINK_OUT_SIZE = LINK_DATA_SIZE + LINK_CONTROL_SIZE,
    LINK_WIRE_FULL =
        LINK_DATA_FRAMES * LINK_RECORD_MAX, /* from here on, another record and a KeyUpdate may not fit */
    LINK_WIRE_SIZE = LINK_WIRE_FULL + 2 * LINK_RECORD_MAX,
    LINK_IN_SIZE = LINK_DATA_SIZE
};

struct link_events {
    /* A frame came; payload is borrowed until batch_end. An error ends the link. */
    enum tg_code (*frame)(void *context, const struct frame_header *header, const uint8_t *payload,
                          struct tg_error *err);
    void (*batch_end)(void *context);
    void (*room)(void *context); /* all that waited was handed to the kernel: there is room for data again */
    void (*lost)(void *context, const struct tg_error *why); /* once; the link is dead */
};

struct link {
    const struct link_events *events;
    void *context;
    SSL *ssl;
    int fd;
    uv_poll_t poll;
    uv_prepare_t prepare; /* sends what is queued before the loop waits */
    uv_idle_t idle;       /* runs while decrypted or buffered input waits inside the SSL */
    BIO_METHOD *sink;
    uint8_t *out, *wire, *in;
    size_t out_len;
    size_t wire_sent, wire_len;
    size_t in_len;
    uint64_t records;
    bool stalled;   /* the kernel's buffer is full */
    bool heard;     /* bytes came since this was last cleared */
    bool overflown; /* a control frame did not fit */
    bool finished;  /* close_notify is queued */
    bool dead;
};

/* ssl and fd stay the caller's. */
enum tg_code link_open(struct link *link, uv_loop_t *loop, SSL *ssl, int fd, const struct link_events *events,
                       void *context, struct tg_error *err) TG_MUST_CHECK;
/* Closes the handles; the loop must run once more before the link's memory may go (link_fini). */
void link_close(struct link *link);
void link_fini(struct link *link);

/* Up to `count` places for DATA payloads of FRAME_PAYLOAD_MAX bytes, one frame each; returns how many there
 * are. */
int link_data_room(struct link *link, struct iovec *places, int count);
/* `len` bytes were put into these places, each filled before the next: they become DATA frames of `stream`.
 */
void link_data_commit(struct link *link, uint32_t stream, size_t len);
/* Queues a control frame. When even the room for those is used up, the gateway has stopped reading: the link
 * is lost, at the end of this turn of the loop. */
void link_send(struct link *link, enum frame_type type, uint32_t stream, const ProtobufCMessage *message);
/* True while there is ample room for control frames: new streams may be opened. */
bool link_control_room(const struct link *link);

/* Sends now what waits. True: all of it is with the kernel. */
bool link_flush(struct link *link);
/* The same, with TLS's close_notify behind it. */
bool link_finish(struct link *link);
/* Ends the link, telling events->lost. */
void link_fail(struct link *link, enum tg_code code, const char *text);

/* link_in.c: the descriptor is readable. */
void link_receive(struct link *link);

#endif
