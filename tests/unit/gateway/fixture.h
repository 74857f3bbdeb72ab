/* A gateway in this process, with scripted peers in place of ticket resolver, RADIUS bridge and audit
 * service. */
#ifndef TG_TESTS_UNIT_GATEWAY_FIXTURE_H
#define TG_TESTS_UNIT_GATEWAY_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>

#include "common/rpc/rpc.h"
#include "common/shield/shield.h"
#include "proto/audit.pb-c.h"
#include "proto/gateway.pb-c.h"
#include "proto/radius_bridge.pb-c.h"
#include "services/gateway/gateway.h"
#include "tests/integration/scripted_client.h"

enum { FIXTURE_TICKETS_MAX = 256, FIXTURE_EVENTS_MAX = 8192, FIXTURE_HELD_MAX = 64 };

/* How a scripted peer behaves. */
enum peer_mode {
    PEER_ANSWERS,
    PEER_HOLDS,      /* never answers */
    PEER_FAILS,      /* with fixture.failure */
    PEER_SEALS_WRONG /* resolver: the ticket info is sealed to another request */
};

struct fixture_ticket {
    uint8_t bytes[TICKET_LEN];
    struct secret *key;
    char owner[64], policy[64];
    bool spent;
};

struct fixture_event {
    char name[48], reason[200], user[64], source[64], session[40], target[96], policy[64], detail[200],
        trace[40];
    bool success;
    size_t ticket_len;
    uint64_t bytes_in, bytes_out;
};

struct fixture {
    char dir[64];
    struct gateway_config config;
    struct gateway *gateway;
    struct rpc_server *resolver, *bridge, *audit, *admin;
    struct rpc_client *operator;
    struct shield *shield;
    struct secret *ticket_key, *qkud_key;

    pthread_mutex_t lock; /* for all below */
    pthread_cond_t changed;
    enum peer_mode resolver_mode, bridge_mode, audit_mode;
    enum tg_code failure;
    char filter_id[64], reply_message[64];
    uint32_t session_timeout_s, idle_timeout_s;
    struct fixture_ticket tickets[FIXTURE_TICKETS_MAX];
    size_t ticket_count;
    struct fixture_event events[FIXTURE_EVENTS_MAX];
    size_t event_count;
    struct rpc_call *held[FIXTURE_HELD_MAX]; /* calls that a peer does not answer */
    size_t held_count;
    char seen_user[64], seen_password[64], seen_station[64], seen_session[40];
};

/* Starts everything. extra: more lines of YAML, replacing keys of the same name; NULL: none. Fails the test
 * when it cannot. */
struct fixture *fixture_new(const char *extra);
void fixture_free(struct fixture *f);
/* For cmocka's setup and teardown with the plain configuration. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* A fresh quantum key in the shield, known to the scripted key centre. */
struct shield_key *fixture_key(struct fixture *f, const char *owner, const char *policy);
/* Connects and goes on to the given stage as "alice" with the password "right" and a fresh key; fails the
 * test otherwise. faults: NULL for none. */
struct scripted *fixture_client(struct fixture *f, enum scripted_stage last,
                                const struct scripted_faults *faults);
/* The same without trying: only connected. */
struct scripted *fixture_connect(struct fixture *f, const char *from);

/* Waits until the n-th event of that name is there, and returns it; fails the test after some patience. */
struct fixture_event fixture_event(struct fixture *f, const char *name, size_t n);
size_t fixture_event_count(struct fixture *f, const char *name);
void fixture_set_mode(struct fixture *f, enum peer_mode *mode, enum peer_mode value);
/* Answers the call that has been held longest. */
void fixture_fail_first(struct fixture *f, enum tg_code code);
/* Answers what was held, with INTERNAL. */
void fixture_release(struct fixture *f);
/* Waits until that many calls are held. */
void fixture_await_held(struct fixture *f, size_t count);

/* A listening socket on 127.0.0.1 in the place of an intranet system, and the connection that came to it. */
int target_listen(uint16_t *port);
int target_accept(int listening);

#endif
