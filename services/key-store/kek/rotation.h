/* Rotation of KEKs: what lies under an older KEK is wrapped anew under the newest, in the background, in
 * small pieces between other calls' transactions. That one has been asked for is a note in the database, so
 * that it goes on after a crash; any number of key stores on one database may work at it at once. */
#ifndef TG_KEY_STORE_ROTATION_H
#define TG_KEY_STORE_ROTATION_H

#include <stdint.h>

#include "common/audit_client.h"
#include "services/key-store/kek/keyring.h"
#include "services/key-store/store/writer.h"

enum rotation_limits { ROTATION_PIECE = 64, ROTATION_RETRY_MS = 1000, ROTATION_PROBLEM_MAX = 256 };

struct rotation;

struct rotation_status {
    uint64_t rewrapped;                 /* in this rotation or the last one, by this process */
    char problem[ROTATION_PROBLEM_MAX]; /* why it does not get on; "": it does */
};

/* Starts the thread, which goes on with a rotation that was not finished. All is borrowed. */
enum tg_code rotation_start(struct writer *writer, const struct keyring *ring, struct audit_client *audit,
                            struct rotation **rotation, struct tg_error *err) TG_MUST_CHECK;
/* Ends the thread after its piece. Before the writer stops. NULL is fine. */
void rotation_stop(struct rotation *rotation);

/* Inside a transaction: from its commit on a rotation is under way. */
enum tg_code rotation_request(struct rotation *rotation, struct store *store,
                              struct tg_error *err) TG_MUST_CHECK;
/* Inside a transaction: the KEK that all is to lie under; 0: no rotation is under way. */
enum tg_code rotation_requested(struct store *store, uint32_t *kek, struct tg_error *err) TG_MUST_CHECK;

/* Any thread. */
void rotation_status(struct rotation *rotation, struct rotation_status *out);

#endif
