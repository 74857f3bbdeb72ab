/* Checkpoints (c2sp.org/tlog-checkpoint) and receipts (c2sp.org/tlog-proof). Any thread. */
#ifndef TG_AUDIT_CHECKPOINT_H
#define TG_AUDIT_CHECKPOINT_H

#include "services/audit/log/merkle.h"
#include "services/audit/log/note.h"

enum { RECEIPT_MAX = 262144 };

struct checkpoint {
    char origin[NOTE_NAME_MAX + 1];
    uint64_t size;
    struct merkle_hash root;
};

/* Three lines: origin, size, root. INVALID_ARGUMENT. */
enum tg_code checkpoint_parse(const char *text, size_t len, struct checkpoint *checkpoint,
                              struct tg_error *err) TG_MUST_CHECK;
/* Signed by all of the keys; *note is the caller's to free(). */
enum tg_code checkpoint_sign(const struct checkpoint *checkpoint, const struct note_keys *keys, char **note,
                             struct tg_error *err) TG_MUST_CHECK;
/* Checks the signatures (see note_open) and that the log is the one that the keys are named after. */
enum tg_code checkpoint_open(const char *note, size_t len, const struct note_keys *keys,
                             struct checkpoint *checkpoint, struct tg_error *err) TG_MUST_CHECK;

/* That one entry is in the log, to be checked with the log's public key alone. The entry itself is in it
 * ("extra"). */
struct receipt {
    uint64_t index;
    char *entry; /* owned: receipt_free */
    size_t entry_len;
    struct merkle_hash proof[MERKLE_PROOF_MAX];
    size_t count;
};
void receipt_free(struct receipt *receipt);

/* *text is the caller's to free(). */
enum tg_code receipt_write(const struct receipt *receipt, const char *note, char **text,
                           struct tg_error *err) TG_MUST_CHECK;
/* Parses and checks all of it. DATA_LOSS: altered, or not a receipt. UNAUTHENTICATED: of another log. */
enum tg_code receipt_open(const char *text, size_t len, const struct note_keys *keys, struct receipt *receipt,
                          struct checkpoint *checkpoint, struct tg_error *err) TG_MUST_CHECK;

#endif
