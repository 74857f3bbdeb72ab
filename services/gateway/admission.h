/* Who may come in: bounds on connections that have not logged in yet (half-open), in all and from one source,
 * and on sessions. A stranger who opens many connections exhausts his own share, and memory stays bounded.
 *
 * Any thread. */
#ifndef TG_GATEWAY_ADMISSION_H
#define TG_GATEWAY_ADMISSION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* A source is an IPv4 address or an IPv6 /64: who has one address of it has them all. */
struct source {
    uint8_t bytes[8];
};
struct source source_of(const struct sockaddr *address);

enum admission_answer { ADMITTED, ADMISSION_FULL, ADMISSION_SOURCE_FULL };

struct admission_counts {
    uint32_t half_open, sessions;
    uint64_t turned_away; /* since start */
};

struct admission;
/* NULL: out of memory. */
struct admission *admission_new(uint32_t half_open_max, uint32_t half_open_per_source, uint32_t max_sessions);
void admission_free(struct admission *admission);

/* A new connection; leave it exactly once when ADMITTED. */
enum admission_answer admission_enter(struct admission *admission, struct source source);
void admission_leave(struct admission *admission, struct source source);

/* A session takes a place; false: all are taken. Given back exactly once. */
bool admission_session_enter(struct admission *admission);
void admission_session_leave(struct admission *admission);
bool admission_sessions_full(struct admission *admission);

struct admission_counts admission_counts(struct admission *admission);
/* Waits until there is neither a half-open connection nor a session, or timeout_ms is over. True: empty. */
bool admission_wait_empty(struct admission *admission, unsigned timeout_ms);

#endif
