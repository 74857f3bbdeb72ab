/* One connection to one RADIUS server, through radcli: the only part that knows that library. It is used by
 * one thread at a time, is good for one question at a time, and after any failure it can only be closed:
 * radcli's own reconnecting forgets to check the server's name (1.2.11: restart_session). */
#ifndef TG_RADIUS_CONNECTION_H
#define TG_RADIUS_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "proto/radius_bridge.pb-c.h"

enum radius_transport { RADIUS_RADSEC, RADIUS_UDP };

enum radius_limits {
    RADIUS_PASSWORD_MAX = 112, /* what radcli 1.2 sends; it would cut off the rest without a word */
    RADIUS_VALUE_MAX = 253,    /* one attribute (RFC 2865 5) */
    RADIUS_MESSAGE_MAX = 1024  /* of Reply-Message, all together */
};

/* One of the configured servers. */
struct radius_server_config {
    char *name;
    int transport; /* enum radius_transport */
    char *host;
    int64_t port;
    char *ca, *certificate, *key; /* PEM files, for radsec */
    char *secret_file;            /* for udp */
};

/* What an Access-Accept, -Reject or -Challenge said, made harmless and bounded. */
struct radius_answer {
    Tg__LoginResponse__Outcome outcome;
    char reply_message[RADIUS_MESSAGE_MAX + 1];
    char filter_id[RADIUS_VALUE_MAX + 1];
    uint32_t session_timeout_s;
    uint32_t idle_timeout_s;
    uint8_t klass[RADIUS_VALUE_MAX];
    size_t klass_len;
    uint8_t state[RADIUS_VALUE_MAX];
    size_t state_len;
    bool echo;
};

struct connection;

/* Once, before the first connection, while there is one thread. FAILED_PRECONDITION: the system lacks what
 * radcli needs. */
enum tg_code connection_prepare(struct tg_error *err) TG_MUST_CHECK;

/* Connects and shakes hands; it blocks, for as long as the network makes it wait. UNAVAILABLE: the text says
 * why. */
enum tg_code connection_open(struct connection **connection, const struct radius_server_config *server,
                             struct tg_error *err) TG_MUST_CHECK;
/* NULL is fine. */
void connection_close(struct connection *connection);

/* The connection's descriptor, -1 over UDP; valid until connection_close. */
int connection_fd(const struct connection *connection);
/* False when the server has closed it. May be called for another thread's idle connection. Never blocks. */
bool connection_fd_is_up(int fd);
/* Makes a question that is under way fail now. Any thread. */
void connection_fd_abort(int fd);

/* Asks and waits for the answer, about timeout_ms at most (whoever needs it exact aborts). OK: *answer is
 * filled in. UNAVAILABLE: the connection was closed. DEADLINE_EXCEEDED: no answer in time. DATA_LOSS: not a
 * valid answer. */
enum tg_code connection_ask(struct connection *connection, const Tg__LoginRequest *request,
                            uint32_t timeout_ms, struct radius_answer *answer,
                            struct tg_error *err) TG_MUST_CHECK;

/* Checks a request's lengths and characters before it is queued: INVALID_ARGUMENT. */
enum tg_code radius_request_check(const Tg__LoginRequest *request, struct tg_error *err) TG_MUST_CHECK;

#endif
