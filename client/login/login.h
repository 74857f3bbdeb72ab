/* The login of a user with a shield: steps 1 to 13 of the seed, one connection, blocking until it is decided.
 *
 *   connect, first TLS → HELLO → IDENTITY → AUTHENTICATE → AUTHENTICATED → channel (second TLS) → LOGIN
 *   → [CHALLENGE → ANSWER]… → WELCOME or REFUSED
 *
 * The units, one file per step, run in the order of common/protocol/order.h (login.c). Thread safe: any
 * number of threads may log in at once, each with a shield of its own; they share a struct login_tls. SIGPIPE
 * must be ignored. */
#ifndef TG_CLIENT_LOGIN_LOGIN_H
#define TG_CLIENT_LOGIN_LOGIN_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/exit_code.h"
#include "common/error.h"
#include "common/names.h"
#include "common/protocol/suite.h"
#include "common/secret.h"
#include "common/shield/shield.h"
#include "common/trace.h"
#include "proto/client.pb-c.h"

enum login_limits {
    LOGIN_SUITES_MAX = 8,
    LOGIN_PASSWORD_MAX = 1024,
    LOGIN_CHANNEL_READ_BUFFER = 128 * 1024 /* of the channel's SSL: read ahead of several records at once */
};

/* What all logins share: whom to trust, and how the channel is built. */
struct login_tls;
/* `ca`: PEM file with the certificates to trust. Errors name it. */
enum tg_code login_tls_open(const char *ca, struct login_tls **tls, struct tg_error *err) TG_MUST_CHECK;
void login_tls_close(struct login_tls *tls); /* NULL is fine */

/* The gateway passes on a question (RADIUS Access-Challenge). `question` is safe to show. *answer (1 to
 * LOGIN_PASSWORD_MAX bytes) becomes the caller's. A failure ends the login with err's text. */
typedef enum tg_code login_ask(void *arg, const char *question, bool echo, struct secret **answer,
                               struct tg_error *err);

struct login_request { /* all borrowed while login_run runs */
    const struct login_tls *tls;
    const char *host; /* name or address; the certificate must be for it */
    uint16_t port;
    const char *user; /* 1 to NAME_TEXT_MAX bytes */
    const struct secret *password;
    struct shield *shield;             /* one key is taken from it */
    const struct suite *const *suites; /* what we offer, the preferred first; 1 to LOGIN_SUITES_MAX */
    size_t suite_count;
    const char *qkud_id; /* NULL, or the only gateway identity that will do */
    bool plain_login;    /* do not seal login info, if the gateway's policy allows that */
    login_ask *ask;      /* NULL: a question ends the login */
    void *ask_arg;
    uint32_t deadline_ms; /* for each step; 0: those of the table of legal order */
};

struct login_session { /* the caller's: login_session_close */
    SSL *ssl;          /* the channel; non-blocking on fd */
    int fd;
    Tg__Welcome *welcome;
    const struct suite *suite;
    char qkud_id[NAME_ID_MAX + 1];
};

/* EXIT_OK: *session is filled in. Anything else: err says why and what to do, the connection is closed,
 * *session holds nothing; a key that was taken from the shield is gone. Texts that came from the gateway are
 * safe to show. */
enum client_exit login_run(const struct login_request *request, struct login_session *session,
                           struct tg_error *err);

/* Closes and frees what it holds, and zeroes it; zeroes with fd -1 are fine. Sends nothing. */
void login_session_close(struct login_session *session);

#endif
