/* Transcript and key schedule of the handshake (DESIGN.md 3), the same on both ends.
 *
 *   th        = H of the frames so far, headers included
 *   th_ticket = H(HELLO frame ‖ IDENTITY frame ‖ ticket)
 *   root      = HMAC-H(k, "ticketgate/1 root" ‖ th_ticket ‖ exporter)    the only use of k: one shield
 * operation k_random, k_confirm, k_login, psk = HKDF-Expand(root, "random" | "confirm" | "login" | "channel")
 *   encrypted random = Seal(k_random, 0, aad = th_ticket, SM3(client random))
 *   proof            = HMAC-H(k_confirm, H(HELLO ‖ IDENTITY ‖ AUTHENTICATE))
 *   login            = Seal(k_login, 0, aad = th(HELLO … AUTHENTICATED), LoginInfo); ANSWER n uses sequence n
 *   PSK identity     = th(HELLO … AUTHENTICATED), 32 bytes
 *
 * One handshake belongs to one thread at a time. */
#ifndef TG_COMMON_PROTOCOL_SCHEDULE_H
#define TG_COMMON_PROTOCOL_SCHEDULE_H

#include "common/error.h"
#include "common/protocol/suite.h"
#include "common/secret.h"
#include "common/ticket.h"

enum schedule_sizes { SCHEDULE_EXPORTER_LEN = 32, SCHEDULE_CLIENT_RANDOM_LEN = 32, SCHEDULE_NONCE_LEN = 32 };

/* Collects whole frames (header and payload) until the suite, and so the hash, is known; then hashes. */
struct transcript;
struct transcript *transcript_new(void);
void transcript_free(struct transcript *t);
/* One whole frame as it was on the wire. At most FRAME_MAX_BEFORE_LOGIN each: our own invariant. */
void transcript_add(struct transcript *t, const void *frame, size_t len);
/* From now on th is known: call once, after IDENTITY was added. */
void transcript_choose(struct transcript *t, const struct suite *suite);
/* H of all frames so far, followed by `extra` (for th_ticket: the ticket; else NULL, 0). Needs
 * transcript_choose. */
void transcript_hash(const struct transcript *t, const void *extra, size_t extra_len,
                     uint8_t out[SUITE_HASH_LEN]);

struct schedule {
    struct secret *random, *confirm, *login, *psk; /* k_random, k_confirm, k_login, psk */
};

/* The input of the one operation with k: LABEL_ROOT ‖ th_ticket ‖ exporter. */
enum { SCHEDULE_ROOT_INPUT_LEN = 17 + SUITE_HASH_LEN + SCHEDULE_EXPORTER_LEN };
void schedule_root_input(const uint8_t th_ticket[SUITE_HASH_LEN],
                         const uint8_t exporter[SCHEDULE_EXPORTER_LEN], uint8_t out[SCHEDULE_ROOT_INPUT_LEN]);

/* Derives the four keys; root stays the caller's. RESOURCE_EXHAUSTED: locked heap full; nothing is left
 * behind then. */
enum tg_code schedule_derive(const struct suite *suite, const struct secret *root, struct schedule *out,
                             struct tg_error *err) TG_MUST_CHECK;
void schedule_wipe(struct schedule *schedule); /* zeroes are fine */

/* Gateway's proof over th(HELLO, IDENTITY, AUTHENTICATE), and its check in constant time. */
enum tg_code schedule_proof(const struct suite *suite, const struct schedule *schedule,
                            const uint8_t th[SUITE_HASH_LEN], uint8_t proof[SUITE_HASH_LEN],
                            struct tg_error *err) TG_MUST_CHECK;
enum tg_code schedule_check_proof(const struct suite *suite, const struct schedule *schedule,
                                  const uint8_t th[SUITE_HASH_LEN], const void *proof, size_t proof_len,
                                  struct tg_error *err) TG_MUST_CHECK;

#endif
