/* The link's way up: frames queue in `out`, become TLS records in `wire`, and leave with one write(). */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>

#include "client/session/link.h"
#include "common/protocol/channel.h"

/* RFC 8446 5.5: AES-GCM keys are good for 2^24.5 full records. */
static const uint64_t records_per_key = UINT64_C(1) << 23;

int link_data_room(struct link *link, struct iovec *places, int count)
{
    size_t at = link->out_len;
    int n = 0;
    for (; !link->dead && n < count && at + FRAME_MAX <= LINK_DATA_SIZE; n++, at += FRAME_MAX)
        places[n] = (struct iovec){link->out + at + FRAME_HEADER_LEN, FRAME_PAYLOAD_MAX};
    return n;
}

void link_data_commit(struct link *link, uint32_t stream, size_t len)
{
    while (len > 0) {
        size_t payload = len < FRAME_PAYLOAD_MAX ? len : FRAME_PAYLOAD_MAX;
        const struct frame_header header = {
            .type = FRAME_DATA, .length = (uint32_t)payload, .stream = stream};
        frame_encode(&header, link->out + link->out_len);
        link->out_len += FRAME_HEADER_LEN + payload;
        len -= payload;
    }
    TG_INVARIANT(link->out_len <= LINK_DATA_SIZE);
}

void link_send(struct link *link, enum frame_type type, uint32_t stream, const ProtobufCMessage *message)
{
    if (link->dead)
        return;
    size_t len = protobuf_c_message_get_packed_size(message);
    TG_INVARIANT(FRAME_HEADER_LEN + len <= LINK_CONTROL_FRAME_MAX);
    if (link->out_len + FRAME_HEADER_LEN + len > LINK_OUT_SIZE) {
        link->overflown = true; /* told by on_prepare: the caller may be in the middle of something */
        return;
    }
    const struct frame_header header = {.type = (uint8_t)type, .length = (uint32_t)len, .stream = stream};
    frame_encode(&header, link->out + link->out_len);
    protobuf_c_message_pack(message, link->out + link->out_len + FRAME_HEADER_LEN);
    link->out_len += FRAME_HEADER_LEN + len;
}

bool link_control_room(const struct link *link)
{
    return !link->dead && link->out_len <= LINK_OUT_SIZE - LINK_CONTROL_SIZE / 2;
}

static size_t frame_len(const uint8_t *frame)
{
    return FRAME_HEADER_LEN + ((size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3]);
}

/* As many whole frames from `at` on as fit one record: a full DATA frame alone, small ones together. */
static size_t record_at(const struct link *link, size_t at)
{
    size_t len = 0;
    while (at + len < link->out_len) {
        size_t next = frame_len(link->out + at + len);
        if (len + next > FRAME_MAX)
            break;
        len += next;
    }
    return len;
}

static bool encrypt_one(struct link *link, size_t at, size_t len)
{
    size_t written = 0;
    ERR_clear_error();
    if (++link->records % records_per_key == 0)
        SSL_key_update(link->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
    return SSL_write_ex(link->ssl, link->out + at, len, &written) == 1;
}

/* Moves what fits from `out` to `wire`. */
static bool encrypt(struct link *link)
{
    size_t at = 0;
    while (at < link->out_len && link->wire_len <= LINK_WIRE_FULL) {
        size_t len = record_at(link, at);
        if (!encrypt_one(link, at, len)) {
            struct tg_error err;
            channel_fail(&err, TG_INTERNAL, "TLS to the gateway failed");
            link_fail(link, err.code, err.text);
            return false;
        }
        at += len;
    }
    link->out_len -= at;
    memmove(link->out, link->out + at, link->out_len);
    return true;
}

enum sent { SENT_ALL, SENT_SOME, SENT_FAILED };

static enum sent send_wire(struct link *link)
{
    while (link->wire_sent < link->wire_len) {
        ssize_t n =
            send(link->fd, link->wire + link->wire_sent, link->wire_len - link->wire_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? SENT_SOME : SENT_FAILED;
        link->wire_sent += (size_t)n;
    }
    link->wire_sent = link->wire_len = 0;
    return SENT_ALL;
}

bool link_flush(struct link *link)
{
    while (!link->dead) {
        enum sent sent = send_wire(link);
        link->stalled = sent == SENT_SOME;
        if (sent == SENT_SOME)
            return false;
        if (sent == SENT_FAILED) {
            link_fail(link, TG_UNAVAILABLE, strerror(errno));
            return false;
        }
        if (link->out_len == 0)
            return true;
        if (!encrypt(link))
            return false;
    }
    return false;
}

bool link_finish(struct link *link)
{
    if (!link_flush(link))
        return false;
    ERR_clear_error();
    if (!link->finished)
        SSL_shutdown(link->ssl);
    link->finished = true;
    return link_flush(link);
}
